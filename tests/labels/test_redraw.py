"""Redrawn lesion labels: the four operations by hand, and no patient's shape handed on."""

import json

import numpy as np
import pytest

from scansmith.labels import redraw as module
from scansmith.labels.bank import LesionBank, cut_lesions
from scansmith.labels.redraw import keeps_a_shape, redraw
from scansmith.scan import DataError


class Fixed:
    """A generator that hands out the numbers it was given."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def integers(self, low, high=None, size=None):
        return np.array([self.numbers.pop(0) for _ in range(size)]) if size else self.numbers.pop(0)


def lesion_map():
    """An L of 14 pixels with a core of another class, and an organ round it."""
    labels = np.full((32, 24), 3, np.uint8)
    labels[10:15, 8:10] = 1
    labels[13:15, 10:12] = 2
    return labels


def test_a_quarter_turn_moves_a_pixel_about_the_middle_of_the_grid():
    labels = np.zeros((5, 5), np.uint8)
    labels[2, 4] = 1  # two to the right of the middle (2, 2)
    turned, record = module._rotate(labels, (1.0, 1.0), Fixed(90))
    assert record == {"kind": "rotate", "degrees": 90}
    assert turned.sum() == 1
    assert turned[0, 2] + turned[4, 2] == 1  # now two above or below it


def test_a_turn_keeps_lengths_in_millimetres_on_flat_pixels():
    labels = np.zeros((21, 21), np.uint8)
    labels[10, 10:15] = 1  # 4 steps of 1 mm to the right of the middle
    turned, _ = module._rotate(labels, (2.0, 1.0), Fixed(90))
    rows = np.flatnonzero(turned.any(axis=1))
    assert abs(rows - 10).max() == 2  # 4 mm are 2 steps of 2 mm


def test_mirroring_and_shifting_move_the_map_and_lose_what_leaves_it():
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.testing.assert_array_equal(module._flip(labels, (1, 1), Fixed(1))[0], labels[:, ::-1])
    np.testing.assert_array_equal(module._flip(labels, (1, 1), Fixed(0))[0], labels[::-1])
    right, record = module._shift(labels, (1, 1), Fixed(2, 3))
    np.testing.assert_array_equal(right, [[0, 0, 0, 1], [0, 0, 4, 5], [0, 0, 8, 9]])
    assert record == {"kind": "shift", "direction": "right", "pixels": 2}
    up, _ = module._shift(labels, (1, 1), Fixed(2, 0))
    np.testing.assert_array_equal(up, [[8, 9, 10, 11], [0] * 4, [0] * 4])


def test_a_shrunk_map_is_pasted_at_the_centre():
    labels = np.ones((12, 10), np.uint8)
    small, _ = module._shrink(labels, (1, 1), Fixed(4, 2))
    wanted = np.zeros((12, 10), np.uint8)
    wanted[2:10, 1:9] = 1  # 12 - 4 rows from 4 // 2, 10 - 2 columns from 2 // 2
    np.testing.assert_array_equal(small, wanted)


def test_redrawn_lesions_never_have_a_patients_shape_and_nothing_else_stays():
    labels = lesion_map()
    old = np.where(labels == 3, 0, labels)
    bank = LesionBank(cut_lesions(old, (1, 2), (1.0, 1.0), ""))
    kinds = set()
    for seed in range(60):
        new, record = redraw(labels, (1.0, 1.0), lesion=(1, 2), rng=np.random.default_rng(seed))
        assert new.dtype == labels.dtype
        assert new.shape == labels.shape
        assert set(np.unique(new)) <= {0, 1, 2}
        assert new.any()
        assert not keeps_a_shape(new, (1, 2), bank)
        kinds |= {step["kind"] for step in record["operations"]}
        assert len(record["operations"]) == 2
        json.dumps(record)
    assert kinds == {"rotate", "flip", "shift", "shrink"}


def test_a_shifted_and_mirrored_lesion_counts_as_the_old_shape():
    old = np.where(lesion_map() == 3, 0, lesion_map())
    bank = LesionBank(cut_lesions(old, (1, 2), (1.0, 1.0), ""))
    assert keeps_a_shape(np.roll(old, 3, 0)[:, ::-1], (1, 2), bank)
    tiny = np.zeros_like(old)
    tiny[4:6, 4:6] = 1
    own = LesionBank(cut_lesions(tiny, (1, 2), (1.0, 1.0), ""))
    assert not keeps_a_shape(tiny, (1, 2), own)  # four pixels are nobody's


def test_redrawing_repeats_under_a_seed():
    one, two = (
        redraw(lesion_map(), (1, 1), lesion=(1, 2), rng=np.random.default_rng(5)) for _ in range(2)
    )
    np.testing.assert_array_equal(one[0], two[0])
    assert one[1] == two[1]


def test_maps_that_cannot_be_redrawn_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="no lesion"):
        redraw(np.full((8, 8), 3, np.uint8), (1, 1), lesion=(1, 2), rng=rng)
    with pytest.raises(DataError, match="3 axes"):
        redraw(np.ones((2, 8, 8), np.uint8), (1, 1, 1), lesion=(1,), rng=rng)
    # Turned, moved, mirrored: a lesion that fills the map is the same or is cut; no operation
    # at all changes nothing.
    with pytest.raises(DataError, match="old shape"):
        redraw(lesion_map(), (1, 1), lesion=(1, 2), rng=rng, operations=0)
