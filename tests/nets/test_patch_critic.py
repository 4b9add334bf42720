"""Map sizes and receptive fields, worked by hand."""

import pytest
import torch

from scansmith.nets.patch_critic import PatchCritic, crop_round, receptive_field


def test_receptive_field_grows_from_the_last_layer_back():
    # k4: 4; stride 1 before: 3 * 1 + 4 = 7; then strides 2: 6 * 2 + 4 = 16, 34, 70, 142.
    assert receptive_field([1]) == 4
    assert receptive_field([1, 1]) == 7
    assert receptive_field([2, 2, 2, 2, 1, 1]) == 142


def test_four_strided_layers_give_900_patches_of_142_pixels_at_512():
    # MAGAN's critic: 512 -> 256 -> 128 -> 64 -> 32, then k4 s1 p1 twice: 31, 30.
    with torch.device("meta"):
        critic = PatchCritic(2, [64, 128, 256, 512, 512], [2, 2, 2, 2, 1])
        judged = critic(torch.empty(1, 2, 512, 512))
    assert judged.shape == (1, 1, 30, 30)
    assert critic.receptive_field == 142


def test_five_strided_layers_with_same_padding_give_one_value_for_32_pixels():
    # Heart GAN's critic: 256 / 2^5 = 8; field 4 -> 10 -> 22 -> 46 -> 94 -> 190.
    with torch.device("meta"):
        critic = PatchCritic(9, [64, 128, 256, 512, 1024], [2] * 5, padding="same")
        judged = critic(torch.empty(2, 9, 256, 256))
    assert judged.shape == (2, 1, 8, 8)
    assert critic.receptive_field == 190


def test_the_critic_works_in_3d():
    critic = PatchCritic(2, [4, 8], [2, 2], dims=3, padding="same")
    assert critic(torch.zeros(1, 2, 16, 12, 8)).shape == (1, 1, 4, 3, 2)


def test_a_critic_keeps_no_running_statistics():
    critic = PatchCritic(1, [4, 8], [2, 2])
    assert not list(critic.buffers())


@pytest.mark.parametrize(
    ("centre", "start"), [((1, 1), (0, 0)), ((4, 5), (2, 3)), ((7, 7), (4, 4))]
)
def test_crops_lie_round_their_centre_but_inside_the_image(centre, start):
    image = torch.arange(64.0).view(1, 1, 8, 8)
    cut = crop_round(image, torch.tensor([centre]), 4)
    y, x = start
    assert torch.equal(cut, image[:, :, y : y + 4, x : x + 4])


def test_judgements_are_full_precision_under_autocast():
    critic = PatchCritic(1, [4, 8], [2, 2])
    with torch.autocast("cpu", torch.bfloat16):
        assert critic(torch.zeros(1, 1, 16, 16)).dtype == torch.float32
