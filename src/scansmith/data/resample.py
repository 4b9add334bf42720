"""Grids: turn a scan to a fixed orientation and bring it to the grid that a recipe asks for.

A new grid lies along the old one's axes: pixel n of a new axis is at `first + n * step` of the old
axis. Image values between pixels are linear; where the grid gets coarser the triangle widens with
it, so that nothing is skipped. Labels take the nearest pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import nibabel as nib
import numpy as np
from scipy import sparse

from scansmith.recipe import Recipe

#: Steps as near to 1 as this are 1: such grids differ by less than a pixel over a whole scan.
_SAME = 1e-3
_LPS = nib.orientations.axcodes2ornt(("L", "P", "S"))


@dataclass(frozen=True)
class Axis:
    """One axis of a new grid: `new` pixels, pixel n at `first + n * step` of `old` old ones."""

    old: int
    new: int
    step: float
    first: float

    @property
    def places(self) -> np.ndarray:
        """Old coordinates of the new pixels, float64 (new,)."""
        return self.first + self.step * np.arange(self.new)

    @property
    def inside(self) -> np.ndarray:
        """Which new pixels lie on the old grid, bool (new,)."""
        return (self.places >= -0.5) & (self.places <= self.old - 0.5)

    @property
    def seen(self) -> slice:
        """The old pixels whose centres lie on the new grid."""
        low, high = self.first - self.step / 2, self.first + (self.new - 0.5) * self.step
        return slice(max(0, math.ceil(low)), min(self.old, math.floor(high) + 1))

    @property
    def covered(self) -> tuple[int, int]:
        """First and end of the new pixels that lie on the old grid."""
        (there,) = np.nonzero(self.inside)
        return int(there[0]), int(there[-1]) + 1

    @property
    def nearest(self) -> np.ndarray:
        """The old pixel nearest to each new one, int (new,)."""
        return np.clip(np.floor(self.places + 0.5).astype(int), 0, self.old - 1)


# --- orientation ----------------------------------------------------------------------------------


def to_standard(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """An array (..., i, j, k) turned to (..., D, H, W): feet to head, front to back, right to left.

    The turn is by the nearest axes: whole axes are swapped and flipped, nothing is interpolated.
    """
    lead = array.ndim - 3
    moved = np.moveaxis(array, range(lead), range(-lead, 0)) if lead else array
    turned = nib.orientations.apply_orientation(moved, _to_lps(affine))
    turned = turned.transpose(2, 1, 0, *range(3, turned.ndim))
    return np.moveaxis(turned, range(-lead, 0), range(lead)) if lead else turned


def standard_affine(affine: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The affine of a turned grid: LPS index (W, H, D) to millimetres (RAS+).

    Args:
        shape: (i, j, k) before the turn.
    """
    return affine @ nib.orientations.inv_ornt_aff(_to_lps(affine), shape)


def axis_codes(affine: np.ndarray) -> str:
    """Where i, j and k lead to, for example "RAS"."""
    return "".join(nib.aff2axcodes(affine))


def from_standard(
    array: np.ndarray, affine: np.ndarray, codes: str
) -> tuple[np.ndarray, np.ndarray]:
    """The way back: (..., D, H, W) and its LPS affine to (..., i, j, k) along `codes`.

    Returns:
        The turned array and its affine.
    """
    lead = array.ndim - 3
    lps = array.transpose(*range(lead), lead + 2, lead + 1, lead)
    turn = nib.orientations.ornt_transform(_LPS, nib.orientations.axcodes2ornt(tuple(codes)))
    moved = np.moveaxis(lps, range(lead), range(-lead, 0)) if lead else lps
    turned = nib.orientations.apply_orientation(moved, turn)
    if lead:
        turned = np.moveaxis(turned, range(-lead, 0), range(lead))
    shape = array.shape[:-4:-1]
    return np.ascontiguousarray(turned), affine @ nib.orientations.inv_ornt_aff(turn, shape)


def _to_lps(affine: np.ndarray) -> np.ndarray:
    return nib.orientations.ornt_transform(nib.io_orientation(affine), _LPS)


# --- the part that is wanted ---------------------------------------------------------------------


def box_round(
    where: np.ndarray, spacing_mm: Sequence[float], recipe: Recipe
) -> tuple[slice, slice, slice]:
    """The box round what is wanted of a turned scan, as the recipe's margin and aspect ask.

    Args:
        where: bool (D, H, W), somewhere true.
        spacing_mm: D, H, W.
    Returns:
        A slice each for D, H, W. The sides that samples have are widened until they have the aspect
        of `recipe.size`; where the scan ends the box ends.
    """
    first, end, extent = [], [], []
    for axis, mm in enumerate(spacing_mm):
        lines = np.flatnonzero(where.any(axis=tuple({0, 1, 2} - {axis})))
        margin = math.ceil(recipe.margin_mm / mm)
        first.append(int(lines[0]) - margin)
        end.append(int(lines[-1]) + 1 + margin)
        extent.append((end[axis] - first[axis]) * mm)
    sample = range(3 - recipe.dims, 3)
    pixel_mm = max(extent[axis] / n for axis, n in zip(sample, recipe.size, strict=True))
    for axis, pixels in zip(sample, recipe.size, strict=True):
        more = round(pixels * pixel_mm / spacing_mm[axis]) - (end[axis] - first[axis])
        first[axis] -= max(0, more) // 2
        end[axis] += max(0, more) - max(0, more) // 2
    limits = zip(first, end, where.shape, strict=True)
    depth, height, width = (slice(max(0, low), min(high, n)) for low, high, n in limits)
    return depth, height, width


