"""A critic that judges patches: convolutions down to a map, each value of which sees one patch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from scansmith.nets.blocks import Norm, SameConv, conv, norm


class PatchCritic(nn.Module):
    """k4 convolutions of given widths and strides, then one k4 convolution to a map of 1 channel.

    All but the first carry a norm; LeakyReLU follows each (ReLU with slope 0). The output is raw:
    a logit for the cross-entropy game, the value itself for least squares.

    Args:
        inputs: channels of condition and image together.
        padding: "one" pads each side by 1 (a stride-1 k4 layer then shrinks by 1); "same" keeps
            the size of stride-1 layers and halves exactly with stride 2.
    """

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int],
        strides: Sequence[int],
        *,
        dims: int = 2,
        padding: Literal["one", "same"] = "one",
        norm_kind: Norm = "batch",
        slope: float = 0.2,
    ):
        super().__init__()
        layers: list[nn.Module] = []
        for i, (width, stride) in enumerate(zip(widths, strides, strict=True)):
            layers.append(_convolution(dims, inputs, width, stride, padding))
            if i > 0:
                layers.append(norm(norm_kind, dims, width, track=False))
            layers.append(nn.LeakyReLU(slope))
            inputs = width
        layers.append(_convolution(dims, inputs, 1, 1, padding))
        self.layers = nn.Sequential(*layers)
        self.strides = (*strides, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, 1, *map), float32: a loss in bf16 would round the game away."""
        return self.layers(x).float()

    @property
    def receptive_field(self) -> int:
        """Side of the patch that one output value sees, in pixels."""
        return receptive_field(self.strides)


def receptive_field(strides: Sequence[int], kernel: int = 4) -> int:
    """Side in pixels of what one output of stacked convolutions sees, worked from the last back."""
    field = 1
    for stride in reversed(strides):
        field = (field - 1) * stride + kernel
    return field


def _convolution(dims: int, inputs: int, outputs: int, stride: int, padding: str) -> nn.Module:
    if padding == "same" and stride == 1:
        return SameConv(dims, inputs, outputs)
    return conv(dims, inputs, outputs, 4, stride, padding=1)


def crop_round(images: Tensor, centres: Tensor, side: int) -> Tensor:
    """Squares (cubes) cut round centres, moved inside the image where they would stick out.

    Args:
        images: (B, C, *S).
        centres: (B, dims), pixels.
    Returns:
        (B, C, side, ...).
    """
    rows = []
    for image, centre in zip(images, centres.long().tolist(), strict=True):
        cut = image
        for axis, (middle, size) in enumerate(zip(centre, image.shape[1:], strict=True), start=1):
            start = min(max(middle - side // 2, 0), max(size - side, 0))
            cut = cut.narrow(axis, start, min(side, size))
        rows.append(cut)
    return torch.stack(rows)
