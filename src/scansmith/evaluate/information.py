"""Mutual information of two images: how much the one tells of the other, whatever its grey scale.

Unlike an error or SSIM it asks for no equal brightness: an image in another modality of the same
anatomy shares information with it, and so does its negative.
"""

from __future__ import annotations

import numpy as np

from scansmith.evaluate.fidelity import checked
from scansmith.scan import SettingsError

#: Grey levels of each image. Few, since every pair of levels is a cell to be filled.
BINS = 32
#: With fewer voxels than cells the number says how few there are, not what they share.
LEAST_VOXELS = BINS * BINS


def mutual_information(
    real: np.ndarray,
    made: np.ndarray,
    window: tuple[float, float],
    mask: np.ndarray | None = None,
    *,
    bins: int = BINS,
) -> float:
    """Mutual information, the sum over pairs of grey levels of p(a, b) log2 p(a, b) / (p(a) p(b)).

    Args:
        real, made: (*S).
        window: (low, high), divided into the levels; values outside count to the last ones.
        mask: bool (*S), voxels that are looked at.
    Returns:
        Bits, 0 to log2(bins). Too high where voxels are few: by about
        (bins - 1)^2 / (2 n ln 2) for n voxels of two images that share nothing.
    Raises:
        SettingsError: a window or a number of bins that is none.
        DataError: the shapes differ, the mask is empty, or a value is not finite.
    Source:
        Cover and Thomas, Elements of Information Theory, eq. 2.28; in images: Maes et al., IEEE
        Trans. Medical Imaging 16 (1997). Bias: Miller 1955, as in Panzeri et al.,
        J. Neurophysiology 98 (2007), eq. 4.
    """
    low, high = window
    if not low < high or bins < 2:
        raise SettingsError(
            f"mutual information: found window {low:g} to {high:g} and {bins} bins, expected a "
            "low end below a high one and 2 bins or more. Give the window of the images."
        )
    real, made = checked(real, made, mask)
    levels = [_levels(values, low, high, bins) for values in (real, made)]
    counts = np.bincount(levels[0] * bins + levels[1], minlength=bins * bins)
    joint = counts.reshape(bins, bins) / levels[0].size
    apart = np.outer(joint.sum(1), joint.sum(0))
    there = joint > 0
    return max(float(np.sum(joint[there] * np.log2(joint[there] / apart[there]))), 0.0)


def _levels(values: np.ndarray, low: float, high: float, bins: int) -> np.ndarray:
    scaled = (values.ravel() - low) / (high - low) * bins
    return np.clip(scaled, 0, bins - 1).astype(np.intp)
