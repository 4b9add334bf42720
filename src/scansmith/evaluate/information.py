"""Mutual information of two images: how much the one tells of the other, whatever its grey scale.

Unlike an error or SSIM it asks for no equal brightness: another modality of the same anatomy shares
information with an image, and so does its negative.
"""

from __future__ import annotations

import numpy as np

from scansmith.scan import DataError

#: Grey levels of each image. Few, since every pair of levels is a cell to be filled.
BINS = 32
#: With fewer voxels than cells the number says how few there are, not what they share.
LEAST_VOXELS = BINS * BINS


def information(
    one: np.ndarray, other: np.ndarray, mask: np.ndarray, bins: int = BINS
) -> dict[str, float]:
    """Mutual information of two images inside a mask, from a histogram of bins x bins over 0..1.

    Returns:
        mi in nats; nmi = 2 mi / (entropy of one + entropy of the other), 0 to 1, 0 if both are
        constant. Both are biased upwards in small masks, mi by about (bins - 1)^2 / (2 n) for n
        voxels of images that share nothing: compare masks of like size.
    Raises:
        DataError: the shapes differ, or the mask is empty.
    Source:
        Cover and Thomas, Elements of Information Theory, eq. 2.28; in images: Maes et al., IEEE
        Trans. Medical Imaging 16 (1997). Bias: Panzeri et al., J. Neurophysiology 98 (2007).
    """
    if not one.shape == other.shape == mask.shape or not mask.any():
        raise DataError(
            f"information: images {one.shape} and {other.shape}, mask {mask.shape} of "
            f"{int(np.count_nonzero(mask))} pixels, expected one grid and a pixel at least. "
            "Cut them alike, and leave out slices without brain."
        )
    inside = [np.clip(image[mask], 0, 1) for image in (one, other)]
    joint, _, _ = np.histogram2d(inside[0], inside[1], bins, range=((0, 1), (0, 1)))
    joint /= joint.sum()
    first, second = joint.sum(axis=1), joint.sum(axis=0)
    separate = _entropy(first) + _entropy(second)
    mi = max(separate - _entropy(joint), 0.0)
    return {"mi": mi, "nmi": 2 * mi / separate if separate > 0 else 0.0}


def _entropy(shares: np.ndarray) -> float:
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum())
