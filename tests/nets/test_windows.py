"""Volumes drawn by windows: every voxel counted once, the whole's statistics, no seams."""

import pytest
import torch
from torch import nn

from scansmith.nets.volume_unet import VolumeUNet
from scansmith.nets.windows import by_windows, cores, settled_norms


@pytest.mark.parametrize("size", [(40,), (16,), (10,), (37, 23, 50)])
def test_the_inner_halves_of_the_windows_cover_every_voxel_once(size):
    window = (16,) * len(size)
    times = torch.zeros(size)
    for cut, core in cores(size, window):
        inside = []
        for along, (begin, end), n in zip(cut, core, size, strict=True):
            assert 0 <= along.start < along.stop <= n
            wide = along.stop - along.start
            assert wide == min(16, n)
            first = along.start + round(begin * wide)
            inside.append(slice(first, along.start + round(end * wide)))
        times[tuple(inside)] += 1
    assert (times == 1).all()


def test_windows_of_a_long_axis_are_the_ones_worked_by_hand():
    # Size 20, window 8: cores of 4 begin at 0, 4, 8, 12, 16; windows begin 2 earlier, but at 0 and
    # not later than 20 - 8 = 12.
    found = [(cut[0].start, core[0]) for cut, core in cores((20,), (8,))]
    quarter, half = (0.25, 0.75), (0.5, 1.0)
    assert found == [(0, (0.0, 0.5)), (2, quarter), (6, quarter), (10, quarter), (12, half)]


def test_a_norm_settled_by_windows_has_the_statistics_of_the_whole_volume():
    torch.manual_seed(0)
    network = nn.Sequential(nn.InstanceNorm3d(2, affine=True), nn.InstanceNorm3d(2, affine=True))
    nn.init.uniform_(network[0].weight)
    volume = torch.randn(1, 2, 24, 20, 18).cumsum(dim=2)  # its windows are not alike
    with torch.no_grad():
        whole = network(volume)
        with settled_norms(network, network, volume, (8, 8, 8)):
            part = network(volume[:, :, 4:12, 8:16, 0:8])
    torch.testing.assert_close(part, whole[:, :, 4:12, 8:16, 0:8], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(network(volume), whole)  # and it is itself again


def layered(size):
    """One-hot volume of slanted layers: its windows differ in what they hold."""
    index = torch.stack(torch.meshgrid(*[torch.arange(n) for n in size], indexing="ij"))
    slant = (index[0] + 0.5 * index[1] + 3 * torch.sin(index[2] / 5.0)) / 9
    return nn.functional.one_hot(slant.long() % 3, 3).movedim(-1, 0)[None].float()


def network():
    torch.manual_seed(0)
    made = VolumeUNet(3, 1, 4, levels=2)
    torch.manual_seed(1)
    for norm in (m for m in made.modules() if isinstance(m, nn.InstanceNorm3d)):
        nn.init.normal_(norm.weight, 1.0, 0.3)
        nn.init.normal_(norm.bias, 0.0, 0.3)
    return made.eval()


def test_seams_do_not_show_and_the_whole_volume_is_met():
    from monai.inferers import SlidingWindowInferer

    unet, volume, window = network(), layered((56, 20, 20)), (24, 20, 20)
    with torch.no_grad():
        whole = unet(volume)
        made = by_windows(unet, unet, volume, window, 0.5)
        plain = SlidingWindowInferer(window, 1, 0.0, mode="constant")(volume, unet)
    wrong, hard = (made - whole)[0, 0], (plain - whole)[0, 0]
    # Blended windows begin at 0, 12, 24, 32, so a border lies before each of these; unblended ones
    # at 0, 24, 32 (56 - 24). The error's step there, beside its steps away from all borders:
    jump = (wrong[1:] - wrong[:-1]).abs().mean(dim=(1, 2))
    at = jump[[11, 23, 31, 35, 47]]
    elsewhere = jump[[*range(2, 9), *range(14, 21), *range(26, 29), *range(38, 45)]]
    hard_jump = (hard[1:] - hard[:-1]).abs().mean(dim=(1, 2))
    assert at.max() < 1.1 * elsewhere.max()
    assert at.mean() < 1.5 * elsewhere.mean()
    assert at.max() < 0.5 * hard_jump[[23, 31]].max()
    # And the error itself, with weights drawn at random, which tell more than trained ones:
    assert wrong.abs().mean() < 0.75 * hard.abs().mean()
    assert wrong.abs().mean() < 0.3 * whole.std()


def test_a_volume_no_larger_than_the_window_is_made_as_if_whole():
    unet, volume = network(), layered((16, 20, 16))
    with torch.no_grad():
        made, whole = by_windows(unet, unet, volume, (16, 20, 16), 0.5), unet(volume)
    torch.testing.assert_close(made, whole, atol=1e-4, rtol=1e-3)


def test_samples_of_a_batch_do_not_share_statistics():
    unet = network()
    two = torch.cat([layered((24, 16, 16)), 1 - layered((24, 16, 16))])
    with torch.no_grad():
        both = by_windows(unet, unet, two, (16, 16, 16), 0.5)
        alone = by_windows(unet, unet, two[1:], (16, 16, 16), 0.5)
    torch.testing.assert_close(both[1:], alone)
