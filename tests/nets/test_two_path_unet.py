"""MAGAN's generator: sizes, dilation without holes, attention as in the paper's equations."""

import pytest
import torch

from scansmith.nets.attention import CrossAttention
from scansmith.nets.two_path_unet import ContractingPath, TwoPathUNet, path_widths


def test_nine_halvings_lead_from_512_pixels_to_one_with_1024_channels():
    assert path_widths(512, 64) == [64, 128, 256, 512, 512, 512, 512, 512, 1024]
    with torch.device("meta"):
        path = ContractingPath(1, path_widths(512, 64), 4, "after", "instance")
        levels = path(torch.empty(1, 1, 512, 512))
    assert [level.shape[-1] for level in levels] == [256, 128, 64, 32, 16, 8, 4, 2, 1]
    assert levels[-1].shape == (1, 1024, 1, 1)


def test_the_generator_returns_the_size_it_was_given_at_512():
    with torch.device("meta"):
        generator = TwoPathUNet(512, 64)
        made = generator(torch.empty(1, 1, 512, 512), torch.empty(1, 1, 512, 512))
    assert made.shape == (1, 1, 512, 512)
    assert len(generator.attention) == 8


def test_the_first_four_of_nine_blocks_are_dilated_at_512():
    # The fifth block is the first whose input is 32 x 32.
    with torch.device("meta"):
        generator = TwoPathUNet(512, 64)
    rates = [
        max(m.dilation[0] for m in block.modules() if isinstance(m, torch.nn.Conv2d))
        for block in generator.image_path.blocks
    ]
    assert rates == [2, 2, 2, 2, 1, 1, 1, 1, 1]


def share_of_pixels_read(dilation):
    torch.manual_seed(0)
    path = ContractingPath(1, [4, 8], 2, dilation, "none")
    image = torch.rand(1, 1, 32, 32, requires_grad=True)
    path(image)[0].abs().sum().backward()
    return (image.grad != 0).float().mean().item()


def test_every_pixel_is_read_when_dilation_comes_after_the_stride():
    assert share_of_pixels_read("after") == 1.0
    assert share_of_pixels_read("none") == 1.0


def test_stride_and_dilation_in_one_convolution_read_a_quarter_of_the_pixels():
    # Rows 2o + 2i - 3 are all odd: one row in two, one column in two.
    assert share_of_pixels_read("strided") == 0.25


def test_without_dilation_the_generator_has_as_many_parameters():
    def count(dilation):
        return sum(p.numel() for p in TwoPathUNet(64, 8, dilation=dilation).parameters())

    assert count("none") == count("after")


def test_attention_follows_equations_1_and_2():
    torch.manual_seed(0)
    attend = CrossAttention(32)  # keys of 4 channels: a division by sqrt(4) would show
    image_path, map_path = torch.randn(1, 32, 3, 2), torch.randn(1, 32, 3, 2)
    a, b = attend.key(image_path)[0].flatten(1), attend.query(map_path)[0].flatten(1)
    v = attend.value(image_path)[0].flatten(1)
    expected = torch.zeros(32, 6)
    for j in range(6):
        scores = torch.stack([(a[:, i] * b[:, j]).sum() for i in range(6)]).exp()
        for i in range(6):
            expected[:, j] += scores[i] / scores.sum() * v[:, i]
    torch.testing.assert_close(attend(image_path, map_path)[0].flatten(1), expected)


def test_each_column_of_the_attention_matrix_sums_to_one():
    attend = CrossAttention(8)
    weights = attend.weights(torch.randn(2, 8, 4, 4), torch.randn(2, 8, 4, 4))
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2, 16))


def test_keys_are_pooled_and_queries_are_not():
    attend = CrossAttention(8, max_keys=16)
    image_path = torch.randn(1, 8, 16, 16)
    assert attend.pool(image_path).shape == (1, 8, 4, 4)
    assert attend(image_path, image_path).shape == (1, 8, 16, 16)


def test_attention_is_silent_before_training():
    torch.manual_seed(0)
    with_attention = TwoPathUNet(32, 4).eval()
    assert all(gamma == 0 for gamma in with_attention.gamma)


@pytest.mark.parametrize("skip", ["add", "concat", "none"])
def test_every_kind_of_skip_keeps_the_size(skip):
    generator = TwoPathUNet(32, 4, skip=skip)
    assert generator(torch.zeros(2, 1, 32, 32), torch.zeros(2, 1, 32, 32)).shape == (2, 1, 32, 32)
    assert (len(generator.gamma) == 0) == (skip == "none")


def test_every_parameter_takes_part():
    torch.manual_seed(0)
    generator = TwoPathUNet(32, 4)
    for gamma in generator.gamma:
        torch.nn.init.ones_(gamma)  # at 0, attention's own weights have no gradient yet
    generator(torch.randn(1, 1, 32, 32), torch.randn(1, 1, 32, 32)).square().mean().backward()
    silent = [
        name for name, p in generator.named_parameters() if p.grad is None or not p.grad.any()
    ]
    # Biases before an instance norm, and key biases before a softmax, are cancelled exactly.
    assert not [name for name in silent if not name.endswith("bias")]


def test_when_skips_lead_dilated_convolutions_start_near_the_identity_and_the_decoder_faint():
    torch.manual_seed(0)
    generator = TwoPathUNet(64, 8)
    for module in generator.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.normal_(module.weight, 0.0, 0.02)
            torch.nn.init.zeros_(module.bias)
    generator.let_skips_lead(share=0.1)
    dilated = generator.image_path.blocks[0][1]  # one of log2(64) - 5 = 1 dilated blocks
    x = torch.randn(1, 8, 16, 16)
    # 8 channels x 9 taps of N(0, 0.02): the noise has sd 0.02 sqrt(72) = 0.17 beside the identity.
    assert (dilated(x) - x).std() < 0.25
    scales = [m.weight for m in generator.up.modules() if getattr(m, "affine", False)]
    assert scales
    assert all((scale == 0.1).all() for scale in scales)
