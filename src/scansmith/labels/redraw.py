"""Redrawing 2D lesion label maps: two random operations a label, everything else background.

Rotation by any whole angle, mirroring, a shift, a shrink pasted at the centre, each one time in
four; nearest neighbour. Source: the registered multimodal method's published code, whose label set
grows fivefold by them. A shift or a mirroring alone would hand on a patient's lesion as it is, so
operations are drawn again until no lesion of the map has its old shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from scansmith.labels.bank import FEW_VOXELS, LesionBank, cut_lesions
from scansmith.labels.warp import rotation
from scansmith.scan import DataError

TRIES = 64
_SHIFT_PIXELS = (2, 5)
_SHRINK_PIXELS = (2, 7)
_DIRECTIONS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}


def redraw(
    labels: np.ndarray,
    spacing_mm: Sequence[float],
    *,
    lesion: Sequence[int],
    rng: np.random.Generator,
    operations: int = 2,
) -> tuple[np.ndarray, dict[str, Any]]:
    """A lesion label map moved, turned or shrunk; all that is not lesion becomes background.

    Args:
        labels: structure indices (H, W).
        spacing_mm: one step along H and W; a turned lesion keeps its shape on any spacing.
        lesion: indices that are lesion.
        operations: how many are done one after the other.
    Returns:
        The new map, of the same type, and what was done, JSON-able.
    Raises:
        DataError: the map is not 2D, it has no lesion, or nothing but old shapes came of it.
    """
    if labels.ndim != 2:
        raise DataError(
            f"redraw: found labels of {labels.ndim} axes, expected one slice (H, W). "
            "Redraw slice by slice."
        )
    old = np.where(np.isin(labels, [index for index in lesion if index]), labels, 0)
    if not old.any():
        raise DataError("redraw: no lesion in these labels. Take a slice that shows one.")
    bank = LesionBank(cut_lesions(old, lesion, spacing_mm, ""))
    for tries in range(1, TRIES + 1):
        new, done = old, []
        for _ in range(operations):
            operation = _OPERATIONS[int(rng.integers(len(_OPERATIONS)))]
            new, what = operation(new, spacing_mm, rng)
            done.append(what)
        if new.any() and not np.array_equal(new, old) and not keeps_a_shape(new, lesion, bank):
            return new.astype(labels.dtype), {"operations": done, "tries": tries}
    raise DataError(
        f"redraw: {TRIES} times {operations} operations left a lesion with its old shape or none "
        "at all. Take another slice, or allow more operations."
    )


def keeps_a_shape(labels: np.ndarray, lesion: Sequence[int], bank: LesionBank) -> bool:
    """Whether a lesion of a map has one of the bank's shapes (moved, mirrored, axes exchanged).

    Lesions of fewer than `FEW_VOXELS` pixels identify nobody and are not looked at.
    """
    found = cut_lesions(labels, lesion, (1.0,) * labels.ndim, "")
    return any(one.voxels >= FEW_VOXELS and bank.holds(one.labels) for one in found)


Operation = Callable[
    [np.ndarray, Sequence[float], np.random.Generator], tuple[np.ndarray, dict[str, Any]]
]


def _rotate(
    labels: np.ndarray, spacing_mm: Sequence[float], rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, Any]]:
    degrees = int(rng.integers(1, 360))
    step = np.asarray(spacing_mm, dtype=float)
    back = np.linalg.inv(rotation([degrees])) * step / step[:, None]
    middle = (np.asarray(labels.shape) - 1) / 2
    turned = ndimage.affine_transform(labels, back, middle - back @ middle, order=0)
    return turned, {"kind": "rotate", "degrees": degrees}


def _flip(
    labels: np.ndarray, spacing_mm: Sequence[float], rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, Any]]:
    axis = int(rng.integers(2))
    return np.flip(labels, axis), {"kind": "flip", "axis": ("top-bottom", "left-right")[axis]}


def _shift(
    labels: np.ndarray, spacing_mm: Sequence[float], rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, Any]]:
    pixels = int(rng.integers(_SHIFT_PIXELS[0], _SHIFT_PIXELS[1] + 1))
    direction = list(_DIRECTIONS)[int(rng.integers(4))]
    moved = ndimage.shift(labels, np.multiply(_DIRECTIONS[direction], pixels), order=0)
    return moved, {"kind": "shift", "direction": direction, "pixels": pixels}


def _shrink(
    labels: np.ndarray, spacing_mm: Sequence[float], rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, Any]]:
    less = rng.integers(_SHRINK_PIXELS[0], _SHRINK_PIXELS[1] + 1, 2)
    small = np.maximum(np.asarray(labels.shape) - less, 1)
    rows, columns = (
        ((np.arange(n) + 0.5) * size / n).astype(int)
        for n, size in zip(small, labels.shape, strict=True)
    )
    pasted = np.zeros_like(labels)
    top, left = less // 2
    pasted[top : top + small[0], left : left + small[1]] = labels[np.ix_(rows, columns)]
    return pasted, {"kind": "shrink", "pixels": [int(n) for n in less]}


_OPERATIONS: tuple[Operation, ...] = (_rotate, _flip, _shift, _shrink)
