"""The structure VAE: a structure map to a dense code and back, with critics of both.

Base 64 and a code of 4096 numbers, seen by its critic as a picture of 64 x 64, are the published
sizes. Sizes of the maps come from the encoder, so that any input size works.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scansmith.nets.norm_relu import ConvNormRelu, Head, halved

HALVINGS = 5


class StructureEncoder(nn.Module):
    """Eleven blocks, five of stride 2, then two dense layers: mean and log variance of the code.

    Blocks: 1; 2 s2, 2; 4 s2, 4, 4; 6 s2, 6; 8 s2, 8; 12 s2, times base.

    Args:
        size: (H, W) of the structure map.
        latent: numbers of the code.
    """

    def __init__(
        self,
        size: tuple[int, int],
        latent: int = 4096,
        base: int = 64,
        *,
        cap: float = 0.0,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.sizes = halved(size, HALVINGS)
        widths = ((1, 1), (2, 2), (2, 1), (4, 2), (4, 1), (4, 1), (6, 2), (6, 1), (8, 2), (8, 1))
        layers: list[nn.Module] = [nn.Dropout(dropout)]
        inputs = 1
        for factor, stride in (*widths, (12, 2)):
            layers.append(ConvNormRelu(inputs, factor * base, 3, stride, cap))
            inputs = factor * base
        self.layers = nn.Sequential(*layers)
        features = inputs * math.prod(self.sizes[-1])
        self.mean = nn.Linear(features, latent)
        self.log_variance = nn.Linear(features, latent)

    def forward(self, f: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, H, W) -> mean and log variance, (B, latent) each."""
        features = self.layers(f).flatten(1)
        return self.mean(features).float(), self.log_variance(features).float()


class StructureDecoder(nn.Module):
    """Two dense layers, then blocks that double up to the sizes the encoder had.

    Blocks: 12; up 8, 8; up 6, 6; up 6, 6; up 4, 4, 4; up 2, 2, 2, 1, times base; then two channels
    (no edge, edge): convolution, norm, sigmoid.

    Args:
        sizes: of the encoder, full size first.
    """

    def __init__(
        self,
        sizes: list[tuple[int, int]],
        latent: int = 4096,
        base: int = 64,
        *,
        cap: float = 0.0,
        dropout: float = 0.1,
        head_norm: bool = True,
    ):
        super().__init__()
        self.sizes, self.width = sizes, 12 * base
        area = math.prod(sizes[-1])
        self.dense = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(latent, area * base),
            nn.Linear(area * base, area * self.width),
        )
        stages = ((12, 12), (12, 8, 8), (8, 6, 6), (6, 6, 6), (6, 4, 4, 4), (4, 2, 2, 2, 1))
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNormRelu(a * base, b * base, cap=cap) for a, b in pairwise(stage)))
            for stage in stages
        )
        self.head = Head(base, 2, head_norm)

    def forward(self, code: Tensor) -> Tensor:
        """(B, latent) -> (B, 2, H, W) in 0..1: no edge, edge."""
        x = self.dense(code).view(len(code), self.width, *self.sizes[-1])
        x = self.stages[0](x)
        for size, stage in zip(reversed(self.sizes[:-1]), self.stages[1:], strict=True):
            x = stage(F.interpolate(x, size, mode="nearest"))
        return self.head(x).float()


class StructureCritic(nn.Module):
    """Is a structure map one of a real scan? Patches of H/16 x W/16.

    5x5 s2 2, 3x3 s2 4, s2 8, s2 8, 3x3 4 times base; convolution.
    """

    def __init__(self, base: int = 64, *, cap: float = 0.0, dropout: float = 0.1):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(dropout),
            ConvNormRelu(1, 2 * base, 5, 2, cap),
            ConvNormRelu(2 * base, 4 * base, 3, 2, cap),
            ConvNormRelu(4 * base, 8 * base, 3, 2, cap),
            ConvNormRelu(8 * base, 8 * base, 3, 2, cap),
            ConvNormRelu(8 * base, 4 * base, 3, 1, cap),
            nn.Conv2d(4 * base, 1, 3, padding=1),
        )

    def forward(self, f: Tensor) -> Tensor:
        """(B, 1, H, W) -> (B, 1, h, w), raw."""
        return self.layers(f).float()


class DenseCodeCritic(nn.Module):
    """Is a dense code normal noise? It is seen as a square picture.

    7x7 2, 7x7 2, 5x5 2, 5x5 s2 4, 3x3 4 times base; convolution.
    """

    def __init__(self, base: int = 64, *, cap: float = 0.0, dropout: float = 0.1):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(dropout),
            ConvNormRelu(1, 2 * base, 7, 1, cap),
            ConvNormRelu(2 * base, 2 * base, 7, 1, cap),
            ConvNormRelu(2 * base, 2 * base, 5, 1, cap),
            ConvNormRelu(2 * base, 4 * base, 5, 2, cap),
            ConvNormRelu(4 * base, 4 * base, 3, 1, cap),
            nn.Conv2d(4 * base, 1, 3, padding=1),
        )

    def forward(self, code: Tensor) -> Tensor:
        """(B, side^2) -> (B, 1, side/2, side/2), raw."""
        side = math.isqrt(code.shape[1])
        return self.layers(code.view(-1, 1, side, side)).float()


def sampled_code(mean: Tensor, log_variance: Tensor) -> Tensor:
    """mean + exp(log variance / 2) noise, with noise of PyTorch's global generator."""
    return mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
