"""The area under the ROC curve of one arm above another's: by pairs, patient by patient."""

from __future__ import annotations

import numpy as np
import pytest

from scansmith.evaluate.classification_scores import scores
from scansmith.studies.auc_gains import areas, auc_gain


def training(**patients):
    """patient -> (class, probability) of each slice."""
    return {
        f"{patient}/scan/{n:04}": {"abnormal": float(kind), "chance": chance}
        for patient, slices in patients.items()
        for n, (kind, chance) in enumerate(slices)
    }


ONE = training(a=[(1, 0.9), (0, 0.1)], b=[(1, 0.4), (0, 0.6)])
FLAT = training(a=[(1, 0.5), (0, 0.5)], b=[(1, 0.5), (0, 0.5)])


def test_areas_are_shares_of_pairs_that_are_in_order():
    """Of the pairs .9 > .1, .9 > .6 and .4 > .1 are in order, .4 and .6 are not; of b alone none.

    With b twice it is 1 of a's own, 2 + 2 of one each and 0 of the 4 of b's, of 9.
    """
    weights = np.array([[1, 1], [0, 2], [1, 2], [2, 0]])
    assert areas(ONE, ["a", "b"], weights).tolist() == pytest.approx([3 / 4, 0, 5 / 9, 1])
    assert areas(FLAT, ["a", "b"], weights).tolist() == [0.5] * 4  # nothing but ties
    healthy = training(a=[(1, 0.9)], b=[(0, 0.6)])
    found = areas(healthy, ["a", "b"], weights)
    assert np.isnan(found).tolist() == [False, True, False, True]


def test_the_area_is_that_of_the_table_above_it():
    rng = np.random.default_rng(0)
    truth, chance = rng.integers(2, size=60), rng.integers(8, size=60) / 8  # with ties
    one = training(**{name: list(zip(truth[n::3], chance[n::3], strict=True))
                      for n, name in enumerate("abc")})  # fmt: skip
    found = areas(one, ["a", "b", "c"], np.ones((1, 3), int))
    assert found[0] == pytest.approx(scores(truth, chance)["auc"])


def test_gains_are_seed_by_seed_with_an_interval_over_patients():
    """Seed 0 has 3/4 above 1/2, seed 1 has 1/2 above 3/4."""
    found = auc_gain([ONE, FLAT], [FLAT, ONE])
    assert found["each"] == pytest.approx([0.25, -0.25])
    assert found["mean"] == pytest.approx(0)
    assert found["sd"] == pytest.approx(0.25 * np.sqrt(2))
    alone = auc_gain([ONE], [FLAT])
    assert alone["sd"] is None
    assert alone["interval"] == pytest.approx([-0.5, 0.5])  # b alone or a alone, a quarter each
    nobody = training(a=[(1, 0.9)])
    assert auc_gain([nobody], [nobody]) == {
        "mean": None, "sd": None, "interval": None, "each": [None],
    }  # fmt: skip
