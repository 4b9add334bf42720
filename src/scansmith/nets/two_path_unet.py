"""MAGAN's generator: two contracting paths, attention between them, one expanding path."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from scansmith.nets.attention import CrossAttention
from scansmith.nets.blocks import Norm, conv, norm, upconv

Dilation = Literal["after", "none", "strided"]
Skip = Literal["add", "concat", "none"]


def path_widths(size: int, base: int) -> list[int]:
    """Channels of the blocks that halve `size` down to one pixel: 64 ... 512, 1024 at base 64."""
    blocks = int(math.log2(size))
    return [min(base * 2**k, base * 8) for k in range(blocks - 1)] + [base * 16]


class ContractingPath(nn.Module):
    """Blocks ReLU -> convolution -> norm, each halving the side, down to one pixel.

    The first log2(size) - 5 blocks, whose input is larger than 32 pixels, are dilated. A single
    convolution with stride 2 and dilation 2 ("strided") reads odd rows and columns only: three
    quarters of the input get no gradient. So by default ("after") a dense strided convolution
    comes first and the dilated one (k3, dilation 2) works at the halved size. "none" has the same
    parameters with dilation 1.
    """

    def __init__(
        self, inputs: int, widths: list[int], dilated: int, dilation: Dilation, kind: Norm
    ):
        super().__init__()
        self.blocks = nn.ModuleList()
        for k, width in enumerate(widths):
            layers: list[nn.Module] = [nn.ReLU()] if k > 0 else []
            if k < dilated and dilation == "strided":
                layers.append(conv(2, inputs, width, 4, 2, padding=3, dilation=2))
            else:
                layers.append(conv(2, inputs, width, 4, 2, padding=1))
            if k < dilated and dilation != "strided":
                rate = 2 if dilation == "after" else 1
                layers.append(conv(2, width, width, 3, padding=rate, dilation=rate))
            if 0 < k < len(widths) - 1:  # the last map has one pixel: nothing to normalise
                layers.append(norm(kind, 2, width))
            self.blocks.append(nn.Sequential(*layers))
            inputs = width

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, inputs, S, S) -> the outputs of all blocks, S/2 first, 1 x 1 last."""
        levels = []
        for block in self.blocks:
            x = block(x)
            levels.append(x)
        return levels


class TwoPathUNet(nn.Module):
    """Image path A and map path B, attention modules between them, expanding path with skips.

    Level k hands on F_k = A_k + gamma_k o_k with o_k = attention(A_k, B_k), gamma_k learned from
    0; at one pixel F = A + B. Expanding block: ReLU -> upconv -> norm -> dropout in the first
    three -> joined with F of the level above by addition (or concatenation, or not at all).

    Args:
        size: side in pixels, a power of two.
        channels: of the map and of what is made.
        image_inputs: channels of the image.
        tanh: bounded output; else linear.
    """

    def __init__(
        self,
        size: int,
        base: int = 64,
        *,
        channels: int = 1,
        image_inputs: int = 1,
        dilation: Dilation = "after",
        skip: Skip = "add",
        attention: bool = True,
        norm_kind: Norm = "instance",
        dropout: float = 0.5,
        max_keys: int = 1024,
        tanh: bool = False,
    ):
        super().__init__()
        widths = path_widths(size, base)
        dilated = max(0, len(widths) - 5)
        self.image_path = ContractingPath(image_inputs, widths, dilated, dilation, norm_kind)
        self.map_path = ContractingPath(channels, widths, dilated, dilation, norm_kind)
        self.skip = skip
        self.attention = nn.ModuleList()
        self.gamma = nn.ParameterList()
        if attention and skip != "none":
            self.attention.extend(CrossAttention(width, max_keys) for width in widths[:-1])
            self.gamma.extend(nn.Parameter(torch.zeros(())) for _ in widths[:-1])
        self.up = nn.ModuleList()
        outputs = [*reversed(widths[:-1]), channels]
        inputs = widths[-1]
        for u, width in enumerate(outputs):
            layers: list[nn.Module] = [nn.ReLU(), upconv(2, inputs, width)]
            if u < len(outputs) - 1:
                layers.append(norm(norm_kind, 2, width))
            if u < 3 and u < len(outputs) - 1:
                layers.append(nn.Dropout(dropout))
            self.up.append(nn.Sequential(*layers))
            inputs = width * 2 if skip == "concat" else width
        self.head: nn.Module = nn.Tanh() if tanh else nn.Identity()

    def let_skips_lead(self, share: float = 0.1) -> None:
        """Start with strong skips and a faint decoder.

        With weights of N(0, 0.02) the first blocks, which no norm follows, hand on a thirtieth of
        the signal; random dilated convolutions scatter it over nine places; and the decoder,
        of unit variance, is added to it as noise that a small learning rate takes thousands of
        steps to turn down. So: He's weights in the first convolutions, dilated ones near the
        identity, and the decoder's norms at `share`.
        """
        for path in (self.image_path, self.map_path):
            for k, block in enumerate(path.blocks):
                convolutions = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
                if k == 0:
                    nn.init.kaiming_normal_(convolutions[0].weight, nonlinearity="linear")
                for dilated in convolutions[1:]:
                    noise = dilated.weight.detach().clone()
                    nn.init.dirac_(dilated.weight)
                    with torch.no_grad():
                        dilated.weight.add_(noise)
        for module in self.up.modules():
            if getattr(module, "affine", False):
                nn.init.constant_(module.weight, share)  # type: ignore[arg-type]

    def forward(self, image: Tensor, mask_map: Tensor) -> Tensor:
        """(B, image_inputs, S, S) and (B, channels, S, S) -> (B, channels, S, S)."""
        a, b = self.image_path(image), self.map_path(mask_map)
        x = a[-1] + b[-1]
        skips = a[:-1]
        if len(self.attention):
            skips = [
                a_k + gamma * attend(a_k, b_k)
                for a_k, b_k, gamma, attend in zip(a, b, self.gamma, self.attention, strict=False)
            ]
        for block in self.up[:-1]:
            x = block(x)
            joined = skips.pop()
            if self.skip == "add":
                x = x + joined
            elif self.skip == "concat":
                x = torch.cat([x, joined], dim=1)
        return self.head(self.up[-1](x))
