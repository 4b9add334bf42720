"""Augmentation: where points come from worked by hand, labels that stay with their image."""

from __future__ import annotations

import pytest
import torch
from monai.transforms import Affine

from scansmith.augment import (
    augmented,
    grid_of,
    moved,
    random_field,
    random_moves,
    refuse_swapped_sides,
    relit,
)
from scansmith.scan import SettingsError
from scansmith.settings import Augmentation

NOTHING = dict(moved=0, bend=0, gain=0, offset=0, noise=0)


def batch(*size, count=3, channels=2):
    torch.manual_seed(0)
    return torch.rand(count, channels, *size), torch.randint(0, 3, (count, *size))


def still(count, *size):
    return torch.zeros(count, len(size), *size)


def test_numbers_of_zero_change_nothing():
    image, labels = batch(6, 7, 5)
    again, kept = augmented(image, labels, Augmentation(**NOTHING))
    torch.testing.assert_close(again, image)
    assert torch.equal(kept, labels)


def test_numbers_of_zero_draw_no_chance():
    image, labels = batch(6, 7, 5)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    augmented(image, labels, Augmentation(**NOTHING))
    assert torch.equal(torch.get_rng_state(), before)


def test_every_mirror_image_comes_up_and_labels_go_along():
    labels = torch.arange(8).view(1, 2, 2, 2).repeat(200, 1, 1, 1)
    torch.manual_seed(0)
    image, turned = augmented(
        labels[:, None].float(), labels, Augmentation(**NOTHING, flips=(0, 1, 2))
    )
    torch.testing.assert_close(image[:, 0], turned.float(), atol=1e-5, rtol=0)
    # Voxel 4 d + 2 h + w: a mirror image along d adds 4 to the corner, along h 2, along w 1.
    corner = turned[:, 0, 0, 0]
    assert set(corner.tolist()) == set(range(8))
    assert (turned.flatten(1) == (torch.arange(8) ^ corner.view(-1, 1))).all()


def test_an_axis_that_there_is_not_is_refused():
    with pytest.raises(SettingsError, match=r"augment.flips: found axis 2, expected .* 0 to 1"):
        augmented(*batch(6, 7), Augmentation(flips=(0, 2)))


@pytest.mark.parametrize("size", [(200, 256), (20, 24, 18)])
def test_autocast_changes_nothing(size):
    image, labels = batch(*size)
    numbers, both = Augmentation(flips=(0, 1)), []
    for on in (False, True):
        torch.manual_seed(3)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=on):
            both.append(augmented(image, labels, numbers))
    assert torch.equal(both[0][0], both[1][0])
    assert torch.equal(both[0][1], both[1][1])


def test_what_is_not_chosen_comes_back_as_it_was_under_autocast_too():
    image, labels = batch(256, 256)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again, kept = augmented(image, labels, Augmentation(**NOTHING | dict(moved=1e-9)))
    # Places in float32 are within 256 / 2^22 pixels; neighbours differ by less than 1.
    torch.testing.assert_close(again, image, atol=2e-4, rtol=0)
    assert torch.equal(kept, labels)


@pytest.mark.parametrize(
    "name", ["left kidney", "kidney_right", "Left-Hippocampus", "femur l", "ctx-rh-insula"]
)
def test_what_is_labelled_by_its_side_is_not_mirrored_left_to_right(name):
    structures = ("background", "liver", name)
    words = rf"augment.flips: found axis 2, .*: {name}\. .* Leave axis 2 out"
    with pytest.raises(SettingsError, match=words):
        refuse_swapped_sides(Augmentation(flips=(0, 2)), structures, dims=3)
    with pytest.raises(SettingsError, match="found axis 1"):
        refuse_swapped_sides(Augmentation(flips=(1,)), structures, dims=2)
    refuse_swapped_sides(Augmentation(flips=(0, 1)), structures, dims=3)
    refuse_swapped_sides(Augmentation(), structures, dims=2)


def test_other_names_may_be_mirrored():
    structures = ("background", "bright spot", "cleft", "anterior", "liver", "label 1")
    refuse_swapped_sides(Augmentation(flips=(0, 1, 2)), structures, dims=3)


def test_a_shift_of_half_of_half_the_size_shows_what_lies_two_pixels_on():
    image, labels = batch(9, 9)
    # Nine pixels: half the size is 4 steps, so 0.5 of it is 2 pixels along the first axis.
    shift = torch.tensor([[0.5, 0.0]]).expand(3, 2)
    grid = grid_of(torch.eye(2).expand(3, 2, 2), shift, still(3, 9, 9))
    shown, told = moved(image, labels, grid)
    torch.testing.assert_close(shown[:, :, :7], image[:, :, 2:])
    assert torch.equal(told[:, :7], labels[:, 2:])
    torch.testing.assert_close(shown[:, :, 8], image[:, :, 8])  # the edge goes on


def test_a_quarter_turn_is_a_quarter_turn():
    image, labels = batch(5, 7, 7)
    # A point (y, x) of the result comes from (x, -y): result[i, j] = source[j, 6 - i].
    turn = torch.tensor([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]]).expand(3, 3, 3)
    shown, told = moved(image, labels, grid_of(turn, torch.zeros(3, 3), still(3, 5, 7, 7)))
    torch.testing.assert_close(shown, image.rot90(1, (3, 4)), atol=1e-5, rtol=0)
    assert torch.equal(told, labels.rot90(1, (2, 3)))


def test_a_field_along_an_axis_moves_along_that_axis():
    image, labels = batch(9, 5)
    field = still(3, 9, 5)
    field[:, 0] = 0.25  # one pixel of half a size of 4
    grid = grid_of(torch.eye(2).expand(3, 2, 2), torch.zeros(3, 2), field)
    torch.testing.assert_close(moved(image, labels, grid)[0][:, :, :8], image[:, :, 1:])


