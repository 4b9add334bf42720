import numpy as np
import pytest

from scansmith.evaluate.fine_texture import epsilon_squared, fine_texture


def square(side=40, at=4):
    mask = np.zeros((side, side), bool)
    mask[at:-at, at:-at] = True
    return mask


def test_epsilon_squared_by_hand():
    # Groups (0, 2) and (5, 7): means 1 and 6, within 4 x 1 = 4, total about 3.5:
    # 3.5^2 + 1.5^2 + 1.5^2 + 3.5^2 = 29, chance (2 - 1) 4 / (4 - 2) = 2.
    found = epsilon_squared(np.array([0.0, 2.0, 5.0, 7.0]), np.array([0, 0, 1, 1]))
    assert found == pytest.approx((29 - 4 - 2) / 29)


def test_what_repeats_every_four_pixels_is_all_mesh():
    tile = np.random.default_rng(0).normal(size=(4, 4))
    found = fine_texture(np.tile(tile, (10, 10)), square())
    assert found["mesh"] == pytest.approx(1.0, abs=1e-3)  # the smooth part bends at the rim


def test_noise_has_no_mesh_on_average():
    rng = np.random.default_rng(1)
    found = [fine_texture(rng.normal(size=(40, 40)), square())["mesh"] for _ in range(200)]
    assert abs(np.mean(found)) < 0.01
    assert min(found) < 0  # corrected for chance, not cut off at 0


def test_roughness_is_what_the_smoothed_image_leaves():
    # Deep inside, a Gaussian of 2 pixels leaves exp(-2^2 pi^2 / 2) of a checkerboard, per axis.
    board = np.indices((60, 60)).sum(axis=0) % 2 * 2.0 - 1
    assert fine_texture(board, square(60))["sd"] == pytest.approx(1.0, abs=1e-2)
    assert fine_texture(board, square(60), period=2)["mesh"] == pytest.approx(1.0, abs=1e-2)
    assert fine_texture(board, square(60), period=3)["mesh"] == pytest.approx(0.0, abs=1e-2)


def test_what_lies_outside_the_mask_does_not_count():
    image, mask = np.random.default_rng(2).normal(size=(40, 40)), square()
    assert fine_texture(image, mask) == fine_texture(np.where(mask, image, 1000.0), mask)
    plain = fine_texture(np.where(mask, 7.0, 1000.0), mask)
    assert plain["sd"] == pytest.approx(0.0, abs=1e-12)


def test_a_small_lesion_has_too_few_pixels_to_tell():
    mask = np.zeros((40, 40), bool)
    mask[10:28, 10:28] = True  # 18 x 18, less a rim of 3: 12 x 12 = 144 < 150
    assert all(np.isnan(v) for v in fine_texture(np.zeros((40, 40)), mask).values())
    mask[10:29, 10:29] = True  # 13 x 13 = 169
    assert fine_texture(np.eye(40), mask)["sd"] > 0
