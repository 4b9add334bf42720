"""Classifiers compared: counts and measures by hand, pairing by patient and by training."""

from __future__ import annotations

import numpy as np
import pytest

from scansmith.evaluate.classification_scores import scores
from scansmith.evaluate.confusion import gains, means, measures, table_of


def test_counts_by_hand():
    found = table_of([("a", 1, 0.5), ("a", 1, 0.4), ("a", 0, 0.9), ("b", 0, 0.1), ("b", 1, 1.0)])
    assert found["a"].tolist() == [1, 1, 1, 0]
    assert found["b"].tolist() == [1, 0, 0, 1]


def test_measures_by_hand():
    # 6 found, 2 wrongly, 4 missed, 8 rightly left: 6/8, 6/10, 12/18, 14/20
    found = {name: float(value) for name, value in measures(np.array([6, 2, 4, 8])).items()}
    assert found == pytest.approx({"precision": 0.75, "recall": 0.6, "f1": 2 / 3, "accuracy": 0.7})
    nothing = measures(np.array([0, 0, 0, 5]))
    assert np.isnan([nothing[name] for name in ("precision", "recall", "f1")]).all()
    assert nothing["accuracy"] == 1


def test_they_are_those_of_a_single_training():
    rng = np.random.default_rng(0)
    truth, chance = rng.integers(0, 2, 40), rng.random(40)
    slices = [(f"p{n % 7}", int(t), float(c)) for n, (t, c) in enumerate(zip(truth, chance))]  # noqa: B905
    found, expected = means([table_of(slices)]), scores(truth, chance)
    for name, told in found.items():
        assert told["mean"] == pytest.approx(expected[name])
        assert told["sd"] is None


def table(**counts):
    return {name: np.array(each) for name, each in counts.items()}


def test_means_and_sd_are_over_trainings():
    found = means([table(a=[1, 1, 0, 0], b=[1, 1, 0, 0]), table(a=[4, 0, 0, 0])])
    # precision 2/4 and 4/4
    assert found["precision"]["each"] == [0.5, 1.0]
    assert found["precision"]["mean"] == 0.75
    assert found["precision"]["sd"] == pytest.approx(np.sqrt(0.125))


def test_gains_are_paired_so_that_what_patients_share_cancels():
    easy, hard = [9, 1, 1, 9], [5, 5, 5, 5]
    plain = [table(**{f"e{n}": easy for n in range(5)}, **{f"h{n}": hard for n in range(5)})]
    better = [{name: np.add(counts, [1, -1, -1, 1]) for name, counts in plain[0].items()}]
    above = gains(better, plain)["accuracy"]
    assert above["mean"] == pytest.approx(0.1)  # 2 of 20 slices of every patient
    assert above["interval"] == pytest.approx([0.1, 0.1])
    low, high = means(better)["accuracy"]["interval"]
    assert high - low > 0.1  # patients differ
    same = gains(plain, plain)
    assert all(told["mean"] == 0 and told["interval"] == [0, 0] for told in same.values())


def test_one_patient_has_no_interval_and_repeats_may_test_others():
    alone = means([table(a=[1, 1, 1, 1])])
    assert alone["f1"] == {"mean": 0.5, "sd": None, "interval": None, "each": [0.5]}
    first = [table(a=[1, 0, 0, 1]), table(b=[0, 1, 1, 0])]
    found = gains(first, [table(a=[0, 1, 1, 0]), table(b=[0, 1, 1, 0])])
    assert found["accuracy"]["each"] == [1.0, 0.0]
    assert found["accuracy"]["mean"] == 0.5
    assert found["accuracy"]["interval"] == [0.0, 1.0]  # a alone, or b alone
