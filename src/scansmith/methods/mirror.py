"""Samples mirrored by chance in training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def mirrored(tensors: Sequence[Tensor], axes: Sequence[int]) -> list[Tensor]:
    """Each sample mirrored with chance 1/2 along each axis, all tensors that belong to it alike.

    Args:
        tensors: (B, ..., *S), of one B and one S.
        axes: counted from the end: -1 is the last of S.
    """
    found = list(tensors)
    for axis in axes:
        turn = torch.rand(len(found[0]), device=found[0].device) < 0.5
        found = [torch.where(turn.view(-1, *[1] * (x.ndim - 1)), x.flip(axis), x) for x in found]
    return found
