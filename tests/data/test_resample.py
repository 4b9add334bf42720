import numpy as np
import pytest

from scansmith.data.resample import (
    Axis,
    axis_codes,
    box_round,
    fit_axes,
    from_standard,
    moved_affine,
    resample_image,
    resample_nearest,
    standard_affine,
    to_standard,
)
from scansmith.recipe import Intensity, Recipe


def a_recipe(**changes):
    return Recipe(method="test", intensity=Intensity(kind="zscore"), **changes)


def world(affine, index):
    return (affine @ [*index, 1])[:3]


def marker(shape, index):
    array = np.zeros(shape, dtype=np.float32)
    array[index] = 1
    return array


AXES = {
    "RAS": np.diag([2.0, 1.0, 5.0, 1.0]),
    "LPS": np.diag([-2.0, -1.0, 5.0, 1.0]),
    "PIR": np.array([[0, 0, 3.0, 7], [-1, 0, 0, 8], [0, -2, 0, 9], [0, 0, 0, 1.0]]),
    "ASL": np.array([[0, 0, -3.0, 7], [1, 0, 0, 8], [0, 2, 0, 9], [0, 0, 0, 1.0]]),
}


@pytest.mark.parametrize("codes", AXES)
def test_a_turned_scan_has_its_marker_at_the_same_millimetres(codes):
    affine = AXES[codes]
    assert axis_codes(affine) == codes
    image = marker((4, 5, 6), (1, 3, 2))
    turned = to_standard(image, affine)
    d, h, w = np.argwhere(turned)[0]
    turned_affine = standard_affine(affine, image.shape)
    np.testing.assert_allclose(world(turned_affine, (w, h, d)), world(affine, (1, 3, 2)))
    assert axis_codes(turned_affine) == "LPS"


@pytest.mark.parametrize("codes", AXES)
def test_turning_back_gives_the_same_array_and_affine(codes):
    affine = AXES[codes]
    image = np.random.default_rng(0).normal(size=(2, 4, 5, 6))
    turned = to_standard(image, affine)
    back, back_affine = from_standard(turned, standard_affine(affine, (4, 5, 6)), codes)
    np.testing.assert_array_equal(back, image)
    np.testing.assert_allclose(back_affine, affine)


def test_the_first_slice_is_the_lowest_and_its_first_pixel_right_and_in_front():
    # RAS: i to the right, j to the front, k to the head; the corner asked for is (max, max, 0)
    turned = to_standard(marker((3, 4, 5), (2, 3, 0)), AXES["RAS"])
    assert np.argwhere(turned)[0].tolist() == [0, 0, 0]


def test_a_box_has_its_margin_and_the_aspect_of_the_sample():
    where = np.zeros((9, 40, 50), dtype=bool)
    where[3:5, 20:24, 10:30] = True
    # Margin 4 mm at 5, 1 and 2 mm: 1, 4 and 2 voxels, so 2..6, 16..28 and 8..32: 12 and 48 mm.
    # A square sample wants 48 mm both ways: 36 rows more, 18 on each side, and the scan ends at 40.
    square = a_recipe(dims=2, size=(16, 16), margin_mm=4.0)
    box = box_round(where, (5.0, 1.0, 2.0), square)
    assert [(side.start, side.stop) for side in box] == [(2, 6), (0, 40), (8, 32)]
    # Half as high as wide: 24 mm, 6 rows more on each side.
    flat = a_recipe(dims=2, size=(16, 32), margin_mm=4.0)
    assert box_round(where, (5.0, 1.0, 2.0), flat)[1] == slice(10, 34)
    # In 3D the depth is widened too: 20 mm become 48, so 10 slices of 5 mm, and there are 9.
    cube = a_recipe(dims=3, size=(16, 16, 16), margin_mm=4.0)
    assert box_round(where, (5.0, 1.0, 2.0), cube)[0] == slice(0, 9)


def test_a_crop_at_the_native_grid_moves_whole_pixels():
    recipe = a_recipe(dims=3, size=(4, 5, 6), fit="crop")
    axes = fit_axes((7, 5, 3), (5.0, 1.0, 2.0), recipe)
    assert [(a.step, a.first) for a in axes] == [(1, 1), (1, 0), (1, -2)]
    image = np.arange(105, dtype=np.float32).reshape(1, 7, 5, 3)
    moved = resample_image(image, axes, np.array([-9.0]))
    np.testing.assert_array_equal(moved[:, :, :, 2:5], image[:, 1:5])
    assert (moved[..., :2] == -9).all()
    assert (moved[..., 5] == -9).all()


def test_a_2d_recipe_leaves_the_slices_alone():
    axes = fit_axes((7, 20, 30), (5.0, 1.0, 2.0), a_recipe(dims=2, size=(10, 10)))
    assert axes[0] == Axis(7, 7, 1.0, 0.0)


