"""Lesions told from two images of one slice: where, and how far, the second differs."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

BODY = 0.05  # of 0..1: darker is air, or what lies outside a stripped skull


def difference_map(x: Tensor, y: Tensor) -> Tensor:
    """|x - y| in intensities of 0..1, mean over modalities: (B, C, H, W) -> (B, H, W).

    Args:
        x, y: in -1..1.
    """
    return (x - y).abs().mean(dim=1) / 2


def body(x: Tensor) -> Tensor:
    """Where a slice shows anything but air: its largest bright piece, holes filled.

    Args:
        x: (B, C, H, W), -1..1; the mean of the modalities decides.
    Returns:
        bool (B, H, W).
    """
    bright = ((x.mean(dim=1) + 1) / 2 > BODY).cpu().numpy()
    found = np.zeros_like(bright)
    for mask, whole in zip(bright, found, strict=True):
        pieces, count = ndimage.label(mask)
        if count:
            largest = 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
            whole[:] = ndimage.binary_fill_holes(pieces == largest)
    return torch.from_numpy(found).to(x.device)


def changed(change: Tensor, where: Tensor, threshold: float, least_piece: int) -> Tensor:
    """A change map as a lesion mask.

    What is above the threshold and inside `where`, opened by a cross of 3 x 3 (lines a pixel wide
    go), with holes filled, without pieces of less than `least_piece` pixels.

    Args:
        change: (B, H, W), see `difference_map`.
        where: bool (B, H, W), the body or an organ.
    Returns:
        bool (B, H, W).
    """
    above = ((change > threshold) & where).cpu().numpy()
    found = np.zeros_like(above)
    for mask, kept in zip(above, found, strict=True):
        solid = ndimage.binary_fill_holes(ndimage.binary_opening(mask))
        pieces, _ = ndimage.label(solid)
        sizes = np.bincount(pieces.ravel())
        kept[:] = solid & (sizes >= least_piece)[pieces]
    return torch.from_numpy(found).to(change.device) & where
