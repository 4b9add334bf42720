"""Which files of a folder are which case: data set layouts, found by themselves.

To add a layout: a function from the root folder to what it found (None if the folder is laid out
otherwise), and a line in `LAYOUTS`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scansmith.data.layouts_base import (
    Found,
    files_in,
    folders_in,
    label_values,
    levels,
    read_json,
    stem,
    table_of_names,
)
from scansmith.data.layouts_bids import find_bids
from scansmith.data.layouts_json import find_msd, find_nnunet
from scansmith.data.layouts_names import (
    find_brats,
    find_lits,
    find_mmwhs,
    find_pairs,
    find_slices,
)
from scansmith.io.dicom import looks_like_dicom
from scansmith.labels.table import KNOWN, LabelTable
from scansmith.scan import CaseFiles, DataError, Problem

#: Name -> finder, in the order in which they are tried: the most particular first.
LAYOUTS: dict[str, Callable[[Path], Found | None]] = {
    "nnunet": find_nnunet,
    "msd": find_msd,
    "bids": find_bids,
    "lits": find_lits,
    "mmwhs": find_mmwhs,
    "slices": find_slices,
    "brats": find_brats,
    "pairs": find_pairs,
}

_IGNORE = "ignore"
# Endings of images that are not read, to be named where nothing else is found.
_OTHER_KINDS = (
    ".nrrd", ".nhdr", ".mha", ".mhd", ".img", ".mgz", ".mgh", ".mnc", ".npy", ".npz", ".h5",
    ".hdf5", ".mat", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp",
)  # fmt: skip


@dataclass(frozen=True)
class DataSet:
    """A labelled data set on disk.

    Attributes:
        modalities: of every case, in the data set's order.
        problems: what is wrong with names, lists and folders; contents are not looked at here.
        unmatched: names in patients.json that no case has. They may be of cases that lie elsewhere,
            but where patients are divided they are problems too: misspelt, they do not keep the
            cases of one patient together.
    """

    root: Path
    layout: str
    cases: tuple[CaseFiles, ...]
    table: LabelTable
    modalities: tuple[str, ...]
    problems: tuple[Problem, ...] = ()
    unmatched: tuple[Problem, ...] = ()


def find_layout(src: Path | str, layout: str | None = None) -> DataSet:
    """The cases of a data set.

    Label names come from `labels.json` ({"1": "liver"}) in the root, else from the layout's own
    list, else from known codings, else they are "label 1" and so on. `patients.json`
    ({"case": "patient"}) says who a case is of where names do not tell; cases that it does not
    name go by their names.

    Args:
        layout: a name of `LAYOUTS`; None finds it.
    Raises:
        DataError: no folder, no layout that fits, a broken dataset.json.
    """
    root = Path(src)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder. Give the folder that holds the data set.")
    if layout is not None and layout not in LAYOUTS:
        raise DataError(f"layout: no layout {layout!r}. Choose one of {', '.join(LAYOUTS)}.")
    for name in [layout] if layout else LAYOUTS:
        found = LAYOUTS[name](root)
        if found is not None and (found.cases or found.problems):
            return _data_set(root, name, found)
    below = folders_in(root)
    if len(below) == 1:
        return find_layout(below[0], layout)
    remedy = "Give the folder that holds the cases (or dataset.json, or images/ and labels/)."
    if slices := _dicom(root):
        remedy = (
            f"It holds DICOM files ({slices}), whose series become cases of a data set one by one: "
            "scansmith data import-dicom SERIES_DIR --labels MASKS OUT. Then give OUT."
        )
    elif others := _of_other_kinds(root):
        remedy = f"It holds {others}. Convert them to NIfTI (PNG for pictures)."
    raise DataError(
        f"{root}: no layout fits, expected one of {', '.join([layout] if layout else LAYOUTS)}. "
        f"{remedy}"
    )


def _dicom(root: Path) -> str:
    """The first DICOM file in a folder or below it, from there; "" if there is none."""
    for path in root.rglob("*"):
        try:
            if path.is_file() and looks_like_dicom(path):
                return path.relative_to(root).as_posix()
        except OSError:  # one that may not be read tells nothing
            continue
    return ""


def _of_other_kinds(root: Path) -> str:
    """The first file of each kind of image that is not read, in a folder or below it."""
    first: dict[str, str] = {}
    folders = (folder for level in levels(root) for folder in level)
    for path in (path for folder in folders for path in files_in(folder, _OTHER_KINDS)):
        first.setdefault(path.suffix.lower(), path.relative_to(root).as_posix())
    return ", ".join(f"{kind} files ({path})" for kind, path in first.items())


def _data_set(root: Path, layout: str, found: Found) -> DataSet:
    modalities = found.modalities or tuple(
        dict.fromkeys(m for files in found.cases for m in files.images)
    )
    patients = read_json(path) if (path := root / "patients.json").is_file() else {}
    misnamed, unmatched = _named_amiss(root, patients, found.cases)
    problems = [*found.problems, *_incomplete(found.cases, modalities), *misnamed]
    cases = _with_patients(patients, found.cases)
    table = found.table
    if (root / "labels.json").is_file():
        table = table_of_names(root / "labels.json", read_json(root / "labels.json"))
    if table is None:
        table = _table_from_files(layout, cases)
    problems += _ignored(table)
    return DataSet(root, layout, tuple(cases), table, modalities, tuple(problems), tuple(unmatched))


def _ignored(table: LabelTable) -> list[Problem]:
    """nnU-Net's label for voxels that nobody looked at: neither a structure nor background."""
    if _IGNORE not in table.structures:
        return []
    names = {str(v): "background" if n == _IGNORE else n for v, n in table.names.items() if v}
    found = f"label {table.values[table.index(_IGNORE)]} is {_IGNORE!r}: voxels that may be "
    found += "anything, where scansmith expects each to be a structure or background"
    remedy = f"Say in labels.json what they count as, for example {json.dumps(names)}, and leave "
    remedy += "out cases where that is wrong"
    return [Problem("labels", "ignore", found, remedy)]