# --- the recipe's grid ----------------------------------------------------------------------------


def fit_axes(
    shape: Sequence[int], spacing_mm: Sequence[float], recipe: Recipe
) -> tuple[Axis, Axis, Axis]:
    """The grid that a recipe asks for, on a turned scan.

    Args:
        shape, spacing_mm: D, H, W of the turned scan.
    Returns:
        One axis each for D, H, W. For 2D recipes D stays as it is.
    """
    kept = 3 - recipe.dims
    axes = [Axis(shape[0], shape[0], 1.0, 0.0)] * kept
    shape, spacing_mm = shape[kept:], spacing_mm[kept:]
    if recipe.fit == "resize":
        extents = [n * mm for n, mm in zip(shape, spacing_mm, strict=True)]
        pixel_mm = max(e / new for e, new in zip(extents, recipe.size, strict=True))
        wanted_mm = [pixel_mm] * recipe.dims
    else:
        wanted_mm = list(recipe.spacing_mm or spacing_mm)
    for old, new, old_mm, new_mm in zip(shape, recipe.size, spacing_mm, wanted_mm, strict=True):
        axes.append(centred(old, new, new_mm / old_mm))
    return axes[0], axes[1], axes[2]


def centred(old: int, new: int, step: float) -> Axis:
    """An axis that shares its centre with the old one; at an equal step whole pixels stay whole."""
    if abs(step - 1) < _SAME:
        return Axis(old, new, 1.0, float((old - new) // 2))
    return Axis(old, new, step, (old - new * step) / 2 + step / 2 - 0.5)


def moved_affine(affine: np.ndarray, axes: Sequence[Axis]) -> np.ndarray:
    """The affine (index order W, H, D) of the new grid, from that of the old one."""
    change = np.eye(4)
    for column, axis in enumerate(reversed(axes)):
        change[column, column] = axis.step
        change[column, 3] = axis.first
    return affine @ change


def surroundings(image: np.ndarray) -> np.ndarray:
    """The raw value that lies round what is pictured, one for each modality.

    It is what all eight corners have exactly (0 round a brain without skull, even where tissue is
    negative; what a scanner writes outside its field of view), else the minimum.

    Args:
        image: (C, D, H, W).
    Returns:
        (C,).
    """
    corners = image[:, [0, -1]][:, :, [0, -1]][:, :, :, [0, -1]].reshape(len(image), -1)
    alike = (corners == corners[:, :1]).all(axis=1)
    return np.where(alike, corners[:, 0], image.min(axis=(1, 2, 3))).astype(np.float64)


def resample_image(image: np.ndarray, axes: Sequence[Axis], pad: np.ndarray) -> np.ndarray:
    """Image (C, D, H, W) on the new grid, float32; `pad` (C,) where there was none."""
    image = np.array(image, dtype=np.float32)
    for position, axis in enumerate(axes, start=1):
        if axis.step != 1.0:
            image = _along(image, position, _weights(axis))
        elif axis.first or axis.new != axis.old:
            image = image.take(axis.nearest, axis=position)
    return _fill_outside(image, axes, pad)


def resample_nearest(labels: np.ndarray, axes: Sequence[Axis], pad: int = 0) -> np.ndarray:
    """Labels (..., D, H, W) on the new grid, nearest neighbour, same type."""
    lead = labels.ndim - len(axes)
    for position, axis in enumerate(axes, start=lead):
        if axis.step != 1.0 or axis.first or axis.new != axis.old:
            labels = labels.take(axis.nearest, axis=position)
    flat = np.array(labels).reshape(-1, *labels.shape[lead:])
    filled = _fill_outside(flat, axes, np.full(len(flat), pad, dtype=labels.dtype))
    return filled.reshape(labels.shape)


def _fill_outside(image: np.ndarray, axes: Sequence[Axis], pad: np.ndarray) -> np.ndarray:
    for position, axis in enumerate(axes, start=1):
        outside = ~axis.inside
        if outside.any():
            whole: list[slice | np.ndarray] = [slice(None)] * image.ndim
            whole[position] = outside
            image[tuple(whole)] = pad.reshape(-1, *[1] * (image.ndim - 1))
    return image


@lru_cache(maxsize=64)
def _weights(axis: Axis) -> sparse.csr_matrix:
    """(new, old) matrix of a linear kernel as wide as the coarser of the two steps.

    At the border the kernel's part on the grid stands for the whole, so that edges keep their
    brightness. A sparse product adds in a fixed order: the same bits with any number of threads.
    """
    radius = max(1.0, axis.step)
    rows, columns, values = [], [], []
    for row, place in enumerate(axis.places):
        near = np.arange(
            max(0, math.ceil(place - radius)), min(axis.old, math.floor(place + radius) + 1)
        )
        weight = np.clip(1 - np.abs(near - place) / radius, 0, None)
        if weight.sum() > 0:
            rows.append(np.full(len(near), row))
            columns.append(near)
            values.append(weight / weight.sum())
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_matrix(entries, shape=(axis.new, axis.old), dtype=np.float32)


def _along(image: np.ndarray, position: int, weights: sparse.csr_matrix) -> np.ndarray:
    front = np.moveaxis(image, position, 0)
    flat = weights @ np.ascontiguousarray(front).reshape(front.shape[0], -1)
    return np.moveaxis(flat.reshape(weights.shape[0], *front.shape[1:]), 0, position)
