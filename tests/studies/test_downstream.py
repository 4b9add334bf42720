"""Downstream studies: what arms cost, who is learned from, what is kept, what the answer says."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from typer.testing import CliRunner

from scansmith.apps.cli import app
from scansmith.data.phantom import write_phantoms
from scansmith.evaluate.overlap import dice
from scansmith.labels.table import KNOWN
from scansmith.scan import DataError, RunError, ScansmithError, SettingsError
from scansmith.studies import downstream
from scansmith.studies.carve_mix import CarveMix
from scansmith.studies.downstream import Downstream, Place, run_cells
from scansmith.studies.downstream_report import as_markdown, save_plot, summarise, verdict
from scansmith.studies.judge import Judging
from scansmith.studies.run import run_study
from scansmith.studies.spec import (
    LABEL_DICE,
    LABEL_MSE,
    Analysis,
    Arm,
    DataPart,
    Generator,
    OnDisk,
    Published,
    Segmenters,
    Spec,
    find_spec,
)
from scansmith.studies.tables import cell as written
from scansmith.synthesize.make import synthesize

TINY = """
title: Do hearts help?
item: nowhere, Table 0
about: Tiny.
data:
  method: heart-gan
  sets: {data.size: [32, 32], data.intensity: minmax, data.split: [0.5, 0, 0.5], method.patch: 4}
generators:
  gan: {method: heart-gan, sets: {method.base: 4, method.patch: 4, train.steps: 1}}
arms:
  real: {}
  both: {synthetic: 1, by: gan}
  means: {real: 0, synthetic: 0.5, by: class-means}
  half: {real: 0.5, enhanced: 0.5, augment: false}
segmenters:
  steps: 2
  batch: 2
  numbers: {base: 2, depth: 1, threads: 1}
published:
  data: none
  measure: Dice
  arms: {both: {mean: 0.5}}
  sd: {both: {mean: 0.1}}
