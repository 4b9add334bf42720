"""Healed slices beside the slices: who heals whom, what is seen, what the answer says."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from scansmith.data.phantom import write_phantoms
from scansmith.data.store import Store
from scansmith.evaluate.overlap import MEAN
from scansmith.scan import DataError, RunError, SettingsError
from scansmith.settings import load_settings
from scansmith.studies import healed_channel
from scansmith.studies.healed_channel import PUBLISHED, Asked, as_markdown, study, summarise
from scansmith.studies.healed_folds import CrossValidation, Folds, kept_apart, store_of
from scansmith.studies.healed_slices import Maps, TwoChannels, slices
from scansmith.studies.tables import cell as written
from scansmith.workflow import load_run, prepare, train

TINY = ["method.base=4", "method.critic_base=4", "method.blocks=1", "train.steps=1"]
SMALL = load_settings(
    Asked, sets=["steps=2", "batch=2", "numbers.base=2", "numbers.depth=1", "numbers.threads=1"]
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Four phantoms, their store and an ANT-GAN trained on half of them."""
    folder = tmp_path_factory.mktemp("healed")
    write_phantoms(folder / "raw", "brain", 4, 3, (32, 32, 12))
    sets = ["data.size=32,32", "data.modality=flair", "data.split=0.5,0,0.5", "data.min_pixels=4"]
    store = prepare(folder / "raw", folder / "store", "ant-gan", sets=sets)
    train("ant-gan", store.path, folder / "run", sets=TINY)
    return folder


@pytest.fixture(scope="module")
def done(root):
    """Two folds, each with an ANT-GAN of its own."""
    cross_validation = CrossValidation(folds=2)
    return study(
        {"ant-gan": [root / "run"]}, root / "out", cross_validation=cross_validation, asked=SMALL
    )


def test_every_patient_is_tested_once_by_an_ant_gan_that_did_not_learn_from_it(root, done):
    everybody = {case.patient for case in Store.open(root / "store").cases.values()}
    assert sorted(name for fold in done["folds"] for name in fold) == sorted(everybody)
    for number, tested in enumerate(done["folds"], 1):
        loaded = load_run(root / "out" / "folds" / f"fold{number}" / "ant-gan-seed0")
        own = Store.open(loaded.store)
        learned = {own.cases[name].patient for name in own.names("train")}
        assert learned == everybody - set(tested)
        assert loaded.settings.method.base == 4  # the settings of the run that was given
    rows = (root / "out" / "patients.csv").read_text().splitlines()[1:]
    assert len(rows) == 2 * 4  # two arms, each patient once
    assert done["warnings"] == []


def test_the_answer_stands_beside_the_paper_s(root, done):
    text = (root / "out" / "results.md").read_text()
    assert "Table V, as published. Other data (BraTS 2018" in text
    whole = written(done["arms"]["ant-gan"]["dice"]["whole tumour"])
    assert re.search(
        rf"\| ant-gan \| 0.7777 \| [^|]+ \| 0.891 \| {re.escape(whole)} \| 0.7977", text
    )
    assert json.loads((root / "out" / "results.json").read_text())["folds"] == done["folds"]
    assert {"whole tumour", "tumour core", "enhancing tumour"} <= set(
        done["above plain"]["ant-gan"]
    )


def test_what_is_finished_is_not_done_again_and_another_study_is_refused(root, done):
    cells = sorted((root / "out" / "cells").glob("*.json"))
    assert len(cells) == 2 * 2
    before = [path.stat().st_mtime_ns for path in cells]
    cells[0].unlink()
    runs, cross_validation = {"ant-gan": [root / "run"]}, CrossValidation(folds=2)
    assert study(runs, root / "out", cross_validation=cross_validation, asked=SMALL) == done
    assert [path.stat().st_mtime_ns for path in cells[1:]] == before[1:]
    other = SMALL.model_copy(update={"steps": 3})
    with pytest.raises(RunError, match=r"another study \(differing: steps\)"):
        study(runs, root / "out", cross_validation=cross_validation, asked=other)
    with pytest.raises(RunError, match="holds another fold"):
        study(runs, root / "out", cross_validation=CrossValidation(folds=2, dealt=5), asked=SMALL)


