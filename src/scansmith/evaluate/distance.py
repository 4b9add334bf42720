"""Distances between two sets of samples: one number for how far two distributions lie apart.

Samples are float arrays (n, d), one row each; the one-dimensional ones take (n,) or (n, 1).
"""

from __future__ import annotations

import numpy as np

from scansmith.scan import DataError


def frechet(
    mean_a: np.ndarray, covariance_a: np.ndarray, mean_b: np.ndarray, covariance_b: np.ndarray
) -> float:
    """Squared Frechet (2-Wasserstein) distance of two Gaussians.

    |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)).

    Args:
        mean_a, mean_b: (d,).
        covariance_a, covariance_b: (d, d), symmetric, singular ones too.
    Source:
        Dowson and Landau, J. Multivariate Analysis 12 (1982); as FID, Heusel et al. 2017, eq. 6.
        The trace of (A B)^(1/2) is that of (R B R)^(1/2) with R = A^(1/2), which is symmetric, so
        no complex root of a singular product is ever taken.
    """
    root = _symmetric_root(covariance_a)
    shared = np.linalg.eigvalsh(root @ covariance_b @ root)
    cross = np.sqrt(np.maximum(shared, 0.0)).sum()
    gap = float(np.sum((mean_a - mean_b) ** 2))
    spread = float(np.trace(covariance_a) + np.trace(covariance_b) - 2 * cross)
    return gap + max(spread, 0.0)


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Frechet distance of Gaussians fitted to (n, d) and (m, d) samples.

    Biased upwards where samples are few: compare only numbers from equally many samples.
    """
    a, b = _rows(a, 2), _rows(b, 2)
    covariances = [np.atleast_2d(np.cov(x.T, ddof=1)) for x in (a, b)]
    return frechet(a.mean(0), covariances[0], b.mean(0), covariances[1])


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared maximum mean discrepancy, kernel (x.y / d + 1)^3; it can be below 0.

    Unbiased for independent samples. Slices of one patient are not: where they are pooled, two sets
    of few patients lie above 0 although nothing but their patients differs.

    Source:
        KID: Binkowski et al., ICLR 2018, eq. 4 and section 3.1.
    """
    a, b = _rows(a, 2), _rows(b, 2)
    n, m, d = len(a), len(b), a.shape[1]
    within_a, within_b = (a @ a.T / d + 1) ** 3, (b @ b.T / d + 1) ** 3
    across = (a @ b.T / d + 1) ** 3
    return float(
        (within_a.sum() - np.trace(within_a)) / (n * (n - 1))
        + (within_b.sum() - np.trace(within_b)) / (m * (m - 1))
        - 2 * across.mean()
    )


def wasserstein(a: np.ndarray, b: np.ndarray) -> float:
    """How far values have to be moved on average, in their own unit: the area between the CDFs."""
    values, gap = _cdf_gap(a, b)
    return float(np.sum(gap[:-1] * np.diff(values)))


def kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
    """Largest gap between the two cumulative distributions, 0 to 1."""
    return float(_cdf_gap(a, b)[1].max())


def standardised(
    real: np.ndarray, synthetic: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both sets in standard deviations of the real one: a scale that the synthetic can't move.

    Returns:
        real and synthetic as z-scores (n, k) and (m, k), and which of the d features they are
        (d,) bool: those that are constant in the real set have no scale and are left out.
    Source:
        Konz, Osuala et al., Medical Image Analysis 2026 (arXiv:2412.01496), and its library
        frd-score, version 1: z-scores by the reference set.
    """
    mean, deviation = real.mean(0), real.std(0)
    used = deviation > 1e-9 * np.maximum(1.0, np.abs(mean))
    if not used.any():
        raise DataError("features: all are constant in the real set. Compare more real cases.")
    scale = deviation[used]
    return (real[:, used] - mean[used]) / scale, (synthetic[:, used] - mean[used]) / scale, used


def _cdf_gap(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All values in order, and the gap between the two distribution functions from each on."""
    a, b = np.sort(_rows(a, 1)[:, 0]), np.sort(_rows(b, 1)[:, 0])
    values = np.sort(np.concatenate([a, b]))
    at_a, at_b = (np.searchsorted(own, values, side="right") / len(own) for own in (a, b))
    return values, np.abs(at_a - at_b)


def _symmetric_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(np.atleast_2d(matrix))
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def _rows(values: np.ndarray, least: int) -> np.ndarray:
    values = np.asarray(values, np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if len(values) < least:
        raise DataError(
            f"distance: {len(values)} samples, expected {least} at least. Compare more cases."
        )
    return values
