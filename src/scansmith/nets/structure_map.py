"""Structure maps: edges of an image, its background mask, and whether edges close round a brain.

x is an image in 0..1, (B, 1, H, W); f its structure map, 1 on edges; a mask is **1 = background,
0 = brain**. Algorithms 1 to 3 of the registered multimodal paper, with the constants of its
published code. Everything is a torch function and runs on any device.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def sobel(x: Tensor) -> Tensor:
    """Derivatives (dy, dx) by Sobel's 3 x 3 filters, borders mirrored: (B, 1, ...) to (B, 2, ...).

    dy points down, dx to the right; both are 8 times the derivative. Sums of slices, because a
    convolution under autocast would round the thresholds away.
    """
    padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
    across = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    down = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    dy = across[..., 2:, :] - across[..., :-2, :]
    dx = down[..., 2:] - down[..., :-2]
    return torch.cat([dy, dx], dim=1)


def smoothed(x: Tensor, sd: float) -> Tensor:
    """An image blurred by a Gaussian of `sd` pixels, borders repeated; (B, 1, H, W)."""
    reach = math.ceil(3 * sd)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32, device=x.device)
    kernel = torch.exp(-(offsets**2) / (2 * sd**2))
    kernel = kernel / kernel.sum()
    with torch.autocast(x.device.type, enabled=False):
        padded = F.pad(x.float(), (reach,) * 4, mode="replicate")
        down = F.conv2d(padded, kernel.view(1, 1, -1, 1))
        return F.conv2d(down, kernel.view(1, 1, 1, -1))


def structure_scores(x: Tensor, smooth: float = 0.0) -> Tensor:
    """How much of an edge each pixel is: Algorithm 1 up to its thresholds, (B, 1, H, W).

    f1 = min(dy, dx) and f2 = max(dy, dx), each scaled to 0..1 over the image; then the larger of
    mean(f1) - f1 and f2 - mean(f2). f = 1 where this is above beta. With `smooth` the image is
    blurred by so many pixels first, which leaves the larger structures.
    """
    steps = sobel(smoothed(x, smooth) if smooth else x)
    low = _unit(steps.amin(dim=1, keepdim=True))
    high = _unit(steps.amax(dim=1, keepdim=True))
    falling = low.mean(dim=(2, 3), keepdim=True) - low
    rising = high - high.mean(dim=(2, 3), keepdim=True)
    return torch.maximum(falling, rising)


def structure_map(x: Tensor, beta: float, smooth: float = 0.0) -> Tensor:
    """f: Algorithm 1, zeros and ones. Its gradient is zero everywhere."""
    return (structure_scores(x, smooth) > beta).to(x.dtype)


def soft_structure_map(x: Tensor, beta: float, tau: float, smooth: float = 0.0) -> Tensor:
    """f with soft thresholds, sigmoid((score - beta) / tau), for losses."""
    return torch.sigmoid((structure_scores(x, smooth) - beta) / tau)


def background_mask(x: Tensor, grow: int = 0, above: float = 0.0, filled: bool = False) -> Tensor:
    """Algorithm 2: 1 where x is not above `above`, 0 in the brain; (B, 1, H, W).

    Args:
        grow: p of the paper. The mask is enlarged to (H + p, W + p), nearest, and cut back round
            the centre, so that a brain that fills the image grows by about p/2 pixels at each side.
        filled: holes of the brain (dark fluid) count as brain.
    """
    brain = (x > above).to(x.dtype)
    if filled:
        brain = fill_holes(brain)
    mask = 1 - brain
    if not grow:
        return mask
    height, width = x.shape[-2:]
    mask = F.interpolate(mask, (height + grow, width + grow), mode="nearest-exact")
    start = grow // 2
    return mask[..., start : start + height, start : start + width]


def fill_holes(shape: Tensor) -> Tensor:
    """A shape (zeros and ones, (B, 1, H, W)) with the zeros that no way joins to the border filled.

    A way goes up, down, left and right: a contour that touches itself at corners only is closed.
    """
    open_ = shape == 0
    outside = torch.zeros_like(open_)
    for edge in (outside[..., 0, :], outside[..., -1, :], outside[..., 0], outside[..., -1]):
        edge.fill_(True)
    outside &= open_
    while True:
        spread = F.pad(outside, (1, 1, 1, 1))
        grown = outside | spread[..., :-2, 1:-1] | spread[..., 2:, 1:-1]
        grown = (grown | spread[..., 1:-1, :-2] | spread[..., 1:-1, 2:]) & open_
        if bool((grown == outside).all()):
            return (~outside).to(shape.dtype)
        outside = grown


def contour_mask(f: Tensor) -> Tensor:
    """Algorithm 3's classical mask of a structure map: what its contours enclose is brain.

    f blurred by a Gaussian of 3 x 3 (weights 1, 2, 1), all above 0 taken, its outer contours
    filled; 1 outside.
    """
    padded = F.pad(f, (1, 1, 1, 1))
    down = (padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]) / 4
    blurred = (down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]) / 4
    return 1 - fill_holes((blurred > 0).to(f.dtype))


def contour_error(f: Tensor, mask: Tensor) -> Tensor:
    """Algorithm 3's MAE between the classical mask of f and a mask, (B,): low is good."""
    return (contour_mask(f) - mask).abs().mean(dim=(1, 2, 3))


def _unit(values: Tensor) -> Tensor:
    """Scaled to 0..1 over each image; zeros where an image is constant."""
    low = values.amin(dim=(2, 3), keepdim=True)
    high = values.amax(dim=(2, 3), keepdim=True)
    return (values - low) / (high - low).clamp(min=1e-6)
