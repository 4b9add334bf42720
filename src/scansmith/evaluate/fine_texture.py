"""What a lesion looks like inside: how rough it is, and whether it repeats like a mesh.

Generators that double their maps step by step can only tell the pixels of a plain area apart by
where they lie in those steps. What texture they make there comes back every 2, 4, 8 pixels.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SMOOTH_PIXELS = 2.0  # sd of the Gaussian mean of the mask that is taken off: shape, not texture
RIM_PIXELS = 3  # of the mask that are left out: its edge is not texture
LEAST_PIXELS = 150  # fewer are too few to tell a mesh from noise


def fine_texture(image: np.ndarray, mask: np.ndarray, period: int = 4) -> dict[str, float]:
    """Roughness and mesh of what lies in a mask, its rim left out.

    The mesh is the share of the texture's variance that the place in the mesh explains: epsilon
    squared of a one-way analysis of variance, groups (row mod period, column mod period). In noise
    it is 0 on average (so it may be below), in what repeats every `period` pixels 1.

    Args:
        image: (H, W).
        mask: bool (H, W).
        period: pixels.
    Returns:
        sd, in units of the image, and mesh; both nan where fewer than 150 pixels are left.
    """
    inside = ndimage.binary_erosion(mask, iterations=RIM_PIXELS)
    if inside.sum() < LEAST_PIXELS:
        return {"sd": float("nan"), "mesh": float("nan")}
    share = ndimage.gaussian_filter(mask.astype(np.float64), SMOOTH_PIXELS)
    smooth = ndimage.gaussian_filter(np.where(mask, image, 0.0).astype(np.float64), SMOOTH_PIXELS)
    rows, columns = np.nonzero(inside)
    values = image[inside] - smooth[inside] / share[inside]
    _, group = np.unique((rows % period) * period + columns % period, return_inverse=True)
    return {"sd": float(values.std()), "mesh": epsilon_squared(values, group)}


def epsilon_squared(values: np.ndarray, group: np.ndarray) -> float:
    """Share of the variance between groups, corrected for chance (Kelley 1935); nan if none.

    (SS_between - (k - 1) MS_within) / SS_total of n values in k groups, 0 ... k - 1.
    """
    counts = np.bincount(group)
    means = np.bincount(group, weights=values) / counts
    total = float(((values - values.mean()) ** 2).sum())
    within = float(((values - means[group]) ** 2).sum())
    if total == 0 or len(values) <= len(counts):
        return float("nan")
    chance = (len(counts) - 1) * within / (len(values) - len(counts))
    return (total - within - chance) / total
