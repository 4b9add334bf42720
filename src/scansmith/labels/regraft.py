"""Reshaping a map's own lesion where it is: mirrored, turned, scaled, bent; the rest grows back.

Only the lesion changes. Where it was, the nearest organ takes its place; where it comes to lie, it
covers organ alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from scansmith.labels.bank import FEW_VOXELS, LesionBank, cut_lesions
from scansmith.labels.warp import (
    affine_points,
    random_controls,
    resample_labels,
    rotation,
    spline_field,
)
from scansmith.scan import DataError

# Ranges of METHODS for MM-GAN, whose voxels are 1 mm.
_DEGREES = 20.0
_SCALE = (0.8, 1.2)
_SIGMA_MM = (5.0, 8.0)
_MAGNITUDE = (50.0, 150.0)
_INSIDE = 0.8  # share of the new lesion that has to lie in the organ
_TRIES = 12
# A field between the control points of a cubic B-spline has this share of their sd, for an axis.
_SPLINE_SD = math.sqrt(151 / 315)


@dataclass(frozen=True)
class Change:
    """How a lesion is changed: mirrored left to right, turned and scaled about its middle, bent.

    Attributes:
        mirrored: about the middle of the organ, along the last axis.
        degrees: as for `warp.rotation`.
        sigma_mm: smoothness of the bend, as the sd of the Gaussian that would smooth noise so.
        bend_mm: sd of its displacement along each axis.
    """

    mirrored: bool
    degrees: tuple[float, ...]
    scale: float
    sigma_mm: float
    bend_mm: float

    @staticmethod
    def draw(rng: np.random.Generator, dims: int) -> Change:
        """A random one."""
        sigma_mm = float(rng.uniform(*_SIGMA_MM))
        return Change(
            mirrored=bool(rng.random() < 0.5),
            degrees=tuple(float(a) for a in rng.uniform(-1, 1, 1 if dims == 2 else 3) * _DEGREES),
            scale=float(rng.uniform(*_SCALE)),
            sigma_mm=sigma_mm,
            bend_mm=bend_sd_mm(sigma_mm, float(rng.uniform(*_MAGNITUDE))),
        )


def bend_sd_mm(sigma_mm: float, magnitude: float) -> float:
    """Sd of an elastic displacement: noise in -1..1 on 1 mm voxels, smoothed, times `magnitude`.

    Noise of variance 1/3 keeps a share (2 sqrt(pi) sigma)^-3 of it under a Gaussian in 3D.
    Source: the rule of MONAI's Rand3DElastic, whose parameters these are.
    """
    return magnitude * math.sqrt(1 / 3) * (2 * math.sqrt(math.pi) * sigma_mm) ** -1.5


def regraft(
    labels: np.ndarray,
    spacing_mm: Sequence[float],
    *,
    lesion: Sequence[int],
    organ: Sequence[int],
    rng: np.random.Generator,
) -> tuple[np.ndarray, dict[str, Any]]:
    """A map whose lesion is changed and nothing else, and what was done.

    All lesions of the map move as one. Of the changed lesion at least 80 % lies in the organ, the
    rest is cut off; no lesion of FEW_VOXELS or more has a shape that the map had, and no structure
    of as many voxels is lost.

    Args:
        labels: structure indices, (H, W) or (D, H, W).
        lesion, organ: structure indices, apart from each other.
    Returns:
        The map, of the type of `labels`, and a JSON-able record.
    Raises:
        DataError: there is no lesion or no organ, or no change of twelve drawn fits.
    """
    where = f"labels: lesion {tuple(lesion)}, organ {tuple(organ)}"
    own, free = np.isin(labels, lesion), np.isin(labels, organ)
    if set(lesion) & set(organ) or not own.any() or not free.any():
        raise DataError(
            f"{where}: {int(own.sum())} and {int(free.sum())} voxels, expected some of each and "
            "structures apart. Take sources that have both, or name other structures."
        )
    healed = heal(labels, spacing_mm, lesion, organ)
    originals = _shaped(labels, lesion, spacing_mm)
    large = {k for k in lesion if np.count_nonzero(labels == k) >= FEW_VOXELS}
    most = 0.0
    for attempt in range(1, _TRIES + 1):
        change = Change.draw(rng, labels.ndim)
        moved = changed_lesion(labels, spacing_mm, lesion, organ, change, rng)
        room = np.isin(healed, organ)
        fits = (moved != 0) & room
        inside = float(fits.sum() / max(1, np.count_nonzero(moved)))
        most = max(most, inside)
        result = np.where(fits, moved, healed).astype(labels.dtype)
        lost = large - {int(k) for k in np.unique(result)}
        if inside < _INSIDE or lost or _kept(originals, result, lesion, spacing_mm):
            continue
        record = {name: _rounded(value) for name, value in asdict(change).items()}
        return result, {
            "kind": "reshape",
            "attempts": attempt,
            **record,
            "inside": round(inside, 4),
            "voxels": [int(own.sum()), int(fits.sum())],
        }
    raise DataError(
        f"{where}: of {_TRIES} changed lesions at most {most:.0%} lay in the organ, expected "
        f"{_INSIDE:.0%} with every structure kept and every shape new. Take other sources."
    )


def heal(
    labels: np.ndarray, spacing_mm: Sequence[float], lesion: Sequence[int], organ: Sequence[int]
) -> np.ndarray:
    """The map without its lesion: each lesion voxel takes the nearest organ voxel's structure."""
    own = np.isin(labels, lesion)
    nearest = distance_transform_edt(
        ~np.isin(labels, organ),
        sampling=spacing_mm,
        return_distances=False,
        return_indices=True,
    )
    healed = labels.copy()
    healed[own] = labels[tuple(along[own] for along in nearest)]
    return healed