def test_a_fold_that_fails_is_told_after_the_others_are_done(root, done, tmp_path, monkeypatch):
    shutil.copytree(root / "out", tmp_path / "out")
    cells = sorted((tmp_path / "out" / "cells").glob("*.json"))
    for path in cells:
        path.unlink()
    shutil.rmtree(tmp_path / "out" / "segmenters")
    learn = healed_channel.train_segmenter

    def full(*args, **options):
        if options["record"]["arm"] == "plain" and "fold1" in str(options["run"]):
            raise RuntimeError("CUDA out of memory")
        return learn(*args, **options)

    def again():
        runs, cross_validation = {"ant-gan": [root / "run"]}, CrossValidation(folds=2)
        return study(runs, tmp_path / "out", cross_validation=cross_validation, asked=SMALL)

    monkeypatch.setattr(healed_channel, "train_segmenter", full)
    wanted = r"1 cell.s. failed(.|\n)*plain, fold 1, seed 0: RuntimeError: CUDA out of memory"
    with pytest.raises(RunError, match=wanted):
        again()
    assert sum(path.exists() for path in cells) == 3
    monkeypatch.setattr(healed_channel, "train_segmenter", learn)
    assert again() == done


def test_one_fold_is_the_store_s_split_and_the_runs_that_are_given(root, tmp_path):
    store = Store.open(root / "store")
    cross_validation = CrossValidation(folds=1)
    folds = Folds(store, {"ant-gan": [root / "run"]}, tmp_path, cross_validation)
    (fold,) = folds
    assert fold.store is store
    loaded, learned = folds.gan("ant-gan", fold, 0)
    assert loaded.fingerprint == load_run(root / "run").fingerprint
    assert learned == fold.patients("train")
    assert not (tmp_path / "folds").exists()


def test_a_run_that_learned_from_test_patients_is_refused(root, tmp_path):
    """The run was trained on another split of the same scans."""
    sets = ["data.size=32,32", "data.modality=flair", "data.split=0.5,0,0.5", "data.min_pixels=4"]
    other = next(
        store
        for seed in range(1, 9)
        if (
            store := prepare(
                root / "raw", tmp_path / f"s{seed}", "ant-gan", sets=[*sets, f"data.seed={seed}"]
            )
        ).names("test")
        != Store.open(root / "store").names("test")
    )
    with pytest.raises(DataError, match=r"learned from \d patient\(s\) that are tested on"):
        study(
            {"ant-gan": [root / "run"]},
            tmp_path / "out",
            cross_validation=CrossValidation(folds=1),
            asked=SMALL,
            store=other.path,
        )


def test_a_run_of_another_method_is_refused(root, tmp_path):
    shutil.copytree(root / "run", tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(record | {"method": "magan"}))
    with pytest.raises(DataError, match="found a run of magan, expected one of ant-gan"):
        study({"other": [tmp_path / "run"]}, tmp_path / "out", asked=SMALL, store=root / "store")


def test_a_shared_ant_gan_knows_test_patients_and_says_so(root, tmp_path, capsys):
    store, cross_validation = Store.open(root / "store"), CrossValidation(folds=2, shared_gan=True)
    folds = Folds(store, {"ant-gan": [root / "run"]}, tmp_path, cross_validation)
    (text,) = folds.warnings()
    assert "learned from 2 of 4 patients that are tested on" in text
    assert text in capsys.readouterr().err
    names = {folds.gan("ant-gan", fold, 0)[0].fingerprint for fold in folds}
    assert names == {load_run(root / "run").fingerprint}
    with pytest.raises(SettingsError, match="found one fold"):
        CrossValidation(folds=1, shared_gan=True)


def test_the_second_channel_is_the_healed_slice(root, tmp_path):
    store = Store.open(root / "store")
    folds = Folds(store, {"ant-gan": [root / "run"]}, tmp_path, CrossValidation(folds=1))
    healed = folds.healed("ant-gan", folds.all[0], 0)
    places = slices(store, "test")
    plain, pair = TwoChannels(store, places, None), TwoChannels(store, places, healed)
    assert plain[0].shape == (2, 32, 32)
    np.testing.assert_array_equal(plain[0][0], plain[0][1])
    np.testing.assert_array_equal(pair[0][0], plain[0][0])
    case, n = places[0].case, places[0].sample
    np.testing.assert_array_equal(pair[0][1], healed[case].part(n)[0].astype(np.float32))
    assert np.abs(pair[0][1] - pair[0][0]).max() > 0.001
    # Slices without lesion are there: what is found in them is wrong.
    maps = Maps(store, places, np.arange(9, dtype=np.uint8))
    assert 0 < sum(bool(labels.any()) for labels in maps) < len(maps)


