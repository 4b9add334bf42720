"""The audit: does a synthetic data set give away who its generator was trained on?

Reads three data sets in any layout, case by case, and searches with shifts and flips for synthetic
cases that are too near to training patients; hold-out patients say what is usual.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import scansmith
from scansmith.data.layouts import DataSet, find_layout
from scansmith.evaluate.compare import RESEARCH_USE, check_out, strict
from scansmith.evaluate.privacy import lines as lines_of_evidence
from scansmith.evaluate.privacy.cases import Layout, Trace, lay_out, trace
from scansmith.evaluate.privacy.equal import thinned
from scansmith.evaluate.privacy.exchange import exchange_tests
from scansmith.evaluate.privacy.lines import Line, Sides
from scansmith.evaluate.privacy.metadata import scan_folder
from scansmith.evaluate.privacy.pairs import case_rows, worst
from scansmith.evaluate.privacy.uncompared import (
    cases_uncompared,
    lesions_uncompared,
    modalities_uncompared,
)
from scansmith.evaluate.privacy.verdict import NO_GUARANTEE, judge
from scansmith.evaluate.view import (
    Shared,
    View,
    files_of,
    listed,
    oriented,
    share,
    view,
    with_slices,
)
from scansmith.io import read_scan
from scansmith.io.atomic import write_bytes
from scansmith.labels.table import LabelTable, name_among
from scansmith.scan import CaseFiles, DataError, Problem, SettingsError

Progress = Callable[[int, int, str], None]
FORMAT = 1
SIDES = ("synthetic", "training", "hold-out")
_SAMPLED = 12  # cases of each side that say how large images are
# Nearer than this, two images of different patients are one image.
_EQUAL = 0.005


@dataclass(frozen=True)
class Options:
    """What the user asked for; see `scansmith.evaluate.audit`."""

    lesion: tuple[str, ...] | None = None
    features: Path | None = None
    limit: int | None = None
    pictures: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Sets:
    """The data sets, in the order of SIDES, and the cases taken of each."""

    found: tuple[DataSet, DataSet, DataSet]
    cases: tuple[tuple[CaseFiles, ...], ...]

    def read(self, shared: Shared, side: int, number: int) -> View:
        """One case, with what is shared."""
        files, table = self.cases[side][number], self.found[side].table
        if not shared.structures[1:]:
            files = replace(files, labels=None)
        return view(
            oriented(read_scan(files_of(files, shared.modalities), table=table)), shared, table
        )


def audit_sets(
    synthetic: Path, train: Path, holdout: Path, out: Path | None, options: Options,
    progress: Progress | None,
) -> dict[str, Any]:  # fmt: skip
    """Measure, and write to `out` if it is given. See `scansmith.evaluate.audit`."""
    if out is not None:
        check_out(out, synthetic, "audit")
    if options.limit is not None and options.limit < 1:
        raise SettingsError(
            f"limit: found {options.limit}, expected a number of cases of 1 or more. Raise it."
        )
    sets = _sets((synthetic, train, holdout), options)
    shared = _shared(sets.found, options.lesion)
    layout = _layout(sets, shared, options)
    tell = progress or (lambda done, total, text: None)
    sides = _traced(sets, layout, tell)
    lines = lines_of_evidence.lines_of(sides, layout, tell)
    _refuse_doubles(sides, lines[0])
    report = measured(sides, lines, options.seed)
    people = {
        name for files in (*sets.cases[1], *sets.cases[2]) for name in (files.case, files.patient)
    }
    metadata = scan_folder(synthetic, people)
    hashes = lines_of_evidence.hashes(sides)
    told_apart = _told_apart(sets.found)
    names = [own.table.named_as(told_apart) for own in sets.found]
    doubts, notes = lesions_uncompared(names, shared, sides, lines)
    doubts += modalities_uncompared([own.modalities for own in sets.found], shared)
    facts = {side: _facts(sets, n, lines[0].even) for n, side in enumerate(SIDES)}
    notes += cases_uncompared(facts["training"], facts["hold-out"])
    if layout.extent_mm is None:
        notes.append(
            "Fields of view differ by more than a quarter, so that images were stretched onto each "
            "other: a synthetic case that is a part of a training scan may have been missed."
        )
    verdict = judge(report["lines"], report["exchange"], metadata, doubts, notes)
    cases = case_rows(sides, lines, report["lines"], hashes.pop("distances"))
    found = strict(
        {
            "format": FORMAT,
            "scansmith": scansmith.__version__,
            "intended_use": RESEARCH_USE,
            **verdict,
            "not_meant": list(NO_GUARANTEE),
            "sets": facts,
            "settings": _settings(layout, options),
            **report,
            "perceptual_hash": hashes,
            "metadata": metadata,
            "pairs": worst(cases),
            "cases": cases,
        }
    )
    if out is not None:
        _write(out, found, sets, layout, options)
    return found


def _write(out: Path, found: dict[str, Any], sets: Sets, layout: Layout, options: Options) -> None:
    from scansmith.evaluate.privacy.pairs import pair_pictures
    from scansmith.evaluate.privacy.report import write_page

    shown = {}
    if options.pictures:
        shown = pair_pictures(found["pairs"], partial(sets.read, layout.shared), layout)
    (out / "audit.json").unlink(missing_ok=True)  # it comes last: where it is, all of it is whole
    for old in (out / "pairs").glob("[0-9][0-9]_*.png"):  # of an earlier audit: other pairs
        if old.name not in shown:
            old.unlink()
    for name, png in shown.items():
        write_bytes(out / "pairs" / name, png)
    write_page(out / "audit.html", found, shown)
    text = json.dumps(found, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_bytes(out / "audit.json", text.encode())


def _sets(roots: tuple[Path, Path, Path], options: Options) -> Sets:
    found = find_layout(roots[0]), find_layout(roots[1]), find_layout(roots[2])
    problems = [
        replace(p, where=f"{side} set, {p.where}")
        for side, own in zip(SIDES, found, strict=True)
        for p in own.problems
    ]
    problems += [
        Problem(str(own.root), "empty", "no case with an image", "Give a folder that has some")
        for own in found
        if not any(files.images for files in own.cases)
    ]
    held_out = {files.patient for files in found[2].cases}
    both = sorted({files.patient for files in found[1].cases} & held_out)
    if both:
        shown = ", ".join(both[:5]) + (", ..." if len(both) > 5 else "")
        text = f"{len(both)} patients are in the training and in the hold-out set ({shown})"
        remedy = (
            "Take them out of one of the two; if they are different people of one name, name them "
            "apart in a patients.json beside each set"
        )
        problems.append(Problem("patients", "overlap", text, remedy))
    if problems:
        raise DataError(problems)
    return Sets(found, thinned(tuple(own.cases for own in found), options.limit))


def _shared(found: tuple[DataSet, DataSet, DataSet], lesion: Sequence[str] | None) -> Shared:
    """What all three sets name. Labels are no must: without them there is no lesion to compare."""
    told_apart = _told_apart(found)
    names = [own.table.named_as(told_apart)[1:] for own in found]
    common = [name for name in names[1] if name in names[0] and name in names[2]]
    table = LabelTable({0: "background", **dict(enumerate(common, 1))})
    held_out = set(found[2].modalities)
    modalities = tuple(m for m in found[1].modalities if m in held_out)
    if not modalities:
        text = f"the training set has {', '.join(found[1].modalities)}"
        text += f", the hold-out set {', '.join(found[2].modalities)}"
        raise DataError(Problem("modalities", "modality", text, "Compare sets of one modality"))
    if lesion and not common:
        text = "no structure is named by all three sets, so there is no lesion to choose"
        remedy = "Name structures alike in the labels.json beside each set, or leave it out"
        raise DataError(Problem("lesion", "structure", text, remedy))
    # A table of the common names alone would take "lesion" for "tumour", which a set has beside it.
    wanted = [name_among(told_apart, name) for name in lesion or ()]
    missing = [name for name in wanted if name not in common]
    if missing:
        text = f"no structure {listed(missing)} in all sets"
        raise DataError(Problem("lesion", "structure", text, f"Choose among {listed(common)}"))
    shared = share((modalities, found[0].modalities), (table, table), wanted)
    return with_slices(replace(shared, structures=("background", *common)), found[1].cases)


def _told_apart(found: Sequence[DataSet]) -> set[str]:
    """Names of structures. Where a set has "lesion" and "tumour", no other's "lesion" is a tumour:
    a set's own names among these are `LabelTable.named_as`.
    """
    return {name for own in found for name in own.table.structures}


def _layout(sets: Sets, shared: Shared, options: Options) -> Layout:
    network = None
    if options.features is not None:
        from scansmith.evaluate.feature_network import load_feature_network

        network = load_feature_network(options.features).of_slices
    views = _sampled(sets, shared)
    real = views[1] + views[2]
    flat = [np.median([case.image.shape[1] for case in side]) == 1 for side in (real, views[0])]
    if flat[0] != flat[1]:
        words = ["single slices" if one else "volumes" for one in flat]
        text = f"the real sets hold {words[0]}, the synthetic set {words[1]}"
        raise DataError(Problem("dimensions", "dimensions", text, "Compare slices with slices"))
    return lay_out(shared, real, views[0], network)


def _sampled(sets: Sets, shared: Shared) -> list[list[View]]:
    """Some cases of each side; where one cannot be read, all that cannot are told at once."""
    views: list[list[View]] = [[], [], []]
    try:
        for side, cases in enumerate(sets.cases):
            places = np.linspace(0, len(cases) - 1, min(len(cases), _SAMPLED)).round().astype(int)
            views[side] = [sets.read(shared, side, int(number)) for number in np.unique(places)]
    except DataError as error:
        raise DataError(_unreadable(sets, shared) or str(error)) from error
    return views


def _unreadable(sets: Sets, shared: Shared) -> list[Problem]:
    problems: list[Problem] = []
    for side, cases in enumerate(sets.cases):
        for number, files in enumerate(cases):
            try:
                sets.read(shared, side, number)
            except DataError as error:
                problems += _told(error, side, files)
    return problems


def _told(error: DataError, side: int, files: CaseFiles) -> list[Problem]:
    """What is wrong with a case, and of which set it is."""
    found = error.problems or (Problem(files.case, "data", str(error), "Mend the case"),)
    return [replace(problem, where=f"{SIDES[side]} set, {problem.where}") for problem in found]


def _traced(sets: Sets, layout: Layout, tell: Progress) -> Sides:
    """Read every case once; all that cannot be read is told at once."""
    kept: tuple[list[Trace], ...] = ([], [], [])
    problems: list[Problem] = []
    total, done = sum(len(cases) for cases in sets.cases), 0
    for side, cases in enumerate(sets.cases):
        for number, files in enumerate(cases):
            tell(done, total, files.case)
            done += 1
            try:
                kept[side].append(trace(sets.read(layout.shared, side, number), layout))
            except DataError as error:
                problems += _told(error, side, files)
    if problems:
        raise DataError(problems)
    tell(total, total, "")
    trained = np.arange(len(kept[1]) + len(kept[2])) < len(kept[1])
    return Sides(kept[0], [*kept[1], *kept[2]], trained)


def _refuse_doubles(sides: Sides, whole: Line) -> None:
    """A real case that is another one under another patient's name would hide what it should show:
    no synthetic case could be nearer to one of the two than strangers are.
    """
    problems = []
    alike = np.minimum(whole.real, whole.real.T) < _EQUAL
    for one, other in np.argwhere(np.triu(alike, 1)):
        first, second = sides.real[one], sides.real[other]
        if sides.trained[one] != sides.trained[other]:
            said = f"hold-out and training case {first.case} are one image"
            problems.append(
                Problem(second.case, "overlap", said, "Take it out of one of the two sets")
            )
        else:
            side = SIDES[1 if sides.trained[one] else 2]
            said = f"it and {first.case} of the {side} set are one image under two patients' names"
            remedy = "Take one out, or name them one patient in the set's patients.json"
            problems.append(Problem(second.case, "overlap", said, remedy))
    if problems:
        raise DataError(problems)


def measured(sides: Sides, lines: Sequence[Line], seed: int) -> dict[str, Any]:
    """The numbers of every line, and the tests of all of them together."""
    tests = sum(len(line.rows) for line in lines)
    exchange = exchange_tests(lines, seed)
    found = {}
    for line in lines:
        groups = len({sides.synthetic[row].patient for row in line.rows})
        chance = {
            number: {what: exchange[number][f"{line.name}: {what}"] for what in ("share", "auc")}
            for number in ("mean", "sd")
        }
        found[line.name] = lines_of_evidence.measure(line, groups, tests, chance, seed)
    return {"lines": found, "exchange": exchange}


def _facts(sets: Sets, side: int, whole: Line) -> dict[str, Any]:
    found, cases = sets.found[side], sets.cases[side]
    of_training = int((whole.columns < len(sets.cases[1])).sum())  # they come first
    compared = len(cases), of_training, len(whole.columns) - of_training
    return {
        "name": found.root.resolve().name,
        "layout": found.layout,
        "cases": len(found.cases),
        "cases_measured": len(cases),
        "cases_compared": compared[side],
        "patients_measured": len({files.patient for files in cases}),
    }


def _settings(layout: Layout, options: Options) -> dict[str, Any]:
    shared = layout.shared
    return {
        "modalities": list(shared.modalities),
        "lesion": [shared.structures[i] for i in shared.lesion],
        "lesion_by": shared.lesion_by,
        "coarse_grid": layout.whole.coarse,
        "fine_grid": layout.whole.fine,
        "shifts_searched": [
            m / n for m, n in zip(layout.whole.fine_margin, layout.whole.fine, strict=True)
        ],
        "extent_mm": layout.extent_mm,
        "limit": options.limit,
        "seed": options.seed,
    }
