"""A lesion of one patient in another's scan, as it is or changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import ndimage

from scansmith.evaluate.privacy.cases import LEAST_INSIDE, Layout, lesions
from scansmith.evaluate.view import View

Patch = tuple[np.ndarray, np.ndarray]
"""A lesion cut out: image (C, d, h, w), mask (d, h, w)."""


def _each(patch: Patch, image: Callable[[np.ndarray], np.ndarray], mask: Any = None) -> Patch:
    moved = np.stack([image(channel) for channel in patch[0]])
    return moved, patch[1] if mask is None else mask(patch[1].astype(np.uint8)) > 0


def _eroded(patch: Patch) -> Patch:
    smaller = ndimage.binary_erosion(patch[1], np.ones((1, 3, 3)))
    return patch[0], smaller if smaller.sum() >= LEAST_INSIDE else patch[1]


def _noisy(patch: Patch) -> Patch:
    rng = np.random.default_rng(0)
    return _each(patch, lambda x: x + rng.normal(0, 0.2 * x[patch[1]].std(), x.shape))


def _larger(patch: Patch) -> Patch:
    by = (1, 1.1, 1.1)
    return _each(
        patch, lambda x: ndimage.zoom(x, by, order=1), lambda m: ndimage.zoom(m, by, order=0)
    )


def _turned(patch: Patch) -> Patch:
    def turn(x: np.ndarray, order: int, mode: str) -> np.ndarray:
        return ndimage.rotate(x, 10, axes=(1, 2), order=order, mode=mode)

    return _each(patch, lambda x: turn(x, 1, "nearest"), lambda m: turn(m, 0, "constant"))


def _blurred(patch: Patch) -> Patch:
    return _each(patch, lambda x: ndimage.gaussian_filter(x, (0, 0.7, 0.7)))


#: What may be done to a lesion that is pasted, and whether the recipient's own stay labelled.
CHANGES: Mapping[str, tuple[Callable[[Patch], Patch], bool]] = {
    "as it is": (lambda patch: patch, False),
    "as it is, beside the recipient's own": (lambda patch: patch, True),
    "mirrored": (lambda patch: (patch[0][..., ::-1], patch[1][..., ::-1]), False),
    "noise of 20 % of its sd": (_noisy, False),
    "1.3 times as bright, and 20 more": (lambda patch: (1.3 * patch[0] + 20, patch[1]), False),
    "blurred (sd 0.7 pixels)": (_blurred, False),
    "without its outermost pixels": (_eroded, False),
    "10 % larger": (_larger, False),
    "turned by 10 degrees": (_turned, False),
}


def pasted(
    recipient: View,
    donor: View,
    change: Callable[[Patch], Patch],
    layout: Layout,
    *,
    keep: bool = False,
) -> View:
    """A scan with another's largest lesion in it.

    Args:
        keep: its own lesions stay labelled, but for those that the pasted one touches.
    """
    lesion = layout.shared.lesion
    whole = lesions(donor, lesion)[0]  # donors have one
    assert recipient.labels is not None
    (box,) = ndimage.find_objects(whole.astype(np.uint8))
    patch, mask = change((donor.image[:, *box].astype(np.float32), whole[box]))
    size = recipient.labels.shape
    fits = tuple(slice(0, n) for n in size)  # what is larger than the scan is cut off
    patch, mask = patch[:, *fits], mask[fits]
    starts = [min(side.start, n - m) for side, n, m in zip(box, size, mask.shape, strict=True)]
    at = tuple(slice(max(0, a), max(0, a) + m) for a, m in zip(starts, mask.shape, strict=True))
    image, labels = recipient.image.astype(np.float32), recipient.labels.copy()
    own, there = np.isin(labels, lesion), np.zeros(size, bool)
    there[at] = mask
    if keep:
        touched = ndimage.binary_propagation(
            ndimage.binary_dilation(there) & own, np.ones((3, 3, 3)), mask=own
        )
        own = touched
    labels[own] = 0
    image[:, *at] = np.where(mask, patch, image[:, *at])
    labels[at] = np.where(mask, lesion[0], labels[at])
    return replace(recipient, image=image, labels=labels)
