"""SimGAN's critic in 3D: a volume and its condition to a map of a quarter of the size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from scansmith.nets.blocks import Norm, conv, norm


class VolumeCritic(nn.Module):
    """Convolutions k3 s2, k3 s2, max-pool k3 s1, k3, k1, and k1 to a map of one channel.

    Widths are base, 2 base, base, base, 1; LeakyReLU 0.2 follows all but the last. The output is
    raw, without a sigmoid: least squares takes it as it is.
    Source: Shrivastava et al. 2017 (SimGAN), 3.1, its last layer of two channels made one.

    Args:
        condition, images: channels of each.
        spectral: spectral norm on every convolution.
        norm_kind: a norm after each convolution between the first and the last.
        high_pass: gain of further channels that show each image less its local mean; 0: none.
    """

    def __init__(
        self,
        condition: int,
        images: int,
        base: int = 32,
        *,
        spectral: bool = True,
        norm_kind: Norm = "none",
        high_pass: float = 0.0,
    ):
        super().__init__()
        self.high_pass = high_pass
        inputs = condition + images * (2 if high_pass else 1)
        plan = [(base, 3, 2), (2 * base, 3, 2), (base, 3, 1), (base, 1, 1), (1, 1, 1)]
        layers: list[nn.Module] = []
        for place, (width, kernel, stride) in enumerate(plan):
            last, normed = place == len(plan) - 1, norm_kind != "none" and 0 < place < len(plan) - 1
            layer = conv(3, inputs, width, kernel, stride, padding=kernel // 2, bias=not normed)
            layers.append(spectral_norm(layer) if spectral else layer)
            if normed:
                layers.append(norm(norm_kind, 3, width, track=False))
            if not last:
                layers.append(nn.LeakyReLU(0.2))
            if place == 1:
                layers.append(nn.MaxPool3d(3, 1, 1))
            inputs = width
        self.layers = nn.Sequential(*layers)

    def forward(self, condition: Tensor, image: Tensor) -> Tensor:
        """(B, K, *S) and (B, C, *S) -> (B, 1, *S/4), rounded up; float32."""
        parts = [condition, image]
        if self.high_pass:
            parts.append(self.high_pass * fine_detail(image))
        return self.layers(torch.cat(parts, dim=1)).float()


def fine_detail(image: Tensor) -> Tensor:
    """What is left of a volume (B, C, *S) without the mean of each voxel's 27 neighbours."""
    return image - F.avg_pool3d(image, 3, 1, 1, count_include_pad=False)
