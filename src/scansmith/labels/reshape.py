"""Reshaping lesions: flip, scale, rotate, bend, unite, so that no patient's shape is kept.

Chance is drawn apart from its use: a `Motion` says how a lesion is reshaped, and applying it is
exact. Shapes are moved as signed distances (Raya & Udupa, IEEE TMI 9, 1990: shape-based
interpolation), so that thick slices become smooth bodies and not stairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
from scipy import ndimage

from scansmith.labels.bank import FEW_VOXELS, Lesion, cropped
from scansmith.labels.warp import (
    affine_points,
    rotation,
    signed_distance_mm,
    spline_field,
)

# Ranges of METHODS for lesions (flip, rotation, scale 0.7-1.3) with our own for the rest: tilts
# out of the slice stay small, because thick slices know little about that direction.
_LESION_SCALE = (0.7, 1.3)
_LESION_TILT_DEGREES = 20.0
_LESION_BEND = (0.35, 0.8)  # sd and limit of a control point, in shares of the control step


@dataclass(frozen=True)
class Motion:
    """How a lesion is reshaped: flipped, scaled, rotated, bent, in this order.

    Attributes:
        flips: one for each of d axes.
        degrees: as for `warp.rotation`.
        controls: (d, 5, ...) control displacements, in shares of their step.
        phase: where the voxel grid lies, in voxels.
    """

    flips: tuple[bool, ...]
    degrees: tuple[float, ...]
    scale: float
    controls: np.ndarray
    phase: tuple[float, ...]

    @staticmethod
    def none(dims: int) -> Motion:
        """The motion that leaves a lesion as it is."""
        angles = (0.0,) if dims == 2 else (0.0, 0.0, 0.0)
        controls = np.zeros((dims, *[5] * dims))
        return Motion((False,) * dims, angles, 1.0, controls, (0.0,) * dims)

    @staticmethod
    def draw(rng: np.random.Generator, dims: int) -> Motion:
        """A random one."""
        turn = float(rng.uniform(-180, 180))
        tilts = [float(a) for a in rng.uniform(-1, 1, 2) * _LESION_TILT_DEGREES]
        sd, limit = _LESION_BEND
        return Motion(
            flips=tuple(bool(f) for f in rng.random(dims) < 0.5),
            degrees=(turn,) if dims == 2 else (turn, *tilts),
            scale=float(rng.uniform(*_LESION_SCALE)),
            controls=np.clip(rng.normal(0, sd, (dims, *[5] * dims)), -limit, limit),
            phase=tuple(float(p) for p in rng.uniform(-0.5, 0.5, dims)),
        )

    def as_dict(self) -> dict[str, Any]:
        """What a record says of it."""
        return {
            "flips": list(self.flips),
            "degrees": [round(a, 3) for a in self.degrees],
            "scale": round(self.scale, 4),
            "bend_rms": round(float(np.sqrt(np.mean(self.controls**2))), 4),
        }


def reshape_lesion(
    lesion: Lesion,
    rng: np.random.Generator | None = None,
    spacing_mm: Sequence[float] | None = None,
    motion: Motion | None = None,
    shrink: float = 1.0,
) -> Lesion:
    """A lesion flipped, scaled, rotated and bent, on a grid of `spacing_mm` (its own if None).

    Its volume is that of the lesion times scale^d, to a voxel: the voxels that lie deepest inside
    are taken, as far as they hang together. So it is never empty and never in parts, whatever the
    grid.

    Args:
        motion: drawn from `rng` if None.
        shrink: a further scale.
    """
    dims = lesion.labels.ndim
    if motion is None:
        if rng is None:
            raise TypeError("reshape_lesion needs a generator or a motion")
        motion = Motion.draw(rng, dims)
    target_mm = tuple(float(s) for s in (spacing_mm or lesion.spacing_mm))
    scale = motion.scale * shrink
    source = np.pad(lesion.labels, 2)
    coordinates = _lesion_coordinates(source.shape, lesion.spacing_mm, target_mm, motion, scale)

    def depth(structure: int | None = None) -> np.ndarray:
        mask = source != 0 if structure is None else source == structure
        distance = signed_distance_mm(mask, lesion.spacing_mm)
        return ndimage.map_coordinates(distance, coordinates, order=1, mode="nearest")

    voxels = max(1, round(lesion.volume_mm3 * scale**dims / math.prod(target_mm)))
    inside = _deepest(depth(), voxels)
    return Lesion(_fill(inside, source, depth), target_mm, lesion.case)


def _lesion_coordinates(
    shape: Sequence[int],
    source_mm: Sequence[float],
    target_mm: Sequence[float],
    motion: Motion,
    scale: float,
) -> np.ndarray:
    """Indices into the source box for each voxel of a new box that holds the moved lesion."""
    forward = rotation(motion.degrees) @ np.diag([-scale if f else scale for f in motion.flips])
    half_mm = np.abs(forward) @ (np.asarray(shape) * source_mm) / 2
    size = 2 * np.ceil(1.15 * half_mm / target_mm).astype(int) + 3
    centre = (size - 1) / 2 + np.asarray(motion.phase)
    backward = np.linalg.inv(forward)
    step_mm = 2 * half_mm / (motion.controls.shape[1] - 3)
    bend_mm = motion.controls * step_mm.reshape(-1, *[1] * len(size))
    offset = affine_points(tuple(size), target_mm, backward, centre)
    bend = spline_field(bend_mm, tuple(size))
    offset += np.tensordot(backward.astype(np.float32), bend, axes=1)
    middle = (np.asarray(shape) - 1) // 2  # a voxel: without a motion, grid falls on grid
    for axis in range(len(size)):
        offset[axis] = offset[axis] / source_mm[axis] + middle[axis]
    return offset


def _deepest(distance: np.ndarray, voxels: int) -> np.ndarray:
    """The mask of the `voxels` smallest values; where they are in parts, the largest, filled up.

    Which parts there are depends on the grid: a thin neck falls between voxels. What the others
    had is made up for by the smallest values that touch, one after the other, so that the part
    grows along the neck into what it was cut from.
    """
    voxels = min(voxels, distance.size)
    mask = np.zeros(distance.size, dtype=bool)
    mask[np.argpartition(distance, voxels - 1, axis=None)[:voxels]] = True
    part = _largest_part(mask.reshape(distance.shape))
    return _filled_up(part, distance, voxels - int(part.sum()))


def _filled_up(part: np.ndarray, distance: np.ndarray, voxels: int) -> np.ndarray:
    """A connected mask and `voxels` more, each the smallest value that touches the mask then."""
    if not voxels:
        return part
    part, values = np.pad(part, 1), np.pad(distance, 1, constant_values=np.inf).ravel()
    corners = np.ones([3] * part.ndim)  # which connect, as in `_largest_part`
    strides = [stride // part.itemsize for stride in part.strides]
    steps = [int(np.dot(step, strides)) for step in np.argwhere(corners) - 1]
    rim = ndimage.binary_dilation(part, corners) & ~part
    touching = [(float(values[n]), int(n)) for n in np.flatnonzero(rim)]
    heapify(touching)
    taken, seen = part.ravel(), (part | rim).ravel()
    for _ in range(voxels):
        _, voxel = heappop(touching)
        taken[voxel] = True
        for near in (voxel + step for step in steps):
            if not seen[near] and values[near] < np.inf:
                seen[near] = True
                heappush(touching, (float(values[near]), near))
    return part[(slice(1, -1),) * part.ndim]


def _largest_part(mask: np.ndarray) -> np.ndarray:
    parts, count = ndimage.label(mask, structure=np.ones([3] * mask.ndim))
    return mask if count == 1 else parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])


def _fill(inside: np.ndarray, source: np.ndarray, depth: Callable[[int], np.ndarray]) -> np.ndarray:
    """Give each voxel of a mask the structure of the source in which it lies deepest; cropped."""
    present = [int(i) for i in np.unique(source) if i != 0]
    filled = np.where(inside, present[0], 0).astype(np.uint8)
    if len(present) > 1:
        depths = np.stack([depth(index)[inside] for index in present])
        filled[inside] = np.asarray(present, dtype=np.uint8)[np.argmin(depths, axis=0)]
    return cropped(filled)


def blob(lesion: Lesion, rng: np.random.Generator) -> Lesion:
    """A random ellipsoid of a lesion's volume and commonest structure; nothing of its shape."""
    dims = lesion.labels.ndim
    axes = rng.uniform(0.75, 1.33, dims)
    axes /= np.prod(axes) ** (1 / dims)
    grid = np.stack(np.meshgrid(*[np.linspace(-1.5, 1.5, 25)] * dims, indexing="ij"))
    mask = np.sum((grid / axes.reshape(-1, *[1] * dims)) ** 2, axis=0) <= 1
    index = np.bincount(lesion.labels[lesion.labels > 0]).argmax()
    step_mm = (lesion.volume_mm3 / mask.sum()) ** (1 / dims)
    return Lesion((mask * index).astype(np.uint8), (float(step_mm),) * dims, lesion.case)


