"""Overlap: Dice by hand and against MONAI, the regions of BraTS, patients with several cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from scansmith.evaluate.overlap import by_patient, dice, dice_of_masks, regions
from scansmith.scan import DataError

BRATS = ("background", "necrosis", "oedema", "enhancing")


def square(start, side=4, grid=8):
    mask = np.zeros((grid, grid), bool)
    mask[start : start + side, start : start + side] = True
    return mask


def test_a_square_moved_by_half_its_side_each_way_overlaps_in_a_quarter():
    # 4 x 4 against 4 x 4, common 2 x 2: 2 * 4 / (16 + 16).
    assert dice_of_masks(square(0), square(2)) == 0.25
    assert dice_of_masks(square(0), square(0)) == 1.0


def test_both_empty_says_nothing_and_one_empty_is_a_miss():
    empty = np.zeros((8, 8), bool)
    assert math.isnan(dice_of_masks(empty, empty))
    assert dice_of_masks(square(0), empty) == 0.0
    assert dice_of_masks(empty, square(0)) == 0.0


def test_structures_are_scored_by_name_and_the_absent_one_does_not_enter_the_mean():
    true = np.zeros((8, 8), int)
    true[square(0)], pred = 1, np.zeros((8, 8), int)
    pred[square(2)] = 1
    pred[0, 7] = 3
    found = dice(true, pred, ("background", "liver", "tumour", "vessel"))
    assert list(found) == ["liver", "tumour", "vessel", "mean"]
    assert found["liver"] == 0.25
    assert math.isnan(found["tumour"])
    assert found["vessel"] == 0.0  # found where there is none
    assert found["mean"] == (0.25 + 0.0) / 2


def test_context_is_not_scored():
    labels = np.arange(4).reshape(2, 2)
    found = dice(labels, labels, ("background", "liver", "context 1", "context 2"))
    assert list(found) == ["liver", "mean"]


def test_regions_of_a_brain_tumour_by_hand():
    #        necrosis 1, oedema 2, enhancing 3
    true = np.array([1, 1, 2, 2, 3, 3, 0, 0])
    pred = np.array([3, 1, 2, 0, 3, 2, 2, 0])
    found = dice(true, pred, BRATS)
    assert found["necrosis"] == 2 * 1 / (2 + 1)
    assert found["oedema"] == 2 * 1 / (2 + 3)
    assert found["enhancing"] == 2 * 1 / (2 + 2)
    assert found["whole tumour"] == 2 * 5 / (6 + 6)
    assert found["tumour core"] == 2 * 3 / (4 + 3)  # voxels 0, 1, 4 of {0, 1, 4, 5}, {0, 1, 4}
    assert found["enhancing tumour"] == found["enhancing"]
    assert found["mean"] == pytest.approx((2 / 3 + 2 / 5 + 1 / 2) / 3)


def test_non_enhancing_core_is_core_where_a_data_set_tells_it_apart():
    names = ("background", "necrosis", "oedema", "non-enhancing", "enhancing")
    assert regions(names) == {
        "whole tumour": (1, 2, 3, 4),
        "tumour core": (1, 3, 4),
        "enhancing tumour": (4,),
    }
    assert regions(("background", "liver", "tumour")) == {}


def test_dice_is_monais():
    from monai.metrics import compute_dice

    rng = np.random.default_rng(0)
    true, pred = rng.integers(0, 4, (2, 6, 7, 8))
    true[true == 3] = pred[pred == 3] = 0  # a structure that is in neither
    hot = [
        torch.nn.functional.one_hot(torch.from_numpy(x), 4).movedim(-1, 0)[None]
        for x in (pred, true)
    ]
    theirs = compute_dice(*hot, include_background=False)[0].numpy()
    ours = dice(true, pred, ("background", "a", "b", "c"))
    np.testing.assert_allclose([ours[name] for name in "abc"], theirs, rtol=1e-6)
    assert math.isnan(theirs[2])


def test_a_patient_counts_once_however_many_cases_there_are():
    scores = {
        "ann/1": {"liver": 0.5, "tumour": float("nan")},
        "ann/2": {"liver": 0.7, "tumour": 0.2},
        "bob/1": {"liver": 0.9, "tumour": float("nan")},
    }
    found = by_patient(scores)
    assert found["ann"] == {"liver": pytest.approx(0.6), "tumour": 0.2}
    assert found["bob"]["liver"] == 0.9
    assert math.isnan(found["bob"]["tumour"])


def test_other_grids_and_unknown_indices_are_refused():
    labels = np.zeros((2, 2), int)
    with pytest.raises(DataError, match=r"\(2, 2\) and predicted labels \(2, 3\)"):
        dice(labels, np.zeros((2, 3), int), BRATS)
    with pytest.raises(DataError, match="predicted labels from 0 to 4, expected indices 0 to 3"):
        dice(labels, np.array([[0, 1], [2, 4]]), BRATS)
