"""An image becomes an image of the same size: two halvings, residual blocks, two doublings."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from scansmith.nets.blocks import InstanceNorm2d, InstanceNorm3d, conv

Shortcut = Literal["none", "add", "inside"]


class ResNetGenerator(nn.Module):
    """Conv k7, two convs k3 s2, residual blocks, two upconvs k3 s2, conv k7, tanh.

    Instance norm without scale and shift and ReLU follow each but the last. The k7 convolutions
    and those of the blocks mirror the image at its border; the others pad with zeros.

    With h for what enters the last tanh, `shortcut` decides the output: "none" tanh(h); "add"
    x + tanh(h), limited to -1..1 in evaluation mode, so that h = 0 leaves the image as it is;
    "inside" tanh(x + h), which does not (tanh(1) = 0.76).
    Source: CycleGAN (Zhu et al. 2017, appendix 7.2); ANT-GAN, Tables I and II.

    Args:
        channels: of the image, in and out.
        base: channels of the first layer; they double with each halving.
        blocks: residual blocks at a quarter of the size.
        deconv1: channels of the first upconv; 0: as many as enter it, as ANT-GAN's table has it.
            CycleGAN has half of that.
    """

    def __init__(
        self,
        channels: int,
        base: int = 64,
        blocks: int = 9,
        *,
        dims: int = 2,
        deconv1: int = 0,
        shortcut: Shortcut = "none",
    ):
        super().__init__()
        self.shortcut = shortcut
        inner = base * 4
        middle = deconv1 or inner
        self.layers = nn.ModuleDict(
            {
                "conv1": _normed(dims, base, _mirrored(dims, channels, base, 7)),
                "conv2": _normed(dims, base * 2, conv(dims, base, base * 2, 3, 2, padding=1)),
                "conv3": _normed(dims, inner, conv(dims, base * 2, inner, 3, 2, padding=1)),
                **{f"block{k}": ResidualBlock(inner, dims=dims) for k in range(1, blocks + 1)},
                "deconv1": _normed(dims, middle, _doubling(dims, inner, middle)),
                "deconv2": _normed(dims, base, _doubling(dims, middle, base)),
                "conv4": _mirrored(dims, base, channels, 7),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) -> (B, C, *S); each side of S a multiple of 4."""
        h = x
        for layer in self.layers.values():
            h = layer(h)
        if self.shortcut == "inside":
            return torch.tanh(x + h)
        if self.shortcut == "none":
            return torch.tanh(h)
        made = x + torch.tanh(h)
        return made if self.training else made.clamp(-1, 1)


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), k3, mirrored borders."""

    def __init__(self, width: int, *, dims: int = 2):
        super().__init__()
        self.layers = nn.Sequential(
            _normed(dims, width, _mirrored(dims, width, width, 3)),
            _mirrored(dims, width, width, 3),
            _plain_norm(dims, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, *S) -> the same."""
        return x + self.layers(x)


def _mirrored(dims: int, inputs: int, outputs: int, kernel: int) -> nn.Module:
    return conv(dims, inputs, outputs, kernel, padding=kernel // 2, padding_mode="reflect")


def _doubling(dims: int, inputs: int, outputs: int) -> nn.Module:
    """Transposed convolution k3 s2 p1 with one row more at the end: doubles each side exactly."""
    kind = nn.ConvTranspose2d if dims == 2 else nn.ConvTranspose3d
    return kind(inputs, outputs, 3, 2, 1, output_padding=1)


def _normed(dims: int, width: int, layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(layer, _plain_norm(dims, width), nn.ReLU())


def _plain_norm(dims: int, width: int) -> nn.Module:
    kind = InstanceNorm2d if dims == 2 else InstanceNorm3d
    return kind(width)
