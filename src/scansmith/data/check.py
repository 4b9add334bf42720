"""Every problem of a data set, at once: names, lists, files, grids, values, what a method needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from scansmith.data.intensity import unseen
from scansmith.data.layouts import DataSet, find_layout
from scansmith.data.needs import same_images, unmet
from scansmith.data.prepare_case import digest_of
from scansmith.io.scans import read_scan, values_of
from scansmith.labels.table import standard_name
from scansmith.recipe import Recipe
from scansmith.scan import CaseFiles, DataError, Problem


@dataclass(frozen=True)
class CaseFacts:
    """What was found in the files of one case that could be read.

    Attributes:
        shape: (i, j, k).
        values: label values that occur, 0 included.
        digest: of the image's shape and voxels; "" without an image.
    """

    case: str
    patient: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    values: tuple[int, ...]
    digest: str


@dataclass(frozen=True)
class Report:
    """A data set and everything that is wrong with it.

    Attributes:
        cases: of the cases that could be read.
        problems: ordered by case; empty if all is well.
    """

    dataset: DataSet
    cases: tuple[CaseFacts, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON."""
        found = self.dataset
        return {
            "ok": self.ok,
            "layout": found.layout,
            "cases": len(found.cases),
            "patients": len({files.patient for files in found.cases}),
            "modalities": list(found.modalities),
            "labels": {str(value): name for value, name in found.table.names.items()},
            "problems": [asdict(problem) for problem in self.problems],
            "read": [{k: v for k, v in asdict(c).items() if k != "digest"} for c in self.cases],
        }


def check(
    src: Path | str,
    recipe: Recipe | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Read a data set whole and list its problems; nothing is written.

    Args:
        src: folder of a data set, in any layout that `find_layout` knows.
        recipe: what a method needs of the data; None looks at the data alone.
        progress: called with (done, all) after each case.
    Returns:
        What was found; `ok` if there is no problem.
    Raises:
        DataError: there is no data set to look at.
    """
    dataset = find_layout(src)
    problems = [*dataset.problems, *dataset.unmatched]
    if recipe is not None:
        told = {(problem.where, problem.kind) for problem in problems}
        told |= {(p.where, "labels") for p in problems if p.kind == "unlabelled"}
        problems += [p for p in unmet(dataset, recipe) if (p.where, p.kind) not in told]
    cases: list[CaseFacts] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        read = pool.map(partial(_look_at, dataset=dataset, recipe=recipe), dataset.cases)
        for done, found in enumerate(read, start=1):
            cases += [found] if isinstance(found, CaseFacts) else []
            problems += found if isinstance(found, list) else []
            if progress is not None:
                progress(done, len(dataset.cases))
    problems += same_images((facts.case, facts.digest) for facts in cases)
    if recipe is not None:
        problems += _nothing_labelled(cases, recipe)
    order = {files.case: number for number, files in enumerate(dataset.cases)}
    problems.sort(key=lambda problem: order.get(problem.where, -1))
    return Report(dataset, tuple(cases), tuple(problems))


def _look_at(
    files: CaseFiles, dataset: DataSet, recipe: Recipe | None
) -> CaseFacts | list[Problem]:
    try:
        scan = read_scan(files, table=dataset.table)
    except DataError as error:
        return list(error.problems)
    if recipe is not None:
        modalities = recipe.modalities or scan.modalities
        if problems := unseen(scan, modalities, _kept(dataset, recipe), recipe.intensity):
            return problems
    values = tuple(values_of(scan.labels)) if scan.labels is not None else ()
    shape = scan.image.shape[1:]
    return CaseFacts(scan.case, scan.patient, shape, scan.spacing_mm, values, digest_of(scan))


def _kept(dataset: DataSet, recipe: Recipe) -> frozenset[int]:
    """Label values of what the recipe keeps; structures that there are not are told by `unmet`."""
    names = tuple(n for n in recipe.structures if standard_name(n) in dataset.table.structures)
    return dataset.table.keep(names).known


def _nothing_labelled(cases: Sequence[CaseFacts], recipe: Recipe) -> list[Problem]:
    """Patients without any label, where every sample that the method draws has to show some."""
    if not recipe.draws or not all(draw.has for draw in recipe.draws):
        return []
    labelled = {facts.patient for facts in cases if set(facts.values) - {0}}
    found = f"nothing is labelled, {recipe.method} learns from labelled structures"
    remedy = "Correct its labels or take the case out"
    return [
        Problem(facts.case, "empty", found, remedy)
        for facts in cases
        if facts.patient not in labelled and facts.values
    ]
