"""The block of the registered multimodal networks: convolution, instance norm, (capped) ReLU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scansmith.nets.blocks import InstanceNorm2d, initialise

Init = Literal["normal", "averaging"]


class InstanceNorm(InstanceNorm2d):
    """Instance norm with scale and shift; small maps are normalised over all channels together.

    A map of one pixel has no spread, and what one of four pixels has left after instance norm is
    hardly more than signs: how strong its channels are, and so most of what a dense layer behind
    it could read, is gone. `least` is the number of pixels from which each channel is normalised
    on its own.

    Args:
        conditions: conditional instance norm (Dumoulin et al., ICLR 2017): each condition scales
            and shifts every channel by further numbers of its own, none at the start.
    """

    def __init__(self, channels: int, conditions: int = 0):
        super().__init__(channels, affine=True)
        self.least = 2
        if conditions:
            self.scale = nn.Parameter(torch.zeros(conditions, channels))
            self.shift = nn.Parameter(torch.zeros(conditions, channels))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> the same shape; `condition` (B,): which, of a norm that has some."""
        if x.shape[-2] * x.shape[-1] < self.least:
            x = F.group_norm(x, 1, self.weight, self.bias, self.eps)
        else:
            x = super().forward(x)
        if condition is None:
            return x
        scale, shift = (rows[condition][:, :, None, None] for rows in (self.scale, self.shift))
        return x * (1 + scale) + shift


class ConvNormRelu(nn.Module):
    """Convolution (zero padding, "same") -> instance norm -> ReLU.

    Args:
        stride: 2 makes ceil(n / 2) of n pixels.
        cap: the largest output; 0: none.
        conditions: of its norm.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        cap: float = 0.0,
        conditions: int = 0,
    ):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)
        self.norm = InstanceNorm(outputs, conditions)
        self.cap = cap

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, ...); `condition` (B,) as its norm takes it."""
        x = torch.relu(self.norm(self.conv(x), condition))
        return x.clamp(max=self.cap) if self.cap else x


class Head(nn.Module):
    """Convolution -> instance norm -> sigmoid, as all decoders end; the norm can be left out.

    With it every image has the same mean and spread before the sigmoid, an empty label map too.
    """

    def __init__(self, inputs: int, outputs: int, norm: bool = True):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = InstanceNorm(outputs) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W) in 0..1."""
        return torch.sigmoid(self.norm(self.conv(x)))


def halved(size: Sequence[int], times: int) -> list[tuple[int, int]]:
    """A size and what it becomes when it is halved `times` times, rounded up: times + 1 sizes."""
    sizes = [(int(size[0]), int(size[1]))]
    for _ in range(times):
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes


def initialise_averaging(network: nn.Module) -> None:
    """Convolutions as averaging filters, N(1 / (9 C_in), 1e-6), biases 0: the published code's.

    All filters of a layer start alike; noise of 1e-6 has to break the tie.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 1 / (9 * module.in_channels), 1e-6)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def start(
    generators: Sequence[nn.Module], critics: Sequence[nn.Module], kind: Init, least: int
) -> None:
    """Starting weights: N(0, 0.02) for all, or averaging filters for the generators.

    Dense layers keep PyTorch's default: N(0, 0.02) over thousands of inputs would start the code
    far from its unit variance.

    Args:
        least: of every `InstanceNorm`.
    """
    for network in (*generators, *critics):
        initialise(network, "normal")
        for module in network.modules():
            if isinstance(module, InstanceNorm):
                module.least = least
    if kind == "averaging":
        for network in generators:
            initialise_averaging(network)
