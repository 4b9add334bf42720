"""The folder that synthetic cases go to: nothing half written, nothing twice, shards side by side.

A case is written into a staging folder, moved into place file by file, and only then gets its row
in a provenance file. So a row stands for whole files; files without a row are made again, to the
same bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from scansmith.scan import RunError
from scansmith.synthesize.provenance import (
    Row,
    append_row,
    read_rows,
    row_line,
    sha256,
    write_text,
)

PLAN = "synthesis.json"
ROWS = "provenance.jsonl"
_SHARD_ROWS = "provenance.shard-{}-of-{}.jsonl"
_STAGING = ".unfinished-{}-of-{}"
_GROWS = ("cases", "versions")  # parts of a plan that may differ when it is taken up again
_STALE_S = 3600.0  # no shard takes so long to write one file
_INDEX_SHARE = 0.01  # of the time goes into keeping dataset.json up to date


class Folder:
    """An output folder, as one process (one shard) sees it.

    Args:
        plan: what is asked for, JSON-able; the same for every process that works on the folder.
        shard: (i, n): this process makes part i of n, counted from 1.
        resume: go on with what is there.
    Raises:
        RunError: the folder holds something else.
    """

    def __init__(self, path: Path, plan: dict[str, Any], shard: tuple[int, int], resume: bool):
        self.path, self.plan, self.shard = path, plan, shard
        self.own = path / (ROWS if shard[1] == 1 else _SHARD_ROWS.format(*shard))
        self.staging = path / _STAGING.format(*shard)
        self._lock = threading.Lock()
        self._indexed = (0.0, 0.0)  # when, and for how many seconds
        self._check(resume)
        self.leave()
        self.staging.mkdir(parents=True)
        self.put_text(PLAN, json.dumps(plan, indent=2, sort_keys=True) + "\n")

    def _check(self, resume: bool) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path}: is a file, expected a folder. Choose another --out.")
        inside = self.path.iterdir() if self.path.is_dir() else ()
        held = sorted(p.name for p in inside if not p.name.startswith("."))
        beside = self.shard[1] > 1 and PLAN in held and not self.own.exists()
        if held and PLAN not in held:
            raise RunError(
                f"{self.path}: holds {', '.join(held[:3])} but no {PLAN}, expected an empty folder "
                "or a data set begun here. Choose another --out."
            )
        if held and not resume and not beside:
            raise RunError(
                f"{self.path}: holds a synthetic data set already, expected an empty folder. "
                "Choose another --out, or go on with --resume."
            )
        if held:
            self._compare(_read_plan(self.path / PLAN), json.loads(json.dumps(self.plan)))

    def _compare(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        differ = sorted(k for k in {*old, *new} - {*_GROWS} if old.get(k) != new.get(k))
        if differ:
            raise RunError(
                "\n".join(
                    f"{self.path}: was begun with {name} {old.get(name)!r}, found "
                    f"{new.get(name)!r}. Go on with the same {name}, or choose another --out."
                    for name in differ
                )
            )
        if old["cases"] > new["cases"]:
            raise RunError(
                f"{self.path}: was begun for {old['cases']} cases, found {new['cases']}. Ask for "
                "as many or more, or choose another --out."
            )

    def rows(self) -> dict[int, Row]:
        """Every row of every shard, by case number."""
        # Shards first: they are removed only after the joined file has been put in place.
        files = [path for path in (*self._shards(), self.path / ROWS) if path != self.own]
        return _by_number(row for path in (*files, self.own) for row in read_rows(path))

    def made(self, numbers: Iterable[int]) -> set[int]:
        """Those of `numbers` whose files are all there, byte for byte; others lose their row."""
        wanted, rows = set(numbers), self.rows()
        whole = {n for n in wanted & rows.keys() if self._is_whole(rows[n])}
        if self.own.exists():
            kept = _by_number(read_rows(self.own))
            self._put_rows(self.own, {n: kept[n] for n in kept if n in whole or n not in wanted})
        return whole

    def _is_whole(self, row: Row) -> bool:
        for name, expected in row["files"].items():
            path = self.path / name
            if not path.is_file() or sha256(path) != expected:
                return False
        return True

    def place(self, staged: Iterable[Path], row: Row) -> None:
        """Move a case's files from the staging folder to their places, then write its row."""
        files = {}
        for path in staged:
            name = path.relative_to(self.staging)
            files[name.as_posix()] = sha256(path)
            self._put(path, self.path / name)
        with self._lock:
            append_row(self.own, row | {"files": dict(sorted(files.items()))})

    def put_text(self, name: str, text: str) -> None:
        """Write a text file so that it is never seen half written."""
        unfinished = self.staging / f"{name}.text"
        write_text(unfinished, text)
        self._put(unfinished, self.path / name)

    def _put(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)

    def _put_rows(self, path: Path, rows: dict[int, Row]) -> None:
        self.put_text(path.name, "".join(row_line(rows[number]) for number in sorted(rows)))

    def index(self, write: Callable[[list[Row]], None], *, at_once: bool) -> None:
        """Bring dataset.json and the data card up to date.

        Args:
            write: called with the rows there are; again if other shards added some meanwhile.
            at_once: do it now; else only if it has not been done for a while.
        """
        with self._lock:
            when, took = self._indexed
            if not at_once and time.monotonic() - when < took / _INDEX_SHARE:
                return
            began = time.monotonic()
            rows = None
            while rows != (now := self.rows()):
                write([now[number] for number in sorted(now)])
                rows = now
            self._indexed = (time.monotonic(), time.monotonic() - began)

    def finish(self) -> bool:
        """Join the shards' rows into one sorted file if every case is there; says whether."""
        shards, rows = self._shards(), self.rows()
        complete = rows.keys() >= set(range(_read_plan(self.path / PLAN)["cases"]))
        if complete:
            self._put_rows(self.path / ROWS, rows)
            for path in shards:
                path.unlink(missing_ok=True)
        self.leave()
        return complete

    def leave(self) -> None:
        """Remove what is unfinished: of this shard, or of all if no other can be at work."""
        alone = self.shard[1] == 1
        for path in self.path.glob(_STAGING.format("*", "*")) if alone else [self.staging]:
            shutil.rmtree(path, ignore_errors=True)
        for path in self.path.glob(".*.part"):  # of a dataset.json, when killed in mid-write
            with contextlib.suppress(FileNotFoundError):
                if alone or time.time() - path.stat().st_mtime > _STALE_S:
                    path.unlink()

    def _shards(self) -> list[Path]:
        return sorted(self.path.glob(_SHARD_ROWS.format("*", "*")))


def _read_plan(path: Path) -> dict[str, Any]:
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        return plan | {"cases": int(plan["cases"])}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"{path}: cannot be read as the plan of a data set ({error}). Choose another --out."
        ) from error


def _by_number(rows: Iterable[Row]) -> dict[int, Row]:
    return {row["number"]: row for row in rows}
