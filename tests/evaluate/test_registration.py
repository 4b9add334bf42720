"""Registration measures, by hand."""

import numpy as np
import pytest

from scansmith.evaluate.information import information
from scansmith.evaluate.registration import agreement, edges, moved_apart
from scansmith.scan import DataError


def test_edges_in_common_are_counted_by_dice_and_iou():
    one = np.array([[1, 1, 0, 0]], bool)
    other = np.array([[0, 1, 1, 0]], bool)
    # one pixel of three in common; 2 / (2 + 2)
    assert agreement(one, other) == {"dice": 0.5, "iou": pytest.approx(1 / 3)}
    assert np.isnan(agreement(one & False, other & False)["dice"])


def test_a_step_has_edges_at_its_two_pixels_whatever_its_sign():
    image = np.zeros((8, 8))
    image[:, 4:] = 0.5
    wanted = np.zeros((8, 8), bool)
    wanted[:, 3:5] = True
    np.testing.assert_array_equal(edges(image), wanted)
    np.testing.assert_array_equal(edges(0.9 - image), wanted)


def test_information_of_one_bit_is_log_two_and_of_independent_images_nothing():
    one = np.array([[0.0, 0.0], [1.0, 1.0]])
    mask = np.ones((2, 2), bool)
    same = information(one, 1 - one, mask)  # inverted contrast tells as much
    assert same == {"mi": pytest.approx(np.log(2)), "nmi": pytest.approx(1.0)}
    apart = information(one, one.T, mask)
    assert apart["mi"] == pytest.approx(0.0)
    assert information(one * 0, one, mask)["nmi"] == 0


def test_only_the_mask_is_looked_at():
    one = np.array([[0.0, 1.0, 0.3]])
    other = np.array([[0.0, 1.0, 0.8]])
    mask = np.array([[True, True, False]])
    assert information(one, other, mask)["mi"] == pytest.approx(np.log(2))
    with pytest.raises(DataError, match="0 pixels"):
        information(one, other, mask & False)


def test_moving_apart_cuts_to_what_both_show():
    image = np.arange(12).reshape(3, 4)
    one, other = moved_apart(image, image, axis=1, pixels=1)
    np.testing.assert_array_equal(one, image[:, 1:])
    np.testing.assert_array_equal(other, image[:, :3])
    assert moved_apart(image, image, 0, 0)[0] is image
