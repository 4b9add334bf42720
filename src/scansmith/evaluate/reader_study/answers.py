"""The key of a reader study and the answer sheets that come back, with every mistake in them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scansmith.data.layouts_base import read_json
from scansmith.evaluate.reader_study.cases import SIDES
from scansmith.evaluate.reader_study.statistics import detectable
from scansmith.scan import DataError, Problem

_PREFIX = "answers-"
_LISTED = 5


@dataclass(frozen=True)
class Key:
    """What is what.

    Attributes:
        truth: case -> real or synthetic.
        patients: case -> patient, where the key says it.
        record: all that the key holds.
    """

    truth: dict[str, str]
    patients: dict[str, str]
    record: dict[str, Any]

    def patients_of(self, side: str) -> set[str]:
        """Whose pictures a side has; a picture of nobody in particular is of one of its own."""
        return {
            self.patients.get(case, case) for case, truth in self.truth.items() if truth == side
        }

    def detectable(self, readers: int = 1) -> float | None:
        """The accuracy that is found out four times in five; see `statistics.detectable`.

        Of a patient no more is to be learned than from one picture, however many are shown.
        """
        real, synthetic = (len(self.patients_of(side)) for side in SIDES)
        return detectable(real, synthetic, readers)


@dataclass(frozen=True)
class Sheet:
    """The answers of a reader: case -> real or synthetic, in the key's order."""

    reader: str
    answers: dict[str, str]


def read_key(path: Path) -> Key:
    """A key that `make` wrote, or a hand-made one: {"cases": {"NAME": {"truth": "real"}, ...}}.

    Raises:
        DataError: it is none, or has not both real and synthetic cases.
    """
    remedy = "Give the key that `reader-study make` wrote"
    if not Path(path).exists():
        raise DataError(Problem(str(path), "file", "there is no such file", remedy))
    record = read_json(Path(path))
    cases = record.get("cases")
    if not isinstance(cases, dict) or not cases:
        raise DataError(Problem(Path(path).name, "key", "holds no cases", remedy))
    said = {case: row.get("truth") if isinstance(row, dict) else row for case, row in cases.items()}
    problems = [
        Problem(case, "key", f"found {truth!r:.40}, expected {' or '.join(SIDES)}", remedy)
        for case, truth in said.items()
        if truth not in SIDES
    ]
    problems += [
        Problem(Path(path).name, "key", f"no case is {side}, expected as many of each", remedy)
        for side in SIDES
        if side not in said.values()
    ]
    if problems:
        raise DataError(problems)
    patients = {
        case: str(row["patient"])
        for case, row in cases.items()
        if isinstance(row, dict) and "patient" in row
    }
    return Key({case: str(truth) for case, truth in said.items()}, patients, record)


def read_sheets(paths: Sequence[Path], key: Key) -> list[Sheet]:
    """All answer sheets.

    A sheet is CSV with the columns `case` and `answer` (commas, semicolons or tabs, as
    spreadsheets of other countries write them), a row for every case of the key. The reader is
    called as the file, without "answers-".

    Raises:
        DataError: every mistake of every sheet: unknown or missing or doubled cases, cases without
            an answer, other words than real and synthetic, two sheets of one reader.
    """
    sheets: list[Sheet] = []
    problems: list[Problem] = []
    for path in map(Path, paths):
        sheet, found = _read_sheet(path, key)
        sheets.append(sheet)
        problems += found
    names = [sheet.reader for sheet in sheets]
    remedy = "Give each reader's sheet a name of its own"
    problems += [
        Problem(name, "reader", f"{names.count(name)} answer sheets are of this reader", remedy)
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    if problems:
        raise DataError(problems)
    return sheets


def _read_sheet(path: Path, key: Key) -> tuple[Sheet, list[Problem]]:
    reader = path.stem.removeprefix(_PREFIX) or path.stem
    if not path.exists():
        remedy = "Correct the name, or ask the reader for the sheet"
        return Sheet(reader, {}), [Problem(str(path), "file", "there is no such file", remedy)]
    try:
        text = path.read_bytes().decode("utf-8-sig")
        rows = _rows(text)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        found, remedy = f"not readable as CSV ({why})", "Save it again as CSV (UTF-8)"
        return Sheet(reader, {}), [Problem(path.name, "csv", found, remedy)]
    if rows is None:
        head = (text.splitlines() or [""])[0]
        found = f"its first line is {head!r:.60}, expected the columns case and answer"
        return Sheet(reader, {}), [Problem(path.name, "csv", found, "Start from the answer sheet")]
    answers: dict[str, str] = {}
    problems = []
    for line, case, answer in rows:
        where = f"{path.name}, line {line}"
        if case not in key.truth:
            found = f"found case {case!r:.60}, which this study does not have"
            remedy = "Correct the name, or score these answers with the key of their own study"
            problems.append(Problem(where, "case", found, remedy))
        elif case in answers:
            found, remedy = f"{case} is answered a second time", "Keep one of the rows"
            problems.append(Problem(where, "duplicate", found, remedy))
        elif answer and answer not in SIDES:
            found = f"{case} is called {answer!r:.60}, expected {' or '.join(SIDES)}"
            problems.append(Problem(where, "answer", found, "Ask the reader which was meant"))
        if case in key.truth:
            answers[case] = answer or answers.get(case, "")
    missing = [case for case in key.truth if not answers.get(case)]
    if missing:
        more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        found = f"{len(missing)} cases have no answer: {', '.join(missing[:_LISTED])}{more}"
        remedy = "Ask the reader for them; leaving hard cases out would flatter the rest"
        problems.append(Problem(path.name, "missing", found, remedy))
    return Sheet(reader, {case: answers.get(case, "") for case in key.truth}), problems


def _rows(text: str) -> list[tuple[int, str, str]] | None:
    """(line, case, answer) of each row that holds anything; None without the two columns."""
    first = (text.splitlines() or [""])[0]
    mark = max(",;\t", key=first.count)
    lines = csv.reader(io.StringIO(text), delimiter=mark, strict=True)
    heads = [head.strip().lower() for head in next(lines, [])]
    if not {"case", "answer"} <= set(heads):
        return None
    places = heads.index("case"), heads.index("answer")
    found = []
    for row in lines:
        if any(cell.strip() for cell in row):
            case, answer = (row[n].strip() if n < len(row) else "" for n in places)
            found.append((lines.line_num, case, answer.lower()))
    return found
