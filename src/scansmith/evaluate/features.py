"""Radiomics-like features of image slices: what a radiologist's words for texture come down to.

Each feature vector is of one slice and one region in it. Intensities are first scaled so that the
declared window is 0..1. `FEATURES` names the vector's d entries in order: 10 first-order measures
of the image, 6 of its grey-level co-occurrence at 1 and at 2 pixels, 5 first-order measures of
its Laplacian of Gaussian at 1, 2 and 4 pixels, and 2 of each detail band of a Haar wavelet.

Source: the classes are those of the Frechet radiomic distance (Konz, Osuala et al., Medical Image
Analysis 2026, arXiv:2412.01496) that scipy alone can compute: first order and GLCM, on
the original, LoG and wavelet images. Definitions as in the IBSI reference manual
(arXiv:1612.07003) unless said otherwise; the numbers are not pyradiomics' numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import correlate1d, gaussian_laplace

LEVELS = 32
DISTANCES = (1, 2)
LOG_SIGMAS = (1.0, 2.0, 4.0)
LEAST_PIXELS = 16
SLICES = 12

_FIRST = (
    "mean", "sd", "skewness", "kurtosis", "10th percentile", "median", "90th percentile",
    "interquartile range", "entropy", "uniformity",
)  # fmt: skip
_SHORT = (*_FIRST[:4], "10th to 90th percentile")
_GLCM = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation", "entropy")
_BANDS = ("horizontal", "vertical", "diagonal")

FEATURES: tuple[str, ...] = (
    *(f"image {name}" for name in _FIRST),
    *(f"co-occurrence {d} px {name}" for d in DISTANCES for name in _GLCM),
    *(f"LoG {sigma:g} px {name}" for sigma in LOG_SIGMAS for name in _SHORT),
    *(f"wavelet {band} {name}" for band in _BANDS for name in ("sd", "kurtosis")),
)


def case_features(
    image: np.ndarray,
    regions: Mapping[str, np.ndarray],
    window: tuple[float, float],
    slices: int = SLICES,
) -> dict[str, np.ndarray]:
    """Features of a case, for each region.

    Args:
        image: (D, H, W), raw units.
        regions: bool (D, H, W) each.
        window: (low, high) in raw units, scaled to 0..1; what lies outside is clipped, as it
            would be for a reader.
        slices: at most so many slices of a region, evenly spread over those that have at least
            16 pixels of it.
    Returns:
        float64 (n, d) for each region; n = 0 where no slice has enough of it.
    """
    low, high = window
    chosen = {name: spread_slices(mask, slices) for name, mask in regions.items()}
    rows: dict[str, list[np.ndarray]] = {name: [] for name in regions}
    for number in sorted({n for numbers in chosen.values() for n in numbers}):
        scaled = np.clip((image[number].astype(np.float64) - low) / (high - low), 0.0, 1.0)
        maps = _filtered(scaled)
        for name, numbers in chosen.items():
            if number in numbers:
                rows[name].append(_slice_features(scaled, maps, regions[name][number]))
    return {name: np.array(found).reshape(-1, len(FEATURES)) for name, found in rows.items()}


def spread_slices(mask: np.ndarray, most: int, least_pixels: int = LEAST_PIXELS) -> list[int]:
    """Numbers of at most `most` slices, evenly spread over those with enough of the mask."""
    found = np.flatnonzero(mask.sum(axis=(1, 2)) >= least_pixels)
    if len(found) <= most:
        return [int(n) for n in found]
    return [int(found[i]) for i in np.linspace(0, len(found) - 1, most).round().astype(int)]


def cooccurrence(levels: np.ndarray, mask: np.ndarray, distance: int) -> np.ndarray:
    """Symmetric grey-level co-occurrence of pixels inside the mask, four directions pooled.

    Args:
        levels: whole numbers 0..31, (H, W).
        mask: bool (H, W); a pair counts if both its pixels are inside.
    Returns:
        (32, 32), sum 1; all 0 if there is no pair.
    """
    counts = np.zeros(LEVELS * LEVELS)
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        first, second = _shifted(levels.shape, down * distance, right * distance)
        both = mask[first] & mask[second]
        pairs = levels[first][both] * LEVELS + levels[second][both]
        counts += np.bincount(pairs, minlength=LEVELS * LEVELS)
    matrix = counts.reshape(LEVELS, LEVELS)
    matrix = matrix + matrix.T
    return matrix / max(matrix.sum(), 1.0)


def _slice_features(
    scaled: np.ndarray, maps: list[list[np.ndarray]], mask: np.ndarray
) -> np.ndarray:
    """(d,) in the order of FEATURES."""
    inside = scaled[mask]
    found = [*_moments(inside), *np.quantile(inside, (0.1, 0.5, 0.9))]
    found.append(float(np.subtract(*np.quantile(inside, (0.75, 0.25)))))
    share = np.bincount(_levels(inside), minlength=LEVELS) / inside.size
    found += [_entropy(share), float(np.sum(share**2))]
    box = _box(mask)
    levels, within = _levels(scaled[box]), mask[box]
    for distance in DISTANCES:
        found += _texture(cooccurrence(levels, within, distance))
    for blob in maps[0]:
        values = blob[mask]
        found += [*_moments(values), float(np.subtract(*np.quantile(values, (0.9, 0.1))))]
    for band in maps[1]:
        moments = _moments(band[mask])
        found += [moments[1], moments[3]]
    return np.array(found)


def _filtered(scaled: np.ndarray) -> list[list[np.ndarray]]:
    """Laplacians of Gaussian, and undecimated Haar detail bands, of a slice (H, W)."""
    blobs = [sigma**2 * gaussian_laplace(scaled, sigma) for sigma in LOG_SIGMAS]
    low, high = np.array([0.5, 0.5]), np.array([-0.5, 0.5])

    def band(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(scaled, rows, axis=0), columns, axis=1)

    return [blobs, [band(low, high), band(high, low), band(high, high)]]


def _moments(values: np.ndarray) -> list[float]:
    """Mean, sd, skewness and kurtosis (3 for a Gaussian); 0 and 3 where there is no spread."""
    mean = values.mean()
    centred = values - mean
    squared = centred * centred  # a power would take ten times as long
    variance = float(squared.mean())
    if variance < 1e-14:
        return [float(mean), 0.0, 0.0, 3.0]
    skewness = float(np.mean(squared * centred)) / variance**1.5
    return [float(mean), variance**0.5, skewness, float(np.mean(squared * squared)) / variance**2]


def _texture(matrix: np.ndarray) -> list[float]:
    """Haralick's measures, as scikit-image's `graycoprops` has them, in the order of _GLCM."""
    level = np.arange(LEVELS)
    gap = level[:, None] - level[None]
    mean = float(np.sum(matrix.sum(1) * level))
    variance = float(np.sum(matrix.sum(1) * (level - mean) ** 2))
    product = np.sum(matrix * np.outer(level - mean, level - mean))
    return [
        float(np.sum(matrix * gap**2)),
        float(np.sum(matrix * np.abs(gap))),
        float(np.sum(matrix / (1 + gap**2))),
        float(np.sqrt(np.sum(matrix**2))),
        float(product / variance) if variance > 1e-14 else 1.0,
        _entropy(matrix),
    ]


def _entropy(shares: np.ndarray) -> float:
    """Bits."""
    shares = shares[shares > 0]
    return float(-np.sum(shares * np.log2(shares))) + 0.0


def _levels(scaled: np.ndarray) -> np.ndarray:
    return np.minimum((scaled * LEVELS).astype(np.intp), LEVELS - 1)


def _box(mask: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _shifted(
    shape: tuple[int, ...], down: int, right: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where the first and the second pixel of each pair lie."""
    h, w = shape
    if right < 0:
        return (slice(0, max(h - down, 0)), slice(-right, w)), (slice(down, h), slice(0, right))
    first = slice(0, max(h - down, 0)), slice(0, max(w - right, 0))
    return first, (slice(down, h), slice(right, w))
