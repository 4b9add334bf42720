"""The cascade: layer tables, boxes and probabilities by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from scansmith.nets.cascade import AnisotropicNet, Cascade, box_of


def sizes(network, image):
    """Sizes after each group was joined across slices."""
    found = []
    for join in network.joins:
        join.register_forward_hook(lambda _, __, out: found.append(tuple(out.shape[1:])))
    assert network(image).shape[2:] == image.shape[2:]
    return found


def test_eleven_slices_of_144_have_the_published_sizes():
    with torch.device("meta"):
        # The published network takes 19 slices and gives the middle 11.
        found = sizes(AnisotropicNet(4, 2), torch.empty(1, 4, 11, 144, 144))
        assert found == [(32, 17, 144, 144), (32, 15, 72, 72), (32, 13, 36, 36), (32, 11, 36, 36)]
        found = sizes(AnisotropicNet(4, 2, halvings=1), torch.empty(1, 4, 11, 64, 64))
        assert found == [(32, 17, 64, 64), (32, 15, 64, 64), (32, 13, 32, 32), (32, 11, 32, 32)]


def test_the_number_of_weights_is_what_the_layer_table_says():
    network = AnisotropicNet(1, 2, base=2, halvings=2)
    # First block: norm 2, PReLU 1, 9*1*2 + 2; norm 4, PReLU 2, 9*2*2 + 2       = 67
    # Nine more:   2 * (4 + 2 + 38) = 88 each                                    = 792
    # Joins:       4 * (3*2*2 + 4 + 2)                                           = 72
    # Halvings:    2 * (9*2*2 + 4 + 2)                                           = 84
    # Near:        9*2*2 + 4 + 2                                                 = 42
    # Middle:      9*2*4 + 8 + 4, 9*4*4 + 8 + 4                                  = 84 + 156
    # Far:         9*2*8 + 16 + 8, 9*8*8 + 16 + 8                                = 168 + 600
    # End:         9*14*2 + 2                                                    = 254
    by_hand = 67 + 792 + 72 + 84 + 42 + 84 + 156 + 168 + 600 + 254
    assert sum(p.numel() for p in network.parameters()) == by_hand


def test_blocks_are_dilated_as_published():
    network = AnisotropicNet(1, 2, base=2)
    rates = [[block.layers[2].dilation[1] for block in group] for group in network.groups]
    assert rates == [[1, 1], [1, 1], [1, 2, 3], [3, 2, 1]]
    assert len([block for group in network.groups for block in group]) == 10


def test_a_box_has_its_margin_and_stays_in_the_image():
    mask = torch.zeros(40, 30, 6, dtype=torch.bool)
    mask[12:15, 2:9, 3] = True
    # 12 - 5 to 15 + 5; 2 - 5 < 0 to 9 + 5; the third side is shorter than any box.
    assert box_of(mask) == (slice(7, 20), slice(0, 14), slice(0, 6))
    corner = torch.zeros(40, 30, 6, dtype=torch.bool)
    corner[0, 29, 0] = True
    # 0 to 6 and 24 to 30 are shorter than 8.
    assert box_of(corner) == (slice(0, 8), slice(22, 30), slice(0, 6))
    assert box_of(mask & False) == (slice(0, 40), slice(0, 30), slice(0, 6))


def constant(network, probability):
    """Make a network find its structure with one probability everywhere."""
    nn.init.zeros_(network.end.weight)
    with torch.no_grad():
        network.end.bias.copy_(torch.tensor([0.0, math.log(probability / (1 - probability))]))


def test_probabilities_of_nested_structures_are_products_inside_the_box():
    cascade = Cascade(1, (2, 1), base=2, views=1)
    constant(cascade.levels[0][0], 0.8)
    constant(cascade.levels[1][0], 0.25)
    labels = torch.zeros(1, 12, 30, 30, dtype=torch.long)
    labels[0, 5:7, 10:14, 10:14] = 1  # the inmost: part of the whole all the same
    p = cascade(torch.zeros(1, 1, 12, 30, 30), labels).exp()[0]
    # Structure 2 encloses 1. In the box: 0.2, 0.8 * 0.25 inmost, 0.8 * 0.75 outer.
    torch.testing.assert_close(p[:, 6, 12, 12], torch.tensor([0.2, 0.2, 0.6]))
    torch.testing.assert_close(p[:, 0, 5, 5], torch.tensor([0.2, 0.2, 0.6]))  # margin 5
    # Outside: all that is not background is the outer structure.
    torch.testing.assert_close(p[:, 6, 12, 19], torch.tensor([0.2, 0.0, 0.8]), atol=1e-5, rtol=0)
    torch.testing.assert_close(p[:, 6, 4, 12], torch.tensor([0.2, 0.0, 0.8]), atol=1e-5, rtol=0)


def test_without_labels_the_box_is_of_what_was_found_above():
    cascade = Cascade(1, (1, 2), base=2, views=1).eval()
    first = cascade.levels[0][0]
    constant(cascade.levels[1][0], 0.75)
    # The whole is found where the first network says so: here, in one corner.
    first.register_forward_hook(lambda _, __, out: marked(out))
    p = cascade(torch.zeros(1, 1, 8, 30, 30)).exp()[0].detach()
    assert float(p[2, 3, 3, 3]) == pytest.approx(0.9 * 0.75)
    assert float(p[2, 3, 8, 8]) == pytest.approx(0.1 * 0.75)  # in the margin
    assert p[2, 3, 9, 9] < 1e-5
    assert p.argmax(dim=0)[:, :4, :4].eq(2).all()
    assert p.argmax(dim=0)[:, 4:, :].eq(0).all()


def marked(values):
    values = torch.zeros_like(values)
    values[:, 1] = math.log(1 / 9)
    values[:, 1, :, :4, :4] = math.log(9)
    return values


def test_views_are_averaged_and_see_each_axis_as_slices():
    cascade = Cascade(1, (1,), base=2, views=3)
    seen = []
    for network, probability in zip(cascade.levels[0], (0.9, 0.6, 0.3), strict=True):
        constant(network, probability)
        network.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[2:])))
    p = cascade(torch.zeros(1, 1, 6, 10, 14)).exp()
    assert seen == [(6, 10, 14), (10, 6, 14), (14, 6, 10)]
    torch.testing.assert_close(p[0, :, 0, 0, 0], torch.tensor([0.4, 0.6]))


def test_a_single_structure_is_found_by_one_network_that_halves_twice():
    assert [n.halvings for level in Cascade(1, (1,)).levels for n in level] == [2] * 3
    nested = Cascade(1, (2, 1, 3), base=2, views=1)
    assert [level[0].halvings for level in nested.levels] == [2, 2, 1]  # WNet, TNet, ENet


def test_every_weight_is_reached_by_the_loss():
    torch.manual_seed(0)
    cascade = Cascade(2, (2, 1, 3), base=2, views=2)
    labels = torch.zeros(1, 6, 20, 19, dtype=torch.long)
    labels[:, 1:5, 4:14, 4:14] = 2
    labels[:, 2:4, 6:12, 6:12] = 1
    labels[:, 2:3, 8:10, 8:10] = 3
    values = cascade(torch.randn(1, 2, 6, 20, 19), labels)
    torch.testing.assert_close(values.exp().sum(dim=1), torch.ones(1, 6, 20, 19))
    nn.functional.cross_entropy(values, labels).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in cascade.parameters())
