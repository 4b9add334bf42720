"""Continuity: does a volume go on from slice to slice as a scanned one does?

A generator that draws each slice by itself makes slices that are each right and do not belong
together: brightness and edges jump between them. In a cut across the slices a reader sees combs.

x_k    slice k within the window, 0..1; looked at where one of the slices compared is above 0

step            mean |x_(k+1) - x_k|
similarity      SSIM of x_k and x_(k+1)
flicker         mean |x_(k-1) - 2 x_k + x_(k+1)| / mean |x_(k+1) - x_(k-1)|
label overlap   Dice of what is labelled in slice k and in slice k + 1

Flicker is 0 where values change evenly, and sqrt 3 where slices have nothing to do with each other:
for independent values of variance v the differences have variances 6 v and 2 v. A walk at random
has 1. Source: SSIM as `fidelity.ssim`; the others are this project's.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from scansmith.evaluate import fidelity
from scansmith.evaluate.overlap import dice_of_masks, finite_mean

#: Neighbours of a case that are compared, evenly spread over it.
PLACES = 24
#: Fewer slices are no volume.
LEAST_SLICES = 3
IMAGE_MEASURES = ("step", "similarity", "flicker")


def continuity_of(image: np.ndarray, window: tuple[float, float]) -> dict[str, float]:
    """How the slices of a volume go on.

    Args:
        image: (D, H, W), slices first, raw units.
        window: (low, high), scaled to 0..1; what lies outside is clipped.
    Returns:
        step, similarity, flicker; nan where there is nothing to measure. {} if there are fewer
        than three slices.
    """
    if len(image) < LEAST_SLICES:
        return {}
    low, high = window

    def scaled(number: int) -> np.ndarray:
        return np.clip((image[number].astype(np.float64) - low) / (high - low), 0.0, 1.0)

    steps, similar, bends, slopes = [], [], [], []
    for k in _places(len(image) - 1):
        x, y = scaled(k), scaled(k + 1)
        there = (x > 0) | (y > 0)
        if there.any():
            steps.append(float(np.abs(y - x)[there].mean()))
            if min(x.shape) >= 2 * fidelity.SSIM_RADIUS + 1:
                similar.append(fidelity.ssim(x, y, 1.0, there))
    for k in _places(len(image) - 2):
        x, y, z = scaled(k), scaled(k + 1), scaled(k + 2)
        there = (x > 0) | (y > 0) | (z > 0)
        bends.append(float(np.abs(x - 2 * y + z)[there].sum()))
        slopes.append(float(np.abs(z - x)[there].sum()))
    return {
        "step": finite_mean(steps),
        "similarity": finite_mean(similar),
        "flicker": sum(bends) / sum(slopes) if sum(slopes) > 0 else float("nan"),
    }


def label_overlap(mask: np.ndarray) -> float:
    """Mean Dice of a mask in neighbouring slices, over neighbours of which one has some of it.

    Args:
        mask: bool (D, H, W), slices first; every pair of neighbours counts.
    Returns:
        0 to 1; nan if the mask is empty or has fewer than three slices.
    """
    if len(mask) < LEAST_SLICES:
        return float("nan")
    return finite_mean([dice_of_masks(x, y) for x, y in pairwise(mask)])


def _places(count: int) -> list[int]:
    """At most PLACES of the numbers 0 to count - 1, evenly spread."""
    chosen = np.linspace(0, count - 1, min(count, PLACES)).round().astype(int)
    return [int(n) for n in chosen]
