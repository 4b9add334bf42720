"""The seeds of a study, several at once: each in a process of its own, and all stop together."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from typing import TypeVar

from scansmith.scan import SettingsError
from scansmith.train.conditions import listen_to

P = TypeVar("P")
R = TypeVar("R")


def each_seed(
    work: Callable[[P, int], R], place: P, seeds: Sequence[int], jobs: int = 1
) -> list[R | None]:
    """What `work` gives under each seed, `jobs` of them at once, each in a process of its own.

    A process that is killed (memory, mostly) takes those beside it along. Seeds that are not done
    then go on one after another; None for one that is killed again.

    Raises:
        KeyboardInterrupt: after Ctrl-C. Trainings at work have finished their step and saved it,
            and no other seed was begun.
    """
    if jobs <= 1:
        return [work(place, seed) for seed in seeds]
    done = _pooled(work, place, seeds, jobs)
    for seed in seeds:
        if seed not in done:
            done |= _pooled(work, place, [seed], 1)
    return [done.get(seed) for seed in seeds]


def _pooled(work: Callable[[P, int], R], place: P, seeds: Sequence[int], jobs: int) -> dict[int, R]:
    done, futures = dict[int, R](), dict[int, Future[R]]()
    context = get_context("spawn")
    stop = context.Event()
    with ProcessPoolExecutor(jobs, context, _begin, (stop,)) as pool:
        try:
            for seed in seeds:
                with suppress(BrokenProcessPool):
                    futures[seed] = pool.submit(_one, work, place, seed)
            for seed, future in futures.items():
                with suppress(BrokenProcessPool):
                    done[seed] = future.result()
        except KeyboardInterrupt:
            stop.set()
            for future in futures.values():
                future.cancel()
            raise
    return done


_stop: list[Event] = []
"""Of a process of the pool: set once it is to stop."""


def _begin(stop: Event) -> None:
    """A terminal's Ctrl-C reaches every process. The first one listens alone and tells the others.

    It does not tell them by a signal: the pool sends one itself to those that are left where one is
    killed, and some schedulers signal them all.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _stop.append(stop)
    listen_to(stop.is_set)


def _one(work: Callable[[P, int], R], place: P, seed: int) -> R:
    """One seed; a process that is to stop begins no other, though its queue may hold one."""
    (stop,) = _stop
    if stop.is_set():
        raise KeyboardInterrupt
    try:
        return work(place, seed)
    except KeyboardInterrupt:
        if (
            not stop.is_set()
        ):  # SIGTERM: its training is saved, and whoever sent it waits for the end
            os._exit(128 + signal.SIGTERM)
        raise


def killed(seed: int) -> str:
    """A line about a seed without a result of `each_seed`."""
    return (
        f"seed {seed}: its process was killed twice, as happens where memory runs out. What it had "
        "finished is kept; the same command with --jobs 1 goes on."
    )


def check_seeds(seeds: Sequence[int], jobs: int) -> None:
    """Raises SettingsError unless the seeds differ and there is a job at least."""
    if not seeds or len(set(seeds)) < len(seeds) or jobs < 1:
        raise SettingsError(
            f"study: found seeds {', '.join(map(str, seeds)) or 'none'} and {jobs} jobs, expected "
            "seeds that differ and one job at least. For example --seeds 3 --jobs 1."
        )
