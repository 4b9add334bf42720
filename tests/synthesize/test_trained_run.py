"""From a run folder on disk, with the methods that users train."""

import json

import nibabel as nib
import numpy as np
import pytest

from scansmith import workflow
from scansmith.scan import DataError, RunError
from scansmith.synthesize.make import synthesize

SMALL = {
    "magan": ("data.size=32,32", "method.base=2", "method.critic_crop=0"),
    "heart-gan": ("data.size=16,16", "data.intensity=window", "method.base=2", "method.patch=4"),
}


@pytest.fixture(scope="module", params=list(SMALL))
def run(request, parts, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param)
    raw = parts.write_liver(root / "raw", cases=5)
    sets = (*SMALL[request.param], "train.steps=1", "train.batch=1", "train.sample_at=")
    store = workflow.prepare(raw, root / "store", request.param, sets=sets, workers=1)
    return workflow.train(request.param, store.path, root / "run", sets=sets)


def test_a_trained_run_makes_a_marked_data_set(run, tmp_path):
    out = synthesize(run, tmp_path / "out", cases=2, seed=3, device="cpu")
    rows = [json.loads(line) for line in (out / "provenance.jsonl").read_text().splitlines()]
    loaded = workflow.load_run(run)
    assert [row["case"] for row in rows] == ["synth_000000", "synth_000001"]
    assert {row["weights"] for row in rows} == {loaded.fingerprint}
    assert {row["run"] for row in rows} == {"run"}
    for row in rows:
        image = nib.load(out / f"imagesTr/{row['case']}_0000.nii.gz")
        labels = nib.load(out / f"labelsTr/{row['case']}.nii.gz")
        assert np.isfinite(image.get_fdata()).all()
        np.testing.assert_array_equal(image.affine, labels.affine)
    card = (out / "README.md").read_text()
    assert loaded.method.title in card
    assert loaded.method.paper in card


def test_a_store_that_changed_since_the_training_is_refused(run, tmp_path):
    record = json.loads((run / "run.json").read_text())
    facts = record["facts"] | {"fingerprint": "of another store"}
    changed = tmp_path / "run"
    changed.mkdir()
    (changed / "run.json").write_text(json.dumps(record | {"facts": facts}))
    (changed / "checkpoints").symlink_to(run / "checkpoints")
    with pytest.raises((DataError, RunError), match="not the store that"):
        synthesize(changed, tmp_path / "out", cases=1, seed=0, device="cpu")
    # The same store named by the user is taken: it fits the method.
    synthesize(changed, tmp_path / "out", cases=1, seed=0, source=record["store"], device="cpu")


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"no run\.json here"):
        synthesize(tmp_path, tmp_path / "out", cases=1, seed=0)
