"""A feature network for an FID-like distance, from a weights file that the user holds.

Nothing is downloaded. The file holds numbers only (safetensors); the network's shape is stated
here, so a stranger's file cannot run code. The shape is VGG16's (Simonyan and Zisserman, ICLR
2015, table 1, column D): 13 convolutions of 3 x 3 with ReLU in five stages, each followed by a
2 x 2 maximum. Tensors go by torchvision's names (`features.0.weight` ... `features.28.bias`);
widths are read from the file, so a smaller network of that shape will do. The feature of a slice
is the mean over its pixels of the last convolution's output.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional

from scansmith.scan import DataError, Problem

#: Convolutions in each of the five stages, and where torchvision's list has them.
STAGES = (2, 2, 3, 3, 3)
POSITIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
# Means and deviations of ImageNet in RGB, which torchvision's weights expect.
_MEAN = (0.485, 0.456, 0.406)
_SD = (0.229, 0.224, 0.225)
SIDES = (64, 256)  # pixels of the longer side, least and most: five halvings need 32


class FeatureNetwork(nn.Module):
    """VGG16's convolutions with weights from a file; (N, H, W) in 0..1 to features (N, d).

    Attributes:
        sha256: of the weights file, for the report.
    """

    def __init__(self, tensors: dict[str, Tensor], sha256: str):
        super().__init__()
        self.sha256 = sha256
        weights = [tensors[f"features.{p}.weight"].float() for p in POSITIONS]
        biases = [tensors[f"features.{p}.bias"].float() for p in POSITIONS]
        self.weights = nn.ParameterList([nn.Parameter(w, requires_grad=False) for w in weights])
        self.biases = nn.ParameterList([nn.Parameter(b, requires_grad=False) for b in biases])
        self.channels = weights[0].shape[1]
        self.features = weights[-1].shape[0]

    def forward(self, slices: Tensor) -> Tensor:
        """Features (N, d) of slices (N, H, W) in 0..1."""
        x = _sized(slices[:, None].float())  # (N, 1, H, W)
        if self.channels == 3:
            mean, sd = (x.new_tensor(v).view(1, 3, 1, 1) for v in (_MEAN, _SD))
            x = (x.expand(-1, 3, -1, -1) - mean) / sd
        layers = iter(zip(self.weights, self.biases, strict=True))
        for stage, count in enumerate(STAGES):
            x = functional.max_pool2d(x, 2) if stage else x
            for _ in range(count):
                weight, bias = next(layers)
                x = functional.relu(functional.conv2d(x, weight, bias, padding=1))
        return x.mean(dim=(2, 3))

    @torch.no_grad()
    def of_slices(self, slices: np.ndarray) -> np.ndarray:
        """float64 (N, d) of float32 (N, H, W) in 0..1."""
        return self(torch.from_numpy(np.ascontiguousarray(slices))).double().numpy()


def load_feature_network(path: Path | str) -> FeatureNetwork:
    """The network with the weights of a safetensors file.

    Raises:
        DataError: no such file, no safetensors, or tensors that are not of this shape.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        tensors = load(content)
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such file, expected weights of a feature network. Give a safetensors "
            "file (docs/measures.md says how to make one), or leave the features setting out."
        ) from error
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise DataError(
            f"{path.name}: not a safetensors file ({error}). Convert the weights with "
            "safetensors.torch.save_file; files that hold code are not read."
        ) from error
    problems = _misfits(path.name, tensors)
    if problems:
        raise DataError(problems)
    return FeatureNetwork(tensors, hashlib.sha256(content).hexdigest())


def _misfits(where: str, tensors: dict[str, Tensor]) -> list[Problem]:
    """Everything in which the tensors are not those of a VGG16-shaped network."""
    problems = []
    inputs: int | None = None
    for position in POSITIONS:
        name = f"features.{position}"
        weight, bias = tensors.get(f"{name}.weight"), tensors.get(f"{name}.bias")
        found = _misfit(weight, bias, inputs, first=position == 0)
        if found:
            remedy = "Use weights of VGG16's shape under torchvision's names"
            problems.append(Problem(where, "weights", f"{name}: {found}", remedy))
        inputs = len(weight) if weight is not None and weight.ndim == 4 else None
    return problems


def _misfit(weight: Tensor | None, bias: Tensor | None, inputs: int | None, *, first: bool) -> str:
    """What is wrong with one convolution; "" if nothing is."""
    if weight is None or bias is None:
        return "weight or bias is missing"
    shapes = f"shapes {tuple(weight.shape)} and {tuple(bias.shape)}"
    if weight.ndim != 4 or weight.shape[2:] != (3, 3) or bias.shape != weight.shape[:1]:
        return f"{shapes}, expected (n, m, 3, 3) and (n,)"
    if first and weight.shape[1] not in (1, 3):
        return f"{weight.shape[1]} input channels, expected 1 or 3"
    if inputs is not None and weight.shape[1] != inputs:
        return f"{weight.shape[1]} input channels, expected {inputs}"
    if not (weight.isfinite().all() and bias.isfinite().all()):
        return "a weight is NaN or infinite"
    return ""


def _sized(x: Tensor) -> Tensor:
    """Slices with a longer side of 64 to 256 pixels and none below 32, (N, 1, H, W)."""
    h, w = x.shape[-2:]
    longer = max(h, w)
    factor = min(max(longer, SIDES[0]), SIDES[1]) / longer
    size = max(round(h * factor), 32), max(round(w * factor), 32)
    if size == (h, w):
        return x
    return functional.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
