"""Whole label maps: moved in millimetres, never torn, never given a structure they had not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scansmith.labels.edit import deform, elastic, flip, rotate, scale
from scansmith.labels.warp import affine_points, random_controls, resample_labels, spline_field

QUICK = settings(max_examples=15, deadline=None, derandomize=True)


def ball(shape, spacing_mm, radius_mm, index=1):
    """A ball in millimetres about the middle of a grid."""
    middle = (np.array(shape) - 1) / 2
    offset = affine_points(shape, spacing_mm, np.eye(len(shape)), middle)
    return ((offset**2).sum(axis=0) <= radius_mm**2).astype(np.uint8) * np.uint8(index)


def extents_mm(labels, spacing_mm):
    return [
        (np.ptp(along) + 1) * s for along, s in zip(np.nonzero(labels), spacing_mm, strict=True)
    ]


def test_flip_mirrors_along_the_named_axis_alone():
    labels = np.array([[1, 2, 3], [0, 0, 4]], dtype=np.uint8)
    assert flip(labels, [1]).tolist() == [[3, 2, 1], [4, 0, 0]]


def test_a_quarter_turn_of_a_slice_is_a_quarter_turn_of_the_array():
    labels = np.arange(25, dtype=np.uint8).reshape(5, 5)
    assert np.array_equal(rotate(labels, (1.0, 1.0), [90.0]), np.rot90(labels))


def test_a_bar_of_20_by_4_mm_stays_20_by_4_mm_when_turned_on_oblong_pixels():
    labels = np.zeros((24, 24), dtype=np.uint8)
    labels[10:14, 7:17] = 3  # 4 rows of 1 mm, 10 columns of 2 mm
    turned = rotate(labels, (1.0, 2.0), [90.0])
    assert extents_mm(turned, (1.0, 2.0)) == [20.0, 4.0]
    assert np.count_nonzero(turned == 3) == 40


def test_a_ball_in_mm_stays_a_ball_when_tilted_on_thick_slices():
    spacing_mm = (5.0, 1.0, 1.0)
    labels = ball((9, 41, 41), spacing_mm, 15.0)
    turned = rotate(labels, spacing_mm, [40.0, 20.0, 0.0])
    assert np.count_nonzero(turned) == pytest.approx(np.count_nonzero(labels), rel=0.06)
    assert 2 * np.count_nonzero(turned & labels) > 0.9 * (turned.sum() + labels.sum())


def test_scaling_by_two_doubles_each_length():
    labels = np.zeros((32, 32), dtype=np.uint8)
    labels[12:20, 14:18] = 1
    assert extents_mm(scale(labels, (1.0, 3.0), 2.0), (1.0, 3.0)) == [16.0, 24.0]


def test_resampling_on_the_own_grid_changes_nothing():
    labels = np.random.default_rng(0).integers(0, 5, (5, 6, 7)).astype(np.uint8)
    assert np.array_equal(resample_labels(labels, np.indices(labels.shape, dtype=float)), labels)


def test_a_point_between_voxels_gets_the_structure_with_the_largest_share():
    labels = np.array([[0, 1], [2, 1]], dtype=np.uint8)
    # At row 0.4, column 0.4 the shares are 0.36 of 0, 0.24 of 2 and 0.24 + 0.16 = 0.40 of 1.
    assert resample_labels(labels, np.array([[0.4], [0.4]])).tolist() == [1]


def test_control_points_that_agree_make_a_field_that_is_everywhere_the_same():
    controls = np.broadcast_to(np.array([2.0, -3.0])[:, None, None], (2, 5, 6))
    field = spline_field(controls, (7, 9))
    np.testing.assert_allclose(field[0], 2.0, rtol=1e-6)
    np.testing.assert_allclose(field[1], -3.0, rtol=1e-6)


@QUICK
@given(seed=st.integers(0, 10**6), dims=st.sampled_from([2, 3]), step=st.floats(6, 30))
def test_a_random_field_folds_nowhere_however_strong(seed, dims, step):
    shape, spacing_mm = ((24, 20), (1.0, 2.0)) if dims == 2 else ((10, 16, 14), (3.0, 1.0, 1.5))
    controls = random_controls(shape, spacing_mm, np.random.default_rng(seed), step, 100.0)
    places = affine_points(shape, spacing_mm, np.eye(dims), np.zeros(dims))
    places += spline_field(controls, shape)
    slopes = [np.gradient(p, *spacing_mm) for p in places]
    jacobian = np.moveaxis(np.array(slopes), (0, 1), (-2, -1))
    assert np.linalg.det(jacobian).min() > 0


@QUICK
@given(seed=st.integers(0, 10**6))
def test_bending_gives_no_structure_that_was_not_there(seed):
    labels = ball((8, 24, 24), (4.0, 1.5, 1.5), 12.0, 2)
    bent = elastic(labels, (4.0, 1.5, 1.5), np.random.default_rng(seed))
    assert set(np.unique(bent)) <= {0, 2}
    assert bent.dtype == np.uint8


def test_deforming_with_strength_zero_changes_nothing():
    labels = ball((6, 20, 22), (2.0, 1.0, 1.5), 8.0, 3)
    image = np.random.default_rng(1).normal(size=(2, *labels.shape)).astype(np.float32)
    same, (still,), _ = deform(labels, (2.0, 1.0, 1.5), np.random.default_rng(0), 0.0, [image])
    assert np.array_equal(same, labels)
    np.testing.assert_allclose(still, image, atol=1e-4)


def test_deforming_moves_labels_and_images_together():
    spacing_mm = (2.0, 1.0, 1.5)
    labels = ball((12, 40, 40), spacing_mm, 11.0)
    image = labels.astype(np.float32)
    moved, (picture, pictures), _ = deform(
        labels, spacing_mm, np.random.default_rng(5), 1.0, [image, np.stack([image, 2 * image])]
    )
    assert not np.array_equal(moved, labels)
    clear = abs(picture - 0.5) > 1e-3
    assert np.array_equal(picture[clear] > 0.5, moved[clear] == 1)
    np.testing.assert_allclose(pictures[1], 2 * picture, atol=1e-6)


def test_a_deformation_is_a_function_of_its_seed():
    labels = ball((30, 30), (1.0, 2.0), 12.0)
    first, _, record = deform(labels, (1.0, 2.0), np.random.default_rng(7))
    again, _, _ = deform(labels, (1.0, 2.0), np.random.default_rng(7))
    other, _, _ = deform(labels, (1.0, 2.0), np.random.default_rng(8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert json.loads(json.dumps(record)) == record


def test_a_deformation_keeps_what_patients_differ_by():
    labels = ball((24, 48, 48), (2.0, 1.0, 1.0), 18.0)
    for seed in range(5):
        moved, _, record = deform(labels, (2.0, 1.0, 1.0), np.random.default_rng(seed))
        assert (
            0.6 < np.count_nonzero(moved) / np.count_nonzero(labels) < 1.5
        )  # 0.9^3 to 1.1^3, bent
        assert abs(record["degrees"][0]) <= 10
        assert all(abs(tilt) <= 3 for tilt in record["degrees"][1:])


def test_thick_slices_stay_slices():
    labels = np.zeros((5, 32, 32), dtype=np.uint8)
    labels[2, 8:24, 8:24] = 1
    moved, _, record = deform(labels, (10.0, 1.5, 1.5), np.random.default_rng(0))
    assert np.flatnonzero(moved.any(axis=(1, 2))).tolist() == [2]
    assert record["axes_kept"] == [0]
