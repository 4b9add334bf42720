"""Label-value Dice and MSE by hand."""

import numpy as np
import pytest

from scansmith.evaluate.label_value import label_value_dice, label_value_mse
from scansmith.scan import DataError


def test_dice_is_taken_on_the_label_numbers():
    real, made = np.array([[0, 4], [2, 0]]), np.array([[0, 4], [1, 1]])
    # 2 (4 x 4 + 2 x 1) / ((16 + 4) + (16 + 1 + 1)) = 36 / 38
    assert label_value_dice(real, made) == pytest.approx(36 / 38, abs=1e-6)
    assert label_value_dice(real.astype(np.uint8), made.astype(np.int16)) == pytest.approx(
        36 / 38, abs=1e-6
    )


def test_large_numbers_do_not_overflow_small_types():
    labels = np.full((64, 64), 200, np.uint8)
    assert label_value_dice(labels, labels) == 1
    assert label_value_mse(np.zeros_like(labels), labels) == 200**2


def test_an_empty_slice_found_empty_scores_one_and_a_missed_one_nothing():
    empty, full = np.zeros((4, 4)), np.ones((4, 4))
    assert label_value_dice(empty, empty) == 1
    assert label_value_dice(full, empty) == pytest.approx(1e-5 / 16)


def test_mse_is_taken_on_the_label_numbers():
    # (0, 0, 1, -1)
    assert label_value_mse(np.array([[0, 4], [2, 0]]), np.array([[0, 4], [1, 1]])) == 0.5


def test_other_grids_are_refused():
    with pytest.raises(DataError, match="grids"):
        label_value_dice(np.zeros((2, 2)), np.zeros((2, 3)))
