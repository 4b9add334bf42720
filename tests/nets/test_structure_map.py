"""Algorithms 1 to 3, worked by hand."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from scansmith.nets.structure_map import (
    background_mask,
    contour_error,
    contour_mask,
    fill_holes,
    sobel,
    soft_structure_map,
    structure_map,
    structure_scores,
)


def step_edge():
    """0 in columns 0 to 2, 1 in columns 3 to 5."""
    x = torch.zeros(1, 1, 6, 6)
    x[..., 3:] = 1
    return x


def test_sobel_is_eight_times_the_slope_and_mirrors_the_border():
    x = torch.arange(5.0).view(1, 1, 5, 1).expand(1, 1, 5, 7) * 3  # 3 a row downwards
    dy, dx = sobel(x)[0]
    assert (dx == 0).all()
    assert (dy[1:4] == 8 * 3).all()
    assert (dy[[0, 4]] == 0).all()  # row -1 is row 1


def test_a_rising_step_is_an_edge_two_pixels_wide():
    # dx = 4 in columns 2 and 3, dy = 0: f1 = min = 0 everywhere; f2 = max, scaled: 1 there, 0
    # elsewhere, mean 2/6. f2 - mean = 2/3 on the edge. Elsewhere -1/3, but mean(f1) - f1 = 0.
    scores = structure_scores(step_edge())
    wanted = torch.tensor([0, 0, 2 / 3, 2 / 3, 0, 0]).expand(1, 1, 6, 6)
    torch.testing.assert_close(scores, wanted)
    for beta in (0.07, 0.12):
        assert torch.equal(structure_map(step_edge(), beta), (wanted > 0).float())


def test_a_falling_step_is_found_by_the_minimum():
    # dx = -4 there: f1 = 0 on the edge and 1 elsewhere once scaled, mean 4/6, mean - f1 = 2/3.
    scores = structure_scores(1 - step_edge())
    torch.testing.assert_close(scores[0, 0, 0], torch.tensor([0, 0, 2 / 3, 2 / 3, 0, 0]))


def test_the_map_is_the_same_for_any_gain_and_offset_of_the_image():
    x = torch.rand(3, 1, 16, 12, generator=torch.Generator().manual_seed(0))
    gain = torch.tensor([1.0, 7.0, 100.0]).view(3, 1, 1, 1)  # each image has its own
    torch.testing.assert_close(
        structure_scores(x * gain + 5), structure_scores(x), atol=1e-3, rtol=1e-3
    )
    assert (structure_map(torch.full((1, 1, 8, 8), 0.4), 0.07) == 0).all()


def test_the_soft_map_is_a_sigmoid_of_the_score_and_has_a_gradient():
    soft = soft_structure_map(step_edge(), beta=0.12, tau=0.02)
    torch.testing.assert_close(soft[0, 0, 0, 0], torch.sigmoid(torch.tensor(-6.0)))  # (0 - .12)/.02
    torch.testing.assert_close(soft[0, 0, 0, 2], torch.sigmoid(torch.tensor((2 / 3 - 0.12) / 0.02)))
    x = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    soft_structure_map(x, 0.12, 0.02).sum().backward()
    assert (x.grad != 0).any()
    assert not structure_map(x, 0.12).requires_grad


def test_the_mask_is_1_in_the_background_and_0_in_the_brain():
    x = torch.tensor([[0.0, 0.2, 0.05, -0.1]]).view(1, 1, 1, 4)
    assert background_mask(x).flatten().tolist() == [1, 0, 0, 1]
    assert background_mask(x, above=0.1).flatten().tolist() == [1, 0, 1, 1]


def test_enlarging_and_cutting_grows_a_brain_that_fills_the_image_by_half_of_p():
    x = torch.zeros(1, 1, 20, 20)
    x[..., 2:18, 2:18] = 1
    # Row j of the result is row j + 2 of 25, which is row floor((j + 2.5) * 20 / 25) of 20:
    # 2 for j = 0 and 17 for j = 19. So the brain reaches 2 pixels further at every side.
    assert (background_mask(x, grow=5) == 0).all()
    # p = 4: floor((j + 2.5) * 20 / 24) lies in 4..15 for j = 3..16, one pixel more than 4..15.
    x = torch.zeros(1, 1, 20, 20)
    x[..., 4:16, 4:16] = 1
    wanted = torch.ones(1, 1, 20, 20)
    wanted[..., 3:17, 3:17] = 0
    assert torch.equal(background_mask(x, grow=4), wanted)


def test_a_hole_is_brain_if_asked_for():
    x = torch.ones(1, 1, 7, 7)
    x[..., 3, 3] = 0
    assert background_mask(x)[..., 3, 3] == 1
    assert background_mask(x, filled=True)[..., 3, 3] == 0


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_filling_holes_is_what_scipy_does(share):
    shape = torch.rand(2, 1, 20, 23, generator=torch.Generator().manual_seed(1)) < share
    filled = fill_holes(shape.float())
    for one, found in zip(shape[:, 0].numpy(), filled[:, 0].numpy(), strict=True):
        np.testing.assert_array_equal(found, ndimage.binary_fill_holes(one))


def square_contour():
    """A contour one pixel wide round rows and columns 4 to 11 of 16."""
    f = torch.zeros(1, 1, 16, 16)
    f[..., 4:12, 4:12] = 1
    f[..., 5:11, 5:11] = 0
    return f


def brain_of_the_contour():
    """Its classical mask: blurring widens the contour by one pixel, rows and columns 3 to 12."""
    mask = torch.ones(1, 1, 16, 16)
    mask[..., 3:13, 3:13] = 0
    return mask


def test_a_closed_contour_is_accepted():
    assert torch.equal(contour_mask(square_contour()), brain_of_the_contour())
    assert contour_error(square_contour(), brain_of_the_contour()) == 0  # <= 0.048


def test_an_open_contour_is_rejected():
    f = square_contour()
    f[..., 4, 6:10] = 0
    # The blurred contour leaves 4 x 4 pixels (rows and columns 6 to 9) unfilled inside, and of
    # the gap columns 7 and 8 of rows 3 to 5: (16 + 6) / 256.
    error = contour_error(f, brain_of_the_contour())
    torch.testing.assert_close(error, torch.tensor([22 / 256]))
    assert error > 0.048
