"""Moving points in millimetres: rotations, smooth random fields, and label maps seen through them.

Everything here maps a point of the result to the point of the source that is shown there.
Coordinates are array indices, (d, *S), for d = 2 or 3 axes; lengths are millimetres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

# A uniform cubic B-spline field folds nowhere if no control point moves further than this share
# of its step. Source: Choi & Lee, "Injectivity conditions of 2D and 3D uniform cubic B-spline
# functions", Graphical Models 62 (2000): 1/2.0464 in 2D, 1/2.4795 in 3D.
NO_FOLD = {2: 0.48, 3: 0.40}


def rotation(degrees: Sequence[float]) -> np.ndarray:
    """Rotation matrix (d, d) in millimetres.

    Args:
        degrees: one angle for 2D. For 3D: in the plane of the last two axes (a slice), then the
            tilts about the second and about the third axis. Positive angles turn the plane's
            first axis towards its second.
    """
    angles = np.radians(np.asarray(degrees, dtype=float))
    dims = 2 if len(angles) == 1 else 3
    planes = [(0, 1)] if dims == 2 else [(1, 2), (0, 2), (0, 1)]
    matrix = np.eye(dims)
    for angle, (a, b) in zip(angles, planes, strict=True):
        turn = np.eye(dims)
        turn[a, a] = turn[b, b] = math.cos(angle)
        turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    return matrix


def affine_points(
    shape: Sequence[int], spacing_mm: Sequence[float], matrix: np.ndarray, about: np.ndarray
) -> np.ndarray:
    """Offsets in mm from `about` (an index) of each grid point, through `matrix`; (d, *S)."""
    dims = len(shape)
    points = np.zeros((dims, *shape), dtype=np.float32)
    for axis, (size, step) in enumerate(zip(shape, spacing_mm, strict=True)):
        along = ((np.arange(size) - about[axis]) * step).astype(np.float32)
        along = along.reshape([-1 if a == axis else 1 for a in range(dims)])
        for row in range(dims):
            points[row] += np.float32(matrix[row, axis]) * along
    return points


def _spline_weights(points: int, intervals: int) -> np.ndarray:
    """Uniform cubic B-spline weights of intervals + 3 control points at evenly spread points."""
    position = np.linspace(0.0, intervals, points) if points > 1 else np.array([intervals / 2])
    first = np.minimum(position.astype(int), intervals - 1)
    t = position - first
    weights = np.zeros((points, intervals + 3))
    parts = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    for offset, part in enumerate(parts):
        weights[np.arange(points), first + offset] = part / 6
    return weights


def spline_field(controls: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The field (d, *S), float32, that control displacements (d, *c) span over a grid."""
    field = controls
    for axis, size in enumerate(shape):
        weights = _spline_weights(size, controls.shape[axis + 1] - 3)
        field = np.moveaxis(np.tensordot(weights, field, axes=(1, axis + 1)), 0, axis + 1)
    return field.astype(np.float32)


def random_controls(
    shape: Sequence[int],
    spacing_mm: Sequence[float],
    rng: np.random.Generator,
    step_mm: float,
    sd_mm: float,
) -> np.ndarray:
    """Random control displacements in mm, (d, *c), about `step_mm` apart, that never fold.

    `sd_mm` is the standard deviation of a control point; the field between them has about half
    of it in 2D and a third in 3D.
    """
    extent = np.maximum(np.asarray(shape) - 1, 1) * np.asarray(spacing_mm, dtype=float)
    intervals = np.maximum(1, np.rint(extent / step_mm).astype(int))
    controls = rng.normal(0.0, sd_mm, (len(shape), *(intervals + 3)))
    limit = NO_FOLD[len(shape)] * extent / intervals
    limit = limit.reshape(-1, *[1] * len(shape))
    return np.clip(controls, -limit, limit)


def resample_labels(labels: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Labels at source coordinates: the structure with the largest linearly interpolated share.

    Borders stay smooth, where nearest neighbours would leave steps. Beyond the grid the nearest
    edge goes on, so that an organ cut by the field of view stays cut by it.

    Args:
        labels: whole numbers (*S).
        coordinates: indices into it, (d, *T).
    Returns:
        (*T), of the type of `labels`.
    """
    nearest = tuple(
        np.rint(np.clip(along, 0, size - 1)).astype(np.intp)
        for along, size in zip(coordinates, labels.shape, strict=True)
    )
    moved = labels[nearest]
    border = ndimage.maximum_filter(labels, 3) != ndimage.minimum_filter(labels, 3)
    unsure = border[nearest]
    points = coordinates[:, unsure]
    best = np.full(points.shape[1], -1.0, dtype=np.float32)
    chosen = np.zeros(points.shape[1], dtype=labels.dtype)
    for index in np.unique(labels):
        one = (labels == index).astype(np.float32)
        share = ndimage.map_coordinates(one, points, order=1, mode="nearest")
        better = share > best
        best[better], chosen[better] = share[better], index
    moved[unsure] = chosen
    return moved


def signed_distance_mm(mask: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Distance to the border of a mask in mm, float32: negative inside, positive outside.

    Distances run between voxel centres, so linear interpolation crosses zero half way between an
    inner and an outer voxel. inf everywhere if the mask is empty; it must not be full.
    """
    if not mask.any():
        return np.full(mask.shape, np.inf, dtype=np.float32)
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    inside = ndimage.distance_transform_edt(mask, sampling=spacing_mm)
    return (outside - inside).astype(np.float32)
