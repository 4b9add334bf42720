"""The seeds of a study, several at once: each in a process of its own, and all stop together."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from types import FrameType
from typing import TypeVar

from scansmith.scan import SettingsError

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
    with ProcessPoolExecutor(jobs, get_context("spawn"), _listen) as pool:
        try:
            for seed in seeds:
                with suppress(BrokenProcessPool):
                    futures[seed] = pool.submit(_one, work, place, seed)
            for seed, future in futures.items():
                with suppress(BrokenProcessPool):
                    done[seed] = future.result()
        except KeyboardInterrupt:
            for future in futures.values():
                future.cancel()
            for process in active_children():
                process.terminate()
            raise
    return done


@dataclass
class _Here:
    """A process of the pool: is it at work, and was it told to stop?"""

    at_work: bool = False
    stopped: bool = False


_here = _Here()


def _listen() -> None:
    """A terminal's Ctrl-C reaches every process. The first one listens alone and tells the others.

    It tells them by SIGTERM, after which a training finishes its step: `train.conditions`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    _here.stopped = True
    if _here.at_work:
        raise KeyboardInterrupt


def _one(work: Callable[[P, int], R], place: P, seed: int) -> R:
    """One seed; a process that was stopped begins no other, though its queue may hold one."""
    if _here.stopped:
        raise KeyboardInterrupt
    _here.at_work = True
    try:
        return work(place, seed)
    except KeyboardInterrupt:
        _here.stopped = True
        raise
    finally:
        _here.at_work = False


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
