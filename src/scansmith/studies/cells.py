"""Cells of a study: what is finished is kept as JSON, so that a study that is stopped goes on."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from scansmith.scan import DataError, RunError, ScansmithError, SettingsError
from scansmith.train.checkpoint import read_json, write_json

T = TypeVar("T")
Scores = dict[str, dict[str, float]]
"""'patient/case' -> measure -> value; nan where a measure has none."""


def cell(
    folder: Path, name: str, record: Mapping[str, Any], work: Callable[[], Scores | None]
) -> Scores | None:
    """What `work` finds, or found when it was called for this cell before.

    Args:
        record: all that decides the result, JSON-able.
        work: None: there is nothing to find, which is kept as well.
    Raises:
        RunError: the folder holds a cell of this name that was found under another record.
    """
    if is_kept(folder, name, record):
        return _finite(read_json(_path(folder, name))["scores"])
    began = time.monotonic()
    scores = work()
    seconds = round(time.monotonic() - began, 1)
    content = {"record": dict(record), "seconds": seconds, "scores": _plain(scores)}
    write_json(_path(folder, name), content)
    print(f"{name}: {seconds} s", flush=True)
    return scores


def is_kept(folder: Path, name: str, record: Mapping[str, Any]) -> bool:
    """Whether a cell is finished.

    Raises:
        RunError: the folder holds a cell of this name that was found under another record.
    """
    path = _path(folder, name)
    if not path.is_file():
        return False
    before = read_json(path).get("record", {})
    differing = sorted(k for k in {*before, *record} if before.get(k) != record.get(k))
    if differing:
        raise RunError(
            f"{path}: holds a cell of another study (differing: {', '.join(differing)}). Give "
            "its settings, store and runs, or choose another folder."
        )
    return True


def _path(folder: Path, name: str) -> Path:
    return folder / f"{file_name(name)}.json"


def attempt(
    what: str,
    work: Callable[[], T],
    problems: list[str],
    stopped_by: tuple[type[Exception], ...] = (),
) -> T | None:
    """What a part of a study gives; if it fails, a line about it and None: the others go on.

    Faults that are not told by this package's own errors leave their traceback on stderr.

    Args:
        what: which part, for the line.
        problems: what went wrong so far; the line is added.
        stopped_by: errors that every part would have, which are raised.
    """
    try:
        return work()
    except stopped_by:
        raise
    except ScansmithError as error:
        problems.append(f"{what}: {error}")
    except Exception as error:
        traceback.print_exc()
        problems.append(f"{what}: {type(error).__name__}: {error}")
    return None


REFUSED = (DataError, SettingsError)
"""Data or settings that cannot be used: of a cross-validation no other cell could use them."""


def all_done(out: Path, problems: Sequence[str]) -> None:
    """Refuse to sum up cells of which some are missing; those that are done are kept.

    Raises:
        RunError: something went wrong.
    """
    if problems:
        raise RunError(
            f"{out}: {len(problems)} cell(s) failed, so that patients are missing. The others are "
            "done and kept; the same command goes on with these.\n" + "\n".join(problems)
        )


def file_name(name: str) -> str:
    """Words as part of a file name."""
    return re.sub(r"[^\w.]+", "-", name).strip("-")


def _plain(scores: Scores | None) -> dict[str, dict[str, float | None]] | None:
    """For JSON, which has no nan."""
    if scores is None:
        return None
    return {
        case: {name: float(v) if np.isfinite(v) else None for name, v in row.items()}
        for case, row in scores.items()
    }


def _finite(plain: dict[str, dict[str, float | None]] | None) -> Scores | None:
    if plain is None:
        return None
    return {
        case: {name: np.nan if v is None else v for name, v in row.items()}
        for case, row in plain.items()
    }
