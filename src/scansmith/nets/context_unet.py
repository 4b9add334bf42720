"""A U-Net with residual context modules and added segmentations of three sizes: "isensee2017".

Convolution: k3 -> instance norm -> LeakyReLU 0.01. Down: convolution, which halves by its stride of
2 except at the finest level; context module (convolution, dropout of whole channels, convolution),
added to what came in. Up: nearest upsampling to the skip's size -> convolution to the skip's
width -> concatenation -> localisation (convolution k3, then k1). Each of the three finest levels is
scored by a convolution 1; coarser scores are upsampled and added to finer ones, so that the coarse
levels are taught directly.

Source: Isensee et al. 2017, "Brain tumor segmentation and radiomics survival prediction" (BraTS
2017), as the segmenter that MM-GAN used has it (ellisdg/3DUnetCNN, `isensee2017_model`: base 16,
5 levels, dropout 0.3). Ours: sizes that are no multiple of 16, by upsampling to the skip's size.
MONAI's DynUNet has neither the context modules nor the sum.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scansmith.nets.blocks import conv, norm
from scansmith.nets.segmenter import SHORTEST

SCORED = 3


class ContextUNet(nn.Module):
    """U-Net with context modules, from an image to one value for each structure.

    Args:
        dims: 2 or 3.
        inputs: C modalities.
        outputs: K structures, background included.
        base: channels of the finest level; each level down has twice as many.
        depth: levels below the finest. Sides shorter than 4 pixels are not halved further.
        dropout: of channels in the context modules.
    """

    def __init__(
        self,
        dims: int,
        inputs: int,
        outputs: int,
        *,
        base: int = 16,
        depth: int = 4,
        dropout: float = 0.3,
    ):
        super().__init__()
        widths = [base * 2**level for level in range(depth + 1)]
        self.enter, self.context = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            before = widths[level - 1] if level else inputs
            self.enter.append(_Convolution(dims, before, width, halve=level > 0))
            self.context.append(_context(dims, width, dropout))
        self.up, self.localise, self.scores = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(depth)):
            width = widths[level]
            self.up.append(_Convolution(dims, 2 * width, width))
            self.localise.append(
                nn.Sequential(
                    _Convolution(dims, 2 * width, width), _Convolution(dims, width, width, kernel=1)
                )
            )
            if level < SCORED:
                self.scores.append(conv(dims, width, outputs, 1))

    def forward(self, image: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, outputs, *S), without a softmax."""
        skips: list[Tensor] = []
        x = image
        for enter, context in zip(self.enter, self.context, strict=True):
            x = enter(x)
            x = x + context(x)
            skips.append(x)
        skips.pop()
        levels = []
        for up, localise in zip(self.up, self.localise, strict=True):
            skip = skips.pop()
            x = up(F.interpolate(x, size=skip.shape[2:], mode="nearest"))
            x = localise(torch.cat([skip, x], dim=1))
            levels.append(x)
        scored = levels[-len(self.scores) :]
        found = self.scores[0](scored[0])
        for score, level in zip(self.scores[1:], scored[1:], strict=True):
            found = F.interpolate(found, size=level.shape[2:], mode="nearest") + score(level)
        return found


class _Convolution(nn.Module):
    """Convolution, norm, activation; `halve` halves the sides that are long enough."""

    def __init__(
        self, dims: int, inputs: int, outputs: int, *, kernel: int = 3, halve: bool = False
    ):
        super().__init__()
        # The norm takes a bias of the convolution away again.
        self.conv = conv(dims, inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.norm = norm("instance", dims, outputs)
        self.halve = halve
        self.convolve: Callable[..., Tensor] = F.conv2d if dims == 2 else F.conv3d

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, *S) -> (B, outputs, *S), or half of S rounded up."""
        strides = [2 if self.halve and side >= SHORTEST else 1 for side in x.shape[2:]]
        weight = self.conv.weight
        x = self.convolve(x, weight, None, strides, padding=weight.shape[-1] // 2)  # type: ignore[operator, index]
        return F.leaky_relu(self.norm(x), 0.01)


def _context(dims: int, width: int, dropout: float) -> nn.Sequential:
    drop = nn.Dropout2d if dims == 2 else nn.Dropout3d
    return nn.Sequential(
        _Convolution(dims, width, width), drop(dropout), _Convolution(dims, width, width)
    )
