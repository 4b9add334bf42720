from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage, stats
from skimage.feature import graycomatrix, graycoprops

from scansmith.evaluate.features import (
    DISTANCES,
    FEATURES,
    LOG_SIGMAS,
    _filtered,
    _texture,
    case_features,
    cooccurrence,
    spread_slices,
)


def _peer_matrix(levels: np.ndarray, mask: np.ndarray, distance: int) -> np.ndarray:
    """scikit-image's co-occurrence: what is outside is a level of its own, which is then dropped.

    It steps to the pixel nearest to the end of a vector: (2, 2) is 2 sqrt 2 long.
    """
    shown = np.where(mask, levels, 32)
    straight = graycomatrix(shown, [distance], [0, math.pi / 2], 33, symmetric=True)
    slanted = [math.pi / 4, 3 * math.pi / 4]
    diagonal = graycomatrix(shown, [distance * math.sqrt(2)], slanted, 33, symmetric=True)
    counts = (straight + diagonal)[:32, :32].sum(axis=(2, 3)).astype(float)
    return counts / counts.sum()


@pytest.mark.parametrize("distance", DISTANCES)
def test_cooccurrence_is_that_of_scikit_image(distance: int) -> None:
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 32, (13, 17))
    for mask in (np.ones(levels.shape, bool), rng.random(levels.shape) < 0.7):
        expected = _peer_matrix(levels, mask, distance)
        np.testing.assert_allclose(cooccurrence(levels, mask, distance), expected)


def test_haralick_s_measures_by_hand() -> None:
    # Level 0 beside level 0 in half of the pairs, 0 beside 2 in the others, counted both ways.
    matrix = np.zeros((32, 32))
    matrix[0, 0], matrix[0, 2], matrix[2, 0] = 0.5, 0.25, 0.25
    # Half of the pairs are 2 apart: contrast 4 / 2, dissimilarity 2 / 2, homogeneity 1/2 + 1/2 / 5.
    # Energy: sqrt(1/4 + 2 / 16). Levels: mean 1/2, variance (3 * 1/4 + 9/4) / 4 = 3/4;
    # covariance 1/2 * 1/4 - 1/2 * 3/4 = -1/4. Entropy: 1/2 * 1 bit + 2 * 1/4 * 2 bits.
    assert _texture(matrix) == pytest.approx([2, 1, 0.6, math.sqrt(3 / 8), -1 / 3, 1.5])


def test_haar_bands_by_hand() -> None:
    # Of a b over c d: horizontal (b + d - a - c) / 4, vertical (c + d - a - b) / 4, diagonal
    # (a + d - b - c) / 4. The first row and column are repeated above and to the left.
    bands = _filtered(np.array([[0.0, 4], [8, 28]]))[1]
    assert bands[0].tolist() == [[0, 2], [0, 6]]
    assert bands[1].tolist() == [[0, 0], [4, 8]]
    assert bands[2].tolist() == [[0, 0], [0, 4]]


def _expected(scaled: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Every feature of a slice, 0..1, by scipy, numpy and scikit-image."""
    found = {}

    def shaped(name: str, values: np.ndarray) -> None:
        found[f"{name} mean"], found[f"{name} sd"] = values.mean(), values.std()
        found[f"{name} skewness"] = stats.skew(values)
        found[f"{name} kurtosis"] = stats.kurtosis(values, fisher=False)

    inside = scaled[mask]
    shaped("image", inside)
    places = {"10th percentile": 10, "median": 50, "90th percentile": 90}
    found |= {f"image {name}": np.percentile(inside, place) for name, place in places.items()}
    found["image interquartile range"] = stats.iqr(inside)
    counts = np.histogram(inside, 32, (0, 1))[0]
    found["image entropy"] = stats.entropy(counts, base=2)
    found["image uniformity"] = np.sum((counts / counts.sum()) ** 2)
    levels = np.minimum(np.floor(32 * scaled), 31).astype(int)
    for distance in DISTANCES:
        matrix, name = _peer_matrix(levels, mask, distance), f"co-occurrence {distance} px"
        for prop in ("contrast", "dissimilarity", "homogeneity", "energy", "correlation"):
            found[f"{name} {prop}"] = graycoprops(matrix[:, :, None, None], prop)[0, 0]
        found[f"{name} entropy"] = stats.entropy(matrix.ravel(), base=2)
    for sigma in LOG_SIGMAS:
        values = sigma**2 * ndimage.gaussian_laplace(scaled, sigma)[mask]
        shaped(f"LoG {sigma:g} px", values)
        found[f"LoG {sigma:g} px 10th to 90th percentile"] = stats.iqr(values, rng=(10, 90))
    around = np.pad(scaled, ((1, 0), (1, 0)), "edge")
    a, b, c, d = around[:-1, :-1], around[:-1, 1:], around[1:, :-1], around[1:, 1:]
    bands = {"horizontal": b + d - a - c, "vertical": c + d - a - b, "diagonal": a + d - b - c}
    for name, band in bands.items():
        values = band[mask] / 4
        found[f"wavelet {name} sd"] = values.std()
        found[f"wavelet {name} kurtosis"] = stats.kurtosis(values, fisher=False)
    return found


def test_every_feature_of_a_texture_by_another_implementation() -> None:
    rng = np.random.default_rng(3)
    coarse = ndimage.gaussian_filter(rng.gamma(2, 20, (2, 40, 36)), (0, 1.5, 0.7))
    image = coarse * 2 + rng.normal(0, 8, coarse.shape) - 60
    low, high = -8.0, 55.0
    scaled = np.clip((image - low) / (high - low), 0, 1)
    assert 0.01 < np.mean(scaled == 0) < 0.2  # some is clipped at both ends
    assert 0.01 < np.mean(scaled == 1) < 0.2
    rows, columns = np.mgrid[:40, :36]
    disc = np.broadcast_to((rows - 18) ** 2 + (columns - 20) ** 2 < 150, image.shape)
    masks = {"whole": np.ones(image.shape, bool), "disc": disc}
    found = case_features(image, masks, (low, high))
    for name, mask in masks.items():
        for n in (0, 1):
            expected = _expected(scaled[n], mask[n])
            assert _named(found[name][n]) == pytest.approx(expected, rel=1e-9, abs=1e-12)


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
    found = _named(case_features(np.full((1, 16, 16), 3.0), masks, (0.0, 9.0))["whole"][0])
    places = ("mean", "10th percentile", "median", "90th percentile")
    expected = dict.fromkeys(FEATURES, 0.0) | {f"image {name}": 1 / 3 for name in places}
    for name in FEATURES:
        if name.endswith("kurtosis"):
            expected[name] = 3  # of a Gaussian
        if name.endswith(("uniformity", "homogeneity", "energy", "correlation")):
            expected[name] = 1
    # scipy cuts the Laplacian's kernel off at 4 sigma, so that its sum is not quite 0.
    cut_off = {
        name: found.pop(name) for name in FEATURES if name.startswith("LoG") and "mean" in name
    }
    assert all(abs(value) < 1e-3 for value in cut_off.values())
    assert found == pytest.approx({name: expected[name] for name in found}, abs=1e-12)


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
