"""Studies of healed slices whose generators failed under a seed: whose results are whose."""

from __future__ import annotations

import json
from functools import partial

import pytest

from scansmith.data.phantom import write_phantoms
from scansmith.scan import RunError
from scansmith.studies import place
from scansmith.studies.run import run_study
from scansmith.studies.spec import Analysis, DataPart, Generator

BRAIN = {
    "data.size": [32, 32], "data.split": [0.5, 0, 0.5], "data.min_pixels": 4,
    "data.modality": "flair",
}  # fmt: skip
HEALER = {"method.base": 4, "method.critic_base": 4, "method.blocks": 1, "train.steps": 1}
SEGMENTERS = {"steps": 1, "batch": 2, "numbers": {"base": 2, "depth": 1, "threads": 1}}


def analysis(folds, *names):
    """Table V in small, by ANT-GANs of these names."""
    return Analysis(
        title="?",
        analysis="healed-channel",
        data=DataPart(method="ant-gan", sets=BRAIN),
        options={"folds": folds, "segmenters": SEGMENTERS},
        generators={name: Generator(method="ant-gan", sets=HEALER) for name in names},
    )


@pytest.fixture(scope="module")
def brains(tmp_path_factory):
    root = tmp_path_factory.mktemp("healed-kinds")
    write_phantoms(root / "raw", "brain", 4, 3, (32, 32, 12))
    return root / "raw"


@pytest.fixture
def failing(monkeypatch):
    """Lets trainings of these runs fail until it is called again."""
    learn = place.train

    def fail(*runs):
        def attempt(method, store, run, **options):
            if run.name in runs:
                raise RunError("the GPU is full")
            return learn(method, store, run, **options)

        monkeypatch.setattr(place, "train", attempt)

    return fail


@pytest.mark.parametrize("folds", [1, 2])
def test_a_seed_that_failed_leaves_a_gap_and_is_done_later(brains, tmp_path, failing, folds):
    again = partial(run_study, analysis(folds, "ant-gan"), brains, tmp_path, seeds=(0, 1))
    failing("ant-gan-seed0")
    first = again(tell=lambda line: None)
    assert first["problems"] == ["ant-gan, seed 0: the GPU is full"]
    assert first["found"]["all"]["seeds"] == [1]
    text = (tmp_path / "results.md").read_text()
    assert "seeds 1. Mean Dice" in text
    # The store's split has nothing to say where everybody is tested on in one of two folds.
    counts = "2 test patients, 2 to learn from, seeds 0, 1. Intervals"
    assert (counts in text) == (folds == 1)
    assert ("\nSeeds 0, 1. Intervals" in text) == (folds == 2)
    assert first["test patients"] == (2 if folds == 1 else None)
    cells = tmp_path / "cross-validation" / "cells"
    kept = {path: path.stat().st_mtime_ns for path in cells.iterdir()}
    assert len(kept) == folds * 2  # two arms in each fold
    assert all(path.stem.endswith("seed1") for path in kept)
    failing()
    whole = again()
    assert whole["problems"] == []
    assert whole["found"]["all"]["seeds"] == [0, 1]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    rows = (tmp_path / "cross-validation" / "patients.csv").read_text().splitlines()[1:]
    assert {row.split(",")[1] for row in rows} == {"0", "1"}


def test_generators_are_compared_under_the_seeds_that_all_of_them_have(brains, tmp_path, failing):
    again = partial(run_study, analysis(1, "a", "b"), brains, tmp_path, tell=lambda line: None)
    failing("a-seed0", "b-seed2")
    with pytest.raises(RunError, match=r"under the seeds a 2; b 0, expected one seed that all"):
        again(seeds=(0, 2))
    found = again(seeds=(0, 1, 2))
    assert found["found"]["all"]["seeds"] == [1]
    assert found["problems"][2:] == [
        "seeds 0, 2: left out of the tables, which compare all generators under the same seeds. "
        "The same command goes on with them."
    ]


def test_an_ant_gan_of_a_fold_has_the_given_settings_and_its_own_seed(brains, tmp_path):
    run_study(analysis(2, "ant-gan"), brains, tmp_path, seeds=(5,))
    done = tmp_path / "cross-validation" / "folds" / "fold1" / "ant-gan-seed5.json"
    record = json.loads(done.read_text())
    assert [word for word in record["sets"] if word.startswith("train.seed=")] == ["train.seed=5"]
    assert "method.base=4" in record["sets"]
    # Folders that were begun when the given run's seed stood there as well are gone on with.
    record["sets"].insert(0, "train.seed=0")
    done.write_text(json.dumps(record))
    run_study(analysis(2, "ant-gan"), brains, tmp_path, seeds=(5,))
    record["sets"].append("train.steps=7")
    done.write_text(json.dumps(record))
    with pytest.raises(RunError, match="an ANT-GAN of other settings"):
        run_study(analysis(2, "ant-gan"), brains, tmp_path, seeds=(5,), tell=lambda line: None)


def test_the_fakes_of_a_seed_that_failed_are_made_later(brains, tmp_path, failing):
    """Table VII has all its repeats under each seed that is there: 1 alone, then 0 and 1."""
    net = {"width": 0.02, "threads": 1}
    classifiers = {
        **{"channel": net, "fakes": net, "fakes_steps": 1},
        **{"batch": 2, "slices": 2, "repeats": 2},
    }
    data = {**BRAIN, "data.min_foreground": 0.05, "data.size": [64, 64]}
    spec = Analysis(
        title="?",
        analysis="lesion-classification",
        data=DataPart(method="ant-gan", sets=data),
        options={"folds": 1, "questions": ["fakes"], "classifiers": classifiers},
        generators={"ant-gan": Generator(method="ant-gan", sets=HEALER)},
    )
    again = partial(run_study, spec, brains, tmp_path, seeds=(0, 1), tell=lambda line: None)
    failing("ant-gan-seed0")
    first = again()["found"]["all"]
    assert first["seeds"] == [1]
    assert first["fakes"]["trainings"] == 2
    cells = tmp_path / "cross-validation" / "cells"
    kept = {path: path.stat().st_mtime_ns for path in cells.iterdir()}
    assert all("-seed1-repeat" in path.name for path in kept)
    failing()
    whole = again()["found"]["all"]
    assert whole["seeds"] == [0, 1]
    assert whole["fakes"]["trainings"] == 4
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    made = {path.name for path in cells.iterdir()} - {path.name for path in kept}
    assert {f"fakes-real-ant-gan-seed0-repeat{n}.json" for n in (0, 1)} <= made
