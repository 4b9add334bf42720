"""Methods with several tasks, and methods that make the labels themselves, on disk."""

import json

import nibabel as nib
import numpy as np
import pytest

from scansmith import workflow
from scansmith.data.layouts import find_layout
from scansmith.data.store import Store
from scansmith.scan import RunError, SettingsError
from scansmith.synthesize.make import synthesize

TINY = (
    "data.size=16,16", "data.lesion=tumour", "data.organ=liver", "data.min_pixels=2",
    "method.base=2", "method.critic_base=2", "method.blocks=1", "method.threshold=0.01",
    "method.least_piece=1", "train.steps=1", "train.batch=1", "train.sample_at=",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(parts, tmp_path_factory):
    root = tmp_path_factory.mktemp("ant")
    raw = parts.write_liver(root / "raw", cases=5, healthy=2)
    workflow.prepare(raw, root / "store", "ant-gan", sets=TINY, workers=1)
    return workflow.train("ant-gan", root / "store", root / "run", sets=TINY)


def rows(out):
    return [json.loads(line) for line in (out / "provenance.jsonl").read_text().splitlines()]


def test_single_normal_slices_get_lesions_and_the_labels_say_where(run, tmp_path):
    out = synthesize(run, tmp_path / "out", cases=4, seed=1, device="cpu")
    store = Store.open(run.parent / "store")
    for row in rows(out):
        labels = nib.load(out / f"labelsTr/{row['case']}.nii.gz")
        image = nib.load(out / f"imagesTr/{row['case']}_0000.nii.gz")
        assert labels.shape[2] == image.shape[2] == 1
        real = store.sample(row["source_case"], row["source_sample"])[1]
        assert not (real == 2).any()  # a normal slice
        assert set(np.unique(labels.dataobj)) <= {0, 1, 2}
    drawn = [nib.load(path).get_fdata() for path in sorted((out / "labelsTr").iterdir())]
    assert any((labels == 2).any() for labels in drawn)
    assert "The method made image and labels" in (out / "README.md").read_text()


def test_whole_cases_are_healed_and_their_lesion_labels_go(run, tmp_path):
    out = synthesize(run, tmp_path / "out", cases=2, seed=1, task="heal", device="cpu")
    for row in rows(out):
        store = Store.open(run.parent / "store")
        labels = np.asarray(nib.load(out / f"labelsTr/{row['case']}.nii.gz").dataobj)
        assert labels.shape[2] == store.cases[row["source_case"]].samples
        assert set(np.unique(labels)) == {0, 1}
    with pytest.raises(SettingsError, match="ant-gan has heal"):
        synthesize(run, tmp_path / "other", cases=2, seed=1, task="hael", device="cpu")


@pytest.mark.parametrize("layout", ["nnunet", "slices"])
def test_slices_made_again_one_by_one_stay_of_one_patient(run, tmp_path, layout):
    """Each is a case, liver_000_003: readers of slices tell the patient from that, others not."""
    order = {"cases": None, "seed": 1, "edit": False, "layout": layout, "device": "cpu"}
    out = synthesize(run, tmp_path / "out", **order)
    found = find_layout(out).cases
    store = Store.open(run.parent / "store")
    whose = {row["case"]: store.cases[row["source_case"]].patient for row in rows(out)}
    assert len(set(whose.values())) < len(whose)
    assert {files.case: files.patient for files in found} == whose
    assert (out / "patients.json").exists() == (layout == "nnunet")


def test_a_set_begun_with_one_task_is_not_gone_on_with_as_another(run, tmp_path):
    out = synthesize(run, tmp_path / "out", cases=1, seed=1, task="heal", device="cpu")
    with pytest.raises(RunError, match="was begun with"):
        synthesize(run, out, cases=1, seed=1, resume=True, device="cpu")
