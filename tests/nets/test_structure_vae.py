"""The structure VAE and its critics: the published sizes, on the meta device."""

import pytest
import torch

from scansmith.nets.norm_relu import ConvNormRelu, InstanceNorm, halved, start
from scansmith.nets.structure_vae import (
    DenseCodeCritic,
    StructureCritic,
    StructureDecoder,
    StructureEncoder,
    sampled_code,
)


def shapes(network, *inputs):
    """Output sizes of the blocks of a network."""
    found = []
    blocks = [m for m in network.modules() if isinstance(m, ConvNormRelu)]
    hooks = [
        block.register_forward_hook(lambda _, __, out: found.append(tuple(out.shape[1:])))
        for block in blocks
    ]
    network(*inputs)
    for hook in hooks:
        hook.remove()
    return found


def test_the_published_encoder_ends_in_6_by_5_of_768_channels():
    with torch.device("meta"):
        encoder = StructureEncoder((184, 144))
        found = shapes(encoder, torch.empty(1, 1, 184, 144))
    full, h2, h4, h8, h16, h32 = (184, 144), (92, 72), (46, 36), (23, 18), (12, 9), (6, 5)
    assert encoder.sizes == [full, h2, h4, h8, h16, h32]
    assert found == [
        (64, *full), (128, *h2), (128, *h2), (256, *h4), (256, *h4), (256, *h4),
        (384, *h8), (384, *h8), (512, *h16), (512, *h16), (768, *h32),
    ]  # fmt: skip
    assert encoder.mean.in_features == 6 * 5 * 768 == 23_040
    assert encoder.mean.out_features == 4096
    dense = (*encoder.mean.parameters(), *encoder.log_variance.parameters())
    # 2 (23 040 x 4096 + 4096): "189 M"
    assert sum(p.numel() for p in dense) == 188_751_872


def test_the_published_decoder_goes_back_through_the_sizes_of_the_encoder():
    with torch.device("meta"):
        decoder = StructureDecoder(halved((184, 144), 5))
        found = shapes(decoder, torch.empty(1, 4096))
        assert decoder(torch.empty(2, 4096)).shape == (2, 2, 184, 144)
    assert [(layer.in_features, layer.out_features) for layer in decoder.dense[1:]] == [
        (4096, 6 * 5 * 64),
        (1920, 23_040),
    ]
    assert found == [
        (768, 6, 5), (512, 12, 9), (512, 12, 9), (384, 23, 18), (384, 23, 18), (384, 46, 36),
        (384, 46, 36), (256, 92, 72), (256, 92, 72), (256, 92, 72), (128, 184, 144),
        (128, 184, 144), (128, 184, 144), (64, 184, 144),
    ]  # fmt: skip


def test_the_published_critics_judge_12_by_9_patches_and_32_by_32_parts_of_the_code():
    with torch.device("meta"):
        structure, code = StructureCritic(), DenseCodeCritic()
        found = shapes(structure, torch.empty(1, 1, 184, 144))
        assert found == [
            (128, 92, 72), (256, 46, 36), (512, 23, 18), (512, 12, 9), (256, 12, 9),
        ]  # fmt: skip
        assert structure(torch.empty(1, 1, 184, 144)).shape == (1, 1, 12, 9)
        widths = [shape[0] for shape in shapes(code, torch.empty(1, 4096))]
        assert widths == [128, 128, 128, 256, 256]
        assert code(torch.empty(1, 4096)).shape == (1, 1, 32, 32)
        kernels = [m.conv.kernel_size[0] for m in code.modules() if isinstance(m, ConvNormRelu)]
    assert kernels == [7, 7, 5, 5, 3]


@pytest.mark.parametrize("size", [(48, 40), (33, 47), (32, 32), (16, 20)])
def test_any_size_comes_back_as_it_went_in(size):
    encoder = StructureEncoder(size, latent=16, base=2)
    decoder = StructureDecoder(encoder.sizes, latent=16, base=2)
    mean, log_variance = encoder(torch.rand(2, 1, *size))
    assert mean.shape == log_variance.shape == (2, 16)
    assert decoder(mean).shape == (2, 2, *size)