@pytest.mark.parametrize("size", [(24, 31), (12, 15, 18)])
def test_a_move_is_what_monai_makes_of_the_same_matrix(size):
    image, labels = batch(*size, count=1)
    dims, half = len(size), (torch.tensor(size) - 1) / 2
    in_voxels = torch.eye(dims + 1)
    in_voxels[:dims, :dims] += 0.1 * torch.randn(dims, dims)
    in_voxels[:dims, dims] = 1.5 * torch.randn(dims)
    matrix = in_voxels[:dims, :dims] * half / half[:, None]  # in shares of half the size
    grid = grid_of(matrix[None], (in_voxels[:dims, dims] / half)[None], still(1, *size))
    ours, ours_labels = moved(image, labels, grid)
    monai = {
        mode: Affine(affine=in_voxels, mode=mode, padding_mode="border", image_only=True)
        for mode in ("bilinear", "nearest")
    }
    theirs = monai["bilinear"](image[0]).as_tensor()
    torch.testing.assert_close(ours[0], theirs, atol=1e-4, rtol=0)
    assert torch.equal(ours_labels, monai["nearest"](labels.float()).as_tensor().long())


def test_turns_keep_lengths_in_millimetres_on_any_spacing():
    torch.manual_seed(0)
    numbers = Augmentation(degrees=40, scale=0, shift=0)
    matrix, _ = random_moves(torch.ones(8, dtype=bool), (9, 5, 21), (1.0, 3.0, 0.5), numbers)
    half_mm = torch.tensor([4.0, 6.0, 5.0])  # (9 - 1) / 2 * 1, (5 - 1) / 2 * 3, (21 - 1) / 2 * 0.5
    in_mm = matrix * half_mm[:, None] / half_mm
    unit = torch.eye(3).expand(8, 3, 3)
    torch.testing.assert_close(in_mm @ in_mm.mT, unit, atol=1e-5, rtol=0)
    assert not torch.allclose(in_mm, unit, atol=0.05)


def test_a_size_grows_and_shrinks_within_its_share():
    torch.manual_seed(0)
    numbers = Augmentation(degrees=0, scale=0.2, shift=0.1)
    matrix, shift = random_moves(torch.ones(200, dtype=bool), (8, 8), (1.0, 1.0), numbers)
    size = 1 / matrix[:, 0, 0]
    assert 0.8 <= size.min() < 0.83
    assert 1.17 < size.max() <= 1.2
    assert 0.19 < shift.abs().max() <= 0.2  # a tenth of the size is a fifth of half of it


def test_about_the_asked_share_of_samples_is_moved_and_mirroring_is_its_own_choice():
    torch.manual_seed(0)
    numbers = Augmentation(moved=0.25, flips=(1,))
    chosen = torch.rand(400) < numbers.moved
    matrix, _ = random_moves(chosen, (8, 8), (1.0, 1.0), numbers)
    untouched = (matrix.abs() == torch.eye(2)).all(dim=(1, 2))
    assert torch.equal(untouched, ~chosen)
    mirrored = matrix[:, 1, 1] < 0
    assert 150 < mirrored.sum() < 250
    assert (matrix[:, 0, 0] > 0).all()  # never along the other axis
    assert (random_field(chosen, (8, 8), numbers)[~chosen] == 0).all()
    assert (random_field(chosen, (8, 8), numbers)[chosen] != 0).any()


def test_labels_stay_with_their_image():
    torch.manual_seed(0)
    labels = torch.zeros(4, 12, 20, 16, dtype=torch.int64)
    labels[:, 3:9, 4:12, 5:11] = 1
    image = labels[:, None].float()
    numbers = Augmentation(moved=1, bend=0.1, gain=0, offset=0, noise=0, flips=(2,))
    shown, told = augmented(image, labels, numbers, (3.0, 1.0, 1.0))
    assert not torch.equal(told, labels)
    # Linear and nearest interpolation of zeros and ones differ by less than a half in 1D; where
    # three borders meet, the nearest voxel still has 1/8 of the weight: 7/8 apart at most.
    apart = (shown[:, 0] - told).abs()
    assert apart.max() <= 0.875
    assert (apart < 0.5).float().mean() > 0.99


def test_every_modality_of_every_sample_gets_its_own_light_and_nothing_else():
    image, _ = batch(16, 16)
    lit = relit(image, Augmentation(**NOTHING | dict(gain=0.3, offset=0.5)))
    flat, after = image.flatten(2), lit.flatten(2)
    gains = after.std(-1) / flat.std(-1)
    assert gains.flatten().unique().numel() == 6
    assert 0.7 <= gains.min() < gains.max() <= 1.3
    centred = (after - after.mean(-1, keepdim=True)) / after.std(-1, keepdim=True)
    before = (flat - flat.mean(-1, keepdim=True)) / flat.std(-1, keepdim=True)
    torch.testing.assert_close(centred, before, atol=1e-4, rtol=0)


def test_noise_is_as_strong_as_said_and_beyond_a_constant_image_nothing_breaks():
    torch.manual_seed(0)
    image = torch.randn(64, 1, 32, 32)
    noise = (relit(image, Augmentation(**NOTHING | dict(noise=0.4))) - image).flatten(1).std(1)
    assert 0.35 < noise.max() < 0.45  # evenly from 0 to 0.4 of an image of sd 1
    constant = torch.ones(2, 1, 8, 8)
    torch.testing.assert_close(relit(constant, Augmentation()), constant)
