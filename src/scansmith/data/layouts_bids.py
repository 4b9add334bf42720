"""BIDS: sub-01/anat/sub-01_T1w.nii.gz with segmentations `dseg` in derivatives."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from scansmith.data.layouts_base import (
    MODALITIES,
    Found,
    Gather,
    files_in,
    folders_in,
    label_values,
    standard_modality,
    stem,
)
from scansmith.labels.table import MOST, LabelTable
from scansmith.scan import DataError, Problem

_FOLDERS = ("anat", "ct", "pet", "micr")


def find_bids(root: Path) -> Found | None:
    """Images and `dseg` label maps by subject and session, raw and in derivatives/."""
    roots = [root]
    if (root / "derivatives").is_dir():
        roots += [root / "derivatives", *folders_in(root / "derivatives")]
    by_case: dict[str, list[Path]] = defaultdict(list)
    for path in (path for top in roots for path in _bids_files(top)):
        by_case[_case(path)].append(path)
    if not any(stem(path).endswith("_dseg") for paths in by_case.values() for path in paths):
        return None
    gather = Gather()
    for case, paths in by_case.items():
        _add_case(gather, case, paths)
    names = _names(roots, list(by_case.values()))
    if names is not None and len(set(names.values())) > MOST:  # of a whole atlas
        there = label_values(gather.cases())
        names = {value: name for value, name in names.items() if value in there}
    table = None if names is None else LabelTable(names)
    return Found(gather.cases(), table, problems=gather.problems)


def _bids_files(top: Path) -> list[Path]:
    found = []
    for subject in (folder for folder in folders_in(top) if folder.name.startswith("sub-")):
        sessions = [f for f in folders_in(subject) if f.name.startswith("ses-")]
        for folder in [subject, *sessions]:
            for below in [folder, *(folder / name for name in _FOLDERS)]:
                found += [p for p in files_in(below) if p.name.startswith("sub-")]
    return found


def _case(path: Path) -> str:
    entities = _entities(path)
    session = f"_ses-{entities['ses']}" if "ses" in entities else ""
    return f"sub-{entities['sub']}{session}"


def _entities(path: Path) -> dict[str, str]:
    """The key-value pairs of a BIDS name: sub-01_space-T1w_dseg -> {"sub": "01", ...}."""
    return dict(re.findall(r"(?:^|_)([a-z]+)-([a-zA-Z0-9]+)", stem(path)))


def _modality(path: Path) -> str | None:
    suffix = stem(path).rpartition("_")[2].lower()
    if suffix not in MODALITIES:
        return None
    name = standard_modality(suffix)
    return "t1c" if name == "t1" and "ce" in _entities(path) else name


def _add_case(gather: Gather, case: str, paths: list[Path]) -> None:
    """An image beside the labels lies on their grid; the raw one counts if there is none."""
    labels = [path for path in paths if stem(path).endswith("_dseg")]
    for path in labels:
        gather.label(case, path)
    by_modality: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        modality = _modality(path)
        if modality is not None:
            by_modality[modality].append(path)
    for modality, images in by_modality.items():
        beside = [path for path in images if labels and path.parent == labels[0].parent]
        for path in beside or images:
            gather.image(case, modality, path)


def _names(roots: list[Path], cases: list[list[Path]]) -> dict[int, str] | None:
    """Label names from the first `dseg.tsv` (columns index and name) of the data set."""
    beside = [p.with_name(stem(p) + ".tsv") for c in cases for p in c if stem(p).endswith("_dseg")]
    tables = [path for top in roots for path in files_in(top, ["dseg.tsv"])]
    for path in (path for path in [*tables, *beside] if path.is_file()):
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            header, *rows = [line.split("\t") for line in lines if line.strip()]
            index, name = header.index("index"), header.index("name")
            return {int(row[index]): row[name] for row in rows}
        except (OSError, ValueError, IndexError) as error:
            found = f"not a table with columns index and name ({error})"
            raise DataError(Problem(path.name, "table", found, "Correct the file")) from error
    return None