"""


@pytest.fixture(scope="module")
def hearts(tmp_path_factory):
    root = tmp_path_factory.mktemp("downstream")
    write_phantoms(root / "raw", "heart", 4, 1, (32, 32, 8))
    (root / "tiny.yaml").write_text(TINY)
    return root


@pytest.fixture(scope="module")
def done(hearts):
    return run_study(str(hearts / "tiny.yaml"), hearts / "raw", hearts / "out", seeds=(0, 1))


def test_a_study_leaves_its_answer_and_every_patient_s_score(hearts, done):
    out = hearts / "out"
    assert done["problems"] == []
    assert json.loads((out / "results.json").read_text())["arms"].keys() == done["arms"].keys()
    rows = list(csv.DictReader((out / "patients.csv").read_text().splitlines()))
    assert {row["arm"] for row in rows} == {"real", "both", "means", "half"}
    test = {row["patient"] for row in rows}
    assert len(rows) == 4 * 2 * len(test)  # four arms, two seeds, a scan for each patient
    place = Place(find_spec(str(hearts / "tiny.yaml")), hearts / "raw", out)
    learned = {case.patient for case in Downstream(place, 0).real}
    assert learned
    assert not learned & test
    text = (out / "results.md").read_text()
    assert "nowhere, Table 0, as published. Other data (none): Dice." in text
    assert (out / "results.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_finished_is_not_done_again(hearts, done):
    cells = sorted((hearts / "out" / "cells").glob("*.json"))
    assert len(cells) == 8
    before = [path.stat().st_mtime_ns for path in cells]
    cells[0].unlink()  # one is missing: it alone is done
    again = run_study(
        str(hearts / "tiny.yaml"), hearts / "raw", hearts / "out", seeds=(0, 1), jobs=2
    )
    assert [path.stat().st_mtime_ns for path in cells[1:]] == before[1:]
    assert again == done


@contextmanager
def noted(title, file):
    """A watch that writes what it is told; picklable with its file bound, as processes ask."""

    def advance(done, total, text=""):
        with file.open("a") as lines:
            lines.write(f"{title}: {done}/{total}\n")

    yield advance


@pytest.mark.parametrize("jobs", [1, 2])
def test_who_waits_is_told_how_far_everything_is(hearts, tmp_path, jobs):
    spec = find_spec(str(hearts / "tiny.yaml"))
    arms = {name: spec.arms[name] for name in ("real", "both")}
    spec = spec.model_copy(update={"arms": arms, "published": Published()})
    told, seen = [], tmp_path / "seen"
    run_study(
        spec, hearts / "raw", tmp_path / "out", seeds=(0, 1), jobs=jobs,
        judging=None if jobs == 2 else Judging(cases=2, steps=2),
        tell=told.append, watch=partial(noted, file=seen),
    )  # fmt: skip
    assert told == ["4 cell(s) to train: 2 arm(s) under 2 seed(s)"]
    lines = seen.read_text().splitlines()
    steps = spec.segmenters.steps
    patients = len(Downstream(Place(spec, hearts / "raw", tmp_path / "out"), 0).real)
    for seed in (0, 1):
        shown = [line for line in lines if line.startswith(f"real, seed {seed}: ")]
        assert shown == [f"real, seed {seed}: {n + 1}/{steps}" for n in range(steps)]
        assert any(line.startswith(f"both, seed {seed}: ") for line in lines)
        made = [line for line in lines if line.startswith(f"gan, seed {seed}, samples: ")]
        assert made == [f"gan, seed {seed}, samples: {n + 1}/{patients}" for n in range(patients)]
    titles = {line.rpartition(": ")[0] for line in lines}
    judged = {f"gan, seed 0, {what}" for what in ("synthesize", "evaluate", "audit")}
    assert titles & judged == (set() if jobs == 2 else judged)
    assert {"prepare", "gan, seed 0", "gan, seed 1"} <= titles
    again = []
    run_study(spec, hearts / "raw", tmp_path / "out", seeds=(0, 1), tell=again.append)
    assert again == ["4 cell(s) to train, 4 of them done before: 2 arm(s) under 2 seed(s)"]


def test_a_cell_that_fails_is_told_and_the_others_are_done(hearts, tmp_path, monkeypatch):
    """Whether copies can be pasted depends on what patients show, which is found out then."""
    spec = find_spec(str(hearts / "tiny.yaml"))
    arms = {"real": Arm(), "copied": Arm(synthetic=1, by="copy-paste")}
    spec = spec.model_copy(update={"arms": arms, "lesion": ("aorta",), "published": Published()})

    def nobody(*args, **options):
        raise DataError("copy-paste: found 1 patients, expected two. Add patients.")

    monkeypatch.setattr(CarveMix, "cases", nobody)
    told = []
    found = run_study(spec, hearts / "raw", tmp_path / "out", seeds=(0,), tell=told.append)
    assert found["arms"]["real"]["dice"]["mean"]["mean"] is not None
    assert found["arms"]["copied"] == {"dice": None, "failed": 1}
    assert told[0] == "2 cell(s) to train: 2 arm(s) under 1 seed(s)"
    assert told[1:] == found["problems"]
    assert told[1].startswith("copied, seed 0: copy-paste: found 1 patients")
    assert "Not done:" in (tmp_path / "out" / "results.md").read_text()


def test_a_fault_that_is_nobody_s_mistake_costs_its_own_cell_alone(hearts, tmp_path, monkeypatch):
    """A GPU that is full is no error of this package: PyTorch raises a RuntimeError."""
    spec = find_spec(str(hearts / "tiny.yaml"))
    arms = {"big": Arm(real=0.5), "real": Arm()}
    spec = spec.model_copy(update={"arms": arms, "published": Published()})
    learn = downstream.train_segmenter

    def full(*args, **options):
        if "big" in str(options["run"]):
            raise RuntimeError("CUDA out of memory")
        return learn(*args, **options)

    monkeypatch.setattr(downstream, "train_segmenter", full)
    found = run_study(spec, hearts / "raw", tmp_path, seeds=(0,), tell=lambda line: None)
    assert found["problems"] == ["big, seed 0: RuntimeError: CUDA out of memory"]
    assert found["arms"]["real"]["dice"]["mean"]["mean"] is not None
    assert (tmp_path / "report.html").is_file()


def test_published_numbers_are_of_arms_that_there_are():
    with pytest.raises(
        ValueError, match=r"published\.arms: found 'reel', expected one of the arms"
    ):
        Spec(arms={"real": Arm()}, published=Published(arms={"reel": {"mean": 0.5}}))
    with pytest.raises(
        ValueError, match=r"published\.sd\.real: found 'mean', expected measures of"
    ):
        Spec(arms={"real": Arm()}, published=Published(sd={"real": {"mean": 0.5}}))


def test_the_paper_s_numbers_stand_beside_ours_with_the_spread_of_seeds(hearts, done):
    text = (hearts / "out" / "results.md").read_text()
    ours = done["arms"]["both"]
    mean = written(ours["dice"]["mean"])
    assert f"|  | mean, paper | mean, here |\n|---|---|---|\n| both | 0.5 ± 0.1 | {mean} |" in text
    one, other = ours["each seed"]
    assert ours["sd over seeds"] == pytest.approx(abs(one - other) / np.sqrt(2))  # of two values
    assert f"| {one:.3f}, {other:.3f} | {ours['sd over seeds']:.3f} |" in text


def test_a_folder_of_another_study_is_refused_and_stays_as_it_is(hearts, done):
    out = hearts / "out"
    answer = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    with pytest.raises(RunError, match="holds a cell of another study"):
        run_study(
            str(hearts / "tiny.yaml"), hearts / "raw", out, seeds=(0,), segmenter_sets=["steps=3"]
        )
    assert len(answer) >= 5
    assert {path: path.read_bytes() for path in out.iterdir() if path.is_file()} == answer


def test_cells_of_arms_that_are_not_named_any_more_are_told_and_stay(hearts, done, tmp_path):
    out = shutil.copytree(hearts / "out", tmp_path / "out")
    spec = find_spec(str(hearts / "tiny.yaml"))
    arms = {name: arm for name, arm in spec.arms.items() if name in ("real", "half")}
    fewer = spec.model_copy(update={"arms": arms, "generators": {}, "published": Published()})
    kept, said = sorted((out / "cells").iterdir()), []
    run_study(fewer, hearts / "raw", out, seeds=(0,), tell=said.append)
    assert [line for line in said if "also holds cells of both, means, which" in line]
    assert sorted((out / "cells").iterdir()) == kept
    said.clear()
    run_study(str(hearts / "tiny.yaml"), hearts / "raw", out, seeds=(0,), tell=said.append)
    assert not [line for line in said if "also holds" in line]


def test_a_file_is_no_folder_for_a_study(hearts, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(SettingsError, match="is a file, expected a folder"):
        run_study(str(hearts / "tiny.yaml"), hearts / "raw", tmp_path / "out", seeds=(0,))
    assert (tmp_path / "out").read_text() == "mine"


def test_a_study_of_which_no_cell_was_finished_writes_no_answer(hearts, tmp_path, monkeypatch):
    spec = find_spec(str(hearts / "tiny.yaml"))
    spec = spec.model_copy(update={"arms": {"real": Arm()}, "published": Published()})

    def full(*args, **options):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(downstream, "train_segmenter", full)
    with pytest.raises(RunError, match=r"no cell could be finished\.\nreal, seed 0: RuntimeError"):
        run_study(spec, hearts / "raw", tmp_path, seeds=(0,), tell=lambda line: None)
    assert not (tmp_path / "results.json").exists()


def test_what_a_killed_seed_had_finished_counts(hearts, done, monkeypatch):
    place = Place(find_spec(str(hearts / "tiny.yaml")), hearts / "raw", hearts / "out")

    def second_killed(work, place, seeds, jobs):
        return [work(place, seeds[0]), *[None] * (len(seeds) - 1)]

    monkeypatch.setattr(downstream, "each_seed", second_killed)
    found, problems = run_cells(place, (0, 1, 7), jobs=2, tell=lambda line: None)
    assert [problem.partition(":")[0] for problem in problems] == ["seed 1", "seed 7"]
    whole, _ = run_cells(place, (0,), tell=lambda line: None)
    for name in place.spec.arms:
        assert found[name][0] == whole[name][0]
        kept = json.loads((hearts / "out" / "cells" / f"{name}-seed1.json").read_text())["scores"]
        assert found[name][1].keys() == kept.keys()
        assert found[name][2] is None  # of which there was nothing


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"data_sets": ["data.split=1,0,0"]}, r"no labelled case in the test split.*--data-set"),
        ({"segmenter_sets": ["lesion_share=0.5"]}, "lesion: nothing is named"),
        ({"segmenter_sets": ["numbers.network=cascade"]}, "found network cascade for slices"),
        ({"segmenter_sets": ["numbers.network=isensee", "numbers.depth=0"]}, "found depth 0"),
    ],
)
def test_what_no_arm_can_do_is_refused_before_anything_is_trained(hearts, tmp_path, wrong, told):
    with pytest.raises(ScansmithError, match=told):
        run_study(str(hearts / "tiny.yaml"), hearts / "raw", tmp_path, seeds=(0,), **wrong)
    assert not (tmp_path / "generators").exists()
    assert not (tmp_path / "segmenters").exists()


def test_all_names_that_the_data_do_not_have_are_told_before_anything_is_trained(hearts, tmp_path):
    spec = find_spec(str(hearts / "tiny.yaml"))
    arms = {
        "real": Arm(),
        "both": spec.arms["both"],
        "copied": Arm(synthetic=1, by="copy-paste"),
        "some": Arm(showing=("gall bladder",)),
    }
    names = {"lesion": ("aorta", "spleen"), "organ": ("chest",)}
    wrong = spec.model_copy(update={"arms": arms, "published": Published(), **names})
    with pytest.raises(SettingsError) as told:
        run_study(wrong, hearts / "raw", tmp_path, seeds=(0,))
    first, *others = str(told.value).splitlines()
    assert first.startswith("lesion: found spleen, expected names among ")
    assert [line.partition(",")[0] for line in others] == [
        "organ: found chest",
        "arms.some.showing: found gall bladder",
    ]
    assert not (tmp_path / "generators").exists()


def test_mirroring_ventricles_left_to_right_is_refused_before_anything_is_trained(hearts, tmp_path):
    spec, flips = str(hearts / "tiny.yaml"), ["augmentation.flips=1"]
    with pytest.raises(SettingsError, match=r"flips: found axis 1, .* left ventricle"):
        run_study(spec, hearts / "raw", tmp_path, seeds=(0,), segmenter_sets=flips)
    assert not (tmp_path / "generators").exists()


def test_a_cascade_of_other_structures_is_refused_before_anything_is_trained(tmp_path):
    """BraTS 2015 has a fourth structure; the papers' cascades nest three."""
    write_phantoms(tmp_path / "raw", "brain", 4, 1, (24, 24, 24))
    spec = find_spec("mm-gan/figure-10-cascade")
    sets = ["data.size=16,16,16", "data.split=0.5,0,0.5", "data.modality=t1"]
    nested = "numbers.nested=oedema,necrosis,non-enhancing,enhancing"
    with pytest.raises(SettingsError, match="found nested oedema, necrosis, non-enhancing, enh"):
        run_study(spec, tmp_path / "raw", tmp_path / "out", data_sets=sets, segmenter_sets=[nested])
    assert not (tmp_path / "out" / "generators").exists()