def _incomplete(cases: list[CaseFiles], modalities: tuple[str, ...]) -> list[Problem]:
    """Cases that lack a modality or labels that the others have."""
    labelled = Counter(files.labels is not None for files in cases)
    label_only = not modalities
    problems = []
    for files in cases:
        missing = [m for m in modalities if m not in files.images]
        if missing and not label_only:
            have = ", ".join(files.images) or "none"
            found = f"modality {', '.join(missing)} is missing, expected {', '.join(modalities)}"
            remedy = "Add the file or leave the case out"
            problems.append(Problem(files.case, "modality", f"{found}, found {have}", remedy))
        if files.labels is None and labelled[True]:
            found = "there are no labels, while other cases have some"
            remedy = "Add the label file or leave the case out"
            problems.append(Problem(files.case, "unlabelled", found, remedy))
    return problems


def _with_patients(patients: Mapping[str, Any], cases: list[CaseFiles]) -> list[CaseFiles]:
    return [
        CaseFiles(f.case, f.images, f.labels, str(patients.get(f.case, f.patient))) for f in cases
    ]


def _named_amiss(
    root: Path, patients: Mapping[str, Any], cases: list[CaseFiles]
) -> tuple[list[Problem], list[Problem]]:
    """Names in patients.json that are no case: those of one case's file, and all others."""
    known = {files.case for files in cases}
    strange = sorted(set(patients) - known)
    by_file = _by_file(root, cases) if strange else {}
    misnamed, unmatched = [], []
    for name in strange:
        bare = stem(Path(name))
        meant = by_file.get(name) or by_file.get(bare) or {bare} & known
        found = f"names {name!r}, which is no case"
        if len(meant) == 1:
            remedy = f"Write {next(iter(meant))!r} in its place"
            misnamed.append(Problem("patients.json", "patients", found, remedy))
        else:
            found += f", expected names such as {min(known)!r}" if known else ""
            remedy = "Correct the name, or take it out"
            unmatched.append(Problem("patients.json", "patients", found, remedy))
    return misnamed, unmatched


def _by_file(root: Path, cases: list[CaseFiles]) -> dict[str, set[str]]:
    """Paths in the data set, names of files and these without endings -> the cases they are of."""
    found: dict[str, set[str]] = {}
    for files in cases:
        for path in {*files.images.values(), *([files.labels] if files.labels else [])}:
            for name in (path.relative_to(root).as_posix(), path.name, stem(path)):
                found.setdefault(name, set()).add(files.case)
    return found


def _table_from_files(layout: str, cases: list[CaseFiles]) -> LabelTable:
    """Names for the values that the label files hold; unreadable files are left to the reading."""
    values = label_values(cases)
    if layout == "brats":
        if values == {1}:
            return LabelTable({1: "tumour"})
        if values <= {1, 2, 4}:
            return KNOWN["brats"]
        if values == {1, 2, 3, 4}:
            return KNOWN["brats15"]
    return LabelTable({value: f"label {value}" for value in sorted(values)})
