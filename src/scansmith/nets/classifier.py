"""Classifiers of slices: VGG16 and AlexNet, layer by layer as published, of any width.

VGG16 (Simonyan and Zisserman, ICLR 2015, table 1, column D): 13 convolutions of 3 x 3 in five
stages of 64, 128, 256, 512, 512 channels, each stage followed by a 2 x 2 maximum; then fully
connected layers of 4096, 4096, K.

AlexNet in one column (Krizhevsky 2014, arXiv:1404.5997, as torchvision has it): convolutions of
11 x 11 with stride 4 to 64, 5 x 5 to 192, 3 x 3 to 384, 256, 256 channels, a 3 x 3 maximum of
stride 2 after the first, second and last; then 4096, 4096, K. No local response normalisation.

ReLU after all layers but the last; dropout of one half of both layers of 4096. The last map is
averaged to 7 x 7 (VGG16) or 6 x 6 (AlexNet) cells, which at 224 pixels it has anyway; so other
sizes do, from `least` pixels a side. Weights begin as in He et al. 2015 (normal, for ReLU): sixteen
layers without a norm do not begin to learn otherwise. The papers had other ways to begin.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_HIDDEN = 4096


class Classifier(nn.Module):
    """Convolutions, an averaging to cells, three layers that see all of the picture.

    Attributes:
        least: pixels that a side must have.
    """

    least: int

    def __init__(
        self,
        features: Sequence[nn.Module],
        channels: int,
        cells: int,
        outputs: int,
        *,
        hidden: int,
        dropout: float,
    ):
        super().__init__()
        self.features = nn.Sequential(*features)
        self.cells = nn.AdaptiveAvgPool2d(cells)
        self.judge = nn.Sequential(
            nn.Linear(channels * cells * cells, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, outputs),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K), without a softmax."""
        return self.judge(torch.flatten(self.cells(self.features(image)), 1))


class VGG16(Classifier):
    """VGG16.

    Args:
        inputs: C.
        outputs: K.
        width: share of the paper's channels and hidden units.
    """

    least = 32  # five halvings

    def __init__(self, inputs: int, outputs: int, *, width: float = 1.0, dropout: float = 0.5):
        layers: list[nn.Module] = []
        stages = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
        for channels, count in stages:
            for _ in range(count):
                layers.append(nn.Conv2d(inputs, _part(channels, width), 3, padding=1))
                layers.append(nn.ReLU(inplace=True))
                inputs = _part(channels, width)
            layers.append(nn.MaxPool2d(2))
        hidden = _part(_HIDDEN, width)
        super().__init__(layers, inputs, 7, outputs, hidden=hidden, dropout=dropout)


class AlexNet(Classifier):
    """AlexNet; arguments as those of `VGG16`."""

    least = 63  # 63 -> 15 -> 7 -> 3 -> 1

    def __init__(self, inputs: int, outputs: int, *, width: float = 1.0, dropout: float = 0.5):
        one, two, three, four = (_part(channels, width) for channels in (64, 192, 384, 256))
        layers = [
            nn.Conv2d(inputs, one, 11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(one, two, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(two, three, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(three, four, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(four, four, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
        ]
        hidden = _part(_HIDDEN, width)
        super().__init__(layers, four, 6, outputs, hidden=hidden, dropout=dropout)


#: Name -> network. To add one, add a line.
CLASSIFIERS: dict[str, type[VGG16] | type[AlexNet]] = {"vgg16": VGG16, "alexnet": AlexNet}


def _part(channels: int, width: float) -> int:
    return max(1, round(channels * width))
