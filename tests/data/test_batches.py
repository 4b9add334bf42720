from collections import Counter

import nibabel as nib
import numpy as np
import pytest
import torch

from scansmith.data.batches import Batches
from scansmith.data.prepare import prepare
from scansmith.data.store import Store
from scansmith.recipe import Draw
from scansmith.scan import DataError

ABNORMAL = Draw(name="abnormal", has=("tumour",))
NORMAL = Draw(name="normal", has=("liver",), lacks=("tumour",))


@pytest.fixture
def make(livers, tmp_path, recipe):
    """A store of the livers with its draws; everybody is in training unless said otherwise."""

    def make(*draws, **changes) -> Store:
        plain = recipe(draws=draws, **{"split": (1, 0, 0)} | changes)
        return prepare(livers, tmp_path / "store", plain, workers=1)

    return make


def taken(batches, draw, steps):
    """(case, sample) of all steps in turn."""
    found = []
    for step in steps:
        batch = batches(step)[draw]
        found += zip(batch.cases, batch.samples, strict=True)
    return found


def test_a_batch_is_samples_of_the_store(make):
    store = make(ABNORMAL)
    batch = Batches(store, "train", 3, seed=0)(5)["abnormal"]
    assert (batch.image.shape, batch.image.dtype) == ((3, 1, 16, 12), torch.float32)
    assert (batch.labels.shape, batch.labels.dtype) == ((3, 16, 12), torch.int64)
    for b in range(3):
        image, labels = store.sample(batch.cases[b], batch.samples[b])
        np.testing.assert_array_equal(batch.image[b].numpy(), image)
        np.testing.assert_array_equal(batch.labels[b].numpy(), labels)


def test_a_draw_takes_all_samples_that_qualify_and_no_other(make):
    batches = Batches(make(ABNORMAL, NORMAL), "train", 1, seed=0)
    # tumour in slices 1 and 2 of all but liver_3; liver_n has n + 3 slices
    abnormal = {(f"liver_{n}", k) for n in (0, 1, 2, 4) for k in (1, 2)}
    everything = {(f"liver_{n}", k) for n in range(5) for k in range(n + 3)}
    assert set(batches.samples("abnormal")) == abnormal
    assert set(batches.samples("normal")) == everything - abnormal


def test_a_structure_has_to_cover_the_pixels_that_are_asked_for(make):
    # a tumour takes 6 of the liver's 48 pixels
    some, whole = (Draw(name=str(n), has=("liver",), min_pixels=n) for n in (42, 43))
    batches = Batches(make(some, whole), "train", 1, seed=0)
    assert len(batches.samples("42")) == 25
    assert len(batches.samples("43")) == 25 - 8


def test_a_star_means_any_structure_but_the_background(make):
    some = Draw(name="some", has=("*",), min_pixels=48)
    assert len(Batches(make(some), "train", 1, 0).samples("some")) == 25


def test_an_epoch_takes_every_sample_once(make):
    batches = Batches(make(ABNORMAL), "train", 2, seed=0)
    first, second = (taken(batches, "abnormal", range(a, a + 4)) for a in (0, 4))
    assert sorted(first) == sorted(second) == sorted(batches.samples("abnormal"))
    assert first != second


def test_epochs_may_end_within_a_batch(make):
    batches = Batches(make(ABNORMAL), "train", 3, seed=0)
    assert set(Counter(taken(batches, "abnormal", range(8))).values()) == {3}  # 24 turns, 8 samples


def test_balance_by_case_takes_every_case_once_an_epoch(make):
    batches = Batches(make(NORMAL, balance="case"), "train", 1, seed=0)
    for epoch in range(3):
        cases = [case for case, _ in taken(batches, "normal", range(5 * epoch, 5 * epoch + 5))]
        assert sorted(cases) == [f"liver_{n}" for n in range(5)]
    samples = [n for case, n in taken(batches, "normal", range(200)) if case == "liver_3"]
    assert set(samples) == set(range(6))  # in time all its slices, none has a tumour


def test_a_step_is_the_same_whatever_came_before(make):
    store = make(ABNORMAL, NORMAL, balance="case")
    one, other = Batches(store, "train", 2, seed=7), Batches(Store.open(store.path), "train", 2, 7)
    for step in range(10):
        one(step)
    for draw in ("abnormal", "normal"):
        assert taken(one, draw, [3]) == taken(other, draw, [3])
        torch.testing.assert_close(one(3)[draw].image, other(3)[draw].image, rtol=0, atol=0)


def test_another_seed_draws_in_another_order(make):
    store = make(ABNORMAL)
    orders = [taken(Batches(store, "train", 1, seed), "abnormal", range(8)) for seed in (0, 1)]
    assert orders[0] != orders[1]


