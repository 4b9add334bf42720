"""Exchanged patients: those without a lesion are not exchanged for those who have one."""

import numpy as np
import pytest

from scansmith.evaluate.privacy import statistics
from scansmith.evaluate.privacy.exchange import exchange_tests
from scansmith.evaluate.privacy.lines import Line
from scansmith.evaluate.privacy.neighbours import Nearness

SIDE, MADE = 22, 25
TRAINED = np.arange(2 * SIDE) < SIDE


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Fewer exchanges: p can still be as low as 0.005."""
    monkeypatch.setattr(statistics.exchanged, "__defaults__", (199,))


def first(train, holdout):
    """bool (P,): the first so many patients of each side."""
    return (np.arange(2 * SIDE) < train) | ((np.arange(2 * SIDE) - SIDE < holdout) & ~TRAINED)


def line(name, across, who):
    """A line of evidence from distances (n, P) to all patients, of the patients who have it."""
    rng, count = np.random.default_rng(0), int(who.sum())
    real = rng.random((count, count)) + np.diag(np.full(count, np.inf))
    own, across = tuple(f"p{n}" for n in np.flatnonzero(who)), across[:, who]
    rows, columns = np.arange(len(across)), np.arange(count)
    near = Nearness(across, np.ones(across.shape, bool), {})
    pieces = np.zeros(len(across), int), np.zeros(count, int)
    return Line(name, rows, columns, pieces, near, real, across.min(axis=0), own, own, TRAINED[who])


def exchange_of(lesion, seed, whole=1.0, box=1.0):
    """Random distances, of whole images and lesions; `whole` and `box` (P,) make them smaller."""
    rng = np.random.default_rng(seed)
    distances = rng.random((2, MADE, 2 * SIDE))
    everybody = np.ones(2 * SIDE, bool)
    lines = [line("whole", distances[0] * whole, everybody)]
    return exchange_tests([*lines, line("lesion", distances[1] * box, lesion)], seed)


def test_a_few_patients_with_a_lesion_are_no_leak():
    """Of all ways to divide 44 patients one in 116 puts the 8 who have a lesion on one side."""
    found = [exchange_of(first(4, 4), seed) for seed in range(10)]
    p = np.array([one["p"] for one in found])
    assert (p < 0.05).sum() < 3  # of ten p values of chance: three with a probability of 0.01
    assert 0.2 < np.median(p) < 0.8
    for one in found:
        assert one["sd"]["lesion: share"] > 0
        assert one["critical"] > 1.6  # one look alone has 1.64


def test_a_leaning_of_lesions_is_noticed_though_few_patients_have_one():
    found = exchange_of(first(8, 8), 0, box=np.where(TRAINED, 0.1, 1.0))
    assert found["p"] < 0.01
    assert found["each"]["lesion: share"] == found["p"]
    assert found["each"]["whole: share"] > 0.05


def test_a_lesion_that_is_commoner_in_training_patients_is_no_leaning():
    """Everything synthetic shows a lesion, and is like those who have one: 20 of 22 training
    patients, 5 of 22 hold-out patients. Who of them was trained on makes no difference.
    """
    lesion = first(20, 5)
    found = [exchange_of(lesion, seed, whole=np.where(lesion, 0.01, 1.0)) for seed in range(5)]
    assert min(one["p"] for one in found) > 0.01
    # The nearest is nearly always one of the 25, and of these 20 are training patients.
    means = [one["mean"]["whole: share"] for one in found]
    assert means == pytest.approx([0.8] * 5, abs=0.03)
