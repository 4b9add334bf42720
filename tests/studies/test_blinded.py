"""Blinded pictures: as many slices of a case as it can show, and cases enough for all of them."""

from __future__ import annotations

import shutil

import pytest

from scansmith.data.phantom import write_phantoms
from scansmith.scan import DataError
from scansmith.studies.blinded import ReaderOptions, as_markdown, make
from scansmith.train.checkpoint import read_json
from scansmith.workflow import prepare, train


@pytest.fixture(scope="module")
def painter(tmp_path_factory):
    """Two liver phantoms learned from and four kept for readers: data set, store, run."""
    root = tmp_path_factory.mktemp("painter")
    data = write_phantoms(root / "raw", "liver", 6, 1, (64, 64, 12))
    sets = ["data.size=64,64", "data.split=0.34,0,0.66", "data.min_tumour_pixels=4"]
    store = prepare(data, root / "store", "magan", sets=sets, workers=1)
    small = ["train.steps=1", "method.base=4", "method.critic_crop=0"]
    return data, store, train("magan", store.path, root / "run", sets=small)


def test_cases_that_show_fewer_slices_than_asked_for_make_no_empty_study(painter, tmp_path):
    """One synthetic case of 8 slices would do for 16 pictures; these have tumour in fewer."""
    data, store, run = painter
    options = ReaderOptions(cases=16, per_case=8, readers=1)
    readers = tmp_path / "readers"
    told = make(run, store, data, readers / "a", options)
    key = read_json(tmp_path / told["key"])
    rows = list(key["cases"].values())
    assert sorted(row["truth"] for row in rows) == ["real"] * 8 + ["synthetic"] * 8
    assert len({(row["truth"], row["case"], row["slice"]) for row in rows}) == 16
    assert len({row["case"] for row in rows if row["truth"] == "synthetic"}) > 1

    # Killed before the study was there: it goes on with the cases that were made.
    shutil.rmtree(readers / "a")
    (readers / "a-key.json").unlink()
    (readers / "a.json").unlink()
    assert make(run, store, data, readers / "a", options) == told
    assert read_json(tmp_path / told["key"]) == key


def test_the_page_says_what_few_patients_could_find_out():
    found = {
        **{"cases": 8, "folder": "readers/a", "key": "readers/a-key.json", "seed": 0},
        **{"detectable_accuracy": 0.9725, "notes": []},
    }
    assert "A single reader who is right in 97 % of the cases" in as_markdown({"a": found})
    found["detectable_accuracy"] = None
    assert "not find out even a reader who is always right" in as_markdown({"a": found})


def test_real_cases_that_are_too_few_are_told_and_no_more_are_made(painter, tmp_path):
    data, store, run = painter
    with pytest.raises(DataError, match=r"real set: \d+ pictures of 4 patients can be shown"):
        make(run, store, data, tmp_path / "a", ReaderOptions(cases=96, per_case=12, readers=1))
    assert len(list((tmp_path / "a-synthetic").rglob("labelsTr/*.nii.gz"))) == 4
