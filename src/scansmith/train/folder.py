"""The run folder: whose it is, and whether a training may go on in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import reduce
from pathlib import Path
from typing import Any

from scansmith.game import Player
from scansmith.scan import RunError
from scansmith.settings import TrainSettings
from scansmith.train import checkpoint
from scansmith.train.checkpoint import Progress

STEPS = "settings.train.steps"

MAY_DIFFER = (
    "versions.*",
    "store",
    "store.path",
    "store_path",
    "created",
    "command",
    "host",
    "loop.*",
    STEPS,
    "settings.train.device",
    "settings.train.threads",
    "settings.train.keep",
)
"""Parts of a record that do not decide what a step comes to; `.*` stands for all below.

The store may have moved: its content is known by its fingerprint. The number of steps decides
where a player's learning rate follows it; then `open_run` compares the rates.
"""


@contextmanager
def held(run: Path) -> Iterator[None]:
    """Keep other processes from training in a folder; the system lets go when this one dies.

    Raises:
        RunError: another process trains here, or the folder cannot be made.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        file = open(run / ".lock", "a")  # noqa: SIM115
    except OSError as error:
        raise RunError(
            f"{run}: cannot be a run folder ({error.strerror}). Choose another."
        ) from error
    with file:
        try:
            _lock(file.fileno())
        except BlockingIOError as error:
            raise RunError(
                f"{run}: another process trains here. Wait for it, or choose another folder."
            ) from error
        yield


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(*error.args) from error
    else:
        import fcntl

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # a network folder without locks: go on without
            return


def open_run(
    run: Path,
    record: Mapping[str, Any],
    settings: TrainSettings,
    threads: int,
    resume: bool,
    players: Sequence[Player] = (),
) -> Progress | None:
    """Take a folder for a training, and say where it goes on.

    Args:
        players: theirs are the rates that may follow the number of steps.
    Returns:
        The numbers of the last checkpoint; None: start from nothing.
    Raises:
        RunError: the folder holds a run and `resume` is off, or it holds another run, or one that
            has gone further than `settings.steps`, or learned at other rates than these ask for.
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
        foreign = sorted(f.name for f in run.iterdir() if not f.name.startswith("."))
        if foreign and not holds:
            raise RunError(
                f"{run}: found {', '.join(foreign[:3])}, expected a new or empty folder for the "
                "run. Choose another folder."
            )
        if checkpoint.steps(run):
            raise RunError(
                f"{run}: found checkpoints without run.json. Restore run.json, or choose another "
                "folder."
            )
        checkpoint.write_json(path, new)
        return None
    old = checkpoint.read_json(path)
    _refuse_another(run, old, new)
    checkpoint.sweep(run)
    there = checkpoint.steps(run)
    if there and there[-1] > settings.steps:
        raise RunError(
            f"{run}: has been trained for {there[-1]} steps, found train.steps={settings.steps}. "
            "Set it to at least that number."
        )
    start = checkpoint.load(run, "step", there[-1], "none/")[1] if there else None
    if start is not None and start.step:
        _refuse_other_rates(run, start, players, old, new)
    if old != new:
        checkpoint.write_json(path, new)
    return start


def begun_alike(run: Path, told: Mapping[str, Any]) -> None:
    """Refuse a run that was begun with other settings, before anything else is done.

    Args:
        told: parts of the record that a training would go on with, by dotted names.
    Raises:
        RunError: run.json has another value of any of them.
    """
    old = checkpoint.read_json(run / "run.json")
    before = {
        name: reduce(lambda part, key: part.get(key, {}), name.split("."), old) for name in told
    }
    _refuse_another(run, before, _plain(told))


def _refuse_another(run: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    differences = compare(old, new)
    if differences:
        more = f" and {len(differences) - 8} more" if len(differences) > 8 else ""
        raise RunError(
            f"{run}: holds another run: {'; '.join(differences[:8])}{more}. Resume with the run's "
            "own method, settings and data, or choose another folder."
        )


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Where two records differ in what decides the result, as sentences."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    found = []
    for name in sorted(before.keys() | after.keys()):
        if any(fnmatchcase(name, free) for free in MAY_DIFFER):
            continue
        if name not in before or name not in after or before[name] != after[name]:
            was, now = (
                _short(side[name]) if name in side else "absent" for side in (before, after)
            )
            found.append(f"{name} was {was} and is now {now}")
    return found


def _refuse_other_rates(
    run: Path,
    start: Progress,
    players: Sequence[Player],
    old: Mapping[str, Any],
    new: Mapping[str, Any],
) -> None:
    """Refuse other steps where a rate falls over all of them, and has begun to.

    What was learned at the last step is compared; a checkpoint that does not say it, of an earlier
    version, goes on with as many steps alone.
    """
    began, found = (dict(_leaves(record)).get(STEPS) for record in (old, new))
    others = []
    for player in players:
        if player.rate is not None:
            now = player.rate(start.step)
            was = start.rates.get(player.name, now if began == found else None)
            if was != now:
                others.append(player.name)
    if others:
        raise RunError(
            f"{run}: begun for {began} steps, found train.steps={found}, but the learning rate of "
            f"{', '.join(others)} follows the number of steps and would have been another one at "
            f"step {start.step}. Go on with train.steps={began}, or train anew in another folder."
        )


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
