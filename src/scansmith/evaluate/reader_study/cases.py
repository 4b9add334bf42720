"""Which cases a reader study shows, so that no reader sees a patient from both sides.

A synthetic case made from a real one looks much like it. Shown beside its source, it would be
known by comparing the two and not by looking at it. So each patient stands on one side only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Literal

import numpy as np

from scansmith.data.layouts import DataSet, find_layout
from scansmith.data.layouts_base import patient_of, patient_of_slice, read_json
from scansmith.evaluate.pairs import origins
from scansmith.scan import CaseFiles, DataError, Problem

Truth = Literal["real", "synthetic"]
SIDES: tuple[Truth, Truth] = ("real", "synthetic")


@dataclass(frozen=True)
class Chosen:
    """One picture or volume to show.

    Attributes:
        patient: who it is of; of a synthetic case, who its source case is of.
        rank: which of the slices that are taken of the case, from 0.
    """

    truth: Truth
    files: CaseFiles
    patient: str
    rank: int = 0


def open_sets(real: Path, synthetic: Path, leave_out: Sequence[str]) -> dict[Truth, DataSet]:
    """Both data sets, without the cases named in `leave_out`; synthetic cases are of the patients
    whom they were made from.

    Raises:
        DataError: a folder is no data set, has problems, or lacks a case that is to be left out.
    """
    sets = {"real": find_layout(real), "synthetic": find_layout(synthetic)}
    problems = [
        replace(p, where=f"{side} set, {p.where}") for side in SIDES for p in sets[side].problems
    ]
    known = {files.case for found in sets.values() for files in found.cases}
    problems += [
        Problem(f"leave out {name}", "case", "neither set has such a case", "Correct the name")
        for name in leave_out
        if name not in known
    ]
    if problems:
        raise DataError(problems)
    # Before cases are left out: one that is not shown still tells whom it is of.
    sets["synthetic"] = _of_sources(sets["synthetic"], sets["real"])
    return {
        side: replace(
            sets[side],
            cases=tuple(f for f in sets[side].cases if f.images and f.case not in leave_out),
        )
        for side in SIDES
    }


class TooFewPictures(DataError):
    """A side cannot show what it is asked for.

    Attributes:
        missing: how many pictures each side lacks.
    """

    def __init__(self, problems: Sequence[Problem], missing: Mapping[Truth, int]) -> None:
        super().__init__(problems)
        self.missing = missing


def choose(
    sets: Mapping[Truth, DataSet],
    each: int,
    per_case: int,
    rng: np.random.Generator,
    slices: Mapping[tuple[Truth, str], int] | None = None,
) -> list[Chosen]:
    """Draw `each` pictures of either side: other patients before a second case of one, and other
    cases before a second slice of one.

    Args:
        sets: from `open_sets`.
        per_case: so many slices of a case at most.
        slices: side and case -> how many slices it can show, of cases that have been looked at;
            others are taken to have `per_case`.
    Raises:
        TooFewPictures: a side has too few cases of patients who are not needed by the other.
    """
    seen = slices or {}
    by_patient = {side: _grouped(sets[side].cases) for side in SIDES}
    shared = sorted(by_patient["real"].keys() & by_patient["synthetic"].keys())
    own = {side: [p for p in by_patient[side] if p not in shared] for side in SIDES}

    def shows(side: Truth, files: CaseFiles) -> int:
        return min(per_case, seen.get((side, files.case), per_case))

    def pictures(side: Truth, patient: str) -> int:
        return sum(shows(side, files) for files in by_patient[side][patient])

    room = {side: sum(pictures(side, p) for p in own[side]) for side in SIDES}
    for patient in (shared[n] for n in rng.permutation(len(shared))):
        # To the side that has too little to show; if both have enough, or neither, to the one
        # with fewer patients.
        side = min(SIDES, key=lambda side: (room[side] >= each, len(own[side])))
        own[side].append(patient)
        room[side] += pictures(side, patient)
    problems = [
        Problem(
            f"{side} set",
            "cases",
            f"{room[side]} pictures of {len(own[side])} patients can be shown ({len(shared)} "
            f"patients are in both sets and may stand on one side only), expected {each}",
            "Add cases, ask for fewer, or take more slices of each case, if they can show more",
        )
        for side in SIDES
        if room[side] < each
    ]
    if problems:
        raise TooFewPictures(problems, {side: max(each - room[side], 0) for side in SIDES})
    found = []
    for side in SIDES:
        groups = {patient: by_patient[side][patient] for patient in own[side]}
        order = list(_in_turn(groups, rng))
        units = [
            (p, files, rank)
            for rank in range(per_case)
            for p, files in order
            if rank < shows(side, files)
        ]
        found += [Chosen(side, files, p, rank) for p, files, rank in units[:each]]
    return found


def _of_sources(synthetic: DataSet, real: DataSet) -> DataSet:
    """The synthetic set, with the patient that each case was made from, as far as that is known.

    A row of provenance.jsonl names the source, or else a real case (or patient) of the same name is
    it. A source that is no part of the real set has the patient that its name would have there: two
    synthetic cases of it show one anatomy, whether or not it is shown itself.
    """
    known, said = _patients(real), origins(synthetic.root, synthetic.cases)
    cases = []
    for files in synthetic.cases:
        row = said.get(files.case)
        if row and row.source:
            sliced = real.layout == "slices" and not row.part
            told = patient_of_slice(row.source) if sliced else patient_of(row.source)
            patient = known.get(row.source, told)
        else:
            own = f"synthetic {files.patient}"  # whatever it is called
            patient = known.get(files.case, known.get(files.patient, own))
        cases.append(replace(files, patient=patient))
    return replace(synthetic, cases=tuple(cases))


def _patients(real: DataSet) -> dict[str, str]:
    """Case or patient -> patient, also of cases that only the set's patients.json knows."""
    path = real.root / "patients.json"
    stated = read_json(path) if path.is_file() else {}
    cases = {case: str(patient) for case, patient in stated.items()}
    cases |= {files.case: files.patient for files in real.cases}
    return {patient: patient for patient in cases.values()} | cases


def _grouped(cases: Sequence[CaseFiles]) -> dict[str, list[CaseFiles]]:
    groups: dict[str, list[CaseFiles]] = {}
    for files in cases:
        groups.setdefault(files.patient, []).append(files)
    return groups


def _in_turn(
    groups: Mapping[str, list[CaseFiles]], rng: np.random.Generator
) -> Iterator[tuple[str, CaseFiles]]:
    """A case of each patient, then a second one of each who has it, and so on; all shuffled."""
    names = list(groups)
    shuffled = [
        [(names[n], groups[names[n]][i]) for i in rng.permutation(len(groups[names[n]]))]
        for n in rng.permutation(len(names))
    ]
    for turn in zip_longest(*shuffled):
        yield from (pair for pair in turn if pair is not None)
