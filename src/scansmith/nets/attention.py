"""Attention of one path's positions to another's."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scansmith.nets.blocks import conv


class CrossAttention(nn.Module):
    """What the map path's positions gather from the image path.

    S_ij = a_i . b_j (MAGAN eq. 1), D_ij = softmax over i (eq. 2), o_j = sum_i D_ij v_i, with
    a = W_a A, b = W_b B of C/8 channels and v = W_v A of C channels (1x1 convolutions; widths as
    in SAGAN, Zhang et al. 2019). There is no division by sqrt(d): eq. 1 has none.

    The full S of a 256 x 256 map has 4.3e9 entries, so a and v are average-pooled until at most
    `max_keys` positions are left; the queries b stay at full size.
    """

    def __init__(self, channels: int, max_keys: int = 1024, dims: int = 2):
        super().__init__()
        self.dims, self.max_keys = dims, max_keys
        width = max(1, channels // 8)
        self.key = conv(dims, channels, width, 1)
        self.query = conv(dims, channels, width, 1)
        self.value = conv(dims, channels, channels, 1)

    def forward(self, image_path: Tensor, map_path: Tensor) -> Tensor:
        """(B, C, *S), (B, C, *S) -> (B, C, *S)."""
        keys = self.pool(image_path)
        a = self.key(keys).flatten(2).transpose(1, 2)  # B, I, C/8
        v = self.value(keys).flatten(2).transpose(1, 2)  # B, I, C
        b = self.query(map_path).flatten(2).transpose(1, 2)  # B, J, C/8
        o = F.scaled_dot_product_attention(b, a, v, scale=1.0)  # B, J, C
        return o.transpose(1, 2).reshape(map_path.shape)

    def pool(self, x: Tensor) -> Tensor:
        """Average over squares (cubes) until no more than `max_keys` positions are left."""
        positions = math.prod(x.shape[2:])
        if positions <= self.max_keys:
            return x
        factor = math.ceil((positions / self.max_keys) ** (1 / self.dims))
        sizes = tuple(max(1, side // factor) for side in x.shape[2:])
        pool = F.adaptive_avg_pool2d if self.dims == 2 else F.adaptive_avg_pool3d
        return pool(x, sizes)  # type: ignore[arg-type]

    def weights(self, image_path: Tensor, map_path: Tensor) -> Tensor:
        """D of eq. 2 as (B, I, J): each column sums to one."""
        a = self.key(self.pool(image_path)).flatten(2)
        b = self.query(map_path).flatten(2)
        return torch.softmax(a.transpose(1, 2) @ b, dim=1)