def test_every_structure_is_the_lesion_but_context_and_the_organ(tmp_path):
    names = ("background", "liver", "tumour", "cyst", "context 1")
    spec = Spec(arms={"real": Arm()}, lesion=("*",), organ=("liver",))
    assert spec.lesions(names) == ("tumour", "cyst")
    assert spec.model_copy(update={"organ": ()}).lesions(names) == ("liver", "tumour", "cyst")
    assert spec.model_copy(update={"lesion": ("cyst",)}).lesions(names) == ("cyst",)
    write_phantoms(tmp_path / "raw", "brain", 4, 1, (12, 32, 32))
    sets = {"data.size": [32, 32], "data.organ": "context", "data.modality": ["flair"]}
    sets |= {"data.lesion": "oedema", "data.split": [0.5, 0, 0.5], "data.rim_mm": 4.0}
    sets |= {"data.intensity": "zscore"}
    spec = Spec(
        data=DataPart(method="magan", sets={**sets, "data.min_tumour_pixels": 1}),
        arms={"real": Arm(), "copies": Arm(synthetic=1, by="copy-paste")},
        lesion=("*",),
        organ=("context",),
        segmenters=Segmenters(steps=1, lesion_share=0.5, numbers={"base": 2, "depth": 1}),
    )
    place = Place(spec, tmp_path / "raw", tmp_path / "out")
    there = place.store().facts.structures
    arms = Downstream(place, 0)
    arms.check()
    named = spec.model_copy(update={"lesion": ("oedema",)})
    other = Downstream(Place(named, place.data, place.out), 0)
    assert there == ("background", "oedema", "context")
    assert arms.record("copies") == other.record("copies")
    made, wanted = (one.makers.cases("copy-paste", 1) for one in (arms, other))
    assert len(made) == len(wanted) > 0
    for one, same in zip(made, wanted, strict=True):
        np.testing.assert_array_equal(one.image, same.image)
        np.testing.assert_array_equal(one.labels, same.labels)
    whole = spec.model_copy(update={"organ": ("oedema",)})
    with pytest.raises(SettingsError, match=r"lesion: found \*, .* none is left but organ"):
        Downstream(Place(whole, place.data, place.out), 0)


