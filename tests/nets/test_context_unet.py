"""isensee2017: layer table at size, weights by hand, residual context, scores added."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scansmith.nets.context_unet import ContextUNet


def test_a_volume_of_128_has_the_published_sizes():
    with torch.device("meta"):
        network = ContextUNet(3, 4, 3)
        found = []
        for part in [*network.context, *network.localise, *network.scores]:
            part.register_forward_hook(lambda _, __, out: found.append(tuple(out.shape[1:3])))
        assert network(torch.empty(1, 4, 128, 128, 128)).shape == (1, 3, 128, 128, 128)
    down = [(16, 128), (32, 64), (64, 32), (128, 16), (256, 8)]
    assert found == [*down, *reversed(down[:-1]), (3, 32), (3, 64), (3, 128)]


def test_the_number_of_weights_is_what_the_layer_table_says():
    network = ContextUNet(2, 1, 2, base=2, depth=1)
    # Norms have a scale and a shift for each channel; convolutions before a norm no bias.
    # Level 0: enter 9*1*2 + 4 = 22, context 2 * (9*2*2 + 4) = 80
    # Level 1: enter 9*2*4 + 8 = 80, context 2 * (9*4*4 + 8) = 304
    # Up 9*4*2 + 4 = 76, localisation 9*4*2 + 4 + 2*2 + 4 = 84, score 2*2 + 2 = 6
    assert sum(p.numel() for p in network.parameters()) == 22 + 80 + 80 + 304 + 76 + 84 + 6


def test_scores_of_the_three_finest_levels_are_added():
    network = ContextUNet(2, 1, 2, base=2, depth=4)
    assert len(network.scores) == 3
    for score, value in zip(network.scores, (1.0, 10.0, 100.0), strict=True):
        nn.init.zeros_(score.weight)
        nn.init.constant_(score.bias, value)
    assert network(torch.rand(1, 1, 33, 40)).detach().unique().tolist() == [111.0]


def test_what_enters_a_context_module_goes_past_it():
    torch.manual_seed(0)
    network = ContextUNet(2, 1, 2, base=2, depth=2)
    seen = {}
    network.enter[0].register_forward_hook(lambda _, __, out: seen.update(entered=out))
    network.enter[1].register_forward_pre_hook(lambda _, given: seen.update(passed=given[0]))
    network.context[0].register_forward_hook(lambda _, __, out: out * 0)
    network(torch.randn(1, 1, 16, 16))
    torch.testing.assert_close(seen["passed"], seen["entered"])


def test_a_side_shorter_than_four_is_not_halved():
    with torch.device("meta"):
        network = ContextUNet(3, 1, 2, base=4, depth=2)
        found = []
        for part in network.context:
            part.register_forward_hook(lambda _, __, out: found.append(tuple(out.shape[2:])))
        network(torch.empty(1, 1, 3, 9, 16))
    assert found == [(3, 9, 16), (3, 5, 8), (3, 3, 4)]


@pytest.mark.parametrize(("dims", "size"), [(2, (17, 30)), (3, (5, 12, 9))])
def test_every_weight_is_reached_by_the_loss(dims, size):
    torch.manual_seed(0)
    network = ContextUNet(dims, 2, 3, base=4, depth=3)
    network(torch.randn(2, 2, *size)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
