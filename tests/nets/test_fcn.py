"""FCN-8s: VGG16's sizes and number of weights, scores of three sizes added, any size in."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scansmith.nets.fcn import FCN


def outputs_of(modules, network, image):
    """The output shapes of modules, in the order of running."""
    found = []
    hooks = [
        module.register_forward_hook(lambda _, __, out: found.append(tuple(out.shape[1:])))
        for module in modules
    ]
    network(image)
    for hook in hooks:
        hook.remove()
    return found


def test_the_stages_and_scores_have_the_sizes_of_fcn_8s():
    with torch.device("meta"):
        network = FCN(2, 3, 21)
        image = torch.empty(1, 3, 224, 224)
        assert outputs_of(network.stages, network, image) == [
            (64, 224, 224),
            (128, 112, 112),
            (256, 56, 56),
            (512, 28, 28),
            (512, 14, 14),
        ]
        # Pooled once more: scores of the last three sizes, 7, 14 and 28.
        found = outputs_of([network.head, *network.scores], network, image)
        assert found == [(512, 7, 7), (21, 7, 7), (21, 14, 14), (21, 28, 28)]
        assert network(image).shape == (1, 21, 224, 224)


def test_the_stages_have_as_many_weights_as_vgg16():
    with torch.device("meta"):
        stages = FCN(2, 3, 21).stages
    kernels = [p for p in stages.parameters() if p.ndim == 4]
    # VGG16's 13 convolutions have 14,714,688 parameters, 4,224 of which are biases.
    assert len(kernels) == 13
    assert sum(p.numel() for p in kernels) == 14_714_688 - 4_224


def test_every_scored_size_is_added():
    network = FCN(2, 1, 2, base=2, depth=4).eval()
    for score in network.scores:
        nn.init.zeros_(score.weight)
    for score, value in zip(network.scores, (1.0, 10.0, 100.0), strict=True):
        nn.init.constant_(score.bias, value)
    assert network(torch.rand(1, 1, 32, 32)).detach().unique().tolist() == [111.0]


@pytest.mark.parametrize(("dims", "size", "depth"), [(2, (17, 30), 5), (3, (3, 12, 9), 2)])
def test_every_weight_is_reached_by_the_loss_at_any_size(dims, size, depth):
    torch.manual_seed(0)
    network = FCN(dims, 2, 3, base=4, depth=depth)
    values = network(torch.randn(2, 2, *size))
    assert values.shape == (2, 3, *size)
    values.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