@pytest.mark.parametrize(
    "study",
    [
        "registered-multimodal/table-2", "mm-gan/table-1-unet", "mm-gan/table-1-cascade",
        "mm-gan/figure-10-unet", "mm-gan/figure-10-cascade",
    ],
)  # fmt: skip
def test_copies_of_a_brain_tumour_have_all_that_the_data_name(study):
    """BraTS 2015 has non-enhancing tumour beside the three structures of other years."""
    spec, names = find_spec(study), KNOWN["brats15"].structures
    assert spec.lesions(names) == ("necrosis", "oedema", "non-enhancing", "enhancing")
    assert spec.lesions(KNOWN["brats"].structures) == ("necrosis", "oedema", "enhancing")


def test_fewer_patients_are_the_generators_only_ones(hearts, tmp_path):
    place = Place(find_spec(str(hearts / "tiny.yaml")), hearts / "raw", tmp_path, patients=1)
    place.store()
    arms = Downstream(place, 0)
    assert len({case.patient for case in arms.real}) == 1
    assert {case.patient for case in arms.makers.maker("gan").edited(1, 0)} == {
        arms.real[0].patient
    }


def test_arms_see_real_samples_as_often_or_take_as_many_steps(hearts, done):
    place = Place(find_spec(str(hearts / "tiny.yaml")), hearts / "raw", hearts / "out")
    arms, both = Downstream(place, 0), Arm(synthetic=3, by="gan")
    # 10 real samples and 30 synthetic ones: four times the steps; synthetic alone: the steps asked
    assert arms.steps(both, 10) == 2 * 4
    assert arms.steps(Arm(real=0, synthetic=1, by="gan"), 10) == 2
    assert arms.steps(Arm(times=4), 10) == arms.steps(both, 10)  # a control that trains as long
    held = place.spec.segmenters.model_copy(update={"hold": "iterations"})
    even = Place(place.spec.model_copy(update={"segmenters": held}), place.data, place.out)
    assert Downstream(even, 0).steps(both, 10) == 2


def test_an_arm_may_learn_from_the_samples_that_show_a_structure_alone(hearts, done):
    place = Place(find_spec(str(hearts / "tiny.yaml")), hearts / "raw", hearts / "out")
    arms = Downstream(place, 0)
    names = list(arms.opened.facts.structures)
    some = arms.showing(Arm(showing=("pulmonary artery",)))
    index = names.index("pulmonary artery")
    shown = [(labels == index).any() for case in arms.real for labels in case.labels]
    assert 0 < sum(shown) < len(shown)
    assert sum(len(case.labels) for case in some) == sum(shown)
    assert all((labels == index).any() for case in some for labels in case.labels)
    assert all(len(case.numbers) == len(case.labels) == len(case.image) for case in some)
    with pytest.raises(SettingsError, match="found nose, expected names among"):
        arms.showing(Arm(showing=("nose",)))
    assert arms.showing(Arm()) is arms.real


def each_modality(**changed):
    """A study of two modalities with a segmenter for each."""
    return Spec(
        data=DataPart(
            method="ant-gan",
            sets={
                "data.size": [32, 32], "data.modality": ["t1", "flair"], "data.min_pixels": 1,
                "data.min_foreground": 0, "data.split": [0.5, 0, 0.5],
            },
        ),
        arms={"real": Arm()},
        segmenters=Segmenters(
            steps=2, each_modality=True, numbers={"base": 2, "depth": 1, "threads": 1}
        ),
        **changed,
    )  # fmt: skip


def test_a_segmenter_for_each_modality_counts_by_their_mean(tmp_path):
    write_phantoms(tmp_path / "raw", "brain", 4, 1, (32, 32, 8))
    place = Place(each_modality(), tmp_path / "raw", tmp_path / "out")
    place.store()
    arms = Downstream(place, 0)
    found = arms.score("real")
    runs = {path.name for path in (tmp_path / "out" / "segmenters" / "real-seed0").iterdir()}
    assert runs == {"t1", "flair"}
    both, case = arms.trained("real"), arms.test[0]
    truth = arms.seen_as[case.labels]
    rows = [dice(truth, said, arms.structures) for said in both.predict(case.image)]
    assert found[case.key]["mean"] == pytest.approx((rows[0]["mean"] + rows[1]["mean"]) / 2)
    # Values l and l' of files, of each slice: mean (l - l')^2 and 2 sum l l' / sum (l^2 + l'^2).
    assert arms.structures == ("background", "necrosis", "oedema", "enhancing")
    value, errors, overlaps = np.array([0.0, 1.0, 2.0, 4.0]), [], []
    for said in both.predict(case.image):
        for one, other in zip(value[truth], value[said], strict=True):
            errors.append(((one - other) ** 2).mean())
            overlaps.append((2 * (one * other).sum() + 1e-5) / ((one**2 + other**2).sum() + 1e-5))
    assert found[case.key][LABEL_MSE] == pytest.approx(np.mean(errors))
    assert found[case.key][LABEL_DICE] == pytest.approx(np.mean(overlaps), rel=1e-4)


