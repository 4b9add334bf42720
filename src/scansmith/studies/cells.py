"""Cells of a study: what is finished is kept as JSON, so that a study that is stopped goes on."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scansmith.scan import RunError
from scansmith.train.checkpoint import read_json, write_json

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
    path = folder / f"{file_name(name)}.json"
    if path.is_file():
        kept = read_json(path)
        before = kept.get("record", {})
        differing = sorted(k for k in {*before, *record} if before.get(k) != record.get(k))
        if differing:
            raise RunError(
                f"{path}: holds a cell of another study (differing: {', '.join(differing)}). Give "
                "its settings, store and runs, or choose another folder."
            )
        return _finite(kept["scores"])
    began = time.monotonic()
    scores = work()
    seconds = round(time.monotonic() - began, 1)
    write_json(path, {"record": dict(record), "seconds": seconds, "scores": _plain(scores)})
    print(f"{name}: {seconds} s", flush=True)
    return scores


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
