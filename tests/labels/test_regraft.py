"""Lesions changed where they are: the rest of the map, the rules, spacing, chance."""

import json
import math

import numpy as np
import pytest

from scansmith.labels.bank import cut_lesions, same_shape
from scansmith.labels.regraft import Change, bend_sd_mm, changed_lesion, heal, regraft
from scansmith.scan import DataError

SPACING = (3.0, 1.0, 1.5)
STILL = Change(mirrored=False, degrees=(0.0, 0.0, 0.0), scale=1.0, sigma_mm=6.0, bend_mm=0.0)


def brain(shape=(14, 40, 30), spacing=SPACING):
    """0 outside, 1 brain, 2 oedema round 3 core, left of the middle; an egg, so mirroring shows."""
    index = np.stack(np.indices(shape)).astype(float)
    mm = index * np.array(spacing).reshape(-1, *[1] * len(shape))
    centre = (np.array(shape) - 1) / 2 * spacing
    radii = centre * 0.95
    labels = np.zeros(shape, dtype=np.uint8)
    along = (mm - centre.reshape(-1, *[1] * len(shape))) / radii.reshape(-1, *[1] * len(shape))
    labels[(along**2).sum(axis=0) <= 1] = 1
    seat = centre.copy()
    seat[-1] -= 8
    away = mm - seat.reshape(-1, *[1] * len(shape))
    away[-2] *= np.where(away[-2] > 0, 0.7, 1.2)
    distance = np.sqrt((away**2).sum(axis=0))
    labels[distance <= 9] = 2
    labels[distance <= 5] = 3
    return labels


def edited(labels, seed=0, **options):
    spacing = options.pop("spacing", SPACING)
    chosen = {"lesion": (2, 3), "organ": (1,)} | options
    return regraft(labels, spacing, rng=np.random.default_rng(seed), **chosen)