def test_the_code_is_mean_plus_sd_times_noise():
    torch.manual_seed(0)
    mean = torch.tensor([[1.0, -2.0]])
    noise = (sampled_code(mean, torch.zeros(1, 2)) - mean).detach()
    torch.manual_seed(0)
    # log variance log(9): sd 3
    wide = sampled_code(mean, torch.log(torch.full((1, 2), 9.0)))
    torch.testing.assert_close(wide, mean + 3 * noise)


def test_small_maps_are_normalised_over_all_channels_together():
    norm = InstanceNorm(2).train()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([2.0, 3.0]))
        norm.bias.copy_(torch.tensor([0.5, 0.0]))
    # One pixel: mean -1.5, sd 2.5 over the channels, so 1 and -1 before scale and shift.
    x = torch.tensor([1.0, -4.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(norm(x).flatten(), torch.tensor([2.5, -3.0]), atol=1e-4, rtol=0)
    # Two pixels: each channel on its own, so that its strength is lost; unless asked otherwise.
    strong = torch.tensor([[-9.0, 9.0], [-1.0, 1.0]]).view(1, 2, 1, 2)
    alike = norm(strong)[0, :, 0, 1]
    torch.testing.assert_close(alike, torch.tensor([2.5, 3.0]), atol=1e-4, rtol=0)
    norm.least = 3
    ratio = (norm(strong)[0, 0, 0, 1] - 0.5) / 2 / (norm(strong)[0, 1, 0, 1] / 3)
    torch.testing.assert_close(ratio, torch.tensor(9.0))


def test_a_norm_with_conditions_scales_and_shifts_by_the_one_asked_for():
    plain, norm = InstanceNorm(1), InstanceNorm(1, conditions=2)
    x = torch.tensor([3.0, 3.0, 7.0, 7.0]).view(1, 1, 1, 4).expand(2, -1, -1, -1)
    # Mean 5, sd 2: -1, -1, 1, 1. A constant on top is taken out again.
    normed = torch.tensor([-1.0, -1.0, 1.0, 1.0]).expand(2, 4)
    torch.testing.assert_close(plain(x + 4).view(2, 4), normed, atol=1e-4, rtol=0)
    which = torch.tensor([1, 0])
    torch.testing.assert_close(norm(x, which).view(2, 4), normed, atol=1e-4, rtol=0)
    with torch.no_grad():
        norm.scale[1], norm.shift[1] = 2.0, 0.5
    # 1 + 2 times, plus 0.5; condition 0 stays as it was.
    wanted = torch.tensor([[-2.5, -2.5, 3.5, 3.5], [-1.0, -1.0, 1.0, 1.0]])
    torch.testing.assert_close(norm(x, which).view(2, 4), wanted, atol=1e-4, rtol=0)


def test_the_capped_block_ends_at_its_cap():
    block = ConvNormRelu(1, 4, cap=0.5)
    x = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert block(x).max() == 0.5
    block.cap = 0.0
    assert block(x).max() > 0.5


def test_averaging_starts_generators_as_means_and_critics_as_noise():
    torch.manual_seed(0)
    generator, critic = ConvNormRelu(4, 8), ConvNormRelu(4, 8)
    start([generator], [critic], "averaging", least=5)
    weight = generator.conv.weight
    torch.testing.assert_close(weight, torch.full_like(weight, 1 / 36), atol=1e-5, rtol=0)
    assert len(weight.unique()) > 1  # noise of 1e-6 breaks the tie
    assert 0.015 < critic.conv.weight.std() < 0.025
    assert generator.norm.least == critic.norm.least == 5
    start([generator], [critic], "normal", least=2)
    assert 0.015 < generator.conv.weight.std() < 0.025