@pytest.mark.usefixtures("heeded_signals")
@pytest.mark.parametrize("last", [1, 3])
def test_segmenters_of_modalities_that_were_interrupted_go_on(tmp_path, last):
    """Within the first modality's training of two steps, or within the second's."""
    write_phantoms(tmp_path / "raw", "brain", 4, 1, (32, 32, 8))
    seen = []

    @contextmanager
    def interrupting(title):
        def advance(done, total, text=""):
            if title == "real, seed 0":
                seen.append(done)
                if len(seen) == last:
                    os.kill(os.getpid(), signal.SIGINT)

        yield advance

    whole, half, told = tmp_path / "whole", tmp_path / "half", []
    again = partial(run_study, each_modality(), tmp_path / "raw", seeds=(0,), tell=told.append)
    with pytest.raises(KeyboardInterrupt):
        again(half, watch=interrupting)
    runs = sorted(path.name for path in (half / "segmenters" / "real-seed0").iterdir())
    assert runs == (["t1"] if last == 1 else ["flair", "t1"])
    assert not (half / "cells").exists()
    assert again(half)["arms"] == again(whole)["arms"]
    assert told.count("1 cell(s) to train: 1 arm(s) under 1 seed(s)") == 3

    other = each_modality(decided_by=("oedema",))
    (half / "cells" / "real-seed0.json").unlink()  # begun, and not finished
    with pytest.raises(
        RunError, match=r"another run: samples\.decided by was \[\] and is now [^;]+\. Resume"
    ):
        Downstream(Place(other, tmp_path / "raw", half), 0).check()


def scores(*values):
    return {f"p{n}/p{n}": {"a": value, "mean": value} for n, value in enumerate(values)}


def test_arms_are_compared_patient_by_patient_and_seed_by_seed():
    arms = {"real": Arm(), "other": Arm(synthetic=1, by="class-means")}
    spec = Spec(title="?", arms=arms)
    found = {
        "real": [scores(0.5, 0.7), scores(0.6, 0.8)],
        "other": [scores(0.6, 0.9), None],  # the second seed failed: the first alone is compared
    }
    other = summarise(spec, found)["arms"]["other"]
    assert other["reference"]["seeds"] == 1
    # (0.6 - 0.5 + 0.9 - 0.7) / 2, and 100 (0.6 + 0.9) / (0.5 + 0.7)
    assert other["reference"]["above"]["mean"]["mean"] == pytest.approx(0.15)
    assert other["reference"]["share"]["mean"] == pytest.approx(125.0)
    assert other["each seed"] == [pytest.approx(0.75), None]
    (told,) = summarise(spec, found)["verdicts"]
    assert told["sentence"].endswith(
        "; it trained 2 times as long."
    )  # hold: real, and as many more
    assert "of 2 seeds 1 failed, and those left may be the lucky ones" in told["sentence"]
    assert (told["verdict"], told["failed"]) == ("no evidence", [1])
    even = spec.model_copy(update={"segmenters": Segmenters(hold="iterations")})
    (told,) = summarise(even, found)["verdicts"]
    assert "trained" not in told["sentence"]


@pytest.mark.parametrize(
    ("interval", "word"),
    [
        ([0.001, 0.02], "helps"),
        ([-0.02, -0.001], "harms"),
        ([-0.004, 0.02], "no worse"),
        ([-0.02, 0.02], "no evidence"),
        (None, "no evidence"),
    ],
)
def test_the_verdict_is_of_the_interval(interval, word):
    mean = sum(interval) / 2 if interval else 0.1
    above = {"mean": mean, "interval": interval, "patients": 6 if interval else 1}
    sound = {
        "above": {"mean": above},
        "each seed": [mean] * 2,
        "failed": [],
        "false alarms": [0, 0],
        "counting alarms": {"mean": -1, "interval": [-2, 0.0]},
    }
    assert verdict(sound) == word
    # few patients or a failed seed decide nothing, and false alarms nothing for the arm
    assert verdict({**sound, "above": {"mean": {**above, "patients": 5}}}) == "no evidence"
    assert verdict({**sound, "failed": [1]}) == "no evidence"
    loud = {**sound, "false alarms": [1, 0.5]}
    assert verdict(loud) == ("harms" if word == "harms" else "no evidence")
    assert verdict({**sound, "false alarms": [1, 1]}) == word


def test_patients_without_what_decides_are_left_out_of_the_difference_and_of_no_false_alarm():
    """Six with a tumour gain .06; in two of four without, the arm alone finds one."""
    spec = Spec(
        title="?",
        arms={"real": Arm(), "other": Arm(synthetic=1, by="class-means")},
        segmenters=Segmenters(hold="iterations"),
    )
    nothing = float("nan")
    found = {
        "real": [scores(*[0.5] * 6, *[nothing] * 4)],
        "other": [scores(*[0.56] * 6, 0, 0, nothing, nothing)],
    }
    result = summarise(spec, found)
    (told,) = result["verdicts"]
    assert told["verdict"] == "no evidence"
    assert told["sentence"] == (
        "other against real: 0.060 (0.060 to 0.060) Dice over 6 of 10 patients: not told apart: "
        "false alarms: it alone finds what is not there in 2 test patient(s), the other alone in 0."
    )
    # (6 * 0.56 + 2 * 0) / 8: what the difference leaves out, the arm's own mean counts
    assert result["arms"]["other"]["dice"]["mean"]["mean"] == pytest.approx(0.42)
    (fewer,) = summarise(spec, {"real": found["other"], "other": found["real"]})["verdicts"]
    assert fewer["verdict"] == "harms"
    assert fewer["sentence"].endswith("in 0 test patient(s), the other alone in 2.")


