from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from scansmith.evaluate.feature_network import POSITIONS, load_feature_network
from scansmith.scan import DataError

WIDTHS = (3, 3, 4, 4, 5, 5, 5, 6, 6, 6, 6, 6, 7)


def _peer(channels: int) -> nn.Sequential:
    """VGG16's layers as torchvision lists them, with small widths."""
    layers: list[nn.Module] = []
    inputs = channels
    for stage, count in enumerate((2, 2, 3, 3, 3)):
        layers += [nn.MaxPool2d(2)] if stage else []
        for _ in range(count):
            width = WIDTHS[sum(isinstance(layer, nn.Conv2d) for layer in layers)]
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
    return nn.Sequential(*layers)


def _saved(path: Path, peer: nn.Sequential) -> Path:
    save_file({f"features.{name}": value for name, value in peer.state_dict().items()}, path)
    return path


def test_the_network_computes_what_the_layers_do(tmp_path: Path) -> None:
    torch.manual_seed(0)
    peer = _peer(1)
    assert tuple(n for n, layer in enumerate(peer) if isinstance(layer, nn.Conv2d)) == POSITIONS
    path = _saved(tmp_path / "small.safetensors", peer)
    network = load_feature_network(path)
    slices = np.random.default_rng(0).random((2, 64, 48), dtype=np.float32)
    with torch.no_grad():
        expected = peer(torch.from_numpy(slices)[:, None]).mean(dim=(2, 3))
    found = network.of_slices(slices)
    assert found.shape == (2, 7)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert network.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_three_channels_get_imagenet_s_scaling_and_other_tensors_are_left_alone(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    peer = _peer(3)
    tensors = {f"features.{name}": value for name, value in peer.state_dict().items()}
    tensors["classifier.0.weight"] = torch.zeros(4, 7)
    save_file(tensors, tmp_path / "rgb.safetensors")
    grey = torch.full((1, 3, 64, 64), 0.5)
    mean, sd = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    scaled = (grey - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(sd).view(1, 3, 1, 1)
    with torch.no_grad():
        expected = peer(scaled).mean(dim=(2, 3))
    found = load_feature_network(tmp_path / "rgb.safetensors").of_slices(grey[:, 0].numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_small_and_large_slices_fit_the_network(tmp_path: Path) -> None:
    network = load_feature_network(_saved(tmp_path / "w.safetensors", _peer(1)))
    for shape in ((1, 20, 9), (1, 300, 40)):
        assert np.isfinite(network.of_slices(np.ones(shape, np.float32))).all()


def test_a_file_that_is_absent_or_no_safetensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.safetensors: no such file"):
        load_feature_network(tmp_path / "none.safetensors")
    path = tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps({"features.0.weight": [1]}))
    with pytest.raises(DataError, match="not a safetensors file"):
        load_feature_network(path)


def test_every_tensor_that_does_not_fit_is_named(tmp_path: Path) -> None:
    tensors = {f"features.{name}": value for name, value in _peer(1).state_dict().items()}
    del tensors["features.5.bias"]
    tensors["features.10.weight"] = torch.zeros(5, 99, 3, 3)
    tensors["features.28.weight"] = tensors["features.28.weight"].clone().fill_(float("nan"))
    save_file(tensors, tmp_path / "bad.safetensors")
    with pytest.raises(DataError) as error:
        load_feature_network(tmp_path / "bad.safetensors")
    text = str(error.value)
    assert "features.5: weight or bias is missing" in text
    assert "features.10: 99 input channels, expected 4" in text
    assert "features.28: a weight is NaN or infinite" in text
    save_file({"mixed_5.conv": torch.zeros(2)}, tmp_path / "inception.safetensors")
    with pytest.raises(DataError) as error:
        load_feature_network(tmp_path / "inception.safetensors")
    assert len(error.value.problems) == 13