@pytest.mark.parametrize("seed", range(6))
def test_only_the_lesion_changes_and_only_organ_takes_its_place(seed):
    labels = brain()
    result, record = edited(labels, seed)
    assert result.dtype == labels.dtype
    assert set(np.unique(result)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(result == 0, labels == 0)
    assert ((result == 1) | (result == labels) | np.isin(result, (2, 3))).all()
    assert record["inside"] >= 0.8
    assert record["voxels"] == [np.isin(labels, (2, 3)).sum(), np.isin(result, (2, 3)).sum()]
    json.dumps(record)


def test_numbers_of_a_change_lie_in_their_ranges_and_vary():
    rng = np.random.default_rng(0)
    changes = [Change.draw(rng, 3) for _ in range(400)]
    angles = np.array([c.degrees for c in changes])
    assert angles.shape == (400, 3)
    assert (np.abs(angles) <= 20).all()
    assert (np.abs(angles).max(axis=0) > 18).all()
    scales = [c.scale for c in changes]
    assert 0.8 <= min(scales) < 0.82
    assert 1.18 < max(scales) <= 1.2
    assert 5 <= min(c.sigma_mm for c in changes) < 5.2
    assert 7.8 < max(c.sigma_mm for c in changes) <= 8
    assert 160 < sum(c.mirrored for c in changes) < 240  # 200 expected, sd 10
    assert len(Change.draw(rng, 2).degrees) == 1


def test_the_bend_is_that_of_smoothed_noise_worked_by_hand():
    # Noise in -1..1 has sd 1/sqrt(3) = 0.57735. A Gaussian of sd 5 voxels keeps of its variance
    # 1 / (2 sqrt(pi) 5) = 1 / 17.7245 an axis, so of its sd in 3D 17.7245 ** -1.5 = 0.0134009.
    # Times a magnitude of 150: 150 x 0.57735 x 0.0134009 = 1.16055 mm.
    assert bend_sd_mm(5.0, 150.0) == pytest.approx(1.16055, rel=1e-4)
    # sd 8, magnitude 50: 50 x 0.57735 x 28.3593 ** -1.5 = 50 x 0.57735 x 0.00662153 = 0.19115 mm.
    assert bend_sd_mm(8.0, 50.0) == pytest.approx(0.19115, rel=1e-4)


def test_the_field_drawn_has_the_sd_that_is_asked_for():
    from scansmith.labels.regraft import _bend

    change = Change(False, (0.0,) * 3, 1.0, sigma_mm=5.0, bend_mm=0.5)
    field = _bend((40, 60, 60), (2.0, 1.0, 1.0), change, np.random.default_rng(0))
    assert field.std() == pytest.approx(0.5, rel=0.05)


def test_without_a_change_the_lesion_stays_where_it_was():
    labels = brain()
    alone = changed_lesion(labels, SPACING, (2, 3), (1,), STILL, np.random.default_rng(0))
    np.testing.assert_array_equal(alone, np.where(labels > 1, labels, 0))


def test_mirroring_is_about_the_middle_of_the_organ_not_of_the_grid():
    labels = np.ones((1, 3, 10), dtype=np.uint8)
    labels[..., 7:] = 0  # the organ's columns are 0..6, their middle is 3
    labels[0, 1, 1:3] = 2
    flipped = Change(True, (0.0,) * 3, 1.0, 6.0, 0.0)
    alone = changed_lesion(labels, (1, 1, 1), (2,), (1,), flipped, np.random.default_rng(0))
    # Columns 1 and 2 go to 6 - 1 = 5 and 6 - 2 = 4.
    assert [tuple(int(i) for i in p) for p in np.argwhere(alone == 2)] == [(0, 1, 4), (0, 1, 5)]


def test_turning_and_scaling_are_in_millimetres_on_thick_slices():
    spacing = (4.0, 1.0, 1.0)
    labels = np.ones((17, 61, 61), dtype=np.uint8)
    index = np.stack(np.indices(labels.shape)) - np.array([8, 30, 30]).reshape(3, 1, 1, 1)
    millimetres = index * np.array(spacing).reshape(3, 1, 1, 1)
    labels[np.sqrt((millimetres**2).sum(axis=0)) <= 16] = 2  # a ball
    turned = Change(False, (20.0, -15.0, 10.0), 1.2, 6.0, 0.0)
    alone = changed_lesion(labels, spacing, (2,), (1,), turned, np.random.default_rng(0))
    reach = [along.max() - along.min() + 1 for along in np.nonzero(alone)]
    # A ball stays a ball however it is turned; its radius grows to 1.2 x 16 = 19.2 mm: 39 voxels
    # of 1 mm, 9 or 10 slices of 4 mm (2 x 19.2 / 4 = 9.6).
    assert reach[1] in (38, 39, 40)
    assert reach[2] in (38, 39, 40)
    assert reach[0] in (9, 10, 11)
    assert (alone > 0).sum() * 4 == pytest.approx(4 / 3 * math.pi * 19.2**3, rel=0.05)


def test_what_was_lesion_becomes_the_nearest_of_several_organs():
    labels = np.array([[1, 1, 3, 3, 3, 2, 2, 2]], dtype=np.uint8)
    healed = heal(labels, (1.0, 1.0), (3,), (1, 2))
    # Column 2 is one step from 1, column 4 one step from 2; column 3 is two steps from both.
    assert healed[0, [0, 1, 2, 4, 5, 6, 7]].tolist() == [1, 1, 1, 2, 2, 2, 2]
    assert healed[0, 3] in (1, 2)
    # Columns 9 mm, rows 1 mm apart: two rows down is nearer than one column to the left.
    wide = np.array([[1, 3], [3, 3], [3, 2]], dtype=np.uint8)
    assert heal(wide, (1.0, 9.0), (3,), (1, 2)).tolist() == [[1, 2], [1, 2], [1, 2]]


def test_the_same_chance_gives_the_same_map_and_another_another():
    labels = brain()
    np.testing.assert_array_equal(edited(labels, 1)[0], edited(labels, 1)[0])
    assert (edited(labels, 1)[0] != edited(labels, 2)[0]).any()


@pytest.mark.parametrize("seed", range(4))
def test_the_shape_of_a_lesion_is_never_the_patients_own(seed):
    labels = brain()
    result, _ = edited(labels, seed)
    own = cut_lesions(labels, (2, 3), SPACING, "")
    made = cut_lesions(result, (2, 3), SPACING, "")
    assert not any(same_shape(a.labels, b.labels) for a in own for b in made)


def test_a_change_that_changes_nothing_is_drawn_again(monkeypatch):
    labels = brain()
    drawn = iter(
        [STILL, Change(True, (0.0,) * 3, 1.0, 6.0, 0.0), Change(False, (9.0,) * 3, 1.1, 6.0, 0.3)]
    )
    monkeypatch.setattr(Change, "draw", staticmethod(lambda rng, dims: next(drawn)))
    result, record = edited(labels)
    assert record["attempts"] == 3  # neither the same nor its mirror image will do
    assert (result != labels).any()


def test_a_lesion_that_would_leave_the_organ_is_refused(monkeypatch):
    labels = np.zeros((40, 40), dtype=np.uint8)
    labels[18:21, 5:35] = 2
    labels[21, 5:35] = 1
    turned = Change(False, (20.0,), 1.0, 6.0, 0.0)
    monkeypatch.setattr(Change, "draw", staticmethod(lambda rng, dims: turned))
    # Of a strip 3 high and 30 long that is turned by 20 degrees, about (3 + 1) / sin 20 = 11.7 of
    # its length stay in the strip 4 high that lesion and organ fill: 39 %.
    with pytest.raises(DataError, match=r"at most (3\d|4\d)% lay in the organ, expected 80%"):
        edited(labels, lesion=(2,), spacing=(1.0, 1.0))


@pytest.mark.parametrize("labels", [np.ones((6, 6), np.uint8), np.full((6, 6), 2, np.uint8)])
def test_a_map_without_lesion_or_without_organ_is_refused(labels):
    with pytest.raises(DataError, match="expected some of each"):
        regraft(labels, (1.0, 1.0), lesion=(2,), organ=(1,), rng=np.random.default_rng(0))


def test_a_slice_is_changed_like_a_volume():
    labels = brain()[7]
    result, record = regraft(
        labels, SPACING[1:], lesion=(2, 3), organ=(1,), rng=np.random.default_rng(0)
    )
    assert result.shape == labels.shape
    assert set(np.unique(result)) == {0, 1, 2, 3}
    assert len(record["degrees"]) == 1


def test_a_lesion_cut_by_the_end_of_the_grid_stays_cut_by_it():
    labels = np.ones((8, 24, 24), dtype=np.uint8)
    labels[:, 16:, 6:16] = 2
    smaller = Change(False, (0.0,) * 3, 0.8, 6.0, 0.0)
    alone = changed_lesion(labels, (1.0,) * 3, (2,), (1,), smaller, np.random.default_rng(0))
    assert (alone[4, -1] == 2).any()
    assert (alone[-1] == 2).any()
