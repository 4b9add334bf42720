"""Nobody whom a study tests on may have had a part in a synthetic set that it learns from.

Three parts are looked for in what the set says of itself: the patients that its generator learned
from, the source cases that its images were drawn from, and whoever else is named where a case is
told of (whose lesion was placed), by the name of a patient, of a case or of a file. Where
somebody's word stands for what the set does not say, it is looked at for cases that have the names
of patients who are tested on. What cannot be told is refused too, since a leak makes every number
better and nothing shows it. A patient who has another name in another data set cannot be noticed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scansmith.data.layouts import find_layout
from scansmith.data.layouts_base import MODALITIES, stem
from scansmith.data.store import Store
from scansmith.scan import CaseFiles, DataError
from scansmith.synthesize.provenance import Row, row_of, rows_by_file
from scansmith.workflow import load_run

ROWS = "provenance.jsonl"
NOBODY = "nobody"
"""What `learned` says of a generator that learned from no patient of the study's data."""


@dataclass(frozen=True)
class Cleared:
    """A synthetic set that a study may learn from.

    Attributes:
        cases: how many it has, as they were made: slices of a case in files of their own are one.
        learned: patients that its generator learned from.
        drawn: patients that its cases were drawn from, whose lesions they hold, or whose names
            they have.
    """

    cases: int
    learned: frozenset[str]
    drawn: frozenset[str]


def check_leakage(
    synthetic: Path | str,
    store: Store,
    *,
    held_out: Collection[str] | None = None,
    runs: Sequence[Path | str] = (),
    learned: Collection[str] | None = None,
) -> Cleared:
    """Let a synthetic set into a study, or refuse it.

    Args:
        synthetic: a data set on disk, with the `provenance.jsonl` of `scansmith synthesize`.
        store: the study's.
        held_out: the patients that are tested on; None: the test split of `store`.
        runs: folders of the runs that made it, where they learned from another store than this.
        learned: patients of the store that its generator learned from, on the word of who made
            it; `[NOBODY]` where it learned from none of them. Needed for sets that other programs
            made. What the set itself tells counts all the same.
    Raises:
        DataError: a held-out patient had a part in it, it cannot be told, or `learned` names
            somebody whom the data do not have.
    """
    synthetic = Path(synthetic)
    patients = {name: case.patient for name, case in store.cases.items()}
    if held_out is None:
        held_out = {store.cases[name].patient for name in store.names("test")}
    rows = _rows(synthetic)
    if learned is None:
        _check_rows(synthetic, rows)
        word = set[str]()
    else:
        word = set(learned) - {NOBODY}
        _check_word(synthetic, word, {*patients.values(), *store.left_out})
    told, known = _learners(synthetic, rows, store, runs, all_known=learned is None)
    learners, whose = told | word, known | {name: name for name in held_out} | _whose(store)
    names = _finder(whose)
    drawn: dict[str, set[str]] = {}
    for row in rows:
        drawn.setdefault(row["case"], set()).update(whose[name] for name in _named(row, names))
    namesakes: dict[str, set[str]] = {}
    untold: list[str] = []
    if learned is not None:
        there = find_layout(synthetic).cases
        untold = _untold(synthetic, there, rows)
        namesakes = {c.case: {whose.get(n, n) for n in (c.case, c.patient)} for c in there}
    problems = _leaks(learners, drawn, namesakes, set(held_out))
    if problems:
        raise DataError("\n".join(f"{synthetic}: {problem}" for problem in problems))
    everybody = frozenset[str]().union(*drawn.values(), *namesakes.values())
    drawn_from = everybody & frozenset(whose.values())
    return Cleared(len(drawn) + len(untold), frozenset(learners), drawn_from)


