"""A cascade of anisotropic networks: the outermost structure first, the next inside its box.

One network finds the whole of what is nested (a tumour with all its parts), the next finds all but
the outermost part inside the first one's box, and so on. Each tells two classes apart:

w_i    probability of level i: structures i, i+1, ... of the nested ones; 1 before the first level
       and 0 outside the box of level i-1, which has a margin of 5 voxels
p      of structure i: w_0 w_1 ... w_i (1 - w_{i+1}); of the background: 1 - w_0

so that the cascade gives one value for each structure as any segmenter does. Boxes are of the
labels while it learns, of what the level above found afterwards.

Source: Wang et al. 2017, "Automatic brain tumor segmentation using cascaded anisotropic
convolutional neural networks" (arXiv 1709.00382; published code: taigw/brats17, `MSNet`), MM-GAN's
"Triple-Cascaded-Net". Ours: the levels are trained together and on whole samples, in one game;
instance norm instead of batch norm, because boxes differ in size; volumes are continued at both
ends by their last slice, where the published network shortens 19 slices to 11; no tidying up of
what was found (closing, removal of small parts), since no other segmenter here has it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scansmith.nets.blocks import Conv3d, norm

MARGIN = 5  # voxels round a box; Wang et al. 2017
SIDE = 8  # a box has no shorter sides than this, or the image's: networks halve twice
ENDS = 4  # slices that the four joining convolutions take at each end
_NONE = 1e-6  # probability outside the box; its logarithm must be finite

Box = tuple[slice, slice, slice]


class Cascade(nn.Module):
    """Nested structures of a volume, from the outermost to the inmost.

    Args:
        inputs: C modalities.
        nested: indices of the K - 1 structures, outermost first; all but the background.
        base: channels of all layers.
        views: 1 to 3 axes that are taken for the slice axis; probabilities are averaged.
    """

    def __init__(self, inputs: int, nested: Sequence[int], *, base: int = 32, views: int = 3):
        super().__init__()
        self.nested, self.views = tuple(nested), views
        last = len(self.nested) - 1
        # The inmost structure is small: its network halves once (ENet), the others twice.
        self.levels = nn.ModuleList(
            nn.ModuleList(
                AnisotropicNet(inputs, 2, base=base, halvings=1 if level == last and level else 2)
                for _ in range(views)
            )
            for level in range(len(self.nested))
        )

    def forward(self, image: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, inputs, D, H, W) -> log p (B, K, D, H, W).

        Args:
            labels: int (B, D, H, W), which boxes are taken from; None: from what is found.
        """
        known = [None] * len(image) if labels is None else list(labels)
        return torch.stack(
            [self._one(one[None], label) for one, label in zip(image, known, strict=True)]
        )

    def _one(self, image: Tensor, labels: Tensor | None) -> Tensor:
        size = image.shape[2:]
        outer = [0, *self.nested]
        values: list[Tensor] = [image.new_zeros(())] * len(outer)
        within = image.new_zeros(size, dtype=torch.float32)  # log of w_0 ... w_i
        for level, networks in enumerate(self.levels):
            box = _whole(size)
            if level:
                box = self._box(outer[level:], within, labels)
            no, yes = _logs(list(networks.children()), image[(..., *box)])
            absent, present = torch.zeros_like(within), torch.full_like(within, _NONE).log()
            absent[box], present[box] = no, yes
            values[outer[level]] = within + absent
            within = within + present
        values[outer[-1]] = within
        return torch.stack(values)

    def _box(self, inside: Sequence[int], within: Tensor, labels: Tensor | None) -> Box:
        """The box of the level above, of its labels or of what it found."""
        if labels is None:
            return box_of(within.detach() > math.log(0.5))
        return box_of(torch.isin(labels, torch.tensor(inside, device=labels.device)))