def test_nothing_helps_or_harms_unless_every_seed_says_so():
    spec = Spec(title="?", arms={"real": Arm(), "other": Arm(synthetic=1, by="class-means")})
    real = [scores(*[0.5, 0.7] * 3)] * 3
    # Differences of the patients' means: 0.3 - 0.1 + 0.1 over three seeds is 0.1 for each patient.
    split = [scores(*pair * 3) for pair in ([0.8, 1.0], [0.4, 0.6], [0.6, 0.8])]
    other = summarise(spec, {"real": real, "other": split})
    told = other["arms"]["other"]["reference"]
    assert told["above"]["mean"]["interval"] == [pytest.approx(0.1), pytest.approx(0.1)]
    assert told["each seed"] == [pytest.approx(v) for v in (0.3, -0.1, 0.1)]
    (found,) = other["verdicts"]
    assert found["verdict"] == "no evidence"
    assert "seeds disagree (+0.300, −0.100, +0.100)" in found["sentence"]
    one_side = [scores(*pair * 3) for pair in ([0.8, 1.0], [0.51, 0.71], [0.6, 0.8])]
    (found,) = summarise(spec, {"real": real, "other": one_side})["verdicts"]
    assert found["verdict"] == "helps"
    below = [scores(*pair * 3) for pair in ([0.2, 0.4], [0.6, 0.8], [0.4, 0.6])]
    (found,) = summarise(spec, {"real": real, "other": below})["verdicts"]
    assert found["verdict"] == "no evidence"


def test_a_failed_arm_has_no_row_of_numbers(hearts, done):
    page = as_markdown(done | {"problems": ["means, seed 1: it broke"]})
    assert page.rstrip().endswith("* means, seed 1: it broke")


def test_the_page_names_seeds_that_failed_and_how_many_patients_a_difference_is_over(done):
    first, *others = done["verdicts"]
    arms = json.loads(json.dumps(done["arms"]))
    arms[first["arm"]]["reference"]["above"]["mean"] |= {"patients": 3, "left_out": 2}
    failed = {"seeds": [7, 9], "verdicts": [{**first, "failed": [1]}, *others], "arms": arms}
    page = as_markdown(done | failed)
    assert f"* {first['sentence']} Failed: seed 9.\n" in page
    assert " over 3 of 5 patients |" in page
    assert page.count("Failed:") == 1


def test_a_study_may_be_decided_by_some_structures_alone(hearts, done):
    place = Place(find_spec(str(hearts / "tiny.yaml")), hearts / "raw", hearts / "out")
    every = Downstream(place, 0)
    names = every.structures
    true = np.arange(len(names), dtype=np.uint8)
    pred = true.copy()
    pred[1] = 0  # structure 1 is missed, all others are found
    assert every.measure(true, pred)["mean"] == pytest.approx(1 - 1 / (len(names) - 1))
    alone = replace(place, spec=place.spec.model_copy(update={"decided_by": names[1:2]}))
    assert Downstream(alone, 0).measure(true, pred)["mean"] == 0
    assert Downstream(alone, 0).record("real") != every.record("real")  # other cells
    wrong = replace(place, spec=place.spec.model_copy(update={"decided_by": ("nose",)}))
    with pytest.raises(SettingsError, match="decided_by: found nose, expected names among"):
        Downstream(wrong, 0)


def test_slices_without_lesion_count_where_an_organ_or_the_head_is_known(tmp_path):
    write_phantoms(tmp_path / "raw", "brain", 4, 1, (12, 32, 32))
    sets = {"data.size": [32, 32], "data.organ": "context", "data.modality": ["flair"]}
    sets |= {"data.lesion": "oedema", "data.split": [0.5, 0, 0.5], "data.rim_mm": 4.0}
    sets |= {"data.intensity": "zscore"}
    generators = {"painter": Generator(method="magan", sets={"train.steps": 1, "method.base": 2})}
    spec = Spec(
        data=DataPart(method="magan", sets={**sets, "data.min_tumour_pixels": 1}),
        generators=generators,
        arms={
            "real": Arm(),
            "painted": Arm(real=0, synthetic=1, by="painter"),
            "means": Arm(real=0, synthetic=1, by="class-means"),
            "copies": Arm(synthetic=1, by="copy-paste"),
        },
        lesion=("*",),
        organ=("context",),
        segmenters=Segmenters(
            steps=1, batch=2, lesion_share=0.5, numbers={"base": 2, "depth": 1, "threads": 1}
        ),
    )
    found = run_study(spec, tmp_path / "raw", tmp_path / "out", seeds=(0,))
    assert found["problems"] == []
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Samples that show oedema are drawn more often than that, 50 % of a step" in page
    arms = Downstream(Place(spec, tmp_path / "raw", tmp_path / "out"), 0)
    shown = [arms.seen_as[labels].any() for case in arms.real for labels in case.labels]
    assert arms.structures == ("background", "oedema")
    assert any(shown)
    assert not all(shown)  # slices of the head without lesion are there, and count