def _leaks(
    learners: Collection[str],
    drawn: Mapping[str, set[str]],
    namesakes: Mapping[str, set[str]],
    held_out: set[str],
) -> list[str]:
    problems = []
    if tested := sorted(held_out & set(learners)):
        problems.append(
            f"its generator learned from {len(tested)} patient(s) that the study tests on, "
            f"{tested[0]} among them, expected none. Train it on the study's training patients "
            "alone, and synthesize again."
        )
    if leaking := _leaking(drawn, held_out):
        case, who = next(iter(leaking.items()))
        problems.append(
            f"{len(leaking)} of {len(drawn)} cases hold something of patients that the study tests "
            f"on, {case} of {who} among them, expected none. Synthesize from the training split "
            "(--split train), with lesions of training patients; rename what is only called so."
        )
    if leaking := _leaking(namesakes, held_out):
        case, who = next(iter(leaking.items()))
        problems.append(
            f"{len(leaking)} of {len(namesakes)} cases have the name of a patient that the study "
            f"tests on, {case} of {who} among them, expected none. Take out what was made from "
            "these patients; rename cases that only happen to be called so."
        )
    return problems


def _leaking(whose: Mapping[str, set[str]], held_out: set[str]) -> dict[str, str]:
    """Cases in which somebody had a part who is held out -> the first such patient."""
    return {case: min(who & held_out) for case, who in whose.items() if who & held_out}


def _check_word(synthetic: Path, learners: Collection[str], known: Collection[str]) -> None:
    """Whoever is named must be in the data: of others it cannot be told whether they are tested."""
    if unknown := sorted(set(learners) - set(known)):
        raise DataError(
            f"{synthetic}: learned: found {len(unknown)} name(s) that no patient of the study's "
            f"data has, {unknown[0]} among them, expected patients such as {min(known)}. Give "
            "their names in these data, and leave out who is not in them: "
            f"--learned {NOBODY} or learned: [{NOBODY}] if all are from elsewhere."
        )


def _rows(synthetic: Path) -> list[Row]:
    """What the set says of its cases, whoever wrote it; no file: nothing.

    Raises:
        DataError: there are lines that say nothing of a case: what they hide cannot be told.
    """
    try:
        lines = (synthetic / ROWS).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    rows, others = [], []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line) if line.strip() else None
        except ValueError:
            row = line
        if isinstance(row, dict) and isinstance(row.get("case"), str):
            rows.append(row)
        elif row is not None or line.strip():
            others.append(number)
    if others:
        raise DataError(
            f"{synthetic}: {ROWS}: found {len(others)} line(s) that are no rows, line {others[0]} "
            'among them, expected one JSON object on each, with the name of a case as "case". '
            "Finish the synthesis (--resume), or mend the file."
        )
    return rows


def _check_rows(synthetic: Path, rows: Sequence[Row]) -> None:
    """Every case must say where it comes from."""
    remedy = (
        "Synthesize it again with this program, or say whom its generator learned from (learned, "
        "of the set in a study's file; --learned of classify)."
    )
    if not rows:
        raise DataError(
            f"{synthetic}: found no {ROWS}, expected one that says where each case comes from. "
            f"{remedy}"
        )
    if untold := _untold(synthetic, find_layout(synthetic).cases, rows):
        raise DataError(
            f"{synthetic}: found {len(untold)} case(s) without a row in {ROWS}, {untold[0]} among "
            f"them, expected a row for each. Take them out, or make the set again. {remedy}"
        )
    if silent := [row["case"] for row in rows if not row.get("source_case")]:
        raise DataError(
            f"{synthetic}: found {len(silent)} row(s) of {ROWS} that name no source case, "
            f"{silent[0]} among them, expected one in each. {remedy}"
        )


def _untold(synthetic: Path, there: Sequence[CaseFiles], rows: Sequence[Row]) -> list[str]:
    """Cases, as readers name them, of which no row tells: none has their name or lists their files.

    Some layouts call a case otherwise than its row does: MM-WHS puts something before the name, and
    each PNG slice is a case.
    """
    names, listed = {row["case"] for row in rows}, rows_by_file(rows)
    return sorted(
        case.case
        for case in there
        if case.case not in names and row_of(case, synthetic, listed) is None
    )


