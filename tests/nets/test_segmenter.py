"""The segmenter: layer table at size, any size in, thin volumes, weights by hand."""

from __future__ import annotations

import pytest
import torch

from scansmith.nets.segmenter import SegmenterUNet


def sizes(network, image):
    """The output shape of every stage, in the order of running."""
    found = []
    hooks = [
        stage.register_forward_hook(lambda _, __, out: found.append(tuple(out.shape[1:])))
        for stage in [*network.down, *network.up]
    ]
    network(image)
    for hook in hooks:
        hook.remove()
    return found


def test_a_volume_goes_down_by_halves_and_up_to_the_sizes_it_came_from():
    with torch.device("meta"):
        network = SegmenterUNet(3, 1, 3, base=16, depth=3)
        found = sizes(network, torch.empty(1, 1, 41, 56, 39))
        # 41 -> 20 -> 10 -> 5, 56 -> 28 -> 14 -> 7, 39 -> 19 -> 9 -> 4; widths 16, 32, 64, 128.
        down = [(16, 41, 56, 39), (32, 20, 28, 19), (64, 10, 14, 9), (128, 5, 7, 4)]
        assert found == [*down, *reversed(down[:-1])]
        assert network(torch.empty(2, 1, 41, 56, 39)).shape == (2, 3, 41, 56, 39)


def test_a_side_shorter_than_four_is_not_halved():
    with torch.device("meta"):
        found = sizes(SegmenterUNet(3, 1, 2, base=4, depth=3), torch.empty(1, 1, 6, 16, 3))
        # 6 -> 3 -> 3 -> 3; 16 -> 8 -> 4 -> 2; 3 stays.
        assert [shape[1:] for shape in found[:4]] == [(6, 16, 3), (3, 8, 3), (3, 4, 3), (3, 2, 3)]


def test_the_number_of_weights_is_what_the_layer_table_says():
    network = SegmenterUNet(2, 2, 3, base=4, depth=1)
    # Norms have a scale and a shift for each channel.
    # Down, 4 channels:  9*2*4 + 8 + 9*4*4 + 8           = 232
    # Down, 8 channels:  9*4*8 + 16 + 9*8*8 + 16         = 896
    # Narrow 8 -> 4:     8*4 + 4                         =  36
    # Up, 4 + 4 -> 4:    9*8*4 + 8 + 9*4*4 + 8           = 448
    # Last 4 -> 3:       4*3 + 3                         =  15
    assert sum(p.numel() for p in network.parameters()) == 232 + 896 + 36 + 448 + 15


@pytest.mark.parametrize(("dims", "size"), [(2, (17, 30)), (3, (5, 12, 9))])
def test_every_weight_is_reached_by_the_loss(dims, size):
    torch.manual_seed(0)
    network = SegmenterUNet(dims, 2, 3, base=4, depth=2)
    network(torch.randn(2, 2, *size)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
