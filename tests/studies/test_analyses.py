"""Analyses: what is trained, kept and refused, and what stands in the results."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from scansmith.apps.cli import app
from scansmith.data.layouts_base import MODALITIES
from scansmith.data.phantom import write_phantoms
from scansmith.data.store import Store
from scansmith.methods import find_method
from scansmith.scan import DataError, RunError, SettingsError
from scansmith.studies.analyses import KINDS, kind_of, options_of
from scansmith.studies.run import run_study
from scansmith.studies.spec import Analysis, Spec, find_spec, paper_specs, words
from scansmith.studies.tables import published
from scansmith.train.checkpoint import read_json
from scansmith.workflow import _stated, method_settings

TINY = """
title: Are skips of use?
item: nowhere, Table 0
about: Tiny.
data:
  method: heart-gan
  sets: {data.size: [32, 32], data.intensity: minmax, data.split: [0.5, 0, 0.5], method.patch: 4}
analysis: label-to-image
generators:
  skips: {method: heart-gan, sets: {method.base: 4, method.patch: 4, train.steps: 1}}
  no skips:
    method: heart-gan
    sets: {method.base: 4, method.patch: 4, train.steps: 1, method.skips: false}
published:
  data: none
  measure: PSNR in dB
  arms: {skips: {psnr: 30.5}}
  cited: {a rival: {psnr: 29}}
