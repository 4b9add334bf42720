"""A fully convolutional network that names the structure of each pixel: FCN-8s.

Stage: 2 or 3 x (convolution 3 -> instance norm -> ReLU), then halving by max pooling; widths base x
1, 2, 4, 8, 8 with 2, 2, 3, 3, 3 convolutions, as in VGG16. Head: convolution 7, convolution 1, each
with ReLU and dropout. The head and the stage outputs one and two halvings above it are scored by
convolutions 1; scores are brought to the next finer size, added, and at last brought to the
image's.

Source: Long et al. 2015, "Fully convolutional networks for semantic segmentation", with the layers
of VGG16 (base 64, 5 halvings). Ours: norms, because it is trained from nothing here; a head 8 base
wide instead of 4096, most of whose weights saw photographs; fixed linear upsampling. MONAI's FCN
is a ResNet-50 with other blocks, which fetches weights by default.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from scansmith.nets.blocks import conv, norm
from scansmith.nets.segmenter import SHORTEST

#: Width in units of base, and convolutions, of VGG16's stages.
STAGES = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))
SCORED = 3  # FCN-8s: the last three sizes


class FCN(nn.Module):
    """FCN-8s from an image to one value for each structure.

    Args:
        dims: 2 or 3.
        inputs: C modalities.
        outputs: K structures, background included.
        base: channels of the first stage.
        depth: stages, 1 to 5. Sides shorter than 4 pixels are not halved further.
        dropout: in the head.
    """

    def __init__(
        self,
        dims: int,
        inputs: int,
        outputs: int,
        *,
        base: int = 64,
        depth: int = 5,
        dropout: float = 0.5,
    ):
        super().__init__()
        widths = [inputs, *(base * times for times, _ in STAGES[:depth])]
        self.stages = nn.ModuleList(
            nn.Sequential(*_stage(dims, before, width, count))
            for (before, width), (_, count) in zip(pairwise(widths), STAGES, strict=False)
        )
        drop = nn.Dropout2d if dims == 2 else nn.Dropout3d
        self.head = nn.Sequential(
            *_convolution(dims, widths[-1], 8 * base, 7),
            drop(dropout),
            *_convolution(dims, 8 * base, 8 * base, 1),
            drop(dropout),
        )
        scored = [8 * base, *widths[-2 : -SCORED - 1 : -1][: depth - 1]]
        self.scores = nn.ModuleList(conv(dims, width, outputs, 1) for width in scored)
        self.pool: Callable[..., Tensor] = F.max_pool2d if dims == 2 else F.max_pool3d
        self.linear = "bilinear" if dims == 2 else "trilinear"

    def forward(self, image: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, outputs, *S), without a softmax."""
        pooled, x = [], image
        for stage in self.stages:
            x = stage(x)
            x = self.pool(x, [2 if side >= SHORTEST else 1 for side in x.shape[2:]])
            pooled.append(x)
        found = self.scores[0](self.head(x))
        for score, skip in zip(self.scores[1:], reversed(pooled[:-1]), strict=False):
            found = self._to(found, skip) + score(skip)
        return self._to(found, image)

    def _to(self, x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(x, size=like.shape[2:], mode=self.linear)


def _stage(dims: int, inputs: int, outputs: int, count: int) -> list[nn.Module]:
    widths = [inputs, *[outputs] * count]
    return [part for pair in pairwise(widths) for part in _convolution(dims, *pair, 3)]


def _convolution(dims: int, inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    """Convolution, norm, activation; the norm makes a bias idle."""
    return [
        conv(dims, inputs, outputs, kernel, padding=kernel // 2, bias=False),
        norm("instance", dims, outputs),
        nn.ReLU(inplace=True),
    ]
