"""The 3D critic: its map, spectral norm, and its view of fine detail."""

import pytest
import torch
from torch import nn

from scansmith.nets.volume_critic import VolumeCritic, fine_detail


def test_the_papers_volume_becomes_a_map_of_a_quarter_rounded_up():
    # (n + 2 - 3) // 2 + 1: 200 -> 100 -> 50, 160 -> 80 -> 40, 150 -> 75 -> 38; the rest keep it.
    with torch.device("meta"):
        critic = VolumeCritic(5, 1)
        judged = critic(torch.empty(1, 5, 150, 200, 160), torch.empty(1, 1, 150, 200, 160))
    assert judged.shape == (1, 1, 38, 50, 40)
    widths = [(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0])
              for m in critic.modules() if isinstance(m, nn.Conv3d)]  # fmt: skip
    assert widths == [(6, 32, 3, 2), (32, 64, 3, 2), (64, 32, 3, 1), (32, 32, 1, 1), (32, 1, 1, 1)]


def test_one_value_sees_23_voxels_along_each_axis():
    # Back from the last: 1, 1, 1 (k1, k1), 3 (k3), 5 (max-pool k3), (5 - 1) 2 + 3 = 11 (k3 s2),
    # (11 - 1) 2 + 3 = 23 (k3 s2).
    torch.manual_seed(0)
    critic = VolumeCritic(1, 1, 2).eval()
    image = torch.zeros(1, 1, 40, 8, 8, requires_grad=True)
    noise = torch.randn(1, 1, 40, 8, 8)
    seen = torch.zeros(40)
    for _ in range(20):  # a max-pool passes a gradient to one of its voxels only
        noise = torch.randn(1, 1, 40, 8, 8)
        (gradient,) = torch.autograd.grad(critic(noise, image + noise)[0, 0, 5].sum(), image)
        seen += gradient.abs().sum(dim=(0, 1, 3, 4))
    touched = torch.nonzero(seen).flatten()
    # Map position 5 sits at voxel 5 x 4 = 20: 11 to either side.
    assert (int(touched.min()), int(touched.max())) == (20 - 11, 20 + 11)


def test_spectral_norm_is_one_on_every_convolution_if_asked():
    critic = VolumeCritic(2, 1, 4).train()
    with torch.no_grad():
        for _ in range(30):
            weights = [m.weight for m in critic.modules() if isinstance(m, nn.Conv3d)]
    assert len(weights) == 5
    for weight in weights:
        sigma = torch.linalg.matrix_norm(weight.flatten(1), 2)
        torch.testing.assert_close(sigma, torch.tensor(1.0), atol=2e-2, rtol=0)
    free = VolumeCritic(2, 1, 4, spectral=False)
    assert not any("original" in name for name, _ in free.named_parameters())


def test_a_norm_stands_after_the_inner_convolutions_only():
    critic = VolumeCritic(2, 1, 4, norm_kind="instance")
    norms = [m for m in critic.modules() if isinstance(m, nn.InstanceNorm3d)]
    assert [m.num_features for m in norms] == [8, 4, 4]


def test_fine_detail_is_the_voxel_less_the_mean_of_its_neighbourhood():
    image = torch.zeros(1, 1, 5, 5, 5)
    image[0, 0, 2, 2, 2] = 27.0
    detail = fine_detail(image)[0, 0]
    assert detail[2, 2, 2] == pytest.approx(26.0)  # 27 - 27/27
    assert detail[2, 2, 3] == pytest.approx(-1.0)
    assert detail[0, 0, 0] == 0
    torch.testing.assert_close(fine_detail(torch.ones(1, 1, 4, 4, 4)), torch.zeros(1, 1, 4, 4, 4))


def test_the_view_of_fine_detail_tells_a_blurred_volume_that_is_equal_on_the_whole():
    torch.manual_seed(0)
    condition, image = torch.zeros(1, 1, 12, 12, 12), torch.randn(1, 2, 12, 12, 12)
    critic = VolumeCritic(1, 2, 4, high_pass=2.0)
    assert critic.layers[0].in_channels == 1 + 2 + 2
    seen = []
    critic.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    critic(condition, image)
    torch.testing.assert_close(seen[0][:, 3:], 2 * fine_detail(image))
