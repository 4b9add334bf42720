"""A compact U-Net that names the structure of each pixel or voxel, for images of any size.

Stage: 2 x (convolution 3 -> instance norm -> LeakyReLU 0.01). Down: halving by max pooling, twice
the channels. Up: convolution 1 to half the channels -> linear upsampling to the skip's size ->
concatenation -> stage. Last: convolution 1. Source: 3D U-Net (Cicek et al. 2016) with the norm and
the activation of nnU-Net (Isensee et al. 2021).

MONAI's BasicUNet always halves four times, which leaves nothing of a thin volume, and its DynUNet
wants sides that its strides divide.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scansmith.nets.blocks import conv, norm

#: A side shorter than this is not halved: of two pixels a norm can still take statistics.
SHORTEST = 4


class SegmenterUNet(nn.Module):
    """U-Net from an image to one value for each structure.

    Args:
        dims: 2 or 3.
        inputs: C modalities.
        outputs: K structures, background included.
        base: channels of the finest level; each level down has twice as many.
        depth: levels below the finest. Sides shorter than 4 pixels are not halved further, so that
            thin volumes keep their slices.
    """

    def __init__(self, dims: int, inputs: int, outputs: int, *, base: int = 16, depth: int = 3):
        super().__init__()
        widths = [base * 2**level for level in range(depth + 1)]
        self.down, self.narrow, self.up = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for width in widths:
            self.down.append(_stage(dims, inputs, width))
            inputs = width
        for width in reversed(widths[:-1]):
            self.narrow.append(conv(dims, inputs, width, 1))
            self.up.append(_stage(dims, 2 * width, width))
            inputs = width
        self.end = conv(dims, inputs, outputs, 1)
        self.pool = F.max_pool2d if dims == 2 else F.max_pool3d
        self.linear = "bilinear" if dims == 2 else "trilinear"

    def forward(self, image: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, outputs, *S), without a softmax."""
        skips: list[Tensor] = []
        x = image
        for level, stage in enumerate(self.down):
            if level:
                x = self.pool(x, [2 if side >= SHORTEST else 1 for side in x.shape[2:]])
            x = stage(x)
            skips.append(x)
        skips.pop()
        for narrow, stage in zip(self.narrow, self.up, strict=True):
            skip = skips.pop()
            x = F.interpolate(narrow(x), size=skip.shape[2:], mode=self.linear)
            x = stage(torch.cat([skip, x], dim=1))
        return self.end(x)


def _stage(dims: int, inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        # The norm takes a bias of the convolution away again.
        layers += [
            conv(dims, channels, outputs, 3, padding=1, bias=False),
            norm("instance", dims, outputs),
            nn.LeakyReLU(0.01, inplace=True),
        ]
    return nn.Sequential(*layers)
