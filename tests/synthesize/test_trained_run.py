"""From a run folder on disk, with the methods that users train."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from scansmith import workflow
from scansmith.data.store import Store
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
    shutil.copytree(run / "checkpoints", changed / "checkpoints")
    with pytest.raises((DataError, RunError), match="not the store that"):
        synthesize(changed, tmp_path / "out", cases=1, seed=0, device="cpu")
    # The same store named by the user is taken: it fits the method.
    synthesize(changed, tmp_path / "out", cases=1, seed=0, source=record["store"], device="cpu")


def test_source_patients_who_were_held_out_of_the_training_are_told(run, parts, tmp_path):
    """Five patients prepared anew with another seed of the split, and two that nobody has seen."""
    record = json.loads((run / "run.json").read_text())
    sets = [*SMALL[record["method"]], "data.split=1,0,0"]
    raw = parts.write_liver(tmp_path / "raw", cases=7)
    store = workflow.prepare(raw, tmp_path / "other", record["method"], sets=sets, workers=1)
    trained = {case.case: case.split for case in Store.open(record["store"]).cases.values()}
    held_out = [case for case, split in trained.items() if split != "train"]
    out = synthesize(
        run, tmp_path / "out", cases=None, seed=0, source=store.path, edit=False, device="cpu"
    )
    rows = [json.loads(line) for line in (out / "provenance.jsonl").read_text().splitlines()]
    expected = {f"liver_{n:03}": trained.get(f"liver_{n:03}", "none") for n in range(7)}
    assert {row["source_case"]: row["source_split"] for row in rows} == expected
    card = (out / "README.md").read_text()
    n = len(held_out)
    assert f"**{n} of 7 cases are drawn from patients who were held out" in card
    assert f"(real cases used: {n};" in card
    assert "2 of 7 cases are drawn from patients whose names the" in card

    own = synthesize(run, tmp_path / "own", cases=2, seed=0, device="cpu")
    assert (
        "All source cases are of patients in the run's training split."
        in (own / "README.md").read_text()
    )


def test_what_is_not_known_of_the_source_patients_is_told(run, parts, tmp_path):
    record = json.loads((run / "run.json").read_text())
    alone = tmp_path / "run"
    alone.mkdir()
    (alone / "run.json").write_text(json.dumps(record | {"store": str(tmp_path / "gone")}))
    shutil.copytree(run / "checkpoints", alone / "checkpoints")
    out = synthesize(
        alone, tmp_path / "out", cases=2, seed=0, source=record["store"], edit=False, device="cpu"
    )
    # The store that is named has the run's fingerprint: so it is known after all.
    assert "All source cases are of patients in the run's" in (out / "README.md").read_text()
    sets = [*SMALL[record["method"]], "data.split=1,0,0"]
    raw = parts.write_liver(tmp_path / "raw", cases=3)
    other = workflow.prepare(raw, tmp_path / "other", record["method"], sets=sets, workers=1)
    out = synthesize(
        alone, tmp_path / "more", cases=2, seed=0, source=other.path, edit=False, device="cpu"
    )
    assert (
        "Whether 2 of 2 cases are drawn from patients who were" in (out / "README.md").read_text()
    )


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"no run\.json here"):
        synthesize(tmp_path, tmp_path / "out", cases=1, seed=0)
