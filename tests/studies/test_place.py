"""A study's folder and its processes."""

import os
import signal
import time

from scansmith.studies.place import each_seed


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
