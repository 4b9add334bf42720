"""Encoder, conditional decoder, critics and segmentors: published sizes and counts."""

from itertools import pairwise

import pytest
import torch

from scansmith.nets.fusion import (
    CodeCritic,
    Decoder,
    Encoder,
    Segmentors,
    TwoHeadCritic,
    one_hot_map,
)
from scansmith.nets.norm_relu import ConvNormRelu


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def blocks(network):
    return [m for m in network.modules() if isinstance(m, ConvNormRelu)]


def test_the_published_encoder_has_4_54_million_parameters_and_a_code_of_512_by_46_by_36():
    with torch.device("meta"):
        encoder = Encoder(1)
        assert encoder(torch.empty(1, 1, 184, 144)).shape == (1, 512, 46, 36)
        assert Encoder(5)(torch.empty(1, 5, 184, 144)).shape == (1, 512, 46, 36)
    pairs = [(1, 64), (64, 64), (64, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    # 3 x 3 weights, a bias, and a scale and shift of the norm for each output
    wanted = sum(9 * a * b + 3 * b for a, b in pairs)
    assert wanted == 4_540_224
    assert parameters(encoder) == wanted
    assert [b.conv.stride[0] for b in blocks(encoder)] == [1, 1, 2, 1, 1, 2, 1]


def test_the_published_decoder_has_5_41_million_parameters():
    with torch.device("meta"):
        decoder = Decoder(1, conditions=4)
        made = decoder(torch.empty(3, 512, 46, 36), (184, 144), torch.zeros(3, dtype=torch.long))
    assert made.shape == (3, 1, 184, 144)
    widths = [516, 512, 256, 256, 256, 128, 128, 128, 64]
    wanted = sum(9 * a * b + 3 * b for a, b in pairwise(widths))
    wanted += 9 * 64 + 3  # to one channel, with its norm
    assert wanted == 5_406_339
    assert parameters(decoder) == wanted


def test_the_published_critics_judge_a_sixteenth_of_each_side():
    with torch.device("meta"):
        critic = TwoHeadCritic(1)
        for head in critic(torch.empty(1, 1, 184, 144)):
            assert head.shape == (1, 1, 12, 9)
        assert TwoHeadCritic(4)(torch.empty(1, 1, 184, 144))[1].shape == (1, 4, 12, 9)
        assert CodeCritic(512)(torch.empty(1, 512, 46, 36)).shape == (1, 1, 12, 9)
    trunk = blocks(critic.trunk)
    assert [(b.conv.kernel_size[0], b.conv.out_channels) for b in trunk] == [
        (5, 64), (5, 64), (3, 128), (3, 128),
    ]  # fmt: skip
    assert all(b.conv.stride == (2, 2) for b in trunk)


def test_the_condition_is_a_map_of_ones_in_the_targets_channel():
    hot = one_hot_map(torch.tensor([2, 0]), 3, torch.empty(2, 8, 4, 5))
    assert hot.shape == (2, 3, 4, 5)
    assert (hot[0, 2] == 1).all()
    assert (hot[1, 0] == 1).all()
    assert hot.sum() == 2 * 4 * 5


def test_another_target_makes_another_image():
    torch.manual_seed(0)
    decoder, code = Decoder(1, 2, conditions=3).eval(), torch.rand(1, 16, 8, 8)
    one, two = (decoder(code, (32, 32), torch.tensor([n])) for n in (0, 1))
    assert not torch.equal(one, two)


def test_a_conditional_norm_reaches_every_block_of_the_decoder():
    torch.manual_seed(0)
    decoder = Decoder(1, 2, conditions=2, conditional_norm=True)
    made = decoder(torch.rand(2, 16, 8, 8), (32, 32), torch.tensor([0, 1]))
    made.sum().backward()
    shifts = [p.grad for name, p in decoder.named_parameters() if name.endswith("norm.shift")]
    assert len(shifts) == 1 + 3 + 4
    assert all(bool((grad != 0).any(dim=1).all()) for grad in shifts)


@pytest.mark.parametrize("size", [(48, 40), (33, 47), (16, 16)])
def test_any_size_comes_back_as_it_went_in(size):
    code = Encoder(1, 2)(torch.rand(1, 1, *size))
    assert Decoder(5, 2)(code, size).shape == (1, 5, *size)


@pytest.mark.parametrize(
    ("scheme", "encoders", "decoders"), [("1seg", 1, 1), ("1enc4dec", 1, 4), ("4seg", 4, 4)]
)
def test_each_scheme_has_its_number_of_networks(scheme, encoders, decoders):
    with torch.device("meta"):
        segmentors = Segmentors(scheme, 4, 5)
        assert segmentors(torch.empty(4, 2, 1, 32, 32)).shape == (4, 2, 5, 32, 32)
        one = parameters(Encoder(1)) * encoders + parameters(Decoder(5)) * decoders
    assert parameters(segmentors) == one
    assert (len(segmentors.encoders), len(segmentors.decoders)) == (encoders, decoders)


def test_modalities_go_to_their_own_segmentor():
    torch.manual_seed(0)
    image = torch.rand(1, 1, 16, 16).expand(3, -1, -1, -1, -1)
    for scheme, alike in (("1seg", True), ("1enc4dec", False), ("4seg", False)):
        found = Segmentors(scheme, 3, 2, 2).eval()(image)
        assert torch.equal(found[0], found[2]) == alike
