"""How well two modalities of one slice lie on each other: edges in common, and information.

Images are (H, W) in 0..1. Edges are structure maps (Algorithm 1 of the registered multimodal
paper); they agree where both modalities show a border, and no two modalities show all the same
ones, so numbers mean something only beside those of real scans, as they are and shifted on purpose.
"""

from __future__ import annotations

import numpy as np
import torch

from scansmith.nets.structure_map import structure_map
from scansmith.scan import DataError

BINS = 32


def edges(image: np.ndarray, beta: float = 0.12, smooth: float = 0.0) -> np.ndarray:
    """The structure map of an image, bool (H, W); see `nets.structure_map`."""
    x = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None, None]
    return structure_map(x, beta, smooth)[0, 0].numpy() > 0


def agreement(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Dice and IoU of two maps of edges, bool; nan if neither has any."""
    both, either = int((one & other).sum()), int((one | other).sum())
    if not either:
        return {"dice": float("nan"), "iou": float("nan")}
    return {"dice": 2 * both / (both + either), "iou": both / either}


def information(
    one: np.ndarray, other: np.ndarray, mask: np.ndarray, bins: int = BINS
) -> dict[str, float]:
    """Mutual information of two images inside a mask, from a histogram of bins x bins over 0..1.

    Returns:
        mi in nats; nmi = 2 mi / (entropy of one + entropy of the other), 0 to 1, 0 if both are
        constant. Both are biased upwards in small masks: compare masks of like size.
    Raises:
        DataError: the shapes differ, or the mask is empty.
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


def moved_apart(
    one: np.ndarray, other: np.ndarray, axis: int, pixels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Two images as if the other lay `pixels` further along an axis; cut to what both show."""
    if pixels == 0:
        return one, other
    length = one.shape[axis]
    late = [slice(None)] * one.ndim
    early = list(late)
    late[axis], early[axis] = slice(pixels, length), slice(0, length - pixels)
    return one[tuple(late)], other[tuple(early)]


def _entropy(shares: np.ndarray) -> float:
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum())