"""


@pytest.fixture(scope="module")
def hearts(tmp_path_factory):
    root = tmp_path_factory.mktemp("analyses")
    write_phantoms(root / "raw", "heart", 4, 1, (32, 32, 8))
    (root / "tiny.yaml").write_text(TINY)
    return root


@pytest.fixture(scope="module")
def done(hearts):
    given = ["--data", str(hearts / "raw"), "--out", str(hearts / "out"), "--seeds", "2"]
    told = CliRunner().invoke(
        app, ["study", str(hearts / "tiny.yaml"), *given], catch_exceptions=False
    )
    assert told.exit_code == 0
    return told.stdout


def changed(hearts, **parts):
    return find_spec(str(hearts / "tiny.yaml")).model_copy(update=parts)


def test_the_command_trains_looks_and_puts_published_numbers_beside(hearts, done):
    out = hearts / "out"
    found = json.loads((out / "results.json").read_text())
    assert found["problems"] == []
    assert found["trained"] == {"skips": 2, "no skips": 2}
    assert set(found["rows"]) == {"class means + noise", "skips", "no skips"}
    assert (found["train patients"], found["test patients"]) == (2, 2)
    page = (out / "results.md").read_text()
    assert page in done
    assert "nowhere, Table 0, as published. Other data (none): PSNR in dB." in page
    ours = found["rows"]["skips"]["psnr"]
    low, high = ours["interval"]
    assert f"| skips | 30.5 | {ours['mean']:.2f} ({low:.2f} to {high:.2f}) |" in page
    assert "| a rival | 29 |  |" in page
    assert "* [made.png](made.png): test slices: labels, made by skips, no skips, real." in page
    assert (out / "made.png").read_bytes().startswith(b"\x89PNG")


def test_generators_learn_from_training_patients_alone(hearts, done):
    store = Store.open(hearts / "out" / "store")
    for run in ("skips-seed0", "no-skips-seed1"):
        record = read_json(hearts / "out" / "generators" / run / "run.json")
        assert record["store"] == str((hearts / "out" / "store").resolve())
        assert record["settings"]["train"]["seed"] == int(run[-1])
        assert record["facts"]["fingerprint"] == store.facts.fingerprint
    assert sorted(case.split for case in store.cases.values()) == ["test", "test", "train", "train"]


def test_finished_runs_are_kept_and_a_missing_one_is_done(hearts, done):
    runs = hearts / "out" / "generators"
    before = {path: path.stat().st_mtime_ns for path in runs.glob("*/run.json")}
    assert len(before) == 4
    again = run_study(
        str(hearts / "tiny.yaml"), hearts / "raw", hearts / "out", seeds=(0, 1, 2), jobs=2
    )
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert again["trained"] == {"skips": 3, "no skips": 3}


def test_a_run_of_other_settings_is_refused_and_the_others_are_looked_at(hearts, done):
    spec = changed(hearts)
    other = spec.generators["skips"].model_copy(update={"sets": {"method.base": 8}})
    generators = {**spec.generators, "skips": other}
    told = []
    found = run_study(
        changed(hearts, generators=generators), hearts / "raw", hearts / "out", seeds=(0,),
        tell=told.append,
    )  # fmt: skip
    assert found["trained"] == {"no skips": 1}
    assert told == found["problems"]
    assert "generator skips, seed 0" in told[0]
    assert "was trained with other settings" in told[0]
    page = (hearts / "out" / "results.md").read_text()
    assert "Not done:" in page
    assert "| skips | 30.5 |  |" in page  # published, and nothing of ours


def test_without_any_generator_there_is_no_result(hearts, tmp_path):
    spec = changed(hearts)
    part = spec.generators["skips"].model_copy(update={"sets": {"method.nothing": 1}})
    with pytest.raises(RunError, match=r"no generator was trained[\s\S]*method.nothing"):
        run_study(
            changed(hearts, generators={"skips": part}), hearts / "raw", tmp_path, seeds=(0,),
            tell=lambda line: None,
        )  # fmt: skip
    assert not (tmp_path / "results.md").exists()


def test_a_dot_in_a_name_does_not_make_two_seeds_one(hearts, tmp_path):
    part = changed(hearts).generators["skips"]
    spec = changed(hearts, generators={"weight 0.1": part}, analysis="training")
    spec = spec.model_copy(update={"published": Analysis.model_fields["published"].default})
    found = run_study(spec, hearts / "raw", tmp_path, seeds=(0, 1))
    assert found["trained"] == {"weight 0.1": 2}
    runs = sorted(path.parent.name for path in tmp_path.glob("generators/*/run.json"))
    assert runs == ["weight-0.1-seed0", "weight-0.1-seed1"]


def test_generators_with_data_settings_have_samples_of_their_own(hearts, tmp_path):
    spec = changed(hearts)
    part = spec.generators["skips"]
    aorta = part.model_copy(update={"sets": {**part.sets, "data.structures": ["aorta"]}})
    spec = changed(hearts, generators={"whole": part, "aorta": aorta})
    spec = spec.model_copy(update={"published": Analysis.model_fields["published"].default})
    found = run_study(spec, hearts / "raw", tmp_path, seeds=(0,))
    assert len(set(found["stores"].values())) == 2
    assert {"whole", "aorta", "class means + noise (aorta)"} <= set(found["rows"])
    page = (tmp_path / "results.md").read_text()
    assert "## whole" in page
    assert "## aorta" in page
    assert "](aorta/made.png)" in page
    assert (tmp_path / "aorta" / "made.png").is_file()
    whole, own = (
        {name: case.split for name, case in Store.open(path.parent).cases.items()}
        for path in sorted(tmp_path.glob("sto*/**/store.json"))
    )
    assert whole == own
    with pytest.raises(SettingsError, match=r"data.structures: found in the settings of preparing"):
        run_study(
            spec, hearts / "raw", tmp_path, seeds=(0,), data_sets=["data.structures=left atrium"]
        )


def test_a_part_keeps_its_folder_where_one_of_its_generators_failed(hearts, tmp_path):
    part = changed(hearts).generators["skips"]
    aorta = part.model_copy(update={"sets": {**part.sets, "data.structures": ["aorta"]}})
    failed = part.model_copy(update={"sets": {**part.sets, "method.nothing": 1}})
    spec = changed(hearts, generators={"whole": part, "failed": failed, "aorta": aorta})
    spec = spec.model_copy(update={"published": Analysis.model_fields["published"].default})
    found = run_study(spec, hearts / "raw", tmp_path, seeds=(0,), tell=lambda line: None)
    assert set(found["found"]) == {"whole, failed", "aorta"}
    assert (tmp_path / "whole-failed" / "made.png").is_file()


def test_fewer_patients_and_data_settings_are_the_study_s(hearts, tmp_path):
    spec = changed(hearts, generators={"skips": changed(hearts).generators["skips"]})
    found = run_study(
        spec, hearts / "raw", tmp_path, seeds=(0,), patients=1, data_sets=["data.seed=1"]
    )
    assert found["train patients"] == 1
    assert Store.open(tmp_path / "store").recipe.settings["seed"] == 1


def test_a_store_without_test_patients_is_refused(hearts, tmp_path):
    with pytest.raises(DataError, match="no case in the test split"):
        run_study(
            str(hearts / "tiny.yaml"), hearts / "raw", tmp_path, data_sets=["data.split=1,0,0"]
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"analysis": "divination"}, "analysis: found 'divination', expected one of painting"),
        ({"options": {"steps": 3}}, r"steps: a label-to-image analysis trains no segmenter"),
    ],
)
def test_what_an_analysis_does_not_know_is_refused(hearts, tmp_path, change, words):
    with pytest.raises(SettingsError, match=words):
        run_study(changed(hearts, **change), hearts / "raw", tmp_path)
    assert not (tmp_path / "store").exists()


def test_set_changes_options_and_is_refused_where_there_are_none(hearts, tmp_path):
    spec = find_spec("registered-multimodal/table-1")
    told = options_of(spec, ["steps=7", "numbers.base=2"])
    assert (told.steps, told.numbers.base, told.cases) == (7, 2, 100)
    with pytest.raises(SettingsError, match="stepz: no such setting"):
        options_of(spec, ["stepz=7"])
    with pytest.raises(SettingsError, match="steps=7: a label-to-image analysis"):
        run_study(str(hearts / "tiny.yaml"), hearts / "raw", tmp_path, segmenter_sets=["steps=7"])


def test_published_numbers_must_be_of_something_that_is_done(hearts):
    spec = changed(hearts)
    arms = {"skipz": {"psnr": 1.0}, "skips": {"beauty": 1.0}}
    wrong = spec.published.model_copy(update={"arms": arms})
    with pytest.raises(SettingsError) as told:
        kind_of(spec.model_copy(update={"published": wrong}))
    assert "published.arms: found 'skipz'" in str(told.value)
    assert "published.arms.skips: found 'beauty'" in str(told.value)


def test_a_paper_s_number_stands_beside_ours_and_cited_ones_alone():
    paper = {
        "item": "Table 9",
        "data": "d",
        "measure": "m",
        "arms": {"ours": {"psnr": 64.72}, "failed": {"psnr": 3.0}},
        "cited": {"theirs": {"psnr": 50.0, "votes": 3.0}},
    }
    ours = {
        "ours": {"psnr": {"mean": 20.0, "interval": [19.0, 21.0]}},
        "failed": None,
        "theirs": {"psnr": {"mean": 1.0, "interval": None}},  # a name that is cited only
    }
    assert published(paper, ours) == [
        "Table 9, as published. Other data (d): m.",
        "",
        "|  | psnr, paper | psnr, here | votes, paper |",
        "|---|---|---|---|",
        "| ours | 64.72 | 20.00 (19.00 to 21.00) |  |",
        "| failed | 3 |  |  |",
        "| theirs | 50 |  | 3 |",
    ]
    assert published({"item": "", "data": "", "measure": "", "arms": {}}, {}) == []


def test_mistakes_in_a_file_are_told(tmp_path):
    wrong = TINY.replace("analysis: label-to-image", "analysis: label-to-image\narms: {}")
    (tmp_path / "wrong.yaml").write_text(wrong)
    with pytest.raises(SettingsError, match="arms"):
        find_spec(str(tmp_path / "wrong.yaml"))
    (tmp_path / "wrong.yaml").write_text("title: none\nanalysis: training\n")
    with pytest.raises(SettingsError, match="generators: found none"):
        find_spec(str(tmp_path / "wrong.yaml"))


@pytest.mark.parametrize("name", paper_specs())
def test_a_paper_s_study_names_only_what_there_is(name):
    """Settings, options, published rows; and every generator fits the study's samples."""
    spec = find_spec(name)
    assert spec.title
    assert spec.generators
    if isinstance(spec, Analysis):
        kind_of(spec)
        options_of(spec)
    else:
        assert spec.arms
        assert set(spec.published.arms) <= set(spec.arms)
    for part in spec.generators.values():
        own = {key: value for key, value in part.sets.items() if key.startswith("data.")}
        modality = {**spec.data.sets, **own}.get("data.modality", "flair")
        assert modality in MODALITIES.values()
        data = method_settings(
            spec.data.method, preset=spec.data.preset, sets=words({**spec.data.sets, **own})
        )
        asked = method_settings(part.method, preset=part.preset, sets=words(part.sets))
        kind = find_method(part.method)
        trained = _stated(kind, asked.model_copy(update={"data": data.data}))
        assert trained == _stated(find_method(spec.data.method), data)


def test_every_kind_has_a_study_and_the_list_shows_it():
    specs = {name: find_spec(name) for name in paper_specs()}
    kinds = {spec.analysis for spec in specs.values() if isinstance(spec, Analysis)}
    assert kinds == set(KINDS)
    assert any(isinstance(spec, Spec) for spec in specs.values())
    told = CliRunner().invoke(app, ["study", "--list"], env={"COLUMNS": "200"})
    assert told.exit_code == 0
    for name, spec in specs.items():
        assert name in told.stdout
        assert spec.title.split()[0] in told.stdout


def test_settings_become_words_that_are_read_back():
    assert words({"data.modality": "flair", "a": [1, 2], "b": False}) == [
        "data.modality=flair",
        "a=[1, 2]",
        "b=false",
    ]
