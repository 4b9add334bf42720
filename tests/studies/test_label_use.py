"""The label-use study: what is compared by hand, who may not be learned from, what is kept."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from scansmith.data.phantom import write_phantoms
from scansmith.data.store import Store
from scansmith.scan import DataError, RunError, SettingsError
from scansmith.studies import label_use
from scansmith.studies.cells import cell, file_name
from scansmith.studies.counterparts import Case, ClassMeans, Maker, real_cases, told_apart
from scansmith.studies.label_use import Asked, Study
from scansmith.studies.label_use_report import summarise
from scansmith.studies.paired_scores import over_seeds
from scansmith.workflow import prepare, train

SMALL = ["data.size=32,32", "method.base=4", "method.patch=4"]
SPLIT = "data.split=0.5,0,0.5"
QUICK = ["--set", "numbers.base=2", "--set", "numbers.depth=1", "--set", "numbers.threads=1"]


def prepared(raw, store, *sets):
    return prepare(raw, store, "heart-gan", sets=[*SMALL, *sets], workers=1).path


def trained(store, run, *sets):
    method = [word for word in SMALL if word.startswith("method")]
    return train("heart-gan", store, run, sets=[*method, "train.steps=1", *sets])


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Stores of four hearts without and with context, and an untrained run of each."""
    root = tmp_path_factory.mktemp("hearts")
    raw = root / "raw"
    write_phantoms(raw, "heart", 4, 1, (32, 32, 8))
    plain = prepared(raw, root / "plain", SPLIT)
    told = prepared(raw, root / "told", SPLIT, "data.context=kmeans")
    trained(plain, root / "run")
    trained(told, root / "run-context")
    return root


def test_context_is_background_to_a_segmenter():
    names, seen_as = told_apart(("background", "liver", "tumour", "context 1", "context 2"))
    assert names == ("background", "liver", "tumour")
    np.testing.assert_array_equal(seen_as[np.array([0, 1, 2, 3, 4])], [0, 1, 2, 0, 0])


def flat_case(values, labels, name="a"):
    image = np.array(values, np.float32).reshape(1, 2, 2, 2)
    return Case(name, name, image, np.array(labels, np.uint8).reshape(1, 2, 2), (0,))


def test_class_means_run_over_all_voxels_of_all_cases():
    cases = [
        flat_case([1, 3, 5, 5, 0, 0, 0, 0], [1, 1, 0, 0]),
        flat_case([2, 9, 5, 5, 1, 0, 0, 0], [1, 0, 0, 0]),
    ]
    means = ClassMeans.of(cases, 3)
    # Structure 1, first modality: 1, 3 and 2; second: 0, 0 and 1.
    np.testing.assert_allclose(means.mean[:, 1], [2, 1 / 3])
    np.testing.assert_allclose(means.sd[:, 1], [np.sqrt(2 / 3), np.sqrt(2) / 3], rtol=1e-6)
    # Background, first: 5, 5, 9, 5, 5. Structure 2 is nowhere: the background's values.
    np.testing.assert_allclose(means.mean[0, [0, 2]], [5.8, 5.8], rtol=1e-6)


def test_the_control_draws_each_structure_with_its_mean_and_spread():
    labels = np.zeros((1, 100, 100), np.uint8)
    labels[:, 50:] = 1
    case = Case("a", "a", np.zeros((1, 1, 100, 100), np.float32), labels, (0,))
    means = ClassMeans(np.array([[0.0, 4.0]], np.float32), np.array([[0.0, 2.0]], np.float32))
    image = means.painted(case, np.random.default_rng(0)).image
    assert (image[0, 0, :50] == 0).all()
    assert image[0, 0, 50:].mean() == pytest.approx(4, abs=0.1)
    assert image[0, 0, 50:].std() == pytest.approx(2, abs=0.1)


def test_a_patient_counts_once_over_cases_and_seeds():
    seeds = [
        {"ann/1": {"mean": 0.2}, "ann/2": {"mean": 0.4}, "bob/1": {"mean": 0.9}},
        {"ann/1": {"mean": 0.4}, "ann/2": {"mean": 0.6}, "bob/1": {"mean": 0.7}},
    ]
    rows = over_seeds(seeds)
    assert rows["ann"]["mean"] == pytest.approx(0.4)  # (0.3 + 0.5) / 2
    found = summarise({"real": seeds}, {}, {})["real test"]["real"]
    assert found["dice"]["mean"]["mean"] == pytest.approx(0.6)  # (0.4 + 0.8) / 2
    assert found["each seed"] == pytest.approx([0.6, 0.6])
    assert found["above real"]["mean"]["mean"] == 0


def test_a_cell_is_found_once_and_keeps_what_is_not_a_number(tmp_path):
    calls = []

    def work():
        calls.append(1)
        return {"ann/1": {"liver": 0.5, "tumour": np.nan}}

    first = cell(tmp_path, "a + b", {"steps": 3}, work)
    again = cell(tmp_path, "a + b", {"steps": 3}, work)
    assert len(calls) == 1
    assert again["ann/1"]["liver"] == first["ann/1"]["liver"]
    assert np.isnan(again["ann/1"]["tumour"])
    assert cell(tmp_path, "nothing", {}, lambda: None) is None
    assert cell(tmp_path, "nothing", {}, lambda: pytest.fail("done again")) is None
    with pytest.raises(RunError, match=r"a cell of another study \(differing: steps\)"):
        cell(tmp_path, "a + b", {"steps": 4}, work)
    assert file_name("a + b") == "a-b"


