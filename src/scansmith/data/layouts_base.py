"""What the layouts share: gathering files into cases, and reading names out of file names."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scansmith.io.scans import read_labels, values_of
from scansmith.labels.table import LabelTable
from scansmith.scan import CaseFiles, DataError, Problem

NIFTI = (".nii.gz", ".nii")

MODALITIES = {
    "t1": "t1", "t1w": "t1", "t1n": "t1",
    "t1c": "t1c", "t1ce": "t1c", "t1gd": "t1c", "t1post": "t1c", "t1wce": "t1c",
    "t2": "t2", "t2w": "t2", "flair": "flair", "t2f": "flair", "t2flair": "flair",
    "ct": "ct", "mr": "mr", "mri": "mr", "cinemri": "mr", "pd": "pd", "pdw": "pd", "adc": "adc",
    "dwi": "dwi", "swi": "swi", "pet": "pet", "us": "us",
}  # fmt: skip

_PATIENT = (
    r"(patient\d+)_frame\d+.*",  # ACDC: two phases of one heart
    r"(.+)_lesion\d+",  # cut-outs round lesions
    r"(BraTS-[A-Z]+-\d+)-\d+",  # BraTS 2023: time points
    r"(TCGA[-_]\w\w[-_]\w{4})[-_]\d{8}",  # TCGA: the date of the scan
    r"(sub-[^_]+)_ses-.+",  # BIDS: sessions
)


@dataclass
class Found:
    """What one layout makes of a folder.

    Attributes:
        names: label names by value as the layout states them; None if it does not.
        modalities: names in the layout's own order; empty: as they come.
    """

    cases: list[CaseFiles]
    table: LabelTable | None = None
    modalities: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)


@dataclass
class Gather:
    """Collects files into cases; a file for a place that is taken is a problem."""

    images: dict[str, dict[str, Path]] = field(default_factory=dict)
    labels: dict[str, Path] = field(default_factory=dict)
    patients: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def image(self, case: str, modality: str, path: Path) -> None:
        """One image of a case."""
        self._once(case, self.images.setdefault(case, {}), modality, path)

    def label(self, case: str, path: Path) -> None:
        """The labels of a case."""
        self._once(case, self.labels, case, path)

    def cases(self) -> list[CaseFiles]:
        """The cases by name, each with its modalities in one order."""
        order = list(dict.fromkeys(m for image in self.images.values() for m in sorted(image)))
        order.sort(key=list(MODALITIES.values()).index if set(order) <= _STANDARD else None)
        return [
            CaseFiles(
                case,
                {m: self.images[case][m] for m in order if m in self.images.get(case, {})},
                self.labels.get(case),
                self.patients.get(case, patient_of(case)),
            )
            for case in sorted({*self.images, *self.labels})
        ]

    def _once(self, case: str, places: dict[str, Path], place: str, path: Path) -> None:
        if place in places:
            found = f"duplicate case: both {places[place].name} and {path.name} claim this name"
            found += f" ({places[place].parent.name}/, {path.parent.name}/)"
            remedy = "Keep one of them or rename the other"
            self.problems.append(Problem(case, "duplicate", found, remedy))
        else:
            places[place] = path


_STANDARD = set(MODALITIES.values())


def standard_modality(name: str) -> str:
    """The short lower-case name of a modality: "T1w" and "t1n" are t1, "cineMRI" is mr."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return MODALITIES.get(plain, "_".join(name.lower().split()))


def patient_of(case: str) -> str:
    """Who a case is of, as far as the conventions of known data sets put it into its name."""
    for pattern in _PATIENT:
        match = re.fullmatch(pattern, case)
        if match:
            return match[1]
    return case


def patient_of_slice(name: str) -> str:
    """Who a picture PATIENT_SLICE is of."""
    numbered = re.fullmatch(r"(.+)[_-]\d+", name)
    return patient_of(numbered[1] if numbered else name)


def stem(path: Path) -> str:
    """A file's name without the ending of its format."""
    for ending in (*NIFTI, ".png"):
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.name


def files_in(folder: Path, endings: Iterable[str] = NIFTI) -> list[Path]:
    """Files with one of these endings, by name; hidden ones (and macOS's `._`) are left out."""
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.name.lower().endswith(tuple(endings))
    )


def folders_in(folder: Path) -> list[Path]:
    """Subfolders by name, hidden ones left out."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def levels(root: Path, deepest: int = 2) -> Iterator[list[Path]]:
    """Folders level by level: the root itself, its subfolders, theirs."""
    level = [root]
    for _ in range(deepest + 1):
        yield level
        level = [below for folder in level for below in folders_in(folder)]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises DataError if it is not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        found = f"not readable as JSON ({error})"
        raise DataError(Problem(path.name, "json", found, "Correct the file")) from error
    if not isinstance(content, dict):
        found = f"holds a {type(content).__name__}, expected an object"
        raise DataError(Problem(path.name, "json", found, "Correct the file"))
    return content


def table_of_names(path: Path, names: dict[str, Any]) -> LabelTable:
    """A table from {"1": "liver"} or from nnU-Net's {"liver": 1}. Raises DataError.

    nnU-Net's regions overlap: {"whole tumor": [1, 2], "enhancing": [2]}. A value that has no name
    of its own goes by those that hold it, "label 1 in whole tumor", the smallest first.
    """
    by_value: dict[int, str] = {}
    regions: list[tuple[str, list[int]]] = []
    try:
        for key, value in names.items():
            if isinstance(value, str):
                by_value[int(key)] = value
            elif isinstance(value, list) and len(value) != 1:
                regions.append((key, [int(one) for one in value]))
            else:
                by_value[int(value[0] if isinstance(value, list) else value)] = key
    except (TypeError, ValueError) as error:
        found = f"label names {names!r:.80} are not of the form value: name"
        remedy = 'Write them like {"0": "background", "1": "liver"}'
        raise DataError(Problem(path.name, "json", found, remedy)) from error
    held: dict[int, str] = {}
    for name, values in sorted(regions, key=lambda region: len(region[1])):
        for value in values:
            held[value] = f"{held.get(value, f'label {value}')} in {name}"
    return LabelTable(held | by_value)


def label_values(cases: Sequence[CaseFiles]) -> set[int]:
    """Values other than 0 that the label files hold; unreadable files are left to the reading."""
    paths = [files.labels for files in cases if files.labels is not None]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return {value for found in pool.map(_values_in, paths) for value in found} - {0}


def _values_in(path: Path) -> list[int]:
    try:
        return values_of(read_labels(path))
    except DataError:
        return []
