"""Classical augmentation: images and label maps of a batch moved and bent alike, then relit.

Segmenters and classifiers learn from such batches, and generators that are asked to. All of it is
torch on whole batches, so that it costs little beside a training step. Chance comes from torch's
global generator, which the training loop seeds for every step.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from scansmith.scan import SettingsError
from scansmith.settings import Augmentation

SIDES = frozenset({"left", "right", "l", "r", "lh", "rh"})
"""Words of a structure's name that say on which side of the body it lies."""


def augmented(
    image: Tensor, labels: Tensor, numbers: Augmentation, spacing_mm: Sequence[float] = ()
) -> tuple[Tensor, Tensor]:
    """The batch, changed by chance. Numbers that change nothing draw no chance.

    In full precision under autocast, too: places in bf16 are up to a pixel wrong at 256 pixels.

    Args:
        image: (B, C, *S).
        labels: int (B, *S).
        spacing_mm: one step along each axis of S, so that a rotation keeps shapes; (): all alike.
    Raises:
        SettingsError: it is to be mirrored in an axis that there is not.
    """
    if wrong := [axis for axis in numbers.flips if not 0 <= axis < image.ndim - 2]:
        raise SettingsError(
            f"augment.flips: found axis {wrong[0]}, expected axes of the samples, 0 to "
            f"{image.ndim - 3}. The last is left to right in a row of pixels."
        )
    with torch.autocast(image.device.type, enabled=False):
        if numbers.moved or numbers.flips:
            spacing_mm = spacing_mm or (1.0,) * (image.ndim - 2)
            chosen = torch.rand(len(image)) < numbers.moved
            matrix, shift = random_moves(chosen, image.shape[2:], spacing_mm, numbers)
            field = random_field(chosen, image.shape[2:], numbers)
            image, labels = moved(image, labels, grid_of(matrix, shift, field.to(image.device)))
        if numbers.gain or numbers.offset or numbers.noise:
            image = relit(image, numbers)
    return image, labels


def refuse_swapped_sides(numbers: Augmentation, structures: Sequence[str], dims: int) -> None:
    """Refuse to mirror left to right what is labelled by its side.

    The mirror image of a left kidney looks like a right one and would still be called left.

    Args:
        structures: names of the label table.
        dims: axes of the samples; the last runs from the patient's right to left.
    Raises:
        SettingsError: with the structures and the axis.
    """
    across = dims - 1
    named = [name for name in structures if SIDES.intersection(re.findall("[a-z]+", name.lower()))]
    if named and across in numbers.flips:
        more = f" and {len(named) - 4} more" if len(named) > 4 else ""
        raise SettingsError(
            f"augment.flips: found axis {across}, which is left to right, with labels that name "
            f"a side: {', '.join(named[:4])}{more}. Mirrored, a left one would look like a right "
            f"one and still be called left. Leave axis {across} out of flips."
        )


def random_moves(
    chosen: Tensor, size: Sequence[int], spacing_mm: Sequence[float], numbers: Augmentation
) -> tuple[Tensor, Tensor]:
    """Random turns, sizes and shifts: matrix (B, d, d) and vector (B, d), in axis order.

    They map a point of the result to the point of the source that is shown there, both in shares
    of half the image's size from its middle. What is not `chosen`, bool (B,), is mirrored at most.
    """
    count, dims = len(chosen), len(size)
    turned = torch.eye(dims).expand(count, dims, dims)
    for a in range(dims):
        for b in range(a + 1, dims):
            turned = turned @ _turns(_even(count) * numbers.degrees, dims, a, b)
    turned = turned / (1 + _even(count) * numbers.scale).view(-1, 1, 1)
    shift = torch.stack([2 * numbers.shift * _even(count) for _ in size], dim=1)
    turned = torch.where(chosen[:, None, None], turned, torch.eye(dims))
    shift = torch.where(chosen[:, None], shift, torch.zeros(()))
    for axis in numbers.flips:
        mirror = torch.ones(count, dims)
        mirror[:, axis] = 1 - 2 * (torch.rand(count) < 0.5).float()
        turned = turned * mirror[:, None]
    half_mm = torch.tensor(
        [max(side - 1, 1) / 2 * step for side, step in zip(size, spacing_mm, strict=True)]
    )
    return turned * half_mm / half_mm[:, None], shift


def random_field(chosen: Tensor, size: Sequence[int], numbers: Augmentation) -> Tensor:
    """A smooth random field (B, d, *S) in shares of half the size; 0 where not `chosen`."""
    dims = len(size)
    nodes = torch.randn(len(chosen), dims, *[numbers.nodes] * dims) * numbers.bend
    nodes *= chosen.view(-1, 1, *[1] * dims)
    mode = "bicubic" if dims == 2 else "trilinear"
    return F.interpolate(nodes, tuple(size), mode=mode, align_corners=True)


def grid_of(matrix: Tensor, shift: Tensor, field: Tensor) -> Tensor:
    """Where each point comes from, on the field's device.

    Returns:
        (B, *S, d) as `torch.nn.functional.grid_sample` reads it: -1..1, last axis of S first.
    """
    theta = torch.cat([matrix.flip(1, 2), shift.flip(1)[..., None]], dim=2).to(field.device)
    size = [len(field), 1, *field.shape[2:]]
    grid = F.affine_grid(theta, size, align_corners=True)
    return grid + field.flip(1).movedim(1, -1)


def moved(image: Tensor, labels: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Images linearly and labels to the nearest; beyond the border the nearest edge goes on."""
    image = F.grid_sample(image, grid, padding_mode="border", align_corners=True)
    shown = labels[:, None].to(image.dtype)
    shown = F.grid_sample(shown, grid, mode="nearest", padding_mode="border", align_corners=True)
    return image, shown[:, 0].to(labels.dtype)


def relit(image: Tensor, numbers: Augmentation) -> Tensor:
    """Other contrast, brightness and noise; of each modality of each sample its own."""
    shape = (*image.shape[:2], *[1] * (image.ndim - 2))
    space = tuple(range(2, image.ndim))
    sd, mean = torch.std_mean(image, dim=space, keepdim=True)

    def each(limit: float) -> Tensor:
        return (_even(math.prod(shape)) * limit).view(shape).to(image.device)

    image = mean + (image - mean) * (1 + each(numbers.gain)) + sd * each(numbers.offset)
    if numbers.noise:
        image = image + sd * each(numbers.noise) * torch.randn_like(image)
    return image


def _even(count: int) -> Tensor:
    """Even numbers from -1 to 1, drawn on the CPU so that every device sees the same."""
    return 2 * torch.rand(count) - 1


def _turns(degrees: Tensor, dims: int, a: int, b: int) -> Tensor:
    """Rotations (B, d, d) by (B,) angles in the plane of two axes."""
    angle = degrees * math.pi / 180
    matrix = torch.eye(dims).repeat(len(angle), 1, 1)
    matrix[:, a, a] = matrix[:, b, b] = angle.cos()
    matrix[:, a, b], matrix[:, b, a] = -angle.sin(), angle.sin()
    return matrix
