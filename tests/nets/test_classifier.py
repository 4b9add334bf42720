"""Classifiers: their sizes are the published ones, worked out by hand from the layer tables."""

import pytest
import torch

from scansmith.nets.classifier import CLASSIFIERS, VGG16, AlexNet


def count(network):
    return sum(weights.numel() for weights in network.parameters())


def conv(inputs, outputs, kernel):
    return inputs * outputs * kernel * kernel + outputs


def full(inputs, outputs):
    return inputs * outputs + outputs


def test_vgg16_has_as_many_weights_as_published():
    with torch.device("meta"):
        published, ours = VGG16(3, 1000), VGG16(1, 2)
    widths = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    by_hand = sum(conv(a, b, 3) for a, b in zip([3, *widths], widths, strict=False))
    by_hand += full(512 * 7 * 7, 4096) + full(4096, 4096) + full(4096, 1000)
    assert count(published) == by_hand == 138_357_544
    # One input less twice: 2 x 64 x 9. Two classes instead of 1000: 998 x (4096 + 1).
    assert count(ours) == 138_357_544 - 1_152 - 998 * 4097 == 134_267_586


def test_alexnet_has_as_many_weights_as_published():
    with torch.device("meta"):
        published, ours = AlexNet(3, 1000), AlexNet(1, 2)
    by_hand = conv(3, 64, 11) + conv(64, 192, 5) + conv(192, 384, 3) + conv(384, 256, 3)
    by_hand += conv(256, 256, 3)
    by_hand += full(256 * 6 * 6, 4096) + full(4096, 4096) + full(4096, 1000)
    assert count(published) == by_hand == 61_100_840
    # One input less twice: 2 x 64 x 121. Two classes instead of 1000: 998 x (4096 + 1).
    assert count(ours) == 61_100_840 - 15_488 - 998 * 4097 == 56_996_546


@pytest.mark.parametrize(("kind", "cells"), [(VGG16, 7), (AlexNet, 6)])
def test_at_224_pixels_the_last_map_is_already_of_its_cells(kind, cells):
    with torch.device("meta"):
        found = kind(1, 2, width=1 / 64).features(torch.empty(1, 1, 224, 224))
    assert found.shape[2:] == (cells, cells)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_any_size_from_the_least_on_is_taken(name):
    network = CLASSIFIERS[name](2, 3, width=1 / 64)
    least = network.least
    for size in ((least, least), (least, 100), (90, 70)):
        assert network(torch.zeros(2, 2, *size)).shape == (2, 3)
    with pytest.raises(RuntimeError):
        network(torch.zeros(2, 2, least - 1, least - 1))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_picture_reaches_the_end_of_the_network_from_the_start(name):
    """Without He's start its trace is lost: the values of sixteen layers shrink to nothing."""
    torch.manual_seed(0)
    network = CLASSIFIERS[name](1, 2, width=1 / 8).eval()
    image = torch.randn(8, 1, 64, 64)
    with torch.no_grad():
        assert network(image).std(dim=0).min() > 0.01


def test_dropout_acts_in_training_only():
    network = AlexNet(1, 2, width=1 / 16)
    image = torch.randn(1, 1, 64, 64)
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))