def _learners(
    synthetic: Path,
    rows: Sequence[Row],
    store: Store,
    runs: Sequence[Path | str],
    *,
    all_known: bool,
) -> tuple[set[str], dict[str, str]]:
    """Patients that the makers of these rows learned from, and whose the names in their data are.

    Raises:
        DataError: `all_known`, and a maker is not.
    """
    learners: set[str] = set()
    whose: dict[str, str] = {}
    stores = dict(_opened(runs, store))
    seen: set[str] = set()
    for row in rows:
        weights = str(row.get("weights", ""))
        own = stores.get(weights)
        if own is None and row.get("trained_on") == store.facts.fingerprint:
            own = store
        if own is None and not all_known:
            continue
        if own is None:
            raise DataError(
                f"{synthetic}: {row['case']} was made by the run {row.get('run', '')!r} with "
                f"weights {weights or 'that are not named'}, and whom it learned from is not "
                "known; expected a run on the study's store, or the folder of the run. Name the "
                "folder (runs, of the set in a study's file; --run of classify), with its store "
                "where it was."
            )
        if own.facts.fingerprint not in seen:
            seen.add(own.facts.fingerprint)
            whose |= _whose(own)
            learners |= {own.cases[name].patient for name in own.names("train")}
    return learners, whose


def _opened(runs: Sequence[Path | str], store: Store) -> Iterator[tuple[str, Store]]:
    """Weights of runs -> the store that each learned from."""
    for run in runs:
        loaded = load_run(run)
        wanted = loaded.method.facts.fingerprint
        same = wanted == store.facts.fingerprint
        own = store if same else Store.open(loaded.store)
        if own.facts.fingerprint != wanted:
            raise DataError(
                f"{own.path}: is not the store that {run} was trained on any more (fingerprint "
                f"{own.facts.fingerprint}, expected {wanted}). Put it back, or train again."
            )
        yield loaded.fingerprint, own


def _whose(store: Store) -> dict[str, str]:
    """Names of patients, of cases and of files that are one patient's alone -> the patient.

    Files have names of their own in some layouts: in LiTS segmentation-12 has the labels of
    volume-12. What files of several patients may be called (t1, label) is no name.
    """
    files: dict[str, set[str]] = {}
    cases: dict[str, str] = {}
    for case, (patient, _, listed) in store.source["files"].items():
        cases[case] = patient
        for name, *_ in listed:
            files.setdefault(stem(Path(name)), set()).add(patient)
    alone = {
        name: next(iter(people))
        for name, people in files.items()
        if len(people) == 1 and re.search(r"\d", name) and name.lower() not in MODALITIES
    }
    return alone | {patient: patient for patient in cases.values()} | cases


def _finder(names: Iterable[str]) -> re.Pattern[str]:
    """Finds names of cases and patients in a word; where several fit, the longest: liver_014_2 is
    not liver_014.

    Numbers, and names of one or two characters, may stand for anything. They count where they are
    the word, a folder, or the beginning of an image file's name (1/img.dcm, 1_flair.nii.gz).
    """
    ordered = sorted(names, key=len, reverse=True)
    telling = [n for n in ordered if len(n) > 2 and any(map(str.isalpha, n))]
    short = [n for n in ordered if n not in set(telling)]
    return re.compile(
        rf"(?<![^\W_])(?:{_either(telling)})(?![^\W_])"
        rf"|(?:^|(?<=[/\\]))(?:{_either(short)})"
        r"(?=(?:_\d+)?(?:\.[A-Za-z]\w*)*(?:[/\\]|\Z)|[_-][^/\\]*\.(?i:nii|nii\.gz|png|dcm)\Z)"
    )


def _either(names: Sequence[str]) -> str:
    """One of these; nothing where there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


def _named(row: Row, names: re.Pattern[str]) -> set[str]:
    """The names in a row, but for what tells of the synthetic case itself and of the program."""
    told = {key: value for key, value in row.items() if key not in _OWN}
    return {found[0] for word in _words(told) for found in names.finditer(word)}


_OWN = ("case", "files", "run", "weights", "method", "versions", "source_split")


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from _words(each)
    elif isinstance(value, list):
        for each in value:
            yield from _words(each)
