"""The 3D U-Net: sizes at the paper's size, spectral norm, resizing, checkpointing."""

import pytest
import torch
from torch import nn

from scansmith.nets.volume_unet import VolumeUNet, resize


def sizes(network, *shape):
    """(channels, *S) that each convolution of a network gives, in order."""
    seen = []
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
    network(torch.empty(shape))
    return seen


def test_the_papers_volume_is_halved_three_times_and_brought_back_by_the_skips():
    # 160 / 2 / 2 / 2 = 20, 200 -> 100 -> 50 -> 25, and 150 -> 75 -> 37 -> 18: halves rounded down.
    # Up from 18 doubling gives 36, but the skip has 37. Channels 8, 16, 32, 64 and back.
    full, half = (150, 200, 160), (75, 100, 80)
    quarter, eighth = (37, 50, 40), (18, 25, 20)
    with torch.device("meta"):
        found = sizes(VolumeUNet(5, 1), 1, 5, *full)
    assert found == [
        *[(8, *full)] * 2,
        *[(16, *half)] * 2,
        *[(32, *quarter)] * 2,
        *[(64, *eighth)] * 2,
        *[(32, *quarter)] * 3,
        *[(16, *half)] * 3,
        *[(8, *full)] * 3,
        (1, *full),
    ]


def test_every_convolution_has_the_spectral_norm_one_if_asked():
    network = VolumeUNet(3, 1, 4)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv3d)]
    assert len(convolutions) == 18  # 2 + 3 x 2 + 3 x 3 + 1
    network.train()
    with torch.no_grad():
        for _ in range(30):  # each sight of a weight in training sharpens the estimate
            weights = [m.weight for m in convolutions]
    for weight in weights:
        sigma = torch.linalg.matrix_norm(weight.flatten(1), 2)
        torch.testing.assert_close(sigma, torch.tensor(1.0), atol=2e-2, rtol=0)
    plain = [m for m in VolumeUNet(3, 1, 4, spectral=False).modules() if isinstance(m, nn.Conv3d)]
    assert torch.linalg.matrix_norm(plain[0].weight.flatten(1), 2) < 0.9


def test_working_blocks_out_again_changes_neither_the_result_nor_a_gradient():
    outcomes = []
    for checkpoint in (False, True):
        torch.manual_seed(0)
        network = VolumeUNet(2, 1, 2, checkpoint=checkpoint).train()
        x = torch.randn(1, 2, 17, 19, 16, generator=torch.Generator().manual_seed(1))
        made = network(x)
        made.square().mean().backward()
        gradients = [p.grad for p in network.parameters()]
        outcomes.append([made.detach(), *gradients, *network.buffers()])
    assert all(torch.equal(a, b) for a, b in zip(*outcomes, strict=True))


def test_checkpointing_keeps_less_for_the_backward_pass():
    kept = []
    for checkpoint in (False, True):
        network, bytes_ = VolumeUNet(2, 1, 4, checkpoint=checkpoint).train(), []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, b=bytes_: (b.append(t.nbytes), t)[1], lambda t: t
        ):
            network(torch.randn(1, 2, 16, 16, 16))
        kept.append(sum(bytes_))
    # 8 full-size convolutions at 4 channels keep several tensors each; a block's input is one.
    assert kept[1] < kept[0] / 4


@pytest.mark.parametrize("kind", ["trilinear", "tricubic"])
def test_resizing_to_the_same_size_changes_nothing_and_a_flat_volume_stays_flat(kind):
    volume = torch.randn(1, 2, 5, 6, 7)
    torch.testing.assert_close(resize(volume, (5, 6, 7), kind), volume)
    flat = resize(torch.full((1, 1, 3, 4, 5), 0.25), (7, 8, 9), kind)
    torch.testing.assert_close(flat, torch.full((1, 1, 7, 8, 9), 0.25))


def test_resizing_weighs_neighbours_as_worked_by_hand_along_every_axis():
    # Doubling puts points at -1/4 and +1/4 of a voxel from its centre. Linear: 1/4 and 3/4.
    # Cubic (a = -0.75) at distances 0.25, 0.75, 1.25, 1.75 of a point at +1/4:
    #   |x| <= 1: 1.25 x^3 - 2.25 x^2 + 1       0.25 -> 0.87890625    0.75 -> 0.26171875
    #   |x| <= 2: -.75 x^3 + 3.75 x^2 - 6 x + 3 1.25 -> -0.10546875   1.75 -> -0.03515625
    for axis in (2, 3, 4):
        shape = [1, 1, 1, 1, 1]
        shape[axis] = 8
        spike = torch.zeros(8)
        spike[4] = 1
        doubled = [16 if a == axis else 1 for a in (2, 3, 4)]
        linear = resize(spike.view(shape), doubled).flatten()
        torch.testing.assert_close(linear[7:11], torch.tensor([0.25, 0.75, 0.75, 0.25]))
        cubic = resize(spike.view(shape), doubled, "tricubic").flatten()
        right = torch.tensor([0.87890625, 0.26171875, -0.10546875, -0.03515625])
        torch.testing.assert_close(cubic[9:13], right)
        torch.testing.assert_close(cubic[5:9], right.flip(0))


def test_what_is_made_lies_between_minus_one_and_one():
    made = VolumeUNet(2, 3, 2, upsample="tricubic")(100 * torch.randn(1, 2, 16, 18, 20))
    assert made.shape == (1, 3, 16, 18, 20)
    assert made.abs().max() <= 1