def shape_source(lesion: Lesion, rng: np.random.Generator) -> Lesion:
    """What a new lesion's shape comes from: the lesion, or a blob if it has too few voxels."""
    return lesion if lesion.voxels >= FEW_VOXELS else blob(lesion, rng)


def smooth_union(first: Lesion, second: Lesion, rng: np.random.Generator) -> Lesion:
    """Two lesions on one spacing grown together at a random side, with a rounded seam.

    Source of the rounding: the polynomial smooth minimum of signed distances (Quilez).
    """
    radii = _radius_mm(first), _radius_mm(second)
    direction = rng.normal(size=first.labels.ndim)
    direction *= rng.uniform(0.5, 0.9) * sum(radii) / np.linalg.norm(direction)
    boxes = _side_by_side(first, second, direction)
    blend_mm = 0.5 * min(radii)

    def depth(structure: int | None = None) -> np.ndarray:
        a, b = (
            signed_distance_mm(
                box != 0 if structure is None else box == structure, first.spacing_mm
            )
            for box in boxes
        )
        mix = np.maximum(blend_mm - np.abs(a - b), 0) / blend_mm
        return np.minimum(a, b) - mix**2 * (blend_mm / 4)

    inside = _largest_part(depth() <= 0)
    return Lesion(_fill(inside, np.stack(boxes), depth), first.spacing_mm, first.case)


def _side_by_side(first: Lesion, second: Lesion, shift_mm: np.ndarray) -> list[np.ndarray]:
    """Two arrays of one shape: each lesion alone, their middles `shift_mm` apart."""
    sizes = np.array([first.labels.shape, second.labels.shape])
    shift = np.rint(shift_mm / first.spacing_mm + (sizes[0] - sizes[1]) / 2).astype(int)
    low = np.minimum(0, shift) - 2
    high = np.maximum(sizes[0], shift + sizes[1]) + 2
    boxes = []
    for lesion, start in ((first, -low), (second, shift - low)):
        box = np.zeros(high - low, dtype=np.uint8)
        where = (slice(s, s + n) for s, n in zip(start, lesion.labels.shape, strict=True))
        box[tuple(where)] = lesion.labels
        boxes.append(box)
    return boxes


def _radius_mm(lesion: Lesion) -> float:
    """Radius of the disc or ball of the lesion's size."""
    dims = lesion.labels.ndim
    return (lesion.volume_mm3 / (math.pi if dims == 2 else 4 / 3 * math.pi)) ** (1 / dims)
