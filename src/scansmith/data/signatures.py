"""What a store notes of the files it was made from, to tell whether they are still the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scansmith.data.layouts import DataSet
from scansmith.scan import CaseFiles


def source_of(dataset: DataSet) -> dict[str, Any]:
    """Layout and file signatures, case by case."""
    cases = sorted(dataset.cases, key=lambda each: each.case)
    return {"layout": dataset.layout, "files": {each.case: signature(each) for each in cases}}


def signature(files: CaseFiles) -> list[Any]:
    """Name, size and time of each file of a case: what tells that none was replaced."""
    paths = [*files.images.values(), *([files.labels] if files.labels else [])]
    found = []
    for path in paths:
        status = path.stat()
        found.append([path.name, status.st_size, status.st_mtime_ns])
    return [files.patient, list(files.images), found]


def timeless(source: Mapping[str, Any]) -> Any:
    """What is known of a data set's files, but for when they were written."""
    files = {
        case: [patient, names, [[name, size] for name, size, _ in each]]
        for case, (patient, names, each) in source["files"].items()
    }
    return source["layout"], files
