"""Masks of lesions: their soft edge, and points inside them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def feathered(mask: Tensor, sd_pixels: float) -> Tensor:
    """1 inside the mask, falling off outside as the mask blurred by a Gaussian does, doubled.

    At a straight edge a blurred mask is 1/2, so twice it, capped at 1, joins the inside without a
    step. Args and result: (B, 1, H, W).
    """
    reach = math.ceil(3 * sd_pixels)
    offsets = torch.arange(-reach, reach + 1, dtype=mask.dtype, device=mask.device)
    kernel = torch.exp(-(offsets**2) / (2 * sd_pixels**2))
    kernel = kernel / kernel.sum()
    blurred = F.conv2d(mask, kernel.view(1, 1, -1, 1), padding=(reach, 0))
    blurred = F.conv2d(blurred, kernel.view(1, 1, 1, -1), padding=(0, reach))
    return torch.where(mask > 0, torch.ones_like(mask), (2 * blurred).clamp(max=1))


def random_points(mask: Tensor) -> Tensor:
    """One random pixel inside each mask, (B, 2); the image's centre where a mask is empty."""
    flat = mask.flatten(1)
    width = mask.shape[-1]
    weights = flat + (flat.sum(dim=1, keepdim=True) == 0).to(flat.dtype)
    place = torch.multinomial(weights, 1).squeeze(1)
    return torch.stack([place // width, place % width], dim=1)
