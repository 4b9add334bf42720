"""The residual generator: the paper's layer table, its shortcut, what it sees at borders."""

import pytest
import torch

from scansmith.nets.patch_critic import PatchCritic
from scansmith.nets.resnet_generator import ResidualBlock, ResNetGenerator


def shapes(network, image):
    """Name -> output shape of every named layer."""
    seen = {}
    for name, layer in network.layers.named_children():
        layer.register_forward_hook(lambda _, __, out, n=name: seen.update({n: tuple(out.shape)}))
    network(image)
    return seen


def test_the_layer_table_at_240_pixels():
    # Tables I and II: 240 -> 120 -> 60, nine blocks at 60, then 120 (256 channels!) and 240.
    with torch.device("meta"):
        seen = shapes(ResNetGenerator(1), torch.empty(1, 1, 240, 240))
    blocks = {f"block{k}": (1, 256, 60, 60) for k in range(1, 10)}
    assert seen == {
        "conv1": (1, 64, 240, 240),
        "conv2": (1, 128, 120, 120),
        "conv3": (1, 256, 60, 60),
        **blocks,
        "deconv1": (1, 256, 120, 120),
        "deconv2": (1, 64, 240, 240),
        "conv4": (1, 1, 240, 240),
    }


def test_the_first_upconv_can_have_cyclegans_width():
    with torch.device("meta"):
        seen = shapes(ResNetGenerator(1, deconv1=128), torch.empty(1, 1, 256, 256))
    assert seen["deconv1"] == (1, 128, 128, 128)
    assert seen["deconv2"] == (1, 64, 256, 256)


def test_the_number_of_weights_is_that_of_the_table():
    # k7: 49 * 64 + 64; k3: 9 * in * out + out. Blocks: 9 * 2 * (9 * 256^2 + 256).
    # Deconvs 256 -> 256 -> 64. Last k7: 49 * 64 + 1. Instance norm has none.
    with torch.device("meta"):
        generator = ResNetGenerator(1)
    down = (49 * 64 + 64) + (9 * 64 * 128 + 128) + (9 * 128 * 256 + 256)
    blocks = 9 * 2 * (9 * 256 * 256 + 256)
    up = (9 * 256 * 256 + 256) + (9 * 256 * 64 + 64) + (49 * 64 + 1)
    assert sum(p.numel() for p in generator.parameters()) == down + blocks + up


@pytest.mark.parametrize(("side", "patches"), [(240, 30), (256, 32)])
def test_the_critic_of_table_iii_keeps_its_size_in_stride_one_layers(side, patches):
    # 240 -> 120 -> 60 -> 30, then 30 and 30; 256 ends at 32. With padding 1 it would be 28 and 30.
    with torch.device("meta"):
        critic = PatchCritic(1, [64, 128, 256, 256], [2, 2, 2, 1], padding="same")
        judged = critic(torch.empty(1, 1, side, side))
    assert judged.shape == (1, 1, patches, patches)
    # k4 from the last layer back: 4; s1: 3 + 4 = 7; s2: 6 * 2 + 4 = 16; 15 * 2 + 4 = 34; 70.
    assert critic.receptive_field == 70


def zeroed(shortcut):
    generator = ResNetGenerator(1, 4, 1, shortcut=shortcut)
    torch.nn.init.zeros_(generator.layers["conv4"].weight)
    torch.nn.init.zeros_(generator.layers["conv4"].bias)
    return generator


def test_with_the_shortcut_a_silent_network_leaves_the_image_as_it_is():
    image = torch.rand(1, 1, 16, 16) * 2 - 1
    generator = zeroed("add")
    assert torch.equal(generator(image), image)
    assert torch.equal(generator.eval()(image), image)


def test_a_shortcut_inside_the_tanh_is_not_the_identity():
    ones = torch.ones(1, 1, 16, 16)
    # tanh(1 + 0) = 0.76
    torch.testing.assert_close(zeroed("inside")(ones), torch.full_like(ones, 0.7615942))
    assert torch.equal(zeroed("none")(ones), torch.zeros_like(ones))


def test_the_sum_is_limited_in_evaluation_mode_only():
    generator = zeroed("add")
    torch.nn.init.constant_(generator.layers["conv4"].bias, 0.5)
    ones = torch.ones(1, 1, 16, 16)
    torch.testing.assert_close(generator(ones), torch.full_like(ones, 1.4621172))  # 1 + tanh(0.5)
    assert torch.equal(generator.eval()(ones), ones)


def test_a_residual_block_adds_to_what_enters():
    block = ResidualBlock(2)
    x = torch.rand(1, 2, 5, 5)
    torch.nn.init.zeros_(block.layers[1].weight)
    torch.nn.init.zeros_(block.layers[1].bias)
    assert torch.equal(block(x), x)  # the second half is silent: norm of zeros is zero


def test_borders_are_mirrored_not_padded_with_zeros():
    block = ResidualBlock(1)
    first = block.layers[0][0]
    torch.nn.init.constant_(first.weight, 1 / 9)
    torch.nn.init.zeros_(first.bias)
    ones = torch.ones(1, 1, 4, 4)
    torch.testing.assert_close(first(ones), ones)  # zeros would give 4/9 in the corners


def test_the_generator_works_in_3d():
    generator = ResNetGenerator(2, 2, 1, dims=3, shortcut="add")
    assert generator(torch.zeros(1, 2, 8, 12, 8)).shape == (1, 2, 8, 12, 8)
