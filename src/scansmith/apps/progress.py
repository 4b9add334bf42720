"""How long work shows itself: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console


class Advance(Protocol):
    """Called with how much is done, of how much, and a word on the present piece."""

    def __call__(self, done: int, total: int, text: str = "") -> None:
        """Show it."""


LINE_EVERY_S = 15.0  # a night's log stays readable, a watcher sees that it lives


@contextmanager
def shown(
    title: str, console: Console | None = None, *, every_s: float = LINE_EVERY_S
) -> Iterator[Advance]:
    """Progress of one piece of long work, on the error stream: results go to the other one.

    Args:
        every_s: seconds between lines, where there is no terminal for a bar.
    """
    console = console or Console(stderr=True)
    if not console.is_terminal:
        with lines(title, console, every_s=every_s) as advance:
            yield advance
        return
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as TimeLeftColumn

    with Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=28),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeLeftColumn(),
        TextColumn("[dim]{task.fields[text]}"),
        console=console,
    ) as bars:
        task = bars.add_task(escape(title), total=1, text="")

        def advance(done: int, total: int, text: str = "") -> None:
            bars.update(task, completed=done, total=max(total, 1), text=escape(text))

        yield advance


@contextmanager
def lines(
    title: str, console: Console | None = None, *, every_s: float = LINE_EVERY_S
) -> Iterator[Advance]:
    """The same in lines, on a terminal as well: of pieces at once, whose bars would clash."""
    console = console or Console(stderr=True)
    began = time.monotonic()
    last_at, last_done = began, -1

    def advance(done: int, total: int, text: str = "") -> None:
        nonlocal last_at, last_done
        now = time.monotonic()
        if done == last_done or (done < total and now - last_at < every_s):
            return
        last_at, last_done = now, done
        line = f"{title}: {done}/{total}" + (f", {text}" if text else "")
        console.print(f"{line} ({now - began:.0f} s)", markup=False, highlight=False)

    yield advance