def test_resizing_pads_to_the_aspect_in_millimetres():
    # 20 x 1 mm and 30 x 2 mm: 60 mm onto 10 pixels is 6 mm, so H is 10 x 6 mm of which 20 are scan
    _, height, width = fit_axes((7, 20, 30), (5.0, 1.0, 2.0), a_recipe(dims=2, size=(10, 10)))
    assert (height.step, width.step) == (6, 3)
    # centres agree: pixel 4.5 of the new grid lies at 9.5 and 14.5 of the old ones
    assert height.first + 4.5 * height.step == 9.5
    assert width.first + 4.5 * width.step == 14.5
    assert height.inside.tolist() == [False] * 3 + [True] * 4 + [False] * 3


def test_a_crop_takes_the_spacing_that_is_asked_for():
    recipe = a_recipe(dims=3, size=(4, 4, 4), fit="crop", spacing_mm=(5.0, 2.0, 2.0))
    axes = fit_axes((7, 20, 30), (5.0, 1.0, 4.0), recipe)
    assert [axis.step for axis in axes] == [1, 2, 0.5]


def test_shrinking_looks_at_every_pixel():
    # the triangle is as wide as the new step: pixel 0 sees old 0, 1, 2 with 3 : 3 : 1
    axis = Axis(4, 2, 2.0, 0.5)
    row = np.array([0, 0, 4, 4], dtype=np.float32).reshape(1, 1, 1, 4)
    keep = Axis(1, 1, 1.0, 0.0)
    shrunk = resample_image(row, (keep, keep, axis), np.zeros(1))
    np.testing.assert_allclose(shrunk.ravel(), [4 / 7, 24 / 7], rtol=1e-6)


def test_enlarging_is_linear_between_pixels():
    axis = Axis(2, 4, 0.5, -0.25)
    keep = Axis(1, 1, 1.0, 0.0)
    row = np.array([0, 8], dtype=np.float32).reshape(1, 1, 1, 2)
    grown = resample_image(row, (keep, keep, axis), np.zeros(1))
    assert grown.ravel().tolist() == [0, 2, 6, 8]  # the border keeps its brightness


@pytest.mark.parametrize("size", [(6, 6), (9, 13), (40, 40)])
def test_a_constant_image_stays_constant_inside(size):
    image = np.full((2, 3, 12, 17), 5, dtype=np.float32)
    axes = fit_axes((3, 12, 17), (5.0, 1.5, 0.8), a_recipe(dims=2, size=size))
    moved = resample_image(image, axes, np.array([-1.0, -2.0]))
    for channel, pad in zip(moved, (-1.0, -2.0), strict=True):
        inside = channel[:, axes[1].inside][:, :, axes[2].inside]
        np.testing.assert_allclose(inside, 5, rtol=1e-6)
        assert set(np.unique(np.round(channel, 4))) <= {5.0, pad}


def test_labels_keep_their_values():
    labels = np.random.default_rng(0).choice([0, 3, 7], (3, 12, 17)).astype(np.uint8)
    axes = fit_axes(labels.shape, (5.0, 1.5, 0.8), a_recipe(dims=2, size=(9, 13)))
    moved = resample_nearest(labels, axes)
    assert moved.dtype == np.uint8
    assert moved.shape == (3, 9, 13)
    assert set(np.unique(moved)) == {0, 3, 7}


def test_image_and_labels_stay_on_each_other():
    image = np.zeros((1, 2, 40, 60), dtype=np.float32)
    image[..., 10:30, 20:50] = 100
    labels = (image[0] > 50).astype(np.uint8)
    axes = fit_axes(labels.shape, (5.0, 1.0, 1.0), a_recipe(dims=2, size=(30, 30)))
    grey, mask = resample_image(image, axes, np.zeros(1))[0], resample_nearest(labels, axes)
    apart = (grey > 50) != (mask == 1)
    assert apart.mean() < 0.02  # a row at most, where the border falls between pixels


def test_the_new_affine_puts_new_pixels_where_they_are():
    affine = np.array([[-2, 0.1, 0, 5], [0.2, -1, 0, 6], [0, 0, 5, 7], [0, 0, 0, 1.0]])
    axes = (Axis(7, 4, 1.0, 1.0), Axis(20, 10, 2.5, 0.25), Axis(30, 10, 3.0, 1.0))
    moved = moved_affine(affine, axes)
    # new (w, h, d) = (2, 4, 3) is old (1 + 2 * 3, 0.25 + 4 * 2.5, 1 + 3)
    np.testing.assert_allclose(world(moved, (2, 4, 3)), world(affine, (7, 10.25, 4)))
