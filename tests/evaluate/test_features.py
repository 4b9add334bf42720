from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.feature import graycomatrix, graycoprops

from scansmith.evaluate.features import (
    _GLCM,
    FEATURES,
    _texture,
    case_features,
    cooccurrence,
    spread_slices,
)

ANGLES = [0, math.pi / 4, math.pi / 2, 3 * math.pi / 4]


@pytest.mark.parametrize("distance", [1, 2])
def test_cooccurrence_is_that_of_scikit_image(distance: int) -> None:
    levels = np.random.default_rng(0).integers(0, 32, (13, 17))
    peer = graycomatrix(levels, [distance], ANGLES[:1] + ANGLES[2:3], levels=32, symmetric=True)
    matrix = cooccurrence(levels, np.ones(levels.shape, bool), distance)
    assert matrix.sum() == pytest.approx(1)
    if distance == 1:  # at 2, scikit-image steps to the nearest pixel on a circle, not (2, 2)
        peer = graycomatrix(levels, [1], ANGLES, levels=32, symmetric=True)
        expected = peer.sum(axis=3)[:, :, 0] / peer.sum()
        np.testing.assert_allclose(matrix, expected)
        shaped = expected[:, :, None, None]
        named = dict(zip(_GLCM, _texture(matrix), strict=True))
        for name in _GLCM[:5]:
            assert named[name] == pytest.approx(graycoprops(shaped, name)[0, 0])


def test_cooccurrence_counts_pairs_inside_the_mask_alone() -> None:
    levels = np.array([[0, 1, 9], [9, 9, 9]])
    mask = np.array([[True, True, False], [False, False, False]])
    matrix = cooccurrence(levels, mask, 1)
    # One pair, 0 beside 1, counted both ways.
    assert matrix[0, 1] == matrix[1, 0] == 0.5
    assert cooccurrence(levels, np.zeros_like(mask), 1).sum() == 0


def _named(row: np.ndarray) -> dict[str, float]:
    return dict(zip(FEATURES, row, strict=True))


def test_first_order_features_by_hand() -> None:
    image = np.zeros((1, 8, 8))
    image[0, :, 4:] = 100.0
    whole = {"whole": np.ones(image.shape, bool)}
    found = _named(case_features(image, whole, (0.0, 200.0))["whole"][0])
    # Half 0, half 0.5 of the window: mean 0.25, sd 0.25, symmetric, two values of a half each.
    assert found["image mean"] == pytest.approx(0.25)
    assert found["image sd"] == pytest.approx(0.25)
    assert found["image skewness"] == pytest.approx(0)
    assert found["image kurtosis"] == pytest.approx(1)
    assert found["image entropy"] == pytest.approx(1)
    assert found["image uniformity"] == pytest.approx(0.5)
    # Level 16 beside level 0 in one of seven steps to the right; none further down.
    # Pairs: right 56 (8 differ), down 56, both diagonals 49 (7 differ): 22 of 210.
    assert found["co-occurrence 1 px dissimilarity"] == pytest.approx(16 * 22 / 210)


def test_features_see_the_window_and_not_the_unit() -> None:
    image = np.random.default_rng(1).normal(50, 40, (3, 20, 24))
    masks = {"whole": np.ones(image.shape, bool)}
    one = case_features(image, masks, (-50.0, 150.0))["whole"]
    other = case_features(image * 10 + 7, masks, (-493.0, 1507.0))["whole"]
    np.testing.assert_allclose(one, other, atol=1e-9)
    assert one.shape == (3, len(FEATURES))


def test_a_constant_slice_has_finite_features() -> None:
    masks = {"whole": np.ones((1, 16, 16), bool)}
    assert np.isfinite(case_features(np.full((1, 16, 16), 3.0), masks, (0.0, 9.0))["whole"]).all()


def test_slices_are_spread_over_those_with_enough_of_the_region() -> None:
    mask = np.zeros((10, 8, 8), bool)
    mask[2:9, :4, :4] = True  # 16 pixels
    mask[9, :3, :5] = True  # 15 pixels: too few
    assert spread_slices(mask, 3) == [2, 5, 8]
    assert spread_slices(mask, 99) == [2, 3, 4, 5, 6, 7, 8]
    found = case_features(np.zeros(mask.shape), {"none": np.zeros_like(mask)}, (0.0, 1.0))
    assert found["none"].shape == (0, len(FEATURES))


def test_blur_and_noise_move_the_features_that_a_reader_would_name() -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(0.5, 0.1, (1, 32, 32))
    masks = {"whole": np.ones(image.shape, bool)}
    blurred = (image + np.roll(image, 1, 1) + np.roll(image, 1, 2)) / 3
    sharp, soft = (
        _named(case_features(x, masks, (0.0, 1.0))["whole"][0]) for x in (image, blurred)
    )
    assert soft["co-occurrence 1 px contrast"] < sharp["co-occurrence 1 px contrast"] / 2
    assert soft["co-occurrence 1 px correlation"] > sharp["co-occurrence 1 px correlation"] + 0.2
    assert soft["wavelet diagonal sd"] < sharp["wavelet diagonal sd"] / 1.5
