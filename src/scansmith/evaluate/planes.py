"""A volume seen in three planes, for distances in 2.5D.

A network that knows pictures can judge a volume only by cuts through it. Cuts across the scanned
slices show what those slices cannot: whether they belong together. Each cut is brought to square
pixels, so that anatomy has its proportions whatever the distance of slices.

Source: the mean of the Frechet distances of axial, coronal and sagittal cuts as in MAISI
(Guo et al., WACV 2025, arXiv:2409.11169), whose features are another network's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scansmith.data.resample import Axis, resample_image
from scansmith.evaluate.features import spread_slices
from scansmith.evaluate.spread import Distance
from scansmith.evaluate.view import AXES

#: The plane that lies across each patient axis.
PLANES = dict(zip(AXES, ("axial", "coronal", "sagittal"), strict=True))
#: A volume of fewer voxels along an axis shows nothing in the planes along it.
LEAST_SIDE = 8
MOST_PIXELS = 256


def cuts(
    image: np.ndarray, spacing_mm: Sequence[float], axis: int, low: float, most: int
) -> np.ndarray:
    """Cuts across one axis in square pixels, evenly spread over those with something to see.

    Args:
        image: (D, H, W), raw units.
        spacing_mm: of D, H, W.
        axis: 0, 1 or 2.
        low: what is above it is something to see.
        most: at most so many cuts; at least two.
    Returns:
        float32 (N, h, w), raw units; pixels as fine as the finer step, 256 on the longer side.
    """
    across = np.moveaxis(image, axis, 0)
    numbers = spread_slices(across > low, most)
    if len(numbers) < 2:
        numbers = [len(across) // 2 - 1, len(across) // 2]
    chosen = across[numbers]
    steps = [step for n, step in enumerate(spacing_mm) if n != axis]
    extents = [step * n for step, n in zip(steps, chosen.shape[1:], strict=True)]
    pixel_mm = max(min(steps), max(extents) / MOST_PIXELS)
    axes = []
    for old, step, extent in zip(chosen.shape[1:], steps, extents, strict=True):
        new, ratio = max(round(extent / pixel_mm), 1), pixel_mm / step
        axes.append(Axis(old, new, ratio, (old - 1) / 2 - ratio * (new - 1) / 2))
    return resample_image(chosen, axes, np.full(len(chosen), low))


def over_planes(distance: Distance) -> Distance:
    """The mean of a distance over the planes, of rows that begin with the number of their plane."""

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean([distance(x, y) for x, y in by_plane(a, b)]))

    return mean


def by_plane(a: np.ndarray, b: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Both sets' rows of each plane, without its number."""
    return [(a[a[:, 0] == n, 1:], b[b[:, 0] == n, 1:]) for n in range(len(PLANES))]
