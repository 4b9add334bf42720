"""Folds: everybody is tested once, a fold is a store, and what would leak is refused."""

from __future__ import annotations

import numpy as np
import pytest

from scansmith.data.folds import deal_folds, fold_store
from scansmith.data.phantom import write_phantoms
from scansmith.data.store import Store
from scansmith.scan import DataError, RunError, SettingsError
from scansmith.workflow import prepare

SMALL = ["data.size=32,32", "data.modality=flair", "data.split=0.8,0,0.2", "data.min_pixels=4"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("folds")
    write_phantoms(root / "raw", "brain", 4, 1, (32, 32, 12))
    return prepare(root / "raw", root / "store", "ant-gan", sets=[*SMALL, "data.patients=2"])


@pytest.mark.parametrize(("patients", "folds"), [(5, 5), (7, 3), (12, 5)])
def test_every_patient_is_tested_exactly_once(patients, folds):
    names = [f"p{n}" for n in range(patients)]
    dealt = deal_folds(names * 2, folds, seed=3)
    assert sorted(name for fold in dealt for name in fold) == sorted(names)
    sizes = [len(fold) for fold in dealt]
    assert len(dealt) == folds
    assert max(sizes) - min(sizes) <= 1
    assert dealt == deal_folds(reversed(names), folds, seed=3)


def test_another_seed_deals_otherwise():
    names = [f"p{n}" for n in range(20)]
    assert deal_folds(names, 5, 0) != deal_folds(names, 5, 1)


def test_folds_that_cannot_be_dealt_are_refused():
    with pytest.raises(SettingsError, match="found 1, expected 2 or more"):
        deal_folds(["a", "b"], 1, 0)
    with pytest.raises(DataError, match=r"found 2 patient\(s\) for 3 folds"):
        deal_folds(["a", "b", "a"], 3, 0)


def test_a_fold_is_a_store_of_the_same_samples_with_another_split(store, tmp_path):
    by_split = {case.split: case.patient for case in store.cases.values()}
    tested = by_split["train"]  # learned from in the store's own split
    fold = fold_store(store, tmp_path / "fold", [tested])
    found = {case.patient: case.split for case in fold.cases.values()}
    assert found[tested] == "test"
    assert found[by_split["test"]] == "train"
    assert found[by_split["unused"]] == "unused"
    for case in store.cases:
        for mine, theirs in zip(fold.volume(case), store.volume(case), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert fold.facts.fingerprint != store.facts.fingerprint
    assert fold.table == store.table
    assert Store.open(store.path).facts == store.facts  # untouched


def test_a_fold_goes_on_and_is_not_taken_for_another(store, tmp_path):
    one, other = sorted({c.patient for c in store.cases.values() if c.split != "unused"})[:2]
    first = fold_store(store, tmp_path / "fold", [one])
    assert fold_store(store, tmp_path / "fold", [one]).facts == first.facts
    with pytest.raises(RunError, match="holds another fold"):
        fold_store(store, tmp_path / "fold", [other])
    (tmp_path / "half" / "cases").mkdir(parents=True)  # stopped before store.json
    case = next(iter(store.cases))
    (tmp_path / "half" / "cases" / case).mkdir()
    (tmp_path / "half" / "cases" / case / "image.npy").write_bytes(b"half")
    again = fold_store(store, tmp_path / "half", [one])
    np.testing.assert_array_equal(again.volume(case)[0], store.volume(case)[0])


def test_who_cannot_be_tested_on_is_told(store, tmp_path):
    there = {case.patient for case in store.cases.values() if case.split != "unused"}
    for test, text in (
        (["nobody"], "no patient nobody"),
        ([], "0 of 3 patients are tested on"),
        (there, "3 of 3 patients are tested on"),
    ):
        with pytest.raises(DataError, match=text):
            fold_store(store, tmp_path / "fold", test)
    assert not (tmp_path / "fold").exists()


def test_intensities_that_were_fitted_to_all_training_patients_are_refused(tmp_path):
    write_phantoms(tmp_path / "raw", "heart", 3, 1, (32, 32, 8))
    sets = ["data.size=32,32", "data.intensity=minmax", "data.split=0.6,0,0.4", "method.patch=4"]
    store = prepare(tmp_path / "raw", tmp_path / "store", "heart-gan", sets=sets)
    if store.recipe.intensity.scope == "case":
        shared = store.recipe.intensity.model_copy(update={"scope": "dataset"})
        recipe = store.recipe.model_copy(update={"intensity": shared})
        object.__setattr__(store, "recipe", recipe)
    some = next(iter(store.cases.values())).patient
    with pytest.raises(DataError, match="fitted to its training patients together"):
        fold_store(store, tmp_path / "fold", [some])
