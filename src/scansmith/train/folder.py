"""The run folder: whose it is, and whether a training may go on in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scansmith.scan import RunError
from scansmith.settings import TrainSettings
from scansmith.train import checkpoint
from scansmith.train.checkpoint import Progress

MAY_DIFFER = (
    "versions",
    "store",
    "created",
    "command",
    "host",
    "loop",
    "settings.train.steps",
    "settings.train.device",
    "settings.train.threads",
    "settings.train.keep",
)
"""Parts of a record that do not decide what a training comes to, or not its first steps.

The store may be moved: its content is known by facts.fingerprint.
"""


def open_run(
    run: Path, record: Mapping[str, Any], settings: TrainSettings, threads: int, resume: bool
) -> Progress | None:
    """Take a folder for a training, and say where it goes on.

    Returns:
        The numbers of the last checkpoint; None: start from nothing.
    Raises:
        RunError: the folder holds a run and `resume` is off, or it holds another run, or one that
            has gone further than `settings.steps`.
    """
    new = {**_plain(record), "loop": {"format": checkpoint.FORMAT, "threads": threads}}
    path = run / "run.json"
    holds = [n for n in ("run.json", "log.jsonl", checkpoint.FOLDER) if (run / n).exists()]
    if holds and not resume:
        raise RunError(
            f"{run}: already holds a run (found {', '.join(holds)}), expected a new folder. "
            "Go on with resume, or choose another folder."
        )
    if not holds or not path.exists():
        if checkpoint.steps(run):
            raise RunError(
                f"{run}: found checkpoints without run.json. Restore run.json, or choose another "
                "folder."
            )
        checkpoint.write_json(path, new)
        return None
    old = checkpoint.read_json(path)
    differences = compare(old, new)
    if differences:
        raise RunError(
            f"{run}: holds another run: {'; '.join(differences)}. Resume with the run's own "
            "method, settings and data, or choose another folder."
        )
    checkpoint.sweep(run)
    there = checkpoint.steps(run)
    if there and there[-1] > settings.steps:
        raise RunError(
            f"{run}: has been trained for {there[-1]} steps, found train.steps={settings.steps}. "
            "Set it to at least that number."
        )
    if old != new:
        checkpoint.write_json(path, new)
    return checkpoint.load(run, "step", there[-1], "none/")[1] if there else None


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Where two records differ in what decides the result, as sentences."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    found = []
    for name in sorted(before.keys() | after.keys()):
        if any(name == free or name.startswith(free + ".") for free in MAY_DIFFER):
            continue
        if name not in before or name not in after or before[name] != after[name]:
            was, now = (_short(side.get(name, "nothing")) for side in (before, after))
            found.append(f"{name} was {was} and is now {now}")
    return found


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = json.loads(json.dumps(record, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise RunError(f"record: cannot be written as JSON ({error}). Use plain values.") from error
    return plain


def _leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping) and tree:
        for name, below in tree.items():
            yield from _leaves(below, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, tree


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
