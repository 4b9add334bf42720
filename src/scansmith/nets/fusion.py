"""Networks between images and codes: encoder, conditional decoder, two-headed critic, segmentors.

Codes are maps of H/4 x W/4 (rounded up) with 8 x base channels; base 64 is the published width.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scansmith.nets.norm_relu import ConvNormRelu, Head, halved

Scheme = Literal["1seg", "1enc4dec", "4seg"]


class Encoder(nn.Module):
    """Blocks of 1, 1, 2 (stride 2), 4, 4, 8 (stride 2), 8 times base: (B, inputs, H, W) -> code."""

    def __init__(self, inputs: int, base: int = 64, *, cap: float = 0.0, dropout: float = 0.1):
        super().__init__()
        layers: list[nn.Module] = [nn.Dropout(dropout)]
        for factor, stride in ((1, 1), (1, 1), (2, 2), (4, 1), (4, 1), (8, 2), (8, 1)):
            layers.append(ConvNormRelu(inputs, factor * base, 3, stride, cap))
            inputs = factor * base
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 8 base, ceil(H/4), ceil(W/4))."""
        return self.layers(x)


class Decoder(nn.Module):
    """Blocks of 8; up 4, 4, 4; up 2, 2, 2, 1 times base; convolution, norm, sigmoid.

    Args:
        conditions: channels of a one-hot map that is joined to the code; 0: none.
        conditional_norm: conditions also have a scale and a shift of their own in every norm. The
            norm behind the one-hot map takes a constant out again, all but what zero padding
            leaves of it at the borders.
        outputs: channels of what is made.
    """

    def __init__(
        self,
        outputs: int,
        base: int = 64,
        *,
        conditions: int = 0,
        conditional_norm: bool = False,
        cap: float = 0.0,
        dropout: float = 0.1,
        head_norm: bool = True,
    ):
        super().__init__()
        self.conditions, self.conditional_norm = conditions, conditional_norm
        self.dropout = nn.Dropout(dropout)
        of_norm = conditions if conditional_norm else 0

        def blocks(inputs: int, *factors: int) -> nn.ModuleList:
            widths = [inputs, *(factor * base for factor in factors)]
            return nn.ModuleList(
                ConvNormRelu(a, b, cap=cap, conditions=of_norm) for a, b in pairwise(widths)
            )

        self.code = blocks(8 * base + conditions, 8)
        self.middle = blocks(8 * base, 4, 4, 4)
        self.full = blocks(4 * base, 2, 2, 2, 1)
        self.head = Head(base, outputs, head_norm)

    def forward(self, code: Tensor, size: tuple[int, int], target: Tensor | None = None) -> Tensor:
        """Code (B, 8 base, h, w) -> (B, outputs, *size) in 0..1; `target` (B,): which condition."""
        x = self.dropout(code)
        if self.conditions:
            assert target is not None
            x = torch.cat([x, one_hot_map(target, self.conditions, x)], dim=1)
        normed = target if self.conditional_norm else None
        full, half, _ = halved(size, 2)
        for block in self.code:
            x = block(x, normed)
        x = F.interpolate(x, half, mode="nearest")
        for block in self.middle:
            x = block(x, normed)
        x = F.interpolate(x, full, mode="nearest")
        for block in self.full:
            x = block(x, normed)
        return self.head(x)


def one_hot_map(target: Tensor, channels: int, like: Tensor) -> Tensor:
    """(B,) -> (B, channels, h, w) of `like`: ones in the target's channel, zeros elsewhere."""
    hot = F.one_hot(target, channels).to(like.dtype)
    return hot[:, :, None, None].expand(-1, -1, *like.shape[-2:])


class TwoHeadCritic(nn.Module):
    """Is this image real, and which modality is it? Patches of H/16 x W/16.

    5x5 s2 base, 5x5 s2 base, 3x3 s2 2 base, 3x3 s2 2 base; then for each head a block of base and
    a convolution. The second head has one channel that is to equal the modality's number, or one
    logit for each modality.
    """

    def __init__(self, categories: int, base: int = 64, *, cap: float = 0.0, dropout: float = 0.1):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Dropout(dropout),
            ConvNormRelu(1, base, 5, 2, cap),
            ConvNormRelu(base, base, 5, 2, cap),
            ConvNormRelu(base, 2 * base, 3, 2, cap),
            ConvNormRelu(2 * base, 2 * base, 3, 2, cap),
        )
        self.real, self.category = (
            nn.Sequential(ConvNormRelu(2 * base, base, cap=cap), nn.Conv2d(base, n, 3, padding=1))
            for n in (1, categories)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, H, W) -> real/fake (B, 1, h, w) and category (B, categories, h, w), raw."""
        x = self.trunk(x)
        return self.real(x).float(), self.category(x).float()


class CodeCritic(nn.Module):
    """Does a code come from a real image? 7x7 s2, 5x5 s2, 3x3, 3x3, each base; convolution."""

    def __init__(self, inputs: int, base: int = 64, *, cap: float = 0.0, dropout: float = 0.1):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(dropout),
            ConvNormRelu(inputs, base, 7, 2, cap),
            ConvNormRelu(base, base, 5, 2, cap),
            ConvNormRelu(base, base, 3, 1, cap),
            ConvNormRelu(base, base, 3, 1, cap),
            nn.Conv2d(base, 1, 3, padding=1),
        )

    def forward(self, code: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, 1, h/4, w/4), raw."""
        return self.layers(code).float()


class Segmentors(nn.Module):
    """One segmentor for each modality: encoder and decoder to class probabilities.

    "1seg": all modalities share both. "1enc4dec": they share the encoder. "4seg": they share
    nothing.
    """

    def __init__(
        self,
        scheme: Scheme,
        modalities: int,
        classes: int,
        base: int = 64,
        *,
        cap: float = 0.0,
        dropout: float = 0.1,
        head_norm: bool = True,
    ):
        super().__init__()
        encoders = modalities if scheme == "4seg" else 1
        decoders = 1 if scheme == "1seg" else modalities
        self.encoders = nn.ModuleList(
            Encoder(1, base, cap=cap, dropout=dropout) for _ in range(encoders)
        )
        self.decoders = nn.ModuleList(
            Decoder(classes, base, cap=cap, dropout=dropout, head_norm=head_norm)
            for _ in range(decoders)
        )

    def forward(self, images: Tensor) -> Tensor:
        """(M, B, 1, H, W), modality by modality -> (M, B, classes, H, W) in 0..1."""
        size = (images.shape[-2], images.shape[-1])
        made = []
        for number, image in enumerate(images):
            code = self.encoders[number % len(self.encoders)](image)
            made.append(self.decoders[number % len(self.decoders)](code, size))
        return torch.stack(made).float()
