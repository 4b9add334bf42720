"""The verbs together, on a tiny data set: prepare, train, load."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch

from scansmith.data.phantom import write_phantoms
from scansmith.data.store import Store
from scansmith.methods.mm_gan import MmGan
from scansmith.scan import Batch, RunError, SettingsError
from scansmith.workflow import load_run, method_settings, prepare, train

SIZE = ["data.size=32,32", "data.seed=3", "data.split=0.8,0,0.2"]
SHORT = ["train.steps=2", "train.checkpoint_every=1", "method.base=4", "method.critic_crop=0"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workflow")
    write_phantoms(folder / "liver", "liver", 5, 0, (48, 48, 12))
    return prepare(folder / "liver", folder / "store", "magan", sets=SIZE).path


@pytest.fixture(scope="module")
def run(store, tmp_path_factory):
    return train("magan", store, tmp_path_factory.mktemp("run") / "run", sets=SHORT)


def test_training_takes_the_data_settings_of_the_store(run):
    settings = json.loads((run / "run.json").read_text())["settings"]
    assert settings["data"]["size"] == [32, 32]
    assert settings["data"]["seed"] == 3


def test_training_knows_the_spacing_of_the_samples(store, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(
        "scansmith.workflow.fit", lambda *_, spacing_mm, **__: told.append(spacing_mm)
    )
    opened = Store.open(store)
    train("magan", store, tmp_path / "run", sets=SHORT)
    assert told == [opened.spacing_mm]
    assert opened.spacing_mm[0] > 0


@pytest.fixture(scope="module")
def brains(tmp_path_factory):
    folder = tmp_path_factory.mktemp("brains")
    write_phantoms(folder / "raw", "brain", 3, 1, (24, 24, 20))
    sets = ["data.size=16,16,16", "data.modality=t1,flair", "data.split=0.7,0,0.3"]
    return prepare(folder / "raw", folder / "store", "mm-gan", preset="paper", sets=sets, workers=1)


BRAINS = ["method.base=2", "method.base_critic=2", "train.threads=1", "train.sample_at="]


def test_mm_gan_learns_from_maps_without_context_in_the_air_when_volumes_are_changed(
    brains, tmp_path, monkeypatch
):
    clean, seen = {0: set(), 1: set()}, {0: set(), 1: set()}
    play = MmGan.play

    def maps(game, batch, found):
        scene = play(game, batch)
        for place in found:
            found[place] |= {map.numpy().tobytes() for map in scene[f"labels.{place}"]}
        return scene

    changed = ["moved=0", "flips=1", "gain=0.2", "offset=0.2", "noise=0.1"]
    changed = [f"train.augment.{word}" for word in changed]
    for name, sets, found in (("plain", [], clean), ("changed", changed, seen)):
        monkeypatch.setattr(MmGan, "play", lambda *given, found=found: maps(*given, found))
        sets = [*BRAINS, "train.steps=6", *sets]
        train("mm-gan", brains.path, tmp_path / name, preset="paper", sets=sets)
    for place in (0, 1):
        shape = (16, 16, 16)
        plain = [np.frombuffer(map, np.uint8).reshape(shape) for map in clean[place]]
        mirrored = {np.ascontiguousarray(map[:, ::-1]).tobytes() for map in plain}
        assert seen[place] <= clean[place] | mirrored
        assert seen[place] & mirrored - clean[place]


def test_structures_named_by_their_side_are_not_mirrored(tmp_path):
    raw = write_phantoms(tmp_path / "raw", "liver", 3, 1, (24, 24, 20))
    names = raw / "dataset.json"
    named = json.loads(names.read_text())
    named["labels"] = {f"left {k}" if v else k: v for k, v in named["labels"].items()}
    names.write_text(json.dumps(named))
    sets = ["data.size=16,16,16", "data.split=0.7,0,0.3"]
    store = prepare(raw, tmp_path / "store", "mm-gan", preset="paper", sets=sets, workers=1)
    mirrored = [*BRAINS, "train.steps=1", "train.augment.flips=0,2"]
    with pytest.raises(SettingsError, match=r"augment\.flips: found axis 2, .*: left "):
        train("mm-gan", store.path, tmp_path / "run", preset="paper", sets=mirrored)
    assert not (tmp_path / "run").exists()


def test_a_data_setting_that_contradicts_the_store_is_refused(store, tmp_path):
    with pytest.raises(SettingsError, match=r"data\.size: found \[64, 64\].*\[32, 32\]"):
        train("magan", store, tmp_path / "run", sets=[*SHORT, "data.size=64,64"])
    assert not (tmp_path / "run").exists()


def test_a_data_setting_that_agrees_with_the_store_is_welcome(store, tmp_path):
    train("magan", store, tmp_path / "run", sets=[*SHORT, "data.size=32,32"])


def test_a_store_of_another_method_is_refused(store, tmp_path):
    with pytest.raises(SettingsError, match="prepared for magan, not for heart-gan"):
        train("heart-gan", store, tmp_path / "run")


def test_a_validation_patient_without_lesion_is_told_and_training_goes_on(tmp_path):
    write_phantoms(tmp_path / "liver", "liver", 6, 0, (48, 48, 12))
    labels = sorted((tmp_path / "liver" / "labelsTr").glob("*.nii.gz"))
    sets = ["data.size=32,32", "data.split=0.6,0.2,0.2"]
    store = prepare(tmp_path / "liver", tmp_path / "first", "magan", sets=sets)
    (healthy,) = store.names("validation")
    path = next(path for path in labels if path.name.startswith(healthy))
    image = nib.load(path)
    values = np.minimum(np.asarray(image.dataobj), 1)
    nib.save(nib.Nifti1Image(values, image.affine), path)
    store = prepare(tmp_path / "liver", tmp_path / "second", "magan", sets=sets)
    assert store.names("validation") == (healthy,)
    told = []
    run = train(
        "magan",
        store.path,
        tmp_path / "run",
        sets=SHORT,
        progress=lambda done, total, text: told.append(text),
    )
    assert told[0].startswith("no validation:")
    record = json.loads((run / "run.json").read_text())
    assert "has a sample with tumour" in record["validation"]
    assert "validation" not in (run / "log.jsonl").read_text()


def test_a_folder_with_something_else_in_it_is_refused(store):
    with pytest.raises(RunError, match="expected a new or empty folder"):
        train("magan", store, store, sets=SHORT)
    assert not (store / "run.json").exists()


def test_an_unknown_preset_is_refused_with_the_names_there_are():
    with pytest.raises(SettingsError, match="cpu"):
        method_settings("magan", preset="gpu")


def test_a_loaded_run_paints_the_same_each_time(run):
    labels = torch.zeros(1, 32, 32, dtype=torch.long)
    labels[0, 10:16, 10:16] = 2
    source = Batch(torch.zeros(1, 1, 32, 32), labels)
    made = []
    for _ in range(2):
        loaded = load_run(run)
        assert not loaded.method.training
        with torch.no_grad():
            made.append(loaded.method.make(source, torch.Generator().manual_seed(0)).numpy())
    np.testing.assert_array_equal(*made)
    assert made[0].any()


def test_runs_are_told_apart_by_their_weights(run, store, tmp_path):
    other = train("magan", store, tmp_path / "run", sets=[*SHORT, "train.seed=1"])
    assert load_run(run).fingerprint == load_run(run).fingerprint
    assert load_run(run).fingerprint != load_run(other).fingerprint


@pytest.mark.parametrize(
    ("text", "match"),
    [("{", "not valid JSON"), ("[]", "found a list"), ('{"method": "magan"}', "not a run")],
)
def test_a_crafted_run_record_is_refused(tmp_path, text, match):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match=match):
        load_run(tmp_path)


def test_weights_of_other_settings_are_refused(run, tmp_path):
    record = json.loads((run / "run.json").read_text())
    record["settings"]["method"]["base"] = 8
    changed = tmp_path / "run"
    shutil.copytree(run / "checkpoints", changed / "checkpoints")
    (changed / "run.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match="does not fit"):
        load_run(changed)
