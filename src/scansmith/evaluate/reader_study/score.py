"""Scoring of a reader study: what each reader could tell, how far readers agree, in plain words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

import scansmith
from scansmith.evaluate.compare import RESEARCH_USE, strict
from scansmith.evaluate.reader_study.answers import Key, Sheet, read_key, read_sheets
from scansmith.evaluate.reader_study.cases import SIDES
from scansmith.evaluate.reader_study.score_page import (
    p_value,
    p_words,
    page_of,
    percent,
    plot_of,
    span,
)
from scansmith.evaluate.reader_study.statistics import (
    ALPHA,
    Answers,
    Proportion,
    cohen,
    cohen_interval,
    exchange_p,
    fleiss,
    holm,
)
from scansmith.io.atomic import check_folder, write_bytes
from scansmith.scan import SettingsError

FORMAT = 1
_LEANS = 0.25  # fewer answers of one kind than this share: said beside the verdict


def score_study(
    answers: Sequence[Path | str], key: Path | str, out: Path | str, *, seed: int = 0
) -> dict[str, Any]:
    """Score answer sheets; writes `score.json`, `score.md` and `score.png` to `out`.

    Args:
        answers: a CSV of each reader (`answers.read_sheets`).
        seed: of the resamplings for the intervals of kappa.
    Returns:
        What score.json holds.
    Raises:
        DataError: the key or a sheet is not in order; all mistakes are named.
        SettingsError: no sheet, or `out` is a file.
    """
    out = Path(out)
    if not answers:
        raise SettingsError("answers: no sheet given, expected one for each reader. Name them.")
    check_folder(out, "the score")
    known = read_key(Path(key))
    sheets = read_sheets([Path(path) for path in answers], known)
    found = strict(_scored(known, sheets, seed))
    text = json.dumps(found, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_bytes(out / "score.png", plot_of(found))
    write_bytes(out / "score.md", page_of(found).encode())
    write_bytes(out / "score.json", text.encode())
    return found


def table_of(key: Key, sheet: Sheet) -> Answers:
    """What was shown and what it was taken for, counted."""
    counts = Counter((truth, sheet.answers[case]) for case, truth in key.truth.items())
    return Answers(*(counts[truth, called] for truth in SIDES for called in SIDES))


def _scored(key: Key, sheets: Sequence[Sheet], seed: int) -> dict[str, Any]:
    counts = Counter(key.truth.values())
    shown = {side: counts[side] for side in SIDES}
    patients = {side: len(key.patients_of(side)) for side in SIDES}
    least = key.detectable(len(sheets))
    tables = [table_of(key, sheet) for sheet in sheets]
    several = patients != shown
    found = [
        _p_by_patient(key, sheet, seed) if several else table.p
        for sheet, table in zip(sheets, tables, strict=True)
    ]
    readers = {
        sheet.reader: _reader(table, p, p_holm, least, len(sheets))
        for sheet, table, p, p_holm in zip(sheets, tables, found, holm(found), strict=True)
    }
    return {
        "format": FORMAT,
        "scansmith": scansmith.__version__,
        "intended_use": RESEARCH_USE,
        "study": key.record.get("study"),
        "sets": key.record.get("sets"),
        "cases": shown,
        "patients": patients,
        "p_by": "exchange of patients" if several else "Fisher's exact test",
        "detectable_accuracy": least,
        "verdict": _overall(readers, least),
        "notes": [*_notes(key), *_alike(key, sheets)],
        "readers": readers,
        "agreement": _agreement(sheets, seed),
    }


def _p_by_patient(key: Key, sheet: Sheet, seed: int) -> float:
    called = [sheet.answers[case] == "synthetic" for case in key.truth]
    synthetic = [truth == "synthetic" for truth in key.truth.values()]
    return exchange_p(called, synthetic, [key.patients.get(case, case) for case in key.truth], seed)


def _reader(
    table: Answers, p: float, p_holm: float, least: float | None, readers: int
) -> dict[str, Any]:
    return {
        "table": vars(table),
        "accuracy": _share(table.accuracy),
        "sensitivity": _share(table.sensitivity),
        "specificity": _share(table.specificity),
        "called_synthetic": table.called_synthetic.value,
        "p": p,
        "p_binomial": table.p_binomial,
        "p_holm": p_holm,
        "tells": _tells(table, p_holm),
        "verdict": _words(table, p, p_holm, least, readers),
    }


def _share(found: Proportion) -> dict[str, Any]:
    return {
        "value": found.value,
        "interval": list(found.interval),
        "right": found.right,
        "of": found.of,
    }


def _tells(table: Answers, p_holm: float) -> str:
    """ "yes", "wrong way round" or "not shown"; by the p of all readers together."""
    if p_holm >= ALPHA:
        return "not shown"
    better = table.sensitivity.value + table.specificity.value > 1
    return "yes" if better else "wrong way round"


def _words(table: Answers, p: float, p_holm: float, least: float | None, readers: int) -> str:
    """The verdict on a reader, for people."""
    right = table.accuracy
    said = (
        f"Right in {right.right} of {right.of} cases ({percent(right.value)}, 95 % interval "
        f"{span(right.interval)}), {p_words(p)}"
    )
    if readers > 1:
        said += f", {p_value(p_holm)} after Holm's correction for {readers} readers"
    tells = _tells(table, p_holm)
    if tells == "yes":
        text = f"Told real from synthetic. {said}."
    elif tells == "wrong way round":
        text = f"Told the two apart, but took the one for the other. {said}."
    else:
        text = f"Could not be shown to tell real from synthetic. {said}. {_unseen(right, least)}"
    called = table.called_synthetic
    if not _LEANS <= called.value <= 1 - _LEANS:
        text += (
            f" Leaned to one answer: called {called.right} of {called.of} synthetic. The accuracy "
            "of such a reader is near one half whatever he sees; p takes this into account."
        )
    return text


def _unseen(right: Proportion, least: float | None) -> str:
    """What a verdict of "not shown" leaves open."""
    if least is None:
        return "So few cases could not have found out even a reader who is always right."
    return (
        "This does not say that the reader cannot tell: by the interval an accuracy of "
        f"{percent(max(right.interval[1], 1 - right.interval[0]))} is not ruled out, and only a "
        f"reader who is right in {percent(least)} or more of such cases would have been found out "
        "four times in five."
    )


def _overall(readers: dict[str, dict[str, Any]], least: float | None) -> str:
    """The verdict on the study, from those on its readers."""
    told = [name for name, row in readers.items() if row["tells"] == "yes"]
    swapped = [name for name, row in readers.items() if row["tells"] == "wrong way round"]
    found = []
    if told:
        found.append(f"{_who(told, readers)} told the synthetic cases from the real ones.")
    if swapped:
        found.append(
            f"{_who(swapped, readers)} told the two apart, but the wrong way round: took real "
            "cases for synthetic and synthetic ones for real."
        )
    return " ".join(found) or _nobody(len(readers), least)


def _who(names: Sequence[str], readers: dict[str, dict[str, Any]]) -> str:
    """Whom a sentence of the study's verdict is about."""
    if len(readers) == 1:
        return "The reader"
    listed = ", ".join(names)
    return f"{len(names)} of {len(readers)} readers ({listed}; p < .05 after Holm's correction)"