class AnisotropicNet(nn.Module):
    """Residual blocks within slices, joined across slices by four thin convolutions.

    Blocks are 2 x (norm -> PReLU -> convolution 1x3x3), ten in all: 2, 2, 3 with dilation 1, 2, 3
    and 3 with 3, 2, 1. After each group a convolution 3x1x1 takes a slice from each end. In-plane
    halvings stand before the second and third group (`halvings` 2) or before the third alone (1).
    The last three groups' outputs are brought to full size, as outputs, 2 and 4 x outputs channels,
    and joined by a convolution 1x3x3.
    """

    def __init__(self, inputs: int, outputs: int, *, base: int = 32, halvings: int = 2):
        super().__init__()
        self.halvings = halvings
        dilations = [(1, 1), (1, 1), (1, 2, 3), (3, 2, 1)]
        self.groups, self.joins = nn.ModuleList(), nn.ModuleList()
        for rates in dilations:
            blocks = [_Residual(inputs if n == 0 else base, base, r) for n, r in enumerate(rates)]
            self.groups.append(nn.Sequential(*blocks))
            self.joins.append(_Layer(base, base, (3, 1, 1), padding=(0, 0, 0)))
            inputs = base
        self.halve = nn.ModuleList(
            _Layer(base, base, (1, 3, 3), stride=(1, 2, 2)) for _ in range(halvings)
        )
        near = [_Rise(base, outputs)] if halvings == 2 else [_plane(base, outputs)]
        self.near = nn.ModuleList(near)
        self.middle = nn.ModuleList(_rises(base, 2 * outputs, halvings))
        self.far = nn.ModuleList(_rises(base, 4 * outputs, halvings))
        self.end = _plane(7 * outputs, outputs)

    def forward(self, image: Tensor) -> Tensor:
        """(B, inputs, D, H, W) -> (B, outputs, D, H, W), without a softmax."""
        x = F.pad(image, (0, 0, 0, 0, ENDS, ENDS), mode="replicate")
        sizes = [x.shape[3:]]
        kept = []
        for place, (group, join) in enumerate(zip(self.groups, self.joins, strict=True)):
            if place in ((1, 2) if self.halvings == 2 else (2,)):
                x = self.halve[len(sizes) - 1](x)
                sizes.append(x.shape[3:])
            x = join(group(x))
            kept.append(x)
        # Two, one and no slices more than the image has.
        first, second, third = kept[1][:, :, 2:-2], kept[2][:, :, 1:-1], kept[3]
        near = self.near[0](first, sizes[0]) if self.halvings == 2 else self.near[0](first)
        parts = [near, _risen(self.middle, second, sizes), _risen(self.far, third, sizes)]
        return self.end(torch.cat(parts, dim=1))


def box_of(mask: Tensor) -> Box:
    """The box round a mask bool (D, H, W), with its margin; of an empty mask the whole image."""
    if not mask.any():
        return _whole(mask.shape)
    places = mask.nonzero()
    low, high = places.amin(dim=0).tolist(), (places.amax(dim=0) + 1).tolist()
    sides = []
    for start, stop, side in zip(low, high, mask.shape, strict=True):
        start, stop = max(start - MARGIN, 0), min(stop + MARGIN, side)
        short = max(min(SIDE, side) - (stop - start), 0)
        start = max(start - short, 0)
        sides.append(slice(start, max(stop, start + min(SIDE, side))))
    return sides[0], sides[1], sides[2]


def _whole(size: Sequence[int]) -> Box:
    return slice(0, size[0]), slice(0, size[1]), slice(0, size[2])


def _logs(networks: Iterable[nn.Module], image: Tensor) -> tuple[Tensor, Tensor]:
    """log (1 - w) and log w (D, H, W), w the mean over views."""
    seen = [
        network(image.movedim(2 + axis, 2)).float().log_softmax(dim=1).movedim(2, 2 + axis)
        for axis, network in enumerate(networks)
    ]
    mean = torch.stack(seen).logsumexp(dim=0)[0] - math.log(len(seen))
    return mean[0], mean[1]


class _Layer(nn.Sequential):
    """Convolution, norm, PReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int, int],
        *,
        stride: tuple[int, int, int] = (1, 1, 1),
        padding: tuple[int, int, int] = (0, 1, 1),
    ):
        super().__init__(
            Conv3d(inputs, outputs, kernel, stride, padding, bias=False),
            norm("instance", 3, outputs),
            nn.PReLU(outputs),
        )


class _Residual(nn.Module):
    """2 x (norm, PReLU, convolution within slices), added to what came in."""

    def __init__(self, inputs: int, outputs: int, dilation: int):
        super().__init__()
        layers: list[nn.Module] = []
        for width in (inputs, outputs):
            layers += [norm("instance", 3, width), nn.PReLU(width)]
            layers += [_plane(width, outputs, dilation)]
        self.layers = nn.Sequential(*layers)
        self.more = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, D, H, W) -> (B, outputs, D, H, W); channels that are missing are 0."""
        return F.pad(x, (0, 0, 0, 0, 0, 0, 0, self.more)) + self.layers(x)


class _Rise(nn.Module):
    """Twice the size within slices, by a transposed convolution 1x3x3, norm and PReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.up = nn.ConvTranspose3d(inputs, outputs, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)
        self.after = nn.Sequential(norm("instance", 3, outputs), nn.PReLU(outputs))

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """(B, inputs, D, h, w) -> (B, outputs, D, *size), where h is size / 2 rounded up."""
        return self.after(self.up(x, output_size=[x.shape[2], *size]))


def _rises(inputs: int, outputs: int, count: int) -> list[_Rise]:
    return [_Rise(inputs if n == 0 else outputs, outputs) for n in range(count)]


def _risen(rises: nn.ModuleList, x: Tensor, sizes: Sequence[Sequence[int]]) -> Tensor:
    for rise, size in zip(rises, reversed(sizes[:-1]), strict=True):
        x = rise(x, size)
    return x


def _plane(inputs: int, outputs: int, dilation: int = 1) -> Conv3d:
    return Conv3d(
        inputs,
        outputs,
        (1, 3, 3),
        padding=(0, dilation, dilation),
        dilation=(1, dilation, dilation),
    )
