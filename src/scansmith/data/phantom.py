"""Phantoms: procedural cases with known truth, for the demo, tests, and measures in lesions.

A phantom is made from a seed alone. Beside the scan it has its twin, the same patient without
the lesion, exactly equal outside `region`. Anatomy: `phantom_head`, `phantom_belly`,
`phantom_heart`; lesions: `phantom_brain`, `phantom_liver`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from scansmith.data import phantom_brain, phantom_heart, phantom_liver
from scansmith.data.phantom_shapes import Space, affine_of
from scansmith.data.write import Writer, open_writer
from scansmith.io.nifti import write_nifti
from scansmith.labels.table import KNOWN, LabelTable
from scansmith.scan import DataError, Scan, SettingsError

LEAST = 8  # voxels along an axis: below that nothing can be told apart
Size = tuple[int, int, int]
Progress = Callable[[int, int], None]
Made = tuple[Space, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Phantom:
    """A case, the same patient without the lesion, and where the two may differ.

    Attributes:
        scan: image int16 (C, i, j, k), labels (i, j, k), axes left, back, head.
        twin: without the lesion; its labels have no lesion either.
        region: bool (i, j, k), everything that the lesion touched, its soft edge included. Outside
            of it scan and twin are equal to the bit. Empty if there is no lesion.
    """

    scan: Scan
    twin: Scan
    region: np.ndarray


@dataclass(frozen=True)
class Organ:
    """How phantoms of an organ are made, coded and stored."""

    make: Callable[[Size, np.random.Generator], Made]
    size: Size
    modalities: tuple[str, ...]
    table: LabelTable
    lesion: tuple[int, ...]
    healthy: int
    layout: str
    first: int
    case: str


ORGANS = {
    "brain": Organ(
        phantom_brain.make_brain, phantom_brain.SIZE, phantom_brain.MODALITIES, KNOWN["brats"],
        (1, 2, 4), 0, "brats", 1, "Phantom_Brain_{:04}",
    ),
    "liver": Organ(
        phantom_liver.make_liver, phantom_liver.SIZE, ("ct",), KNOWN["lits"],
        (2,), 1, "nnunet", 1, "liver_{:04}",
    ),
    "heart": Organ(
        phantom_heart.make_heart, phantom_heart.SIZE, ("ct",), KNOWN["mmwhs"],
        (), 0, "mmwhs", 1001, "ct_train_{}",
    ),
}  # fmt: skip


def make_phantom(
    organ: str, seed: int | tuple[int, ...], size: tuple[int, int, int] | None = None
) -> Phantom:
    """One case, the same for the same arguments.

    Args:
        organ: "brain", "liver" or "heart".
        seed: whole numbers, 0 or more.
        size: voxels along i, j, k; the spacing is chosen so that the field of view stays.
    Raises:
        SettingsError: an unknown organ, a size or a seed that cannot be.
    """
    plan = _plan(organ)
    size = _checked_size(size or plan.size)
    numbers = seed if isinstance(seed, tuple) else (seed,)
    if any(n < 0 for n in numbers):
        raise SettingsError(f"seed: {seed} is negative. Give a whole number, 0 or more.")
    rng = np.random.default_rng(numbers)
    space, image, twin, labels, region = plan.make(size, rng)
    healthy = np.where(np.isin(labels, plan.lesion), plan.healthy, labels).astype(labels.dtype)
    name = f"{organ}_{'_'.join(str(n) for n in numbers)}"
    scan = Scan(name, image, affine_of(space), plan.modalities, labels, patient=name)
    return Phantom(scan, replace(scan, image=twin, labels=healthy), region)


def write_phantoms(
    out: Path | str, organ: str, cases: int, seed: int,
    size: tuple[int, int, int] | None = None, progress: Progress | None = None,
) -> Path:  # fmt: skip
    """Write a data set of phantoms: brain as BraTS, liver as nnU-Net raw, heart as MM-WHS.

    Organs with lesions also get `twins/`, a data set of the same cases without them, and
    `regions/CASE/region.nii.gz`, 1 where the two may differ. Case n depends on the seed and n
    alone. The folder appears when all of it is there.

    Args:
        progress: called with (cases done, all cases).
    Raises:
        SettingsError: an unknown organ, a number that cannot be.
        DataError: `out` has something in it already.
    """
    plan, out = _plan(organ), Path(out).absolute()
    if cases < 1:
        raise SettingsError(f"cases: {cases} is too few. Ask for 1 or more.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: there is something in it already. Choose a new folder.")
    partial = out.parent / f".{out.name}.unfinished"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write(partial, plan, organ, cases, seed, size, progress)
        if out.exists():
            out.rmdir()
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def region_path(root: Path | str, case: str) -> Path:
    """Where the region of a case lies, in a data set of phantoms."""
    # a folder a case: loose files beside the case folders would not look like BraTS
    return Path(root) / "regions" / case / "region.nii.gz"


def _write(
    root: Path, plan: Organ, organ: str, cases: int, seed: int, size: Size | None,
    progress: Progress | None,
) -> None:  # fmt: skip
    def open_at(folder: Path, name: str) -> Writer:
        return open_writer(plan.layout, folder, plan.modalities, plan.table, name)

    writer, twins = open_at(root, f"Phantom {organ}"), open_at(root / "twins", "Phantom twins")
    for n in range(cases):
        phantom = make_phantom(organ, (seed, n), size)
        case = plan.case.format(plan.first + n)
        writer.write(_named(phantom.scan, case))
        if plan.lesion:
            twins.write(_named(phantom.twin, case))
            region = phantom.region.astype(np.uint8)
            write_nifti(region_path(root, case), region, phantom.scan.affine)
        if progress is not None:
            progress(n + 1, cases)
    writer.close()
    if plan.lesion:
        twins.close()


def _named(scan: Scan, case: str) -> Scan:
    notes = {"description": "scansmith phantom: not a patient"}
    return replace(scan, case=case, patient=case, notes=notes)


def _plan(organ: str) -> Organ:
    if organ not in ORGANS:
        raise SettingsError(f"organ: there is no {organ!r}. Choose one of {', '.join(ORGANS)}.")
    return ORGANS[organ]


def _checked_size(size: tuple[int, ...]) -> Size:
    if len(size) != 3 or min(size) < LEAST:
        raise SettingsError(
            f"size: {' x '.join(map(str, size))} is no grid. Give three whole numbers of "
            f"{LEAST} or more, for example 96 96 24."
        )
    return int(size[0]), int(size[1]), int(size[2])
