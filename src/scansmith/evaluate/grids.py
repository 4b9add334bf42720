"""A pair on one grid: what a voxel-by-voxel comparison needs before it can begin.

A generator often draws on a grid of its own, coarser than the scan's and padded to a square. The
real image is then brought to that grid by the resampling that prepared it for the generator
(`scansmith.data.resample`), and both are cut to where both have voxels. The synthetic image is
never interpolated.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

import numpy as np

from scansmith.data.resample import Axis, resample_image, resample_nearest
from scansmith.scan import DataError, Problem, Scan

#: Voxels of one grid may lie so far from another's, in real voxels, and it is still the same grid.
SAME = 0.05
#: Less of the smaller of two fields of view in common, along any axis, and they are no pair.
LEAST_SHARED = 0.5


def one_grid(real: Scan, synthetic: Scan) -> tuple[Scan, Scan, bool]:
    """Both scans on the synthetic grid, where both have voxels.

    Where the steps are equal the real image is only cut. Else it is resampled: linear, as wide
    as the coarser of both steps, so that nothing is skipped; its labels take the nearest voxel.

    Args:
        real, synthetic: both oriented (`view.oriented`).
    Returns:
        Real scan, synthetic scan, and whether the real one was resampled.
    Raises:
        DataError: the grids are turned against each other, shifted by part of a voxel at an
            equal step, or show different places.
    """
    axes = _axes(real, synthetic)
    kept = [_shared(axis) for axis in axes]
    cuts = tuple(slice(int(numbers[0]), int(numbers[-1]) + 1) for numbers in kept)
    axes = [
        Axis(axis.old, len(numbers), axis.step, axis.first + axis.step * int(numbers[0]))
        for axis, numbers in zip(axes, kept, strict=True)
    ]
    part = _cut(synthetic, cuts)
    if all(axis.step == 1 for axis in axes):
        own = tuple(slice(int(axis.first), int(axis.first) + axis.new) for axis in axes)
        return _cut(real, own), part, False
    outside = np.zeros(len(real.image))  # never used: every voxel left lies on the real grid
    labels = None if real.labels is None else resample_nearest(real.labels, axes)
    image = resample_image(real.image, axes, outside)
    return replace(real, image=image, labels=labels, affine=part.affine), part, True


def _axes(real: Scan, synthetic: Scan) -> list[Axis]:
    """The synthetic grid as axes of the real one. DataError if it is no such grid."""
    change = np.linalg.solve(real.affine, synthetic.affine)  # synthetic voxel -> real voxel
    new, old = synthetic.image.shape[1:], real.image.shape[1:]
    steps, first = np.diag(change)[:3], change[:3, 3]
    steps = np.where(np.abs(steps - 1) * new < SAME, 1.0, steps)
    whole = np.rint(first)
    first = np.where((steps == 1) & (np.abs(first - whole) < SAME), whole, first)
    turned = np.abs(change[:3, :3] - np.diag(np.diag(change)[:3])) @ np.array(new, float)
    axes = [Axis(old[a], new[a], float(steps[a]), float(first[a])) for a in range(3)]
    if turned.max() > SAME:
        _refuse(real, synthetic, "are turned against each other")
    if any(axis.step == 1 and axis.first != round(axis.first) for axis in axes):
        _refuse(real, synthetic, "are shifted by part of a voxel")
    if any(len(_shared(axis)) * axis.step < LEAST_SHARED * _smaller(axis) for axis in axes):
        _refuse(real, synthetic, "show different places")
    return axes


def _shared(axis: Axis) -> np.ndarray:
    """Numbers of the synthetic voxels whose centres lie on the real grid."""
    return np.flatnonzero(axis.inside)


def _smaller(axis: Axis) -> float:
    """The shorter of both fields of view, in real voxels."""
    return min(axis.old, axis.new * axis.step)


def _cut(scan: Scan, cuts: tuple[slice, ...]) -> Scan:
    affine = scan.affine.copy()
    affine[:3, 3] += scan.affine[:3, :3] @ np.array([cut.start for cut in cuts], float)
    labels = None if scan.labels is None else scan.labels[cuts]
    return replace(scan, image=scan.image[(slice(None), *cuts)], labels=labels, affine=affine)


def _refuse(real: Scan, synthetic: Scan, how: str) -> NoReturn:
    found = (
        f"real grid {real.image.shape[1:]} of {_mm(real)} mm and synthetic grid "
        f"{synthetic.image.shape[1:]} of {_mm(synthetic)} mm {how}"
    )
    remedy = "Write the synthetic case on its source's grid, or resample the real one to it"
    raise DataError(Problem(synthetic.case, "grid", found, remedy))


def _mm(scan: Scan) -> str:
    return " x ".join(f"{step:.3g}" for step in scan.spacing_mm)
