"""Mutual information against scikit-learn and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import normalized_mutual_information
from sklearn.metrics import mutual_info_score, normalized_mutual_info_score

from scansmith.evaluate.information import information


def test_information_is_that_of_scikit_learn_and_scikit_image() -> None:
    rng = np.random.default_rng(0)
    one = rng.random((40, 50))
    other = np.clip(one + rng.normal(0, 0.1, one.shape), 0, 1)
    found = information(one, other, np.ones(one.shape, bool), bins=16)
    levels = [np.minimum((x * 16).astype(int), 15).ravel() for x in (one, other)]
    assert found["mi"] == pytest.approx(mutual_info_score(*levels))
    assert found["nmi"] == pytest.approx(normalized_mutual_info_score(*levels))
    # Studholme's (H(X) + H(Y)) / H(X, Y) = s, so 2 MI / (H(X) + H(Y)) = 2 (1 - 1 / s).
    studholme = normalized_mutual_information(levels[0], levels[1], bins=16)
    assert found["nmi"] == pytest.approx(2 * (1 - 1 / studholme))


def test_images_that_share_nothing_share_as_much_as_the_bias_says() -> None:
    rng = np.random.default_rng(1)
    shape = (100, 100)
    found = information(rng.random(shape), rng.random(shape), np.ones(shape, bool), bins=8)
    assert found["mi"] == pytest.approx(7**2 / (2 * 10_000), rel=0.3)
