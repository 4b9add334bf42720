"""Lesions that a map had: grown, so that the label covers them and is no patient's shape."""

import numpy as np
import pytest

from scansmith.labels.bank import LesionBank, cut_lesions
from scansmith.labels.regrow import regrow
from scansmith.scan import DataError

ORGAN, RIM, CORE = 1, 2, 3
SPACING_MM = (4.0, 1.0, 1.5)


def livers(seed: int) -> np.ndarray:
    """A box of liver with a lesion of 3 x 6 x 6 voxels with a core, and another at its border."""
    labels = np.zeros((9, 30, 30), np.uint8)
    labels[1:8, 3:27, 3:27] = ORGAN
    labels[3:6, 8:14, 8:14] = RIM
    labels[4, 10 + seed % 2 : 12, 10:12] = CORE
    labels[2:5, 20:27, 18:23] = RIM
    return labels


@pytest.mark.parametrize("seed", range(8))
def test_a_lesion_covers_where_it_was_and_keeps_nobodys_shape(seed: int) -> None:
    labels = livers(seed)
    before = labels.copy()
    changed, record = regrow(labels, SPACING_MM, (RIM, CORE), (ORGAN,), np.random.default_rng(seed))
    np.testing.assert_array_equal(labels, before)
    new = changed != labels
    assert (labels[new] == ORGAN).all()
    assert (changed[new] == RIM).all()  # the nearest old voxel; the core lies inside
    assert record == {"regrown": 2, "rim_voxels": int(new.sum())}
    originals = LesionBank(cut_lesions(labels, (RIM, CORE), SPACING_MM, ""))
    grown = cut_lesions(changed, (RIM, CORE), SPACING_MM, "")
    assert len(grown) == 2
    assert not any(originals.holds(one.labels) for one in grown)


def test_the_rim_is_a_few_steps_wide_in_millimetres() -> None:
    # The finest step is 1 mm: 2.5 mm at most. Slices are 4 mm apart: none grows into the next.
    labels = livers(0)
    changed, _ = regrow(labels, SPACING_MM, (RIM, CORE), (ORGAN,), np.random.default_rng(1))
    new = changed != labels
    assert not new[[0, 1, 6, 7, 8]].any()
    rows = np.flatnonzero(new[5].any(axis=1))  # the first lesion alone, rows 8 to 13
    assert 6 <= rows[0] <= rows[-1] <= 15
    columns = np.flatnonzero(new[5].any(axis=0))  # columns 8 to 13 of 1.5 mm
    assert 7 <= columns[0] <= columns[-1] <= 14


def test_the_same_chance_grows_the_same_rim_and_another_another() -> None:
    one, same, other = (
        regrow(livers(0), SPACING_MM, (RIM, CORE), (ORGAN,), np.random.default_rng(seed))[0]
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_a_map_without_a_lesion_stays_as_it_is() -> None:
    labels = np.where(livers(0) > 0, ORGAN, 0).astype(np.uint8)
    changed, record = regrow(labels, SPACING_MM, (RIM, CORE), (ORGAN,), np.random.default_rng(0))
    np.testing.assert_array_equal(changed, labels)
    assert record == {}


def test_a_lesion_that_fills_its_organ_is_refused() -> None:
    labels = np.zeros((16, 16), np.uint8)
    labels[4:12, 4:12] = RIM
    with pytest.raises(DataError, match="would keep the shape that it has in a patient"):
        regrow(labels, (1.0, 1.0), (RIM,), (ORGAN,), np.random.default_rng(0))
