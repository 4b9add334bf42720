"""A 3D U-Net with max-pooling that works for every size, and spectral norm on its convolutions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.checkpoint import checkpoint

from scansmith.nets.blocks import conv, norm

Upsample = Literal["trilinear", "tricubic"]


class VolumeUNet(nn.Module):
    """Down: max-pool 2, then two convolutions. Up: to the skip's size, halve, concat, two more.

    A convolution is k3 s1 -> instance norm -> LeakyReLU 0.2; the last is k1 -> tanh. Widths are
    base, 2 base, 4 base, ... down to the bottom and back. Odd sizes are rounded down on the way
    down; on the way up each level is brought to the size that it had.

    Args:
        levels: how many times the size is halved.
        upsample: "tricubic" is separable: PyTorch's bicubic in the last two axes, then cubic along
            the first. PyTorch has no 3D form of its own.
        spectral: spectral norm on every convolution.
        checkpoint: blocks are worked out again in the backward pass instead of being kept.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        base: int = 8,
        levels: int = 3,
        *,
        upsample: Upsample = "trilinear",
        spectral: bool = True,
        checkpoint: bool = False,
    ):
        super().__init__()
        self.checkpoint = checkpoint
        widths = [base * 2**level for level in range(levels + 1)]
        self.first = _pair(inputs, widths[0], spectral)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for above, width in pairwise(widths):
            self.down.append(nn.Sequential(nn.MaxPool3d(2), *_pair(above, width, spectral)))
        for width in reversed(widths[:-1]):
            self.up.append(_Rise(width, spectral, upsample))
        self.head = _normed(conv(3, widths[0], outputs, 1), spectral)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, D, H, W) -> (B, outputs, D, H, W) in -1..1."""
        levels = [self._kept_small(self.first, x)]
        for block in self.down:
            levels.append(self._kept_small(block, levels[-1]))
        x = levels.pop()
        for block in self.up:
            x = self._kept_small(block, x, levels.pop())
        return torch.tanh(self.head(x).float())

    def _kept_small(self, block: nn.Module, *inputs: Tensor) -> Tensor:
        if not (self.checkpoint and torch.is_grad_enabled()):
            return block(*inputs)
        return checkpoint(
            block,
            *inputs,
            use_reentrant=False,
            preserve_rng_state=False,
            context_fn=lambda: (nullcontext(), _still(block)),
        )


class _Rise(nn.Module):
    """Up to the skip's size, halve the channels, concat the skip, two convolutions."""

    def __init__(self, width: int, spectral: bool, upsample: Upsample):
        super().__init__()
        self.upsample = upsample
        self.halve = nn.Sequential(*_convolution(2 * width, width, spectral))
        self.block = _pair(2 * width, width, spectral)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, 2 width, small) and (B, width, *S) -> (B, width, *S)."""
        x = self.halve(resize(x, skip.shape[2:], self.upsample))
        return self.block(torch.cat([x, skip], dim=1))


def resize(x: Tensor, size: torch.Size | tuple[int, ...], kind: Upsample = "trilinear") -> Tensor:
    """A volume (B, C, D, H, W) brought to another size; "tricubic" as in `VolumeUNet`."""
    if kind == "trilinear":
        return F.interpolate(x, size=tuple(size), mode="trilinear", align_corners=False)
    batch, channels, depth, height, width = x.shape
    x = x.reshape(batch, channels * depth, height, width)
    x = F.interpolate(x, size=tuple(size[1:]), mode="bicubic", align_corners=False)
    x = x.reshape(batch, channels, depth, size[1] * size[2])
    x = F.interpolate(x, size=(size[0], x.shape[3]), mode="bicubic", align_corners=False)
    return x.reshape(batch, channels, *size)


def _pair(inputs: int, outputs: int, spectral: bool) -> nn.Sequential:
    return nn.Sequential(
        *_convolution(inputs, outputs, spectral), *_convolution(outputs, outputs, spectral)
    )


def _convolution(inputs: int, outputs: int, spectral: bool) -> list[nn.Module]:
    """Convolution, norm, activation; the norm makes a bias idle."""
    return [
        _normed(conv(3, inputs, outputs, 3, padding=1, bias=False), spectral),
        norm("instance", 3, outputs),
        nn.LeakyReLU(0.2),
    ]


def _normed(layer: nn.Module, spectral: bool) -> nn.Module:
    return spectral_norm(layer) if spectral else layer


@contextmanager
def _still(block: nn.Module) -> Iterator[None]:
    """Keep spectral norm's estimate where it is, so that a block worked out again is the same."""
    moving = [
        part
        for module in block.modules()
        if is_parametrized(module)
        for part in module.parametrizations["weight"]  # type: ignore[index, union-attr]
        if part.training
    ]
    for part in moving:
        part.train(False)
    try:
        yield
    finally:
        for part in moving:
            part.train(True)
