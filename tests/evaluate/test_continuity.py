from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from scansmith.evaluate.continuity import continuity_of, label_overlap


def test_values_that_change_evenly_do_not_flicker() -> None:
    # Slice k has the value 10 (k + 1) in a window of 0 to 100: each step is a tenth.
    volume = np.ones((8, 12, 12)) * 10 * np.arange(1, 9)[:, None, None]
    found = continuity_of(volume, (0, 100))
    assert found["step"] == pytest.approx(0.1)
    assert found["flicker"] == pytest.approx(0, abs=1e-12)


def test_the_flicker_of_three_slices_by_hand() -> None:
    # 0.2, 0.8, 0.4: |0.2 - 1.6 + 0.4| = 1 over |0.4 - 0.2| = 0.2. Steps: 0.6 and 0.4.
    volume = np.ones((3, 4, 4)) * np.array([0.2, 0.8, 0.4])[:, None, None]
    found = continuity_of(volume, (0, 1))
    assert found["flicker"] == pytest.approx(5)
    assert found["step"] == pytest.approx(0.5)
    assert math.isnan(found["similarity"])  # 4 pixels leave no room for its window


def test_independent_slices_flicker_by_root_three_and_a_walk_by_one() -> None:
    rng = np.random.default_rng(0)
    apart = continuity_of(rng.normal(0.5, 0.05, (20, 40, 40)), (0, 1))
    assert apart["flicker"] == pytest.approx(math.sqrt(3), rel=0.02)
    walk = continuity_of(0.5 + np.cumsum(rng.normal(0, 0.01, (20, 40, 40)), axis=0), (0, 1))
    assert walk["flicker"] == pytest.approx(1, rel=0.02)


def test_only_what_is_above_the_window_s_low_end_is_looked_at() -> None:
    volume = np.full((3, 4, 4), -1000.0)
    volume[:, 1, 1] = 0, 50, 100
    found = continuity_of(volume, (-50, 150))
    assert found["step"] == pytest.approx(0.25)  # 50 of 200, of that voxel alone
    assert math.isnan(continuity_of(volume - 5000, (-50, 150))["step"])


def test_similarity_is_the_ssim_of_neighbours() -> None:
    volume = np.random.default_rng(1).uniform(0.1, 0.9, (3, 30, 30))
    expected = [
        structural_similarity(
            volume[k],
            volume[k + 1],
            data_range=1,
            gaussian_weights=True,
            use_sample_covariance=False,
            full=True,
        )[1].mean()
        for k in (0, 1)
    ]
    assert continuity_of(volume, (0, 1))["similarity"] == pytest.approx(np.mean(expected))


def test_label_overlap_by_hand() -> None:
    mask = np.zeros((4, 2, 2), bool)
    mask[0, 0] = mask[1, :, 0] = True  # two voxels each, one in common: 2 / 4
    # Second to third: 0. Third and fourth are both empty and do not count.
    assert label_overlap(mask) == pytest.approx((0.5 + 0) / 2)
    assert math.isnan(label_overlap(np.zeros((4, 2, 2), bool)))


def test_pictures_have_no_neighbours() -> None:
    assert continuity_of(np.zeros((2, 20, 20)), (0, 1)) == {}
    assert math.isnan(label_overlap(np.ones((2, 3, 3), bool)))
