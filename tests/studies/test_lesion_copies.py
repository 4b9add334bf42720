"""Copies of lesions beside fakes: whose they are, where they lie, and which are left out."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from scansmith.labels.table import LabelTable
from scansmith.studies.healed_slices import Slice
from scansmith.studies.lesion_copies import Copies, Copying

LIVER, TUMOUR = 1, 2


class Shelf(SimpleNamespace):
    """A store of slices 12 x 12: name -> value of the image, label map."""

    def sample(self, case, number):
        value, labels = self.slices[case]
        return np.full((1, 12, 12), value, np.float32), labels


def shelf(organ="", least=4, **slices):
    table = LabelTable({LIVER: "liver", TUMOUR: "tumour"})
    recipe = SimpleNamespace(settings={"organ": organ, "min_pixels": least})
    return Shelf(slices=slices, table=table, recipe=recipe, spacing_mm=(1.0, 1.0))


def labels(**boxes):
    """Liver and tumour as boxes (first row, last row, first column, last column)."""
    found = np.zeros((12, 12), np.uint8)
    for name, (top, bottom, left, right) in boxes.items():
        found[top : bottom + 1, left : right + 1] = {"liver": LIVER, "tumour": TUMOUR}[name]
    return found


def of(patient, case=""):
    return Slice(case or patient, 0, patient)


def test_a_copy_is_a_normal_slice_with_the_lesion_of_another_patient():
    there = shelf(
        ann=(0.0, labels()), bob=(1.0, labels(tumour=(4, 8, 4, 8))),
        ann_ill=(0.5, labels(tumour=(4, 8, 4, 8))),
    )  # fmt: skip
    ill = [of("ann", "ann_ill"), of("bob")]
    for seed in range(5):
        (copy,) = Copies.of(Copying(there, (TUMOUR,), seed), [of("ann")], ill)
        assert copy.shape == (1, 12, 12)
        assert copy.dtype == np.float32
        assert set(np.unique(copy)) == {0.0, 1.0}  # bob's, and none of ann's own
        assert copy[0, 6, 6] == 1  # the lesion's middle is always copied
        assert copy[0, 0, 0] == 0


def test_what_shows_too_little_of_a_lesion_is_no_copy():
    there = shelf(ann=(0.0, labels()), bob=(1.0, labels(tumour=(5, 5, 5, 7))))
    assert len(Copies.of(Copying(there, (TUMOUR,), 0), [of("ann")], [of("bob")])) == 0
    assert len(Copies.of(Copying(there, (TUMOUR,), 0), [of("ann")], [of("ann")])) == 0


def test_a_lesion_lies_in_the_organ_and_slices_without_it_get_none():
    """Bob's liver is two rows below ann's: his tumour comes two rows up, into hers.

    All of its four pixels are at the border, and the next ones a pixel away: it comes without rim.
    """
    there = shelf(
        organ="liver", ann=(0.0, labels(liver=(1, 6, 2, 9))), eve=(0.0, labels()),
        bob=(1.0, labels(liver=(3, 8, 2, 9), tumour=(5, 6, 5, 6))),
    )  # fmt: skip
    copies = Copies.of(Copying(there, (TUMOUR,), 0), [of("eve"), of("ann")], [of("bob")])
    assert [target.patient for _, target, _ in copies.pairs] == ["ann"]
    expected = np.zeros((12, 12))
    expected[3:5, 5:7] = 1
    np.testing.assert_array_equal(copies[0][0], expected)


def test_a_copy_is_the_same_whenever_it_is_asked_for():
    names = [f"p{n}" for n in range(6)]
    there = shelf(
        ann=(0.0, labels()),
        **{name: (1.0 + n, labels(tumour=(3, 8, 3, 8))) for n, name in enumerate(names)},
    )
    ill = [of(name) for name in names]

    def made(seed):
        copies = Copies.of(Copying(there, (TUMOUR,), seed), [of("ann")], ill)
        np.testing.assert_array_equal(copies[0], copies[0])
        return copies[0]

    np.testing.assert_array_equal(made(0), made(0))
    assert len({float(made(seed).max()) for seed in range(8)}) > 1  # not one donor for all
