"""How well two modalities of one slice lie on each other: the edges that they have in common.

Images are (H, W) in 0..1. Edges are structure maps (Algorithm 1 of the registered multimodal
paper); they agree where both modalities show a border, and no two modalities show all the same
ones, so numbers mean something only beside those of real scans, as they are and shifted on purpose.
"""

from __future__ import annotations

import numpy as np
import torch

from scansmith.nets.structure_map import structure_map


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
