"""Changing whole label maps: flip, rotate, scale, bend, and all of it a little (`deform`).

Arrays are (H, W) or (D, H, W); lengths are millimetres, so that a rotation keeps a sphere a
sphere on any spacing. Borders are interpolated, see `warp.resample_labels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from scansmith.labels.warp import (
    affine_points,
    random_controls,
    resample_labels,
    rotation,
    spline_field,
)

# What a patient's pose and build differ by, at strength 1 (our choice): enough that no outline is
# the source's, little enough that anatomy stays anatomy. Through the slices less than in them.
_DEGREES = (10.0, 3.0, 3.0)
_SCALE = 0.1
_SHIFT_MM = 4.0
_BEND_STEP_MM = 32.0
_BEND_SD_MM = 6.0
# Between slices so far apart, interpolation would tear structures: such slices move in their plane.
_THICK = 3.0


def flip(labels: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Mirrored along these axes."""
    return np.flip(labels, axis=tuple(axes)).copy()


def rotate(labels: np.ndarray, spacing_mm: Sequence[float], degrees: Sequence[float]) -> np.ndarray:
    """Rotated about the middle of the grid; angles as for `warp.rotation`."""
    return _affine(labels, spacing_mm, rotation(degrees))


def scale(labels: np.ndarray, spacing_mm: Sequence[float], factor: float) -> np.ndarray:
    """Made larger (factor above 1) or smaller about the middle of the grid."""
    return _affine(labels, spacing_mm, np.eye(labels.ndim) * factor)


def _affine(labels: np.ndarray, spacing_mm: Sequence[float], forward: np.ndarray) -> np.ndarray:
    middle = (np.asarray(labels.shape) - 1) / 2
    offset = affine_points(labels.shape, spacing_mm, np.linalg.inv(forward), middle)
    return resample_labels(labels, _to_indices(offset, spacing_mm, middle))


def elastic(
    labels: np.ndarray,
    spacing_mm: Sequence[float],
    rng: np.random.Generator,
    sd_mm: float = _BEND_SD_MM,
    step_mm: float = _BEND_STEP_MM,
) -> np.ndarray:
    """Bent by a random smooth field that folds nowhere; numbers as for `warp.random_controls`."""
    controls = random_controls(labels.shape, spacing_mm, rng, step_mm, sd_mm)
    middle = np.zeros(labels.ndim)
    offset = affine_points(labels.shape, spacing_mm, np.eye(labels.ndim), middle)
    offset += spline_field(controls, labels.shape)
    return resample_labels(labels, _to_indices(offset, spacing_mm, middle))


def deform(
    labels: np.ndarray,
    spacing_mm: Sequence[float],
    rng: np.random.Generator,
    strength: float = 1.0,
    others: Sequence[np.ndarray] = (),
) -> tuple[np.ndarray, tuple[np.ndarray, ...], dict[str, Any]]:
    """A whole label map moved and bent by a small random affine map and a smooth field.

    An axis whose step is more than three times the finest (thick slices) is not moved along.

    Args:
        labels: (*S).
        strength: 0 leaves everything as it is; 1 is as much as patients differ.
        others: images moved the same way, linearly: (*S) or (C, *S).
    Returns:
        The labels, the others (float32), and what was done, JSON-able.
    """
    dims = labels.ndim
    labelled = np.nonzero(labels)
    about = (np.asarray(labels.shape) - 1) / 2
    if labelled[0].size:
        about = np.array([(along.min() + along.max()) / 2 for along in labelled])
    kinds = _DEGREES[:1] if dims == 2 else _DEGREES
    degrees = [float(rng.uniform(-a, a) * strength) for a in kinds]
    factor = float(1 + rng.uniform(-_SCALE, _SCALE) * strength)
    reach_mm = np.where(np.arange(dims) < dims - 2, 0.5, 1.0) * _SHIFT_MM
    shift_mm = rng.uniform(-1, 1, dims) * reach_mm * strength
    controls = random_controls(labels.shape, spacing_mm, rng, _BEND_STEP_MM, _BEND_SD_MM * strength)

    backward = np.linalg.inv(rotation(degrees) * factor)
    offset = affine_points(labels.shape, spacing_mm, backward, about)
    field = spline_field(controls, labels.shape)
    bend_mm = float(np.sqrt(np.mean(np.sum(field**2, axis=0))))
    offset += field
    offset -= (backward @ shift_mm).astype(np.float32).reshape(-1, *[1] * dims)
    coordinates = _to_indices(offset, spacing_mm, about)
    thick = [axis for axis, step in enumerate(spacing_mm) if step > _THICK * min(spacing_mm)]
    for axis in thick:
        coordinates[axis] = np.arange(labels.shape[axis]).reshape(-1, *[1] * (dims - axis - 1))
    record = {
        "strength": strength,
        "degrees": [round(a, 3) for a in degrees],
        "scale": round(factor, 4),
        "shift_mm": [round(float(s), 3) for s in shift_mm],
        "bend_rms_mm": round(bend_mm, 3),
        "axes_kept": thick,
    }
    moved = tuple(_move_image(image, coordinates) for image in others)
    return resample_labels(labels, coordinates), moved, record


def _to_indices(
    offset: np.ndarray, spacing_mm: Sequence[float], about: Sequence[float] | np.ndarray
) -> np.ndarray:
    """Offsets in mm from the index `about`, as indices; changes its argument."""
    for axis, (step, start) in enumerate(zip(spacing_mm, about, strict=True)):
        offset[axis] /= np.float32(step)
        offset[axis] += np.float32(start)
    return offset


def _move_image(image: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    channels = image if image.ndim == len(coordinates) + 1 else image[None]
    moved = np.stack(
        [
            ndimage.map_coordinates(c.astype(np.float32), coordinates, order=1, mode="nearest")
            for c in channels
        ]
    )
    return moved if image.ndim == len(coordinates) + 1 else moved[0]