def changed_lesion(
    labels: np.ndarray,
    spacing_mm: Sequence[float],
    lesion: Sequence[int],
    organ: Sequence[int],
    change: Change,
    rng: np.random.Generator,
) -> np.ndarray:
    """The lesion alone, changed, on the grid of the map; 0 elsewhere. `rng` draws the bend."""
    alone = np.where(np.isin(labels, lesion), labels, 0)
    found = np.nonzero(alone)
    middle = np.array([(along.min() + along.max()) / 2 for along in found])
    if change.mirrored:
        sides = np.nonzero(np.isin(labels, (*organ, *lesion)))[-1]
        alone = np.flip(alone, axis=-1)
        shift = int(sides.min() + sides.max()) - (labels.shape[-1] - 1)
        alone = _shifted(alone, shift)
        middle[-1] = sides.min() + sides.max() - middle[-1]
    offset = affine_points(
        labels.shape, spacing_mm, np.linalg.inv(rotation(change.degrees) * change.scale), middle
    )
    offset += _bend(labels.shape, spacing_mm, change, rng)
    for axis, step in enumerate(spacing_mm):
        offset[axis] = offset[axis] / np.float32(step) + np.float32(middle[axis])
    return resample_labels(alone, offset)


def _bend(
    shape: Sequence[int], spacing_mm: Sequence[float], change: Change, rng: np.random.Generator
) -> np.ndarray:
    """Displacements in mm, (d, *S), of cubic B-splines: a Gaussian of step / sqrt 3, nearly."""
    step_mm = math.sqrt(3) * change.sigma_mm
    sd_mm = change.bend_mm / _SPLINE_SD ** len(shape)
    controls = random_controls(shape, spacing_mm, rng, step_mm, sd_mm)
    return spline_field(controls, tuple(shape))


def _shifted(labels: np.ndarray, steps: int) -> np.ndarray:
    """Moved along the last axis, zeros coming in."""
    result = np.zeros_like(labels)
    if steps >= 0:
        result[..., steps:] = labels[..., : labels.shape[-1] - steps]
    else:
        result[..., :steps] = labels[..., -steps:]
    return result


def _shaped(labels: np.ndarray, lesion: Sequence[int], spacing_mm: Sequence[float]) -> LesionBank:
    found = cut_lesions(labels, lesion, spacing_mm, "")
    return LesionBank([one for one in found if one.voxels >= FEW_VOXELS])


def _kept(
    originals: LesionBank, labels: np.ndarray, lesion: Sequence[int], spacing_mm: Sequence[float]
) -> bool:
    """Whether a lesion of a map has the shape of an original one."""
    made = _shaped(labels, lesion, spacing_mm)
    return bool(len(originals)) and any(originals.holds(one.labels) for one in made)


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return [round(part, 3) for part in value]
    return round(value, 4) if isinstance(value, float) else value