def test_mistakes_of_a_specification_are_told_together(tmp_path):
    wrong = TINY.replace("by: gan", "by: nobody").replace("steps: 2", "steps: 0")
    (tmp_path / "wrong.yaml").write_text(wrong + "reference: nothing\n")
    with pytest.raises(SettingsError) as told:
        find_spec(str(tmp_path / "wrong.yaml"))
    assert "steps" in str(told.value)
    (tmp_path / "wrong.yaml").write_text(wrong.replace("steps: 0", "steps: 2"))
    with pytest.raises(SettingsError, match=r"arms.both.by: found 'nobody'"):
        find_spec(str(tmp_path / "wrong.yaml"))
    share = TINY.replace("steps: 2", "steps: 2\n  lesion_share: 0.5")
    (tmp_path / "wrong.yaml").write_text(share)
    with pytest.raises(SettingsError, match=r"lesion: nothing is named.*lesion_share"):
        find_spec(str(tmp_path / "wrong.yaml"))
    with pytest.raises(SettingsError, match="mm-gan/table-1-unet"):
        find_spec("mm-gan/table-1")


def test_names_that_would_share_files_are_refused_when_the_study_is_read(tmp_path):
    """Cells of `real + a` and of `real - a` would both be kept in real-a-seed0.json."""
    two = TINY.replace("  means: {", "  bo-th: {}\n  bo + th: {}\n  means: {")
    (tmp_path / "two.yaml").write_text(two)
    with pytest.raises(SettingsError, match=r"arms: found 'bo-th' and 'bo \+ th', whose files"):
        find_spec(str(tmp_path / "two.yaml"))
    arms, gan = {"real": Arm()}, Generator()
    with pytest.raises(ValueError, match=r"generators: found 'a b' and 'a/b', .* called a-b,"):
        Spec(arms=arms, generators={"a b": gan, "a/b": gan})
    with pytest.raises(ValueError, match=r"sets: found '\.\.', expected a name with a letter"):
        Spec(arms=arms, sets={"..": OnDisk(path=tmp_path)})
    with pytest.raises(ValueError, match="generators: found 'a b' and 'a/b'"):
        Analysis(analysis="healing", generators={"a b": gan, "a/b": gan})
    assert len(Spec(arms={**arms, "real + gän": Arm(), "real + gan": Arm()}).arms) == 3


@pytest.mark.parametrize("role", ["reference", "classical"])
def test_what_others_are_compared_with_learns_from_real_samples_alone(role):
    arms = {"real": Arm(), "both": Arm(synthetic=1, by="class-means")}
    with pytest.raises(ValueError, match=rf"{role}: found 'both', which learns from synthetic"):
        Spec(arms=arms, **{role: "both"})
    copies = {"real": Arm(), "augmented": Arm(enhanced=1)}  # copies of real ones are real enough
    assert getattr(Spec(arms=copies, **{role: "augmented"}), role) == "augmented"


def test_a_papers_table_has_its_rows():
    table = find_spec("registered-multimodal/table-2")
    assert len([name for name in table.arms if name.startswith("no ")]) == len(table.arms) - 2 == 25
    assert table.arms["no 25"].order == "synthetic-first"
    assert table.arms["no 20"].plan.sizes(274) == {"real": 274, "synthetic": 0, "enhanced": 219}


def test_the_command_lists_studies_and_asks_for_what_is_missing():
    told = CliRunner().invoke(app, ["study", "--list"])
    assert told.exit_code == 0
    assert "mm-gan/table-2" in told.stdout
    with pytest.raises(SettingsError, match="expected SPEC, --data and --out"):
        CliRunner().invoke(app, ["study"], catch_exceptions=False)


def test_a_generator_of_other_settings_is_not_taken_for_this_one(hearts, done):
    place = Place(find_spec(str(hearts / "tiny.yaml")), hearts / "raw", hearts / "out")
    other = place.spec.generators["gan"].model_copy(update={"sets": {"method.base": 8}})
    spec = place.spec.model_copy(update={"generators": {"gan": other}})
    with pytest.raises(RunError, match="generator gan, seed 0"):
        Place(spec, place.data, place.out).trained("gan", 0)


def test_a_set_on_disk_is_learned_from_unless_a_test_patient_had_a_part_in_it(
    hearts, done, tmp_path
):
    place = Place(find_spec(str(hearts / "tiny.yaml")), hearts / "raw", hearts / "out")
    run = place.trained("gan", 0)
    for split in ("train", "test"):
        synthesize(run, tmp_path / split, cases=2, seed=0, split=split)
    arms = {
        "real": Arm(),
        "set": Arm(synthetic=0.5, by="ours"),
        "leak": Arm(synthetic=0.5, by="leaky"),
    }
    sets = {"ours": OnDisk(path=tmp_path / "train"), "leaky": OnDisk(path=tmp_path / "test")}
    spec = place.spec.model_copy(update={"arms": arms, "sets": sets, "published": Published()})
    found = run_study(spec, hearts / "raw", hearts / "out", seeds=(0,), tell=lambda line: None)
    assert found["arms"]["set"]["dice"]["mean"]["mean"] is not None
    assert found["arms"]["leak"]["dice"] is None
    assert "hold something of patients that the study tests on" in found["problems"][0]
    cases = Downstream(Place(spec, place.data, place.out), 0).makers.cases("ours", 2)
    assert len(cases) == 2