def test_draws_are_independent_of_each_other(make):
    same = [Draw(name=name, has=("tumour",)) for name in ("one", "other")]
    batches = Batches(make(*same), "train", 1, seed=0)
    assert taken(batches, "one", range(8)) != taken(batches, "other", range(8))
    alone = Batches(batches.store, "train", 1, seed=0)
    alone.places.pop("other")
    assert taken(alone, "one", range(8)) == taken(batches, "one", range(8))


def test_draws_come_from_their_split_alone(make):
    store = make(NORMAL, split=(0.6, 0.2, 0.2))
    for split in ("train", "validation", "test"):
        cases = {case for case, _ in Batches(store, split, 1, 0).samples("normal")}
        assert cases == set(store.names(split))


def test_a_split_that_cannot_serve_a_draw_is_an_error(make):
    store = make(ABNORMAL, NORMAL)
    with pytest.raises(
        DataError, match=r"draw abnormal: none of the 0 case\(s\) of test"
    ) as caught:
        Batches(store, "test", 1, 0)
    assert "draw normal" in str(caught.value)
    assert "(data.split and data.seed in the data's settings)" in str(caught.value)


def test_fixed_samples_are_spread_evenly_and_always_the_same(make):
    batches = Batches(make(ABNORMAL), "train", 1, seed=0)
    one, other = batches.fixed(4)["abnormal"], Batches(batches.store, "train", 5, 9).fixed(4)
    assert one.cases == ("liver_0", "liver_1", "liver_2", "liver_4")
    assert one.cases == other["abnormal"].cases
    assert one.samples == other["abnormal"].samples
    assert len(batches.fixed(100)["abnormal"].cases) == 8


def test_slices_with_too_little_in_them_are_never_drawn(folder, tmp_path, recipe):
    image = np.zeros((8, 8, 6), dtype=np.int16)
    image[2:6, 2:6, [1, 2, 4]] = 50  # a quarter of the frame; 0 and 5 are empty ends, 3 a gap
    image[0, 0, 1] = 60
    folder.add("a", image, np.ones(image.shape, dtype=np.uint8))
    plain = recipe(
        size=(8, 8), min_foreground=0.2, split=(1, 0, 0), needs=(), draws=(Draw(name="any"),)
    )
    store = prepare(folder.root, tmp_path / "store", plain, workers=1)
    # the ends are gone, the gap stays in the case so that it is whole, but is not drawn
    assert store.cases["a"].samples == 4
    assert store.cases["a"].left_out == (2,)
    assert Batches(store, "train", 1, 0).samples("any") == [("a", 0), ("a", 1), ("a", 3)]
    scan = store.scan("a", *store.volume("a"))
    np.testing.assert_allclose(scan.image[0], image[:, :, 1:5], atol=0.01)
    first = np.linalg.inv(scan.affine) @ folder_affine() @ [0, 0, 1, 1]
    np.testing.assert_allclose(first, [0, 0, 0, 1], atol=1e-6)


def folder_affine():
    return np.array([[1.98, -0.14, 0, -30], [0.28, 0.99, 0, 12], [0, 0, 5, -77], [0, 0, 0, 1]])


def test_each_modality_can_be_drawn_on_its_own(make):
    store = make(Draw(name="real", each_modality=True), ABNORMAL)
    assert store.facts.modalities == ("ct",)
    batches = Batches(store, "train", 2, seed=0)
    assert set(batches(0)) == {"real.ct", "abnormal"}
    assert Draw(name="real", each_modality=True).names(("t1", "t2")) == ("real.t1", "real.t2")
    assert Draw(name="real").names(("t1", "t2")) == ("real",)


def test_modalities_drawn_on_their_own_come_from_different_samples(tmp_path, recipe):
    rng = np.random.default_rng(0)
    for case in "abcde":
        for name in ("t1", "t2"):
            path = tmp_path / "src" / case / f"{case}_{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            voxels = rng.integers(0, 50, (6, 7, 8)).astype(np.int16)
            nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    draw = Draw(name="real", each_modality=True)
    plain = recipe(size=(7, 6), channels=2, needs=(), draws=(draw,), split=(1, 0, 0))
    store = prepare(tmp_path / "src", tmp_path / "store", plain, workers=1)
    batches = Batches(store, "train", 1, seed=0)
    pairs = [batches(step) for step in range(40)]  # an epoch: 5 cases of 8 slices
    together = [b["real.t1"].cases == b["real.t2"].cases for b in pairs]
    assert not all(together)
    assert {b["real.t1"].cases for b in pairs} == {b["real.t2"].cases for b in pairs}
    assert pairs[0]["real.t1"].image.shape[1] == 2