def test_differences_are_paired_by_patient_and_seed():
    plain = [{"a/a": {MEAN: 0.2}, "b/b": {MEAN: 0.8}}, {"a/a": {MEAN: 0.4}, "b/b": {MEAN: 0.8}}]
    other = [{"a/a": {MEAN: 0.3}, "b/b": {MEAN: 0.9}}, {"a/a": {MEAN: 0.5}, "b/b": {MEAN: 0.9}}]
    found = summarise({"plain": plain, "ant-gan": other})
    assert found["arms"]["plain"]["dice"][MEAN]["mean"] == pytest.approx(0.55)  # (0.3 + 0.8) / 2
    above = found["above plain"]["ant-gan"][MEAN]
    assert above["mean"] == pytest.approx(0.1)
    assert above["interval"] == pytest.approx([0.1, 0.1])


def test_what_is_found_where_nothing_is_stands_beside_the_difference():
    """Dice of a patient without the structure: nan if nothing is found, 0 if something is."""
    nan = float("nan")
    plain = [{"a/a": {MEAN: 0.8}, "b/b": {MEAN: nan}, "c/c": {MEAN: 0.0}, "d/d": {MEAN: nan}}]
    other = [{"a/a": {MEAN: 0.9}, "b/b": {MEAN: 0.0}, "c/c": {MEAN: nan}, "d/d": {MEAN: 0.0}}]
    found = summarise({"plain": plain, "ant-gan": other})
    assert found["above plain"]["ant-gan"][MEAN]["mean"] == pytest.approx(0.1)  # of one patient
    assert found["false alarms"] == {"ant-gan": [2.0, 1.0]}
    facts = {"warnings": [], "folds": [["a", "b", "c", "d"]], "seeds": [0]}
    text = as_markdown({**found, **facts, "published": PUBLISHED})
    assert "0.100 over 1 of 4 patients" in text
    assert "ant-gan, false alarms: it alone finds what is not there in 2 test" in text


def test_whoever_is_on_both_sides_is_named():
    kept_apart(["a"], {"the GAN": ["b"]})
    with pytest.raises(DataError, match=r"the GAN learned from 1 patient\(s\).*, b among them"):
        kept_apart(["a", "b"], {"the segmenter": ["c"], "the GAN": ["b", "d"]})


def test_what_cannot_be_done_is_told(root, tmp_path):
    for folds, seeds in ((0, (0,)), (2, ()), (2, (1, 1))):
        with pytest.raises(SettingsError, match="expected 1 fold or more"):
            CrossValidation(folds=folds, seeds=seeds)
    with pytest.raises(SettingsError, match="expected a store"):
        store_of({"ant-gan": []}, None)
    given = {"ant-gan": [root / "run"]}
    with pytest.raises(SettingsError, match="--gan-set: found settings"):
        study(
            given,
            tmp_path / "out",
            cross_validation=CrossValidation(folds=1, sets=("train.steps=2",)),
        )
    with pytest.raises(SettingsError, match="plain=: is the name of the reference"):
        study({"plain": [root / "run"]}, tmp_path / "out")


def test_without_runs_the_command_trains_an_ant_gan_in_every_fold(root, tmp_path, capsys):
    words = ["--store", str(root / "store"), "--out", str(tmp_path / "out"), "--folds", "2"]
    words += ["--preset", "cpu", "--set", "steps=1", "--set", "numbers.base=2"]
    for word in TINY:
        words += ["--gan-set", word]
    healed_channel.main(words)
    assert "4 test patients in 2 fold(s), seeds 0" in capsys.readouterr().out
    result = json.loads((tmp_path / "out" / "results.json").read_text())
    assert as_markdown(result) == (tmp_path / "out" / "results.md").read_text()
