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


@pytest.mark.parametrize("whole_terminal", [False, True])
def test_ctrl_c_stops_every_process_and_begins_no_other_seed(tmp_path, whole_terminal):
    def press() -> None:
        while len(list(tmp_path.glob("begun *"))) < 2:
            time.sleep(0.01)
        if whole_terminal:  # which tells the processes as well; these leave it to the first
            for process in multiprocessing.active_children():
                os.kill(process.pid, signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        each_seed(_long, tmp_path, range(5), jobs=2)
    presser.join()
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == ["begun 0", "begun 1", "saved 0", "saved 1"]


def _short(place, seed: int) -> int:
    """Between trainings, where nothing is in the middle of a step."""
    (place / f"begun {seed}").touch()
    time.sleep(60)
    return seed


def test_ctrl_c_between_trainings_stops_at_once(tmp_path):
    def press() -> None:
        while len(list(tmp_path.glob("begun *"))) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        each_seed(_short, tmp_path, range(5), jobs=2)
    presser.join()
    assert len(list(tmp_path.glob("begun *"))) == 2
