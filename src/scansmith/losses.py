"""One function a formula. Everything is minimised; means run over all pixels and the batch.

Letters: `real`, `fake` are a critic's raw outputs (logits for the cross-entropy game) of any
shape; `image`, `made` are (B, C, *S); `mask` is (B, 1, *S) of zeros and ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def l1(image: Tensor, made: Tensor) -> Tensor:
    """Mean absolute error."""
    return (image - made).abs().mean()


def masked_l1(image: Tensor, made: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error over the pixels of the mask; 0 if it is empty."""
    mask = mask.expand_as(image)
    return ((image - made).abs() * mask).sum() / mask.sum().clamp(min=1)


def weighted_l1(image: Tensor, made: Tensor, weight: Tensor) -> Tensor:
    """Mean over all pixels of weight times absolute error."""
    return ((image - made).abs() * weight).mean()


def mse(image: Tensor, made: Tensor) -> Tensor:
    """Mean squared error."""
    return ((image - made) ** 2).mean()


def pairwise_mse(alike: Tensor) -> Tensor:
    """Sum over all pairs along the first axis, which should be alike, of their mean squared error.

    By the identity: sum over pairs of (a_j - a_k)^2 = N sum (a_j - mean)^2.
    """
    deviation = (alike - alike.mean(dim=0)) ** 2
    return len(alike) ** 2 * deviation.mean()


def class_mse(labels: Tensor, probabilities: Tensor, weights: Sequence[float]) -> Tensor:
    """Sum over classes of weight times the mean of (one-hot - probability)^2.

    Args:
        labels: int64 (B, *S).
        probabilities: (B, K, *S).
        weights: of the classes, background first; the last serves all further ones.
    """
    classes = probabilities.shape[1]
    every = [*weights[:classes], *[weights[-1]] * (classes - len(weights))]
    hot = F.one_hot(labels, classes).movedim(-1, 1).to(probabilities.dtype)
    errors = ((hot - probabilities) ** 2).transpose(0, 1).flatten(1).mean(dim=1)
    return (errors * errors.new_tensor(every)).sum()


def label_value_dice(labels: Tensor, made: Tensor, smooth: float = 1e-5) -> Tensor:
    """2 sum l l' / (sum l^2 + sum l'^2) on the label numbers themselves, (B,); two empty maps: 1.

    Large numbers weigh more, and a wrong class counts half right. Source: reference
    implementation of the registered multimodal method.

    Args:
        labels, made: (B, *S), numbers 0, 1, 2, ...
    """
    a, b = labels.flatten(1).double(), made.flatten(1).double()
    shared = (a * b).sum(dim=1)
    return (2 * shared + smooth) / ((a * a).sum(dim=1) + (b * b).sum(dim=1) + smooth)


def soft_dice(labels: Tensor, probabilities: Tensor, smooth: float = 1.0) -> Tensor:
    """1 - mean over structures of (2 sum y p + smooth) / (sum y + sum p + smooth).

    Sums run over the batch and space, so that a structure that one sample lacks is no jump; the
    background has no term. Source: Milletari et al. 2016 (V-Net), eq. 3, with plain sums below as
    in nnU-Net (Isensee et al. 2021).

    Args:
        labels: y, int (B, *S).
        probabilities: p, (B, K, *S), adding up to 1 over K.
    """
    hot = F.one_hot(labels, probabilities.shape[1]).movedim(-1, 1)[:, 1:].to(probabilities.dtype)
    probabilities = probabilities[:, 1:]
    space = (0, *range(2, probabilities.ndim))
    shared, total = (hot * probabilities).sum(space), hot.sum(space) + probabilities.sum(space)
    return 1 - ((2 * shared + smooth) / (total + smooth)).mean()


def lsgan_critic(real: Tensor, fake: Tensor) -> Tensor:
    """(real - 1)^2 + fake^2. Source: Mao et al. 2017, eq. 9, without its factor 1/2."""
    return ((real - 1) ** 2).mean() + (fake**2).mean()


def lsgan_generator(fake: Tensor) -> Tensor:
    """(fake - 1)^2. Source: Mao et al. 2017, eq. 9, without its factor 1/2."""
    return ((fake - 1) ** 2).mean()


def bce_critic(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigmoid(real) - log(1 - sigmoid(fake)). Source: Goodfellow et al. 2014, eq. 1."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def bce_generator(fake: Tensor) -> Tensor:
    """-log sigmoid(fake), the non-saturating form. Source: Goodfellow et al. 2014, section 3."""
    return F.softplus(-fake).mean()


def accuracy(real: Tensor, fake: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Shares of a critic's outputs that are right: real above the threshold, fake not above it."""
    return (real > threshold).float().mean(), (fake <= threshold).float().mean()


def centre_weight(mask: Tensor, rows: float = 60.0, columns: float = 30.0) -> Tensor:
    """Weight map that falls off with the distance from a mask's centroid: 1 on the mask.

    Elsewhere exp(-(dy^2 / (rows H) + dx^2 / (columns W)) / 2): a Gaussian with covariance
    diag(rows H, columns W) in pixels^2, scaled to 1 at the centroid. 1 everywhere if the mask is
    empty. Source: reference implementation of the heart GAN (mask weight map of its data loader).

    Args:
        mask: (B, 1, H, W), zeros and ones.
    Returns:
        (B, 1, H, W).
    """
    height, width = mask.shape[-2:]
    y = torch.arange(height, device=mask.device, dtype=torch.float32)
    x = torch.arange(width, device=mask.device, dtype=torch.float32)
    area = mask.sum(dim=(2, 3), keepdim=True)
    share = mask / area.clamp(min=1)
    centre_y = (share * y[:, None]).sum(dim=(2, 3), keepdim=True)
    centre_x = (share * x).sum(dim=(2, 3), keepdim=True)
    squared = (y[:, None] - centre_y) ** 2 / (rows * height) + (x - centre_x) ** 2 / (
        columns * width
    )
    fall = torch.exp(-squared / 2)
    return torch.where((mask > 0) | (area == 0), torch.ones_like(fall), fall)
