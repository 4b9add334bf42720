"""Small parts that networks share; `dims` is 2 or 3."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["batch", "instance", "none"]
_SMALL = 20480
"""PyTorch leaves a float32 volume to its slow convolution if C x D x H is no more than this."""


class Conv3d(nn.Conv3d):
    """`torch.nn.Conv3d`, with zeros round the volume, that is fast for one small volume as well.

    On a CPU, PyTorch hands float32 volumes to oneDNN in batches, or if they are large; one small
    volume goes through loops of its own that take several times as long
    (`benchmarks/volume_convolution.py`). So that one is cut into two halves along its depth that
    overlap by what the kernel needs, and these are a batch.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, D, H, W) -> (B, outputs, *S)."""
        if self._is_slow(x):
            return self._in_halves(x)
        return super().forward(x)

    def _is_slow(self, x: Tensor) -> bool:
        """Whether PyTorch would take the loops; what its own rule says, as of PyTorch 2.13."""
        return (
            x.device.type == "cpu"
            and torch.backends.mkldnn.is_available()
            and x.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and len(x) == 1
            and x.shape[1] * x.shape[2] * x.shape[3] <= _SMALL
            and self.groups == 1
            and 1 < max(self.kernel_size) <= 3
            and self._sizes(x)[2] > 1
        )

    def _sizes(self, x: Tensor) -> tuple[int, int, int]:
        """Along the depth: voxels of padding, voxels that the kernel spans, and of the result."""
        padding = int(self.padding[0])
        span = self.dilation[0] * (self.kernel_size[0] - 1) + 1
        return padding, span, (x.shape[2] + 2 * padding - span) // self.stride[0] + 1

    def _in_halves(self, x: Tensor) -> Tensor:
        padding, span, depth = self._sizes(x)
        half = (depth + 1) // 2
        begin = half * self.stride[0]
        taken = begin - self.stride[0] + span  # by each half
        lacking = max(0, begin + taken - x.shape[2] - 2 * padding)
        x = F.pad(x, (0, 0, 0, 0, padding, padding + lacking))
        parts = torch.cat([x[:, :, :taken], x[:, :, begin : begin + taken]])
        beside = (0, *self.padding[1:])
        found = F.conv3d(parts, self.weight, self.bias, self.stride, beside, self.dilation)  # type: ignore[arg-type]
        return torch.cat([found[:1], found[1:, :, : depth - half]], dim=2)


class _InstanceNorm(nn.modules.instancenorm._InstanceNorm):
    """Instance norm by group norm's kernel on a CPU, one channel to a group: the same numbers.

    `torch.nn.functional.instance_norm` makes each channel of a batch a channel of one sample and
    takes batch norm's kernel, which is about half as fast there
    (`benchmarks/instance_norm.py`).
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) -> the same shape."""
        if x.device.type == "cpu" and x.shape[2:].numel() > 1:
            return F.group_norm(x, self.num_features, self.weight, self.bias, self.eps)
        return super().forward(x)


class InstanceNorm2d(_InstanceNorm, nn.InstanceNorm2d):
    """`torch.nn.InstanceNorm2d` without running statistics, faster on a CPU."""


class InstanceNorm3d(_InstanceNorm, nn.InstanceNorm3d):
    """`torch.nn.InstanceNorm3d` without running statistics, faster on a CPU."""


def conv(
    dims: int, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, **options: object
) -> nn.Module:
    """Convolution in 2D or 3D; options as in `torch.nn.Conv2d`."""
    kind = nn.Conv2d if dims == 2 else Conv3d
    return kind(inputs, outputs, kernel, stride, **options)  # type: ignore[arg-type]


def upconv(dims: int, inputs: int, outputs: int, **options: object) -> nn.Module:
    """Transposed convolution k4 s2 p1: doubles each side exactly."""
    kind = nn.ConvTranspose2d if dims == 2 else nn.ConvTranspose3d
    return kind(inputs, outputs, 4, 2, 1, **options)  # type: ignore[arg-type]


def norm(
    kind: Norm, dims: int, channels: int, *, momentum: float = 0.1, track: bool = True
) -> nn.Module:
    """Normalisation with learned scale and shift.

    "batch" without `track` uses the statistics of the batch at all times: so must critics, which
    are shown scenes in other players' turns and must not change by it.
    """
    if kind == "none":
        return nn.Identity()
    if kind == "instance":
        instance = InstanceNorm2d if dims == 2 else InstanceNorm3d
        return instance(channels, affine=True)
    batch = nn.BatchNorm2d if dims == 2 else nn.BatchNorm3d
    return batch(channels, momentum=momentum, track_running_stats=track)


class SameConv(nn.Module):
    """Stride-1 convolution with an even kernel that keeps the size: k/2 - 1 before, k/2 after."""

    def __init__(self, dims: int, inputs: int, outputs: int, kernel: int = 4):
        super().__init__()
        self.pads = (kernel // 2 - 1, kernel // 2) * dims
        self.conv = conv(dims, inputs, outputs, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, outputs, *S)."""
        return self.conv(F.pad(x, self.pads))


def initialise(network: nn.Module, kind: Literal["normal", "glorot"]) -> None:
    """Weights of all convolutions, biases zero.

    "normal": N(0, 0.02), normalisation scales N(1, 0.02), as in pix2pix and CycleGAN.
    "glorot": Glorot uniform (Keras' default).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            if kind == "normal":
                nn.init.normal_(module.weight, 0.0, 0.02)
            else:
                nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif kind == "normal" and getattr(module, "affine", False):
            nn.init.normal_(module.weight, 1.0, 0.02)  # type: ignore[arg-type]
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