def _nobody(readers: int, least: float | None) -> str:
    """The verdict where no reader was found out, and how little that says."""
    test = f" (p < .05 after Holm's correction for {readers} readers)" if readers > 1 else ""
    if least is None:
        reach = f". So few cases could not have found out even a reader who is always right{test}."
    else:
        reach = f": a reader who is right in less than {percent(least)} may well go unseen{test}."
    who = f"any of the {readers} readers" if readers > 1 else "the reader"
    return (
        f"It could not be shown that {who} can tell the synthetic cases from the real ones. "
        f"That is no proof that they cannot be told apart{reach}"
    )


def _notes(key: Key) -> list[str]:
    return [str(note) for note in key.record.get("notes", [])]


def _alike(key: Key, sheets: Sequence[Sheet]) -> list[str]:
    """Sheets that agree in every mistake too, where both answers were given."""
    truth = list(key.truth.values())
    notes = []
    for one, other in combinations(sheets, 2):
        said = list(one.answers.values())
        if said == list(other.answers.values()) and said != truth and len(set(said)) > 1:
            notes.append(
                f"The sheets of {one.reader} and {other.reader} are the same, mistakes too: if one "
                "is a copy of the other, score it once."
            )
    return notes


def _agreement(sheets: Sequence[Sheet], seed: int) -> dict[str, Any]:
    """Kappa of each pair; of all, if there are three or more."""
    said = {sheet.reader: list(sheet.answers.values()) for sheet in sheets}
    pairs = []
    for one, other in combinations(said, 2):
        alike = sum(a == b for a, b in zip(said[one], said[other], strict=True))
        value = cohen(said[one], said[other])
        row = {
            "readers": [one, other],
            "agreed": alike / len(said[one]),
            "kappa": value,
            "interval": None if value is None else cohen_interval(said[one], said[other], seed),
        }
        if value is None:
            row["reason"] = "both gave one and the same answer to every case"
        pairs.append(row)
    found: dict[str, Any] = {"cohen": pairs, "fleiss": None}
    if len(sheets) > 2:
        counts = np.array(
            [[row.count(s) for s in SIDES] for row in zip(*said.values(), strict=True)]
        )
        found["fleiss"] = fleiss(counts)
    return found
