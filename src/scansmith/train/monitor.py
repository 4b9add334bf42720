"""What one can watch of a training: log.jsonl, TensorBoard events and loss curves."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scansmith.scan import RunError
from scansmith.train.checkpoint import write_atomic

LOG = "log.jsonl"


class Log:
    """The rows of log.jsonl, the truth, and the same numbers for TensorBoard.

    A row has `step` and `seconds` (in training, all sessions together) and either losses
    (`player.term`, their sum `player`, `running` means with decay 0.99, `watch`), or
    `validation`, or a `note`.
    """

    def __init__(self, run: Path, step: int):
        """Go on after `step`: later rows belong to steps that will be done again."""
        self.path = run / LOG
        with _writing(self.path):
            run.mkdir(parents=True, exist_ok=True)
            self._forget_after(step)
            self.file = open(self.path, "ab", buffering=0)  # noqa: SIM115
            self.board = _Board(run / "tensorboard", step)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *error: object) -> None:
        self.board.close()
        self.file.close()

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row; values that are not finite become null."""
        with _writing(self.path):
            line = (json.dumps(_finite(row), allow_nan=False) + "\n").encode()
            while line:
                line = line[self.file.write(line) :]
            self.board.write(row)

    def note(self, step: int, text: str) -> None:
        """Add a sentence for the reader."""
        self.write({"step": step, "note": text})

    def sync(self) -> None:
        """Make all rows durable."""
        with _writing(self.path):
            os.fsync(self.file.fileno())

    def _forget_after(self, step: int) -> None:
        if not self.path.exists():
            return
        kept = [json.dumps(row) + "\n" for row in read_rows(self.path) if row["step"] <= step]
        text = "".join(kept)
        if text != self.path.read_text(encoding="utf-8", errors="replace"):
            write_atomic(self.path, lambda temporary: _write_text(temporary, text))


class _Board:
    """TensorBoard's event file, written at once and in this thread, so that errors surface."""

    def __init__(self, folder: Path, step: int):
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = event_pb2, summary_pb2
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns() // 10**9}.{step}.{os.getpid()}"
        self.file = open(folder / name, "ab", buffering=0)  # noqa: SIM115
        self._records = RecordWriter(self.file)
        self._put(file_version="brain.Event:2")
        if step:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._put(step=step + 1, session_log=start)

    def write(self, row: Mapping[str, Any]) -> None:
        values = [
            self._summary.Summary.Value(tag=tag, simple_value=value) for tag, value in _tags(row)
        ]
        if values:
            self._put(step=row["step"], summary=self._summary.Summary(value=values))

    def close(self) -> None:
        self.file.close()

    def _put(self, **what: Any) -> None:
        event = self._event.Event(wall_time=time.time(), **what)
        self._records.write(event.SerializeToString())


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a log; a line that a killed process left unfinished is skipped."""
    rows = []
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and isinstance(row.get("step"), int):
                rows.append(row)
    return rows


def draw_curves(run: Path, log_y: bool | None = None) -> Path:
    """Draw curves.png: a panel for each player, its terms raw (pale) and running (full colour).

    Args:
        log_y: logarithmic axes; None: where all terms are positive and span a factor of 20.
    Raises:
        RunError: it cannot be written.
    """
    from matplotlib.figure import Figure

    rows = [row for row in read_rows(run / LOG) if isinstance(row.get("running"), dict)]
    rows = rows[:: max(1, len(rows) // 2000)]
    names = list(dict.fromkeys(name for row in rows for name in row["running"]))
    players = [name for name in names if any(n.startswith(name + ".") for n in names)]
    height = 3.0 * max(1, len(players))  # inches; margins by hand, automatic ones are slow
    figure = Figure(figsize=(6.4, height))
    figure.subplots_adjust(0.11, 0.5 / height, 0.97, 1 - 0.3 / height, hspace=0.35)
    for number, player in enumerate(players, 1):
        axes = figure.add_subplot(len(players), 1, number)
        terms = [name for name in names if name.startswith(player + ".")]
        seen: list[float] = []
        for term in terms if len(terms) == 1 else [*terms, player]:
            points = [
                (r["step"], r[term], r["running"][term])
                for r in rows
                if isinstance(r.get(term), float) and isinstance(r["running"].get(term), float)
            ]
            if not points:
                continue
            x, raw, mean = zip(*points, strict=True)
            label = term.removeprefix(player + ".") if term != player else "sum"
            (line,) = axes.plot(x, mean, label=label, linewidth=1.4)
            axes.plot(x, raw, color=line.get_color(), alpha=0.25, linewidth=0.8)
            seen += [*raw, *mean]
        positive = (
            bool(seen)
            and min(seen) > 0
            and (max(seen) > 20 * min(seen) if log_y is None else log_y)
        )
        axes.set_yscale("log" if positive else "linear")
        axes.set_title(player, loc="left", fontsize=10)
        axes.set_xlabel("step")
        axes.legend(fontsize=8, frameon=False)
        axes.grid(alpha=0.2)
    path = run / "curves.png"
    write_atomic(path, lambda temporary: figure.savefig(temporary, dpi=110, format="png"))
    return path


def _tags(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}/{below}", number) for below, number in value.items())
        elif isinstance(value, float) and name != "seconds":
            player, _, term = name.partition(".")
            yield f"losses/{player}/{term or 'sum'}", value


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(below) for name, below in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{path}: could not be written ({error}). Free disk space or mend the folder's rights, "
            "then go on with resume; the last checkpoint is whole."
        ) from error