def test_the_study_compares_goes_on_and_shows(parts, tmp_path, capsys):
    out = tmp_path / "out"
    words = [str(parts / "plain"), f"gan={parts / 'run'}", f"told={parts / 'run-context'}"]
    words += ["--out", str(out), "--seeds", "3,4", "--steps", "2", *QUICK]
    label_use.main(words)
    printed = capsys.readouterr().out
    result = json.loads((out / "results.json").read_text())
    controls = ["class means + noise (gan)", "class means + noise (told)"]
    arms = ["real", "gan", "told", *controls, "real + gan", "real + told"]
    assert list(result["real test"]) == arms
    assert list(result["synthetic test"]) == ["gan", "told", *controls]
    assert all(len(found["each seed"]) == 2 for found in result["real test"].values())
    assert not any("context" in name for name in result["real test"]["told"]["dice"])
    assert result["real test"]["real"]["share of real"]["mean"] == pytest.approx(100)
    likeness = result["synthetic test"]["gan"]["likeness"]
    assert 0 < likeness["mae / range"]["mean"] < 1
    assert -1 <= likeness["ssim"]["mean"] <= 1

    # Means and noise inside k-means tissues are nearer to the scan than inside the labels alone.
    far, near = (result["synthetic test"][name]["likeness"]["mae / range"] for name in controls)
    assert near["mean"] < far["mean"]

    rows = list(csv.DictReader((out / "patients.csv").read_text().splitlines()))
    # 2 test patients, 2 seeds, (7 arms on real ones + the real one on 4 test sets).
    assert len(rows) == 2 * 2 * (7 + 4)
    assert "| real + told |" in (out / "results.md").read_text()
    assert (out / "samples.png").stat().st_size > 1000

    (out / "cells" / "told-seed4-on-real.json").unlink()
    before = (out / "results.json").read_text()
    label_use.main(words)
    again = capsys.readouterr().out
    assert "told seed4 on real" in again
    assert again.count(" s\n") == 1  # the others were kept
    assert printed.count(" s\n") == 2 * (7 + 4 + 4)
    assert (out / "results.json").read_text() == before
    with pytest.raises(RunError, match=r"another study \(differing: batch, tested\)"):
        label_use.main([*words, "--batch", "3"])


def test_a_batch_of_both_has_the_real_half_that_real_alone_has(parts, tmp_path):
    study = Study(Store.open(parts / "plain"), {"gan": [parts / "run"]}, tmp_path, Asked())
    both, real = study._samples("real + gan", 0), study._samples("real", 0)
    made = study._samples("gan", 0)
    for step in (1, 9):
        assert both(step).image.shape[0] == 4
        assert both(step).image[:2].equal(real(step).image)
        assert both(step).image[2:].equal(made(step).image)
        assert not made(step).image.equal(real(step).image)


def test_as_many_synthetic_cases_as_training_cases_or_a_multiple(parts):
    store = Store.open(parts / "plain")
    maker = Maker.of("gan", parts / "run", store, [c.patient for c in real_cases(store, "train")])
    once, twice = maker.edited(1, 0), maker.edited(2, 0)
    assert sorted(case.case for case in once) == sorted(store.names("train"))
    assert len(twice) == 4
    for first, again in zip(once, twice[:2], strict=True):
        np.testing.assert_array_equal(first.labels, again.labels)
    assert any((a.labels.shape != b.labels.shape) or (a.labels != b.labels).any()
               for a, b in zip(once, real_cases(store, "train"), strict=True))  # fmt: skip


def test_what_test_labels_become_lies_on_the_test_cases_samples(parts):
    store = Store.open(parts / "plain")
    test = real_cases(store, "test")
    maker = Maker.of("gan", parts / "run", store, [c.patient for c in real_cases(store, "train")])
    for real, made in zip(test, maker.reconstructed(test, store, 0), strict=True):
        assert (made.case, made.numbers) == (real.case, real.numbers)
        np.testing.assert_array_equal(made.labels, real.labels)
        assert (real.labels.reshape(len(real.labels), -1) > 0).any(axis=1).all()


def test_a_run_that_saw_test_patients_is_refused(parts, tmp_path):
    seen = prepared(parts / "raw", tmp_path / "store", SPLIT, "data.seed=1")
    run = trained(seen, tmp_path / "run", "data.seed=1")
    with pytest.raises(DataError, match="test patient"):
        Study(Store.open(parts / "plain"), {"gan": [run]}, tmp_path / "out", Asked())


def test_a_run_that_saw_more_patients_than_the_segmenters_is_refused(parts, tmp_path):
    with pytest.raises(DataError, match=r"1 patient\(s\) that the segmenters may not see"):
        Study(Store.open(parts / "plain"), {"gan": [parts / "run"]}, tmp_path, Asked(patients=1))


def test_a_run_of_another_size_is_refused(parts, tmp_path):
    small = prepared(parts / "raw", tmp_path / "store", SPLIT, "data.size=16,16")
    run = trained(small, tmp_path / "run")
    with pytest.raises(DataError, match=r"size 16 x 16, the study's store has 32 x 32"):
        Study(Store.open(parts / "plain"), {"gan": [run]}, tmp_path / "out", Asked())


@pytest.mark.parametrize("word", ["real=run", "gan", "a b=run", "gan="])
def test_names_that_are_none_are_refused(parts, tmp_path, word):
    with pytest.raises(SettingsError, match=r"expected (NAME=FOLDER|names)"):
        label_use.main([str(parts / "plain"), word, "--out", str(tmp_path)])


def test_numbers_that_mean_nothing_are_refused():
    with pytest.raises(SettingsError, match=r"seeds \(1, 1\)"):
        Asked(seeds=(1, 1))
    with pytest.raises(SettingsError, match="steps 0"):
        Asked(steps=0)
