"""Copy-paste of lesions: distances and regions by hand, whose lesion lies where."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from scansmith.scan import DataError, SettingsError
from scansmith.studies.carve_mix import (
    CarveMix,
    Sample,
    carved,
    pasted,
    shifted,
    signed_distance_mm,
)
from scansmith.studies.counterparts import Case

LIVER, TUMOUR = 1, 2


def test_the_distance_has_a_sign_and_the_steps_of_the_axes():
    mask = np.array([[0, 0, 1, 1, 1, 0]], bool)
    expected = [[4, 2, -2, -4, -2, 2]]
    np.testing.assert_array_equal(signed_distance_mm(mask, (1.0, 2.0)), expected)
    column = np.zeros((5, 1, 1), bool)
    column[2] = True
    found = signed_distance_mm(column, (3.0, 1.0, 1.0))[:, 0, 0]
    np.testing.assert_array_equal(found, [6, 3, -3, 3, 6])


def test_half_of_the_regions_are_lesions_with_a_rim_and_none_misses_their_middle():
    mask = np.zeros((1, 15), bool)
    mask[0, 5:10] = True
    # Inside -1 -2 -3 -2 -1. A rim U(0, 3) gives 5, 7 or 9 pixels, each 1/3; U(-1.5, 0) gives 3
    # (below -1, 1/3) or 5 (2/3). Half of each: 3: 1/6, 5: 1/6 + 1/3, 7: 1/6, 9: 1/6.
    draws = 1200
    regions = [carved(mask, np.random.default_rng(n)) for n in range(draws)]
    shares = {width: n / draws for width, n in Counter(int(r.sum()) for r in regions).items()}
    assert shares == pytest.approx({3: 1 / 6, 5: 1 / 2, 7: 1 / 6, 9: 1 / 6}, abs=0.05)
    assert all(region[0, 7] for region in regions)
    assert all((region == region[:, ::-1]).all() for region in regions)


def test_a_lesion_of_one_voxel_and_one_that_fills_the_image_are_carved_too():
    single = np.zeros((3, 3, 3), bool)
    single[1, 1, 1] = True
    for seed in range(20):
        np.testing.assert_array_equal(carved(single, np.random.default_rng(seed)), single)
    assert carved(np.ones((2, 2), bool), np.random.default_rng(0)).all()


def test_image_and_labels_change_in_the_region_and_nowhere_else():
    target = Sample(np.full((2, 2, 3), 5.0, np.float32), np.array([[0, 1, 2], [0, 0, 0]], np.uint8))
    image = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    donor = Sample(image, np.array([[0, 2, 1], [0, 2, 0]], np.uint8))
    region = np.array([[0, 1, 1], [0, 0, 0]], bool)
    made = pasted(target, donor, region)
    np.testing.assert_array_equal(made.image[0], [[5, 1, 2], [5, 5, 5]])
    np.testing.assert_array_equal(made.image[1], [[5, 7, 8], [5, 5, 5]])
    np.testing.assert_array_equal(made.labels, [[0, 2, 1], [0, 0, 0]])
    assert made.image.dtype == np.float32
    assert made.labels.dtype == np.uint8


def test_a_shift_moves_by_whole_voxels_and_brings_in_nothing():
    array = np.arange(1, 7).reshape(2, 3)
    np.testing.assert_array_equal(shifted(array, (0, 1)), [[0, 1, 2], [0, 4, 5]])
    np.testing.assert_array_equal(shifted(array, (-1, 0)), [[4, 5, 6], [0, 0, 0]])
    np.testing.assert_array_equal(shifted(array, (0, -2)), [[3, 0, 0], [6, 0, 0]])
    np.testing.assert_array_equal(shifted(array[None], (1, 1))[0], [[0, 0, 0], [0, 1, 2]])
    assert not shifted(array, (0, 4)).any()
    assert not shifted(array, (-5, 0)).any()


def patient(name, value, lesion_at=None, slices=1, size=(16, 16), organ_at=(2, 2)):
    """A square organ, perhaps with a lesion of 3 x 3 at a place in it; all pixels `value`."""
    labels = np.zeros((slices, *size), np.uint8)
    y, x = organ_at
    labels[:, y : y + 10, x : x + 10] = LIVER
    if lesion_at is not None:
        y, x = lesion_at
        labels[:, y : y + 3, x : x + 3] = TUMOUR
    image = np.full((slices, 1, *size), value, np.float32)
    return Case(f"{name}_scan", name, image, labels, tuple(range(10, 10 + slices)))


def test_everybody_gets_lesions_of_others_and_never_of_the_same_patient():
    real = [patient("ann", 1, (4, 4)), patient("bob", 2, (6, 8)), patient("eve", 3)]
    again = Case("ann_again", "ann", real[0].image, real[0].labels, (7,))
    made = CarveMix((TUMOUR,)).cases([*real, again], multiple=6, seed=0)
    assert [case.case for case in made[:4]] == ["ann_scan", "bob_scan", "eve_scan", "ann_again"]
    assert len(made) == 24
    values = {"ann": 1, "bob": 2, "eve": 3}
    seen = {name: set() for name in values}
    for case in made:
        assert case.image.shape == real[0].image.shape
        other = case.image[0, 0] != values[case.patient]
        assert (case.labels[0][other] > 0).any()
        seen[case.patient] |= set(np.unique(case.image[0, 0][other]))
        # At its place: the middle of the donor's lesion.
        donor = np.unique(case.image[0, 0][other])
        middle = {1: (5, 5), 2: (7, 9)}[int(donor[0])]
        assert case.labels[0][middle] == TUMOUR
    assert seen == {"ann": {2}, "bob": {1}, "eve": {1, 2}}  # eve has no lesion to give


def test_the_same_seed_makes_the_same_cases_and_copies_differ():
    real = [patient("ann", 1, (4, 4)), patient("bob", 2, (6, 8))]
    real += [patient(f"p{n}", 3 + n, (3 + n, 5)) for n in range(4)]
    mix = CarveMix((TUMOUR,))
    one, same, other = (mix.cases(real, 2, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one, same, strict=True))
    assert any(not np.array_equal(a.image, b.image) for a, b in zip(one, other, strict=True))
    assert any(not np.array_equal(a.image, b.image) for a, b in zip(one[:6], one[6:], strict=True))
    assert mix.cases(real, 1, 0)[3].image.tolist() == one[3].image.tolist()
    later = mix.cases(real, 1, 0, after=1)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(later, one[6:], strict=True))


def test_with_an_organ_the_donor_is_moved_until_the_organs_meet():
    target = patient("ann", 1, size=(20, 20), organ_at=(8, 6))
    donor = patient("bob", 2, (4, 4), size=(20, 20))  # organ at (2, 2): 6 down, 4 right
    (made,) = CarveMix((TUMOUR,), organ=(LIVER,)).cases([target, donor], 1, 0)[:1]
    assert made.patient == "ann"
    y, x = np.nonzero(made.labels[0] == TUMOUR)
    assert (y.mean(), x.mean()) == (5 + 6, 5 + 4)
    assert (made.image[0, 0][made.labels[0] == TUMOUR] == 2).all()


def test_nothing_is_pasted_outside_the_organ():
    target = patient("ann", 1, size=(20, 20), organ_at=(8, 6))
    donor = patient("bob", 2, (2, 2), size=(20, 20))  # in the organ's corner: rims reach out of it
    for seed in range(10):
        for case in CarveMix((TUMOUR,), (LIVER,)).cases([target, donor], 1, seed):
            if case.patient == "ann":
                outside = target.labels[0] == 0
                assert (case.labels[0][outside] == 0).all()
                assert (case.image[0, 0][outside] == 1).all()


def test_a_slice_takes_the_donors_slice_that_lies_nearest():
    target = patient("ann", 0, slices=3)
    labels = patient("bob", 0, (4, 4), slices=5).labels
    labels[2] = LIVER * (labels[2] > 0)  # slices 0, 1, 3 and 4 have a lesion
    image = np.arange(1, 6, dtype=np.float32).reshape(5, 1, 1, 1) * np.ones((1, 1, 16, 16), "f4")
    donor = Case("bob_scan", "bob", image, labels, (0, 1, 2, 3, 4))
    (made,) = CarveMix((TUMOUR,)).cases([target, donor], 1, 0)
    # Slices 0, 1/2 and 1 of the way up: 0, then 1 or 3 (as near; the first), then 4.
    assert [int(one.max()) for one in made.image] == [1, 2, 5]
    assert made.numbers == (10, 11, 12)


def test_volumes_with_thick_slices_are_mixed_in_millimetres():
    labels = np.zeros((1, 5, 9, 9), np.uint8)
    labels[0, 2, 3:6, 3:6] = TUMOUR
    donor = Case("bob", "bob", np.ones((1, 2, 5, 9, 9), np.float32), labels, (0,))
    target = Case("ann", "ann", np.zeros((1, 2, 5, 9, 9), np.float32), labels * 0, (0,))
    for seed in range(12):
        made = CarveMix((TUMOUR,), spacing_mm=(5.0, 1.0, 1.0)).cases([target, donor], 1, seed)[0]
        assert made.image.shape == (1, 2, 5, 9, 9)
        changed = made.image[0, 0] == 1
        # The lesion is 2 mm deep at most: no rim reaches the next slice, 5 mm away.
        assert changed[2].any()
        assert not changed[[0, 1, 3, 4]].any()
        np.testing.assert_array_equal(made.labels[0] == TUMOUR, changed & (labels[0] == TUMOUR))


def test_what_cannot_be_mixed_is_refused():
    ann = patient("ann", 1, (4, 4))
    with pytest.raises(DataError, match="found 1 patients, 1 of them with a lesion"):
        CarveMix((TUMOUR,)).cases([ann], 1, 0)
    with pytest.raises(DataError, match="2 patients, 0 of them with a lesion"):
        CarveMix((TUMOUR,)).cases([patient("bob", 1), patient("eve", 1)], 1, 0)
    structures = ("background", "liver", "tumour")
    assert CarveMix.named(structures, ["tumour"], ["liver"]) == CarveMix((2,), (1,))
    with pytest.raises(SettingsError, match="found spleen, expected names among liver, tumour"):
        CarveMix.named(structures, ["spleen"])
    with pytest.raises(SettingsError, match="found no lesion"):
        CarveMix.named(structures, [])
