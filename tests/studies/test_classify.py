"""Classifiers from a folder of scans: what is learned and tested, what is refused, what goes on."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from scansmith.apps.cli import app
from scansmith.data.phantom import write_phantoms
from scansmith.data.store import Store
from scansmith.evaluate.lesion_rule import ABNORMAL
from scansmith.methods.ant_gan import AntGan, AntSettings
from scansmith.scan import DataError, RunError, SettingsError
from scansmith.settings import load_settings
from scansmith.studies.classify import DATA as DEFAULTS
from scansmith.studies.classify import Asked, Classifiers, classify, labelled
from scansmith.studies.classify_report import as_markdown
from scansmith.studies.healed_slices import Joined
from scansmith.synthesize.make import synthesize
from scansmith.workflow import prepare, train

DATA = ["data.size=32,32", "data.modality=flair", "data.split=0.5,0,0.5", "data.min_pixels=4"]
TINY = ["steps=2", "batch=2", "numbers.width=0.02", "numbers.threads=1", "numbers.device=cpu"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Four phantoms, one without a label file, and what an ANT-GAN made of the training half."""
    folder = tmp_path_factory.mktemp("classify")
    write_phantoms(folder / "raw", "brain", 4, 3, (32, 32, 12))
    store = prepare(folder / "raw", folder / "store", "ant-gan", sets=DATA)
    nets = ["method.base=4", "method.critic_base=4", "method.blocks=1", "train.steps=1"]
    train("ant-gan", store.path, folder / "run", sets=nets)
    synthesize(folder / "run", folder / "made", cases=2, seed=0, device="cpu")
    return folder


@pytest.fixture(scope="module")
def done(root):
    return classify(
        root / "raw",
        root / "out",
        synthetic={"gan": root / "made"},
        seeds=(0, 1),
        data_sets=DATA,
        sets=TINY,
        runs=[root / "run"],
    )


def test_test_patients_are_scored_and_never_learned_from(root, done):
    store = Store.open(root / "out" / "store")
    tested = set(done["arms"]["real"]["patients"])
    assert tested == {store.cases[name].patient for name in store.names("test")}
    assert not tested & {place.patient for place in labelled(store, "train", root / "raw")[1]}
    assert list(done["arms"]) == ["real", "real + copies", "real + gan"]
    assert set(done["above"]) == {"real + copies", "real + gan"}
    assert {"precision", "recall", "f1"} <= set(done["arms"]["real"]["slices"])
    assert set(done["above"]["real + gan"]) == set(done["arms"]["real"]["slices"])  # auc too
    assert done["lesion"] == ["necrosis", "oedema", "enhancing"]


def test_every_clear_slice_of_a_test_patient_is_scored_once(root, done):
    store = Store.open(root / "out" / "store")
    for patient, row in done["arms"]["real"]["patients"].items():
        pixels = [
            (labels > 0).sum()
            for name in store.names("test")
            if store.cases[name].patient == patient
            for n, labels in enumerate(store.volume(name)[1])
            if n not in store.cases[name].left_out
        ]
        assert row["abnormal"] == sum(count >= 4 for count in pixels)
        assert row["slices"] == sum(count == 0 or count >= 4 for count in pixels)


def test_what_is_finished_is_not_done_again_and_another_study_is_refused(root, done):
    cells = sorted((root / "out" / "cells").glob("*.json"))
    assert len(cells) == 3 * 2
    before = [path.stat().st_mtime_ns for path in cells]
    given = {"seeds": (0, 1), "data_sets": DATA, "runs": [root / "run"]}
    sets = {"gan": root / "made"}
    again = classify(root / "raw", root / "out", synthetic=sets, sets=TINY, **given)
    assert again == done
    assert [path.stat().st_mtime_ns for path in cells] == before
    with pytest.raises(RunError, match=r"another study \(differing: steps\)"):
        classify(root / "raw", root / "out", synthetic=sets, sets=[*TINY, "steps=3"], **given)


