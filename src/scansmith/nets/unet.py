"""U-Nets with strided k4 convolutions: pix2pix's, and the heart GAN's with refined decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from scansmith.nets.blocks import Norm, SameConv, conv, norm, upconv


class Pix2PixUNet(nn.Module):
    """Down: LeakyReLU -> k4 s2 convolution -> norm. Up: ReLU -> upconv -> norm -> dropout, concat.

    The first and the innermost convolution carry no norm; dropout sits in the first three
    expanding blocks. Source: Isola et al. 2017, appendix 6.1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        widths: Sequence[int],
        *,
        norm_kind: Norm = "instance",
        dropout: float = 0.5,
        tanh: bool = False,
    ):
        super().__init__()
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for k, width in enumerate(widths):
            layers: list[nn.Module] = [nn.LeakyReLU(0.2)] if k > 0 else []
            layers.append(conv(2, inputs, width, 4, 2, padding=1))
            if 0 < k < len(widths) - 1:
                layers.append(norm(norm_kind, 2, width))
            self.down.append(nn.Sequential(*layers))
            inputs = width
        targets = [*reversed(widths[:-1]), outputs]
        for u, width in enumerate(targets):
            layers = [nn.ReLU(), upconv(2, inputs, width)]
            if u < len(targets) - 1:
                layers.append(norm(norm_kind, 2, width))
                if u < 3:
                    layers.append(nn.Dropout(dropout))
            self.up.append(nn.Sequential(*layers))
            inputs = width * 2
        self.head: nn.Module = nn.Tanh() if tanh else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, S, S) -> (B, outputs, S, S)."""
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        skips.pop()
        for block in self.up[:-1]:
            x = torch.cat([block(x), skips.pop()], dim=1)
        return self.head(self.up[-1](x))


class RefinedUNet(nn.Module):
    """U-Net whose expanding blocks are a linear upconv and a k4 stride-1 convolution.

    Down: k4 s2 -> norm (not on the first) -> LeakyReLU 0.2. Up: upconv (linear) -> k4 s1 ->
    activation -> norm -> concat of the skip. Last: upconv to `outputs` -> k4 s1 -> sigmoid.
    Source: reference implementation of the heart GAN (its base: an echo generator in Keras).

    Args:
        dims: 2 or 3.
        decoder: activation of the expanding blocks: "relu" (code) or "leaky" (paper's text).
        skips: False is the published configuration, True the paper's word "U-Net based".
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        widths: Sequence[int],
        *,
        dims: int = 2,
        decoder: Literal["relu", "leaky"] = "relu",
        skips: bool = True,
        norm_kind: Norm = "batch",
    ):
        super().__init__()
        self.skips = skips
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for k, width in enumerate(widths):
            layers = [conv(dims, inputs, width, 4, 2, padding=1)]
            # One pixel has no statistics; Keras' momentum 0.8 is 0.2 in PyTorch's counting.
            if k > 0:
                layers.append(norm(norm_kind, dims, width, momentum=0.2))
            layers.append(nn.LeakyReLU(0.2))
            self.down.append(nn.Sequential(*layers))
            inputs = width
        for width in reversed(widths[:-1]):
            self.up.append(
                nn.Sequential(
                    upconv(dims, inputs, width),
                    SameConv(dims, width, width),
                    nn.ReLU() if decoder == "relu" else nn.LeakyReLU(0.2),
                    norm(norm_kind, dims, width, momentum=0.2),
                )
            )
            inputs = width * 2 if skips else width
        self.end = nn.Sequential(
            upconv(dims, inputs, outputs), SameConv(dims, outputs, outputs), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, outputs, *S) in 0..1."""
        levels = []
        for block in self.down:
            x = block(x)
            levels.append(x)
        levels.pop()
        for block in self.up:
            x = block(x)
            if self.skips:
                x = torch.cat([x, levels.pop()], dim=1)
        return self.end(x)