def test_sets_that_cannot_be_used_are_told_before_anything_is_trained(hearts, tmp_path):
    """Two arms of three have one; a set that no arm takes is not asked for."""
    spec = find_spec(str(hearts / "tiny.yaml"))
    nosuch, silent = tmp_path / "nosuch", tmp_path / "silent"
    write_phantoms(silent, "heart", 1, 9, (32, 32, 8))
    sets = {
        "gone": OnDisk(path=nosuch, learned=("nobody",)),
        "silent": OnDisk(path=silent),
        "unused": OnDisk(path=tmp_path / "unused"),
    }
    arms = {
        "real": Arm(),
        "with gone": Arm(synthetic=0.5, by="gone"),
        "with silent": Arm(synthetic=0.5, by="silent"),
    }
    spec = spec.model_copy(update={"arms": arms, "sets": sets, "published": Published()})
    out, told = tmp_path / "out", []

    def tell(line):
        told.append((line, (out / "segmenters").exists()))

    run_study(spec, hearts / "raw", out, seeds=(0, 1), tell=tell)
    early = [line for line, trained in told if not trained]
    assert early[0] == "6 cell(s) to train: 3 arm(s) under 2 seed(s)"
    assert early[1].startswith(
        "cannot be done as it is, the others go on: with gone: "
        f"sets.gone: {nosuch}: no such folder."
    )
    assert early[2].startswith(
        "cannot be done as it is, the others go on: with silent: "
        f"sets.silent: {silent}: found no provenance.jsonl"
    )
    assert len(early) == 3
    late = [line for line, trained in told if trained]
    assert sorted(line.partition(": ")[0] for line in late) == [
        f"with {name}, seed {seed}" for name in ("gone", "silent") for seed in (0, 1)
    ]


def test_a_set_that_was_changed_costs_its_own_arms_until_it_is_prepared_anew(
    hearts, done, tmp_path
):
    place = Place(find_spec(str(hearts / "tiny.yaml")), hearts / "raw", hearts / "out")
    run, made, out = place.trained("gan", 0), tmp_path / "set", tmp_path / "out"
    synthesize(run, made, cases=2, seed=0)
    sets = {"ours": OnDisk(path=made, runs=(run,))}
    arms = {"real": Arm(), "set": Arm(synthetic=0.5, by="ours")}
    spec = place.spec.model_copy(update={"arms": arms, "sets": sets, "published": Published()})

    def again():
        return run_cells(Place(spec, place.data, out), (0,), tell=lambda line: None)

    first, problems = again()
    assert first["set"] != [None]
    assert problems == []
    shutil.rmtree(made)
    synthesize(run, made, cases=3, seed=1)  # made anew at the same path
    second, problems = again()
    assert second == {"real": first["real"], "set": [None]}
    assert len(problems) == 1
    assert problems[0].startswith("set, seed 0: ")
    assert "the data set was changed or is another one" in problems[0]
    shutil.rmtree(out / "sets")
    with pytest.raises(RunError, match=r"a cell of another study \(differing: by\)"):
        again()
    (out / "cells" / "set-seed0.json").unlink()
    shutil.rmtree(out / "segmenters" / "set-seed0")
    third, problems = again()
    assert third["set"] != first["set"]
    assert problems == []


@pytest.mark.parametrize("quiet", [1, 2], ids=["one seed", "no seed"])
def test_test_patients_without_what_decides_are_told_as_none(tmp_path, quiet):
    """No test patient has a tumour; "real" finds none under one seed, or under neither."""
    spec = Spec(title="?", arms={"real": Arm(), "other": Arm(synthetic=1, by="class-means")})
    nothing, alarm = scores(*[float("nan")] * 6), scores(*[0.0] * 6)
    found = {"real": [nothing, nothing if quiet == 2 else alarm], "other": [nothing] * 2}
    result = summarise(spec, found)
    json.dumps(result, allow_nan=False)
    assert result["arms"]["real"]["each seed"] == [None, None if quiet == 2 else 0]
    (told,) = result["verdicts"]
    assert told["verdict"] == "no evidence"
    facts = {
        "data": {"given": "?", "layout": "?", "needs": "", "cut": ""},
        "item": "",
        "about": "",
        "problems": [],
        "seeds": [0, 1],
    }
    facts |= {"test patients": 6, "train patients": 1, "title": "?", "published": {}}
    text = as_markdown({**facts, "spec": spec.model_dump(mode="json"), **result})
    assert "| other | - | - | –, – |" in text
    save_plot(result, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 0


def test_a_training_that_was_begun_with_other_settings_is_refused_before_others_are(
    hearts, done, tmp_path
):
    """Neither is finished: a stopped generator of another width, a segmenter of other samples."""
    spec = find_spec(str(hearts / "tiny.yaml"))
    place = Place(spec, hearts / "raw", tmp_path / "out")
    place.store()
    begun = Place(spec, hearts / "raw", hearts / "out").run_of("gan", 0) / "run.json"
    mine = place.run_of("gan", 0) / "run.json"
    mine.parent.mkdir(parents=True)
    record = json.loads(begun.read_text())
    mine.write_text(json.dumps(record))
    Downstream(place, 0).check()  # of these settings: it goes on
    record["settings"]["method"]["base"] = 8
    mine.write_text(json.dumps(record))
    with pytest.raises(RunError, match=r"holds another run: settings.method.base was 8 and is now"):
        Downstream(place, 0).check()
    mine.unlink()
    theirs = hearts / "out" / "segmenters" / "real-seed0" / "run.json"
    segmenter = tmp_path / "out" / "segmenters" / "real-seed0" / "run.json"
    segmenter.parent.mkdir(parents=True)
    segmenter.write_text(theirs.read_text())
    Downstream(place, 0).check()
    other = place.spec.model_copy(update={"decided_by": ("left ventricle",)})
    with pytest.raises(RunError, match=r"holds another run: samples.decided by"):
        Downstream(Place(other, hearts / "raw", tmp_path / "out"), 0).check()


def test_patients_are_refused_where_a_generator_has_patients_of_its_own(hearts, tmp_path):
    spec = find_spec(str(hearts / "tiny.yaml"))
    few = Generator(method="heart-gan", sets={**spec.generators["gan"].sets, "data.patients": 1})
    place = Place(
        spec.model_copy(update={"generators": {"gan": few}}), hearts / "raw", tmp_path / "out", 2
    )
    with pytest.raises(SettingsError, match=r"data\.patients: found in the settings of preparing"):
        place.store()