def test_copies_stand_beside_sets_as_abnormal_slices_of_training_patients(root, done):
    settings = load_settings(AntSettings, preset=AntGan.presets["cpu"], sets=[*DEFAULTS, *DATA])
    sets, runs = {"gan": root / "made"}, (root / "run",)
    one = Classifiers(root / "raw", root / "out", sets, (), Asked(), settings, runs)
    normal, abnormal = one.sides
    real, both = one.samples("", 0), one.samples("copies", 0)
    copies = len(both) - len(real)
    assert 0 < copies <= len(normal)
    classes = one.rule.of_samples(both).tolist()
    assert classes[: len(real)] == one.rule.of_samples(real).tolist()
    assert classes[len(real) :] == [ABNORMAL] * copies
    patients = {place.patient for place in normal + abnormal}
    assert not patients & set(done["arms"]["real"]["patients"])
    assert len(one.samples("gan", 0)) > len(real) == len(labelled(one.store, "train", one.data)[1])
    with pytest.raises(SettingsError, match="a synthetic set named copies"):
        classify(root / "raw", root / "out", synthetic={"copies": root / "made"})


def test_a_set_that_test_patients_had_a_part_in_is_refused_before_anything_is_trained(
    root, tmp_path
):
    asked = {"synthetic": {"gan": root / "made"}, "sets": TINY}
    with pytest.raises(DataError, match="whom it learned from is not known"):
        classify(root / "raw", tmp_path / "a", data_sets=DATA, **asked)
    ours = Store.open(root / "store")
    learned = sorted({ours.cases[name].patient for name in ours.names("train")})
    # Where the split is another one, somebody whom the generator learned from is tested on.
    turned = [*DATA, "data.split=0.25,0,0.75"]
    with pytest.raises(DataError, match=r"learned from 1 patient\(s\) that the study tests on"):
        classify(root / "raw", tmp_path / "b", data_sets=turned, runs=[root / "run"], **asked)
    with pytest.raises(DataError, match=rf"{learned[0]} among them|{learned[1]} among them"):
        classify(root / "raw", tmp_path / "c", data_sets=turned, learned=learned, **asked)
    assert not any((tmp_path / name / "classifiers").exists() for name in "abc")


def test_slices_too_small_for_the_network_are_refused_before_they_are_made(root, tmp_path):
    with pytest.raises(
        SettingsError, match=r"numbers\.network: found alexnet for slices of 32 x 32 .* 63 a side"
    ):
        classify(root / "raw", tmp_path / "out", data_sets=DATA, sets=["numbers.network=alexnet"])
    assert not (tmp_path / "out").exists()


def test_a_word_for_one_set_does_not_hide_what_another_tells(root, tmp_path):
    """Of a set whose generator is known it is looked at all the same."""
    theirs = shutil.copytree(root / "made", tmp_path / "theirs")
    (theirs / "provenance.jsonl").unlink()
    sets = {"theirs": theirs, "gan": root / "made"}
    turned = [*DATA, "data.split=0.25,0,0.75"]
    with pytest.raises(DataError, match=r"made: its generator learned from 1 patient\(s\)"):
        classify(
            root / "raw", tmp_path / "out", synthetic=sets, data_sets=turned, sets=TINY,
            runs=[root / "run"], learned=["nobody"],
        )  # fmt: skip


def test_a_set_of_more_patients_than_real_slices_are_learned_from_is_refused(root, tmp_path):
    fewer = [*DATA, "data.patients=1"]
    with pytest.raises(DataError, match=r"1 patient\(s\) of the data had a part in it whom"):
        classify(
            root / "raw", tmp_path / "out", synthetic={"gan": root / "made"}, data_sets=fewer,
            sets=TINY, runs=[root / "run"],
        )  # fmt: skip


