from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from scansmith.evaluate.distance import (
    frechet,
    frechet_distance,
    kernel_distance,
    kolmogorov_smirnov,
    standardised,
    wasserstein,
)
from scansmith.scan import DataError


def test_frechet_of_two_gaussians_on_a_line() -> None:
    # N(0, 1) and N(3, 4): (0 - 3)^2 + (1 - 2)^2 = 10.
    one, four = np.array([[1.0]]), np.array([[4.0]])
    assert frechet(np.zeros(1), one, np.array([3.0]), four) == pytest.approx(10)


def test_frechet_with_diagonal_covariances_adds_up_by_axis() -> None:
    # |(1, 1)|^2 + (sqrt 2 - sqrt 8)^2 twice = 2 + 2 * 2 = 6.
    a, b = np.diag([2.0, 8.0]), np.diag([8.0, 2.0])
    assert frechet(np.zeros(2), a, np.ones(2), b) == pytest.approx(6)


def test_frechet_of_covariances_that_do_not_commute() -> None:
    # For 2 x 2 matrices tr (AB)^(1/2) = sqrt(tr AB + 2 sqrt(det AB)).
    # A = diag(1, 4), B = [[2, 1], [1, 2]]: tr AB = 2 + 8 = 10, det AB = 4 * 3 = 12.
    a, b = np.diag([1.0, 4.0]), np.array([[2.0, 1.0], [1.0, 2.0]])
    expected = 5 + 4 - 2 * np.sqrt(10 + 2 * np.sqrt(12))
    assert frechet(np.zeros(2), a, np.zeros(2), b) == pytest.approx(expected)
    assert frechet(np.zeros(2), b, np.zeros(2), a) == pytest.approx(expected)


def test_frechet_of_singular_covariances_is_finite_and_real() -> None:
    # On orthogonal lines nothing is shared: the traces remain, 1 + 1.
    a, b = np.diag([1.0, 0.0]), np.diag([0.0, 1.0])
    assert frechet(np.zeros(2), a, np.zeros(2), b) == pytest.approx(2)
    assert frechet(np.zeros(2), a, np.zeros(2), a) == pytest.approx(0)


def test_frechet_distance_fits_mean_and_covariance() -> None:
    # Both have variance 2 (n - 1 in the denominator); only the means differ, by 5.
    a, b = np.array([[-1.0], [1.0]]), np.array([[4.0], [6.0]])
    assert frechet_distance(a, b) == pytest.approx(25)


def test_kernel_distance_by_hand() -> None:
    # k(x, y) = (xy + 1)^3 with d = 1. Within {0, 1}: k(0, 1) = 1. Across: (1 + 1 + 1 + 8) / 4.
    a = np.array([[0.0], [1.0]])
    assert kernel_distance(a, a) == pytest.approx(1 + 1 - 2 * 2.75)


def test_kernel_distance_of_unequal_numbers_by_hand() -> None:
    # Within {0, 1, 2}: k(0, 1) = 1, k(0, 2) = 1, k(1, 2) = 27, mean 29 / 3. Across: 1, 1, 1 of 0
    # and 1, 8, 27 of 1, mean 39 / 6.
    a, b = np.array([[0.0], [1.0]]), np.array([[0.0], [1.0], [2.0]])
    assert kernel_distance(a, b) == pytest.approx(1 + 29 / 3 - 2 * 6.5)


@pytest.mark.parametrize(("n", "m"), [(7, 12), (12, 7)])
def test_kernel_distance_of_unequal_numbers_pair_by_pair(n: int, m: int) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, (n, 4)), rng.normal(0.5, 2, (m, 4))

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (sum(x[i] * y[i] for i in range(4)) / 4 + 1) ** 3

    within = [np.mean([kernel(x, y) for x, y in combinations(own, 2)]) for own in (a, b)]
    across = np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(a, b) == pytest.approx(sum(within) - 2 * across)


def test_wasserstein_is_the_mean_move() -> None:
    assert wasserstein(np.array([0.0, 0.0]), np.array([1.0, 3.0])) == 2.0
    # Half of the mass at 0 moves to 1.
    assert wasserstein(np.array([0.0, 1.0]), np.array([1.0])) == 0.5


def test_kolmogorov_smirnov_is_the_largest_gap() -> None:
    assert kolmogorov_smirnov(np.array([0.0, 1.0]), np.array([0.5, 2.0])) == 0.5
    assert kolmogorov_smirnov(np.array([0.0, 1.0]), np.array([5.0])) == 1.0


def test_features_are_scaled_by_the_real_set_alone() -> None:
    real = np.array([[0.0, 7.0], [2.0, 7.0]])  # mean 1, sd 1; the second feature is constant
    z_real, z_synthetic, used = standardised(real, np.array([[5.0, 100.0]]))
    assert used.tolist() == [True, False]
    assert z_real.tolist() == [[-1.0], [1.0]]
    assert z_synthetic.tolist() == [[4.0]]
    with pytest.raises(DataError, match="constant in the real set"):
        standardised(np.ones((3, 2)), np.ones((3, 2)))


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(DataError, match="1 samples, expected 2"):
        frechet_distance(np.zeros((1, 3)), np.zeros((4, 3)))


def test_the_distances_are_those_of_scipy_and_torchmetrics() -> None:
    import torch
    from scipy.stats import ks_2samp, wasserstein_distance
    from torchmetrics.image.fid import _compute_fid
    from torchmetrics.image.kid import poly_mmd

    rng = np.random.default_rng(0)
    a = rng.normal(0, 1, (40, 5))
    b = rng.normal(0.5, 2, (30, 5)) @ rng.normal(0, 1, (5, 5))
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)
    fid = _compute_fid(ta.mean(0), torch.cov(ta.T), tb.mean(0), torch.cov(tb.T))
    assert frechet_distance(a, b) == pytest.approx(float(fid))
    # KID's estimate asks for sets of one size.
    kid = poly_mmd(ta[:30], tb, degree=3, gamma=None, coef=1.0)
    assert kernel_distance(a[:30], b) == pytest.approx(float(kid))
    assert wasserstein(a[:, 0], b[:, 0]) == pytest.approx(wasserstein_distance(a[:, 0], b[:, 0]))
    statistic = ks_2samp(a[:, 0], b[:, 0]).statistic
    assert kolmogorov_smirnov(a[:, 0], b[:, 0]) == pytest.approx(statistic)
