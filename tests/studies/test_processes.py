"""Seeds in processes: what a kill and what Ctrl-C cost."""

import multiprocessing
import os
import signal
import threading
import time

import pytest

from scansmith.studies.processes import each_seed
from scansmith.train.conditions import Interrupt


def _killed_beside_others(place, seed: int) -> int:
    """As memory running out does: seed 1 is killed the first time, seed 2 always."""
    mark = place / "killed once"
    if seed == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == 2:
        while not mark.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    return 10 * seed


def test_a_killed_process_costs_its_own_seed_alone(tmp_path):
    assert each_seed(_killed_beside_others, tmp_path, (1, 2), jobs=2) == [10, None]


def _long(place, seed: int) -> int:
    """As a training: it goes on until it is asked to stop, then finishes its step and saves."""
    with Interrupt() as interrupt:
        (place / f"begun {seed}").touch()
        for _ in range(6000):
            time.sleep(0.01)
            if interrupt.asked:
                (place / f"saved {seed}").touch()
                raise KeyboardInterrupt
    return seed


def _press(tmp_path, number, to_all: bool) -> threading.Thread:
    """Send a signal to this process, or to its children as well, once two seeds are at work."""

    def press() -> None:
        until = time.monotonic() + 120
        while len(list(tmp_path.glob("begun *"))) < 2:
            if time.monotonic() > until:
                return  # nobody began: the test fails instead of waiting for ever
            time.sleep(0.01)
        for process in multiprocessing.active_children() if to_all else ():
            os.kill(process.pid, number)
        os.kill(os.getpid(), signal.SIGINT)  # what SIGTERM becomes in the command line's process

    presser = threading.Thread(target=press)
    presser.start()
    return presser


@pytest.mark.usefixtures("heeded_signals")
@pytest.mark.parametrize(
    ("number", "to_all"),
    [(signal.SIGINT, False), (signal.SIGINT, True), (signal.SIGTERM, True)],
    ids=["the first alone", "a terminal's Ctrl-C", "a scheduler's SIGTERM"],
)
def test_who_is_stopped_saves_its_step_and_begins_no_other_seed(tmp_path, number, to_all):
    presser = _press(tmp_path, number, to_all)
    with pytest.raises(KeyboardInterrupt):
        each_seed(_long, tmp_path, range(5), jobs=2)
    presser.join()
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == ["begun 0", "begun 1", "saved 0", "saved 1"]


def _killed_beside_one_at_work(place, seed: int) -> int:
    """Seed 1 is killed while seed 0 is at work. The pool stops that, too, if it notices in time."""
    saved, mark = place / "saved 0", place / "killed once"
    if seed == 0 and not saved.exists():
        with Interrupt() as interrupt:
            (place / "begun 0").touch()
            for _ in range(200):
                time.sleep(0.01)
                if interrupt.asked:
                    saved.touch()
                    raise KeyboardInterrupt
    if seed == 1 and not mark.exists():
        while not (place / "begun 0").exists():
            time.sleep(0.01)
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 10 * seed


def test_who_was_at_work_beside_a_killed_process_is_not_lost(tmp_path):
    assert each_seed(_killed_beside_one_at_work, tmp_path, (0, 1), jobs=2) == [0, 10]