def test_synthetic_cases_without_a_label_file_are_told_and_a_set_of_these_is_refused(
    root, done, tmp_path
):
    assert done["sets without labels"] == {"gan": []}
    made = shutil.copytree(root / "made", tmp_path / "made")
    labels = sorted((made / "labelsTr").iterdir())
    asked = {"synthetic": {"gan": made}, "data_sets": DATA, "sets": TINY, "runs": [root / "run"]}
    labels[0].unlink()
    found = classify(root / "raw", tmp_path / "one", seeds=(0,), **asked)
    left_out = labels[0].name.partition(".")[0]
    assert found["sets without labels"] == {"gan": [left_out]}
    told = f"Left out of gan: 1 case(s) without a label file, {left_out} among them."
    assert told in as_markdown(found)
    for path in labels[1:]:
        path.unlink()
    with pytest.raises(DataError, match="made: no labelled slice, expected some"):
        classify(root / "raw", tmp_path / "none", seeds=(0,), **asked)


def test_scans_without_a_label_file_are_left_out_and_named(root, done, tmp_path):
    shutil.copytree(root / "raw", tmp_path / "raw")
    store = Store.open(root / "out" / "store")
    silent = store.names("train")[0]
    (tmp_path / "raw" / silent / f"{silent}_seg.nii.gz").unlink()
    found = classify(tmp_path / "raw", tmp_path / "out", seeds=(0,), data_sets=DATA, sets=TINY)
    assert found["without labels"] == [silent]
    assert found["train patients"] == 1
    assert f"Left out, without a label file: {silent}." in as_markdown(found)


def test_parts_are_read_one_after_the_other():
    parts = [[np.array([n]) for n in part] for part in ((0, 1), (), (2,))]
    joined = Joined(parts)
    assert [int(one[0]) for one in joined] == [0, 1, 2]
    assert len(joined) == 3


def test_the_command_says_what_it_found(root, tmp_path):
    words = ["classify", str(root / "raw"), "--out", str(tmp_path / "out"), "--seeds", "1"]
    for word in DATA:
        words += ["--data-set", word]
    for word in TINY:
        words += ["--set", word]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "| learned from | accuracy | precision | recall | f1 | auc |" in result.output
    assert json.loads((tmp_path / "out" / "results.json").read_text())["above"] == {}
    wrong = CliRunner().invoke(app, [*words, "--synthetic", "made"])
    assert isinstance(wrong.exception, SettingsError)
    assert "expected NAME=DIR" in str(wrong.exception)


def test_the_page_says_of_what_differences_are_and_has_none_of_numbers_that_are_not_there():
    """Precision is missing of the averaged probabilities, not of each seed's, in which it is."""
    known = {"value": 0.5, "interval": None}
    slices = dict.fromkeys(("accuracy", "precision", "recall", "f1", "auc"), known)
    arm = {
        "patients": {"ann": {"slices": 2, "abnormal": 1}},
        "slices": {**slices, "precision": {"value": None, "interval": None}},
        "whole_patients": slices,
        "unclear_patients": 0,
    }
    above = {key: {"mean": 0.0, "interval": [0.0, 0.0]} for key in slices}
    result = {
        "arms": {"real": arm, "real + gan": arm},
        "above": {"real + gan": {**above, "auc": {"mean": 0.125, "interval": None}}},
        "lesion": ["tumour"],
        "least pixels": 4,
        "train patients": 2,
        "without labels": [],
        "sets without labels": {},
        "seeds": [0, 1],
    }
    text = as_markdown(result).partition("**Slices, above real, paired by patient and seed**")[2]
    assert "taken seed by seed" in text
    assert "| learned from | accuracy | precision | recall | f1 | auc |" in text
    none = "0.000 (0.000 to 0.000)"
    assert f"| real + gan | {none} | - | {none} | {none} | 0.125 |" in text
    assert "taken seed by seed" not in as_markdown({**result, "seeds": [0]})
    # Where no lesion could be copied, it is said; without sets there is nothing to stand beside.
    alone = as_markdown({**result, "sets without labels": {"gan": []}})
    assert "real + copies is missing: no lesion fits another training patient's slice." in alone
    assert "is missing" not in as_markdown(result)
