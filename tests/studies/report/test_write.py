"""A study with its generators judged, and the report: what it says, needs and leaves out."""

from __future__ import annotations

import base64
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from scansmith.apps.cli import app
from scansmith.data.layouts import find_layout
from scansmith.data.phantom import write_phantoms
from scansmith.data.store import Store
from scansmith.evaluate import evaluate
from scansmith.evaluate.reader_study.score import score_study
from scansmith.io import read_scan
from scansmith.scan import DataError, SettingsError
from scansmith.studies import judge
from scansmith.studies.judge import Judging
from scansmith.studies.report.page import pairs_of, samples_of
from scansmith.studies.report.verdicts import verdicts
from scansmith.studies.report.write import Parts, write_report
from scansmith.studies.run import run_study
from scansmith.workflow import prepare

TINY = """
title: Do hearts help?
item: nowhere, Table 0
data:
  method: heart-gan
  sets: {data.size: [32, 32], data.intensity: minmax, data.split: [0.5, 0, 0.5], method.patch: 4}
generators:
  gan: {method: heart-gan, sets: {method.base: 4, method.patch: 4, train.steps: 1}}
arms:
  real: {}
  both: {synthetic: 1, by: gan}
segmenters:
  steps: 2
  batch: 2
  numbers: {base: 2, depth: 1, threads: 1}
published:
  data: none
  measure: Dice
  arms: {both: {mean: 0.5}}
"""
JUDGING = Judging(cases=4, steps=1)


@pytest.fixture(scope="module")
def hearts(tmp_path_factory):
    root = tmp_path_factory.mktemp("judged")
    write_phantoms(root / "raw", "heart", 8, 1, (32, 32, 8))
    (root / "tiny.yaml").write_text(TINY)
    return root


def study(root, **changed):
    asked = {"seeds": (0,), "judging": JUDGING, "tell": lambda line: None} | changed
    return run_study(str(root / "tiny.yaml"), root / "raw", root / "out", **asked)


@pytest.fixture(scope="module")
def done(hearts):
    return study(hearts)


@pytest.fixture
def report(hearts, done):
    return json.loads((hearts / "out" / "report.json").read_text())


def test_a_study_answers_all_three_questions(hearts, done, report):
    assert done["problems"] == []
    assert done["judged"] == [
        {"generator": "gan", "seed": 0, "folder": "judged/gan-seed0",
         "evaluate": True, "audit": True}
    ]  # fmt: skip
    # one step of training teaches nothing, and four cases of eight patients settle nothing
    assert report["verdicts"]["leaks"]["word"] in ("inconclusive", "leak")
    assert [one["name"] for one in report["audits"]] == ["gan, seed 0"]
    assert report["study"]["arms"]["both"]["steps"] == 2
    assert report["study"]["help"][0]["arm"] == "both"
    assert report["study"]["arms"]["both"]["published"] == {"mean": 0.5}
    assert "real" in report["study"]["arms"]
    faithful = report["evaluations"][0]["faithful"]
    assert faithful["facts"]["steps"] == 1
    assert all(entry["protocol"].startswith("faithfulness/3/") for entry in
               faithful["structures"].values())  # fmt: skip
    assert report["study"]["protocol"].startswith("dice/2/")
    (facts,) = report["study"]["protocols"].values()  # Dice on another grid is another number
    assert facts["prepared"]["size"] == json.loads((hearts / "out" / "store" / "store.json")
                                                   .read_text())["recipe"]["size"]  # fmt: skip
    assert facts["seeds"] == [0]
    assert report["missing"] == [
        "No reader study: whether experts can tell these scans from real ones is open."
    ]


def test_the_page_needs_nothing_else_and_names_no_folder_of_the_machine(hearts, done, report):
    page = (hearts / "out" / "report.html").read_text()
    text = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "PICTURE", page)
    assert not re.findall(r"(?:https?:|file:|//[a-z]|<script|<link|@import|url\()", text)
    assert set(re.findall(r'src="([^"]*)"', text)) == {"PICTURE"}
    assert str(hearts) not in text
    assert str(hearts) not in json.dumps(report)
    for told in ("Not a medical device", "Does it help?", "nowhere, Table 0", "other data",
                 "--judge-cases 4", "no pair", "What it does not mean"):  # fmt: skip
        assert told in text, told
    for _, verdict in report["verdicts"].items():
        if verdict:
            assert verdict["headline"] in text
            assert verdict["rests_on"] in text
    assert re.match(r"“.+” against “.+”: .+ Dice \(95 % ", report["verdicts"]["helps"]["rests_on"])


def test_real_patients_are_written_as_the_store_has_them(hearts, done):
    store, folder = Store.open(hearts / "out" / "store"), hearts / "out" / "judged"
    names = {}
    for name, split in judge.SETS.items():
        found = find_layout(folder / name)
        names[name] = {files.case for files in found.cases}
        assert names[name] == set(store.names(split))
        files = found.cases[0]
        scan = read_scan(files, table=found.table)
        wanted = store.scan(files.case, *store.volume(files.case))
        assert np.allclose(scan.affine, wanted.affine)
        assert np.abs(scan.image - wanted.image).max() <= 0.5  # CT is stored as whole HU
        assert np.array_equal(found.table.encode(scan.labels), store.table.written.encode(
            wanted.labels))  # fmt: skip
        assert {files.patient for files in found.cases} == {
            store.cases[case].patient for case in store.names(split)
        }
    assert not names["train"] & names["holdout"]
    made = find_layout(folder / "gan-seed0" / "synthetic")
    assert len(made.cases) == 4
    shapes = {read_scan(files).image.shape for files in (*made.cases, *found.cases)}
    assert len(shapes) == 1


def test_methods_that_draw_slices_are_compared_with_slices(tmp_path):
    write_phantoms(tmp_path / "raw", "brain", 4, 1, (32, 32, 12))
    sets = ["data.size=32,32", "data.split=0.5,0,0.5"]
    store = prepare(tmp_path / "raw", tmp_path / "store", "registered-multimodal", sets=sets)
    judge.export(store, "test", tmp_path / "holdout")
    found = find_layout(tmp_path / "holdout")
    patients = {store.cases[case].patient for case in store.names("test")}
    assert {files.patient for files in found.cases} == patients
    files = found.cases[-1]
    name, _, number = files.case.rpartition("_")
    image, labels = store.sample(name, int(number))
    scan = read_scan(files, table=found.table)
    wanted = store.scan(name, image[None], labels[None], first=int(number))
    assert min(scan.image.shape[1:]) == 1
    assert np.allclose(scan.image, wanted.image)
    assert np.allclose(scan.affine, wanted.affine)
    assert labels.any()
    shown = found.table.encode(scan.labels)
    assert np.array_equal(shown, store.table.written.encode(wanted.labels))
    with pytest.raises(DataError, match="no case in the validation split"):
        judge.export(store, "validation", tmp_path / "nobody")


def test_an_audit_that_fails_is_told_and_only_it_is_done_again(hearts, done, report, monkeypatch):
    folder = hearts / "out" / "judged" / "gan-seed0"
    (folder / "audit.json").unlink()
    kept = [folder / "evaluate.json", folder / "synthesize.json", folder.parent / "train.json"]
    before = [path.stat().st_mtime_ns for path in kept]

    def broken(*given, **options):
        raise DataError(f"{given[0]}: a case is broken")

    with monkeypatch.context() as changed:
        changed.setattr(judge, "audit", broken)
        told = []
        found = study(hearts, tell=told.append)
    assert found["problems"] == [f"gan, seed 0, audit: {folder / 'synthetic'}: a case is broken"]
    to_do = "2 cell(s) to train, 2 of them done before: 2 arm(s) under 1 seed(s)"
    assert told == [to_do, *found["problems"]]
    half = json.loads((hearts / "out" / "report.json").read_text())
    assert half["verdicts"]["leaks"]["word"] == "not known"
    assert half["evaluations"] == report["evaluations"]
    assert "No audit: whether training patients are given away is not known." in half["missing"]
    page = (hearts / "out" / "report.html").read_text()
    assert "gan, seed 0, audit: judged/gan-seed0/synthetic: a case is broken" in page
    assert str(hearts) not in page

    assert study(hearts) == done
    assert json.loads((hearts / "out" / "report.json").read_text()) == report
    assert [path.stat().st_mtime_ns for path in kept] == before


@pytest.fixture
def again(hearts, done, tmp_path):
    """The finished study in a folder of its own, and a function that runs it again."""
    out = tmp_path / "again"
    shutil.copytree(hearts / "out", out)

    def run(judging):
        found = run_study(
            str(hearts / "tiny.yaml"), hearts / "raw", out, seeds=(0,), judging=judging,
            tell=lambda line: None,
        )  # fmt: skip
        return found, json.loads((out / "report.json").read_text())

    return out, run


def test_what_was_judged_stays_in_the_report_without_judging(done, report, again):
    out, run = again
    found, told = run(None)
    assert found["judged"] == done["judged"]
    for part in ("audits", "evaluations", "missing", "verdicts"):
        assert told[part] == report[part]
    assert "--judge-cases 4 --judge-steps 1" in found["command"]
    assert "--no-judge" not in found["command"]
    (out / "judged" / "gan-seed0" / "evaluate.json").unlink()  # not finished: not listed
    found, told = run(None)
    assert (found["judged"][0]["evaluate"], found["judged"][0]["audit"]) == (False, True)
    assert (told["evaluations"], told["audits"]) == ([], report["audits"])


def test_judging_of_another_generator_or_other_patients_is_not_listed(again):
    out, run = again
    for what in ("evaluate", "audit"):
        path = out / "judged" / "gan-seed0" / f"{what}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"store": "another"}))
    found, told = run(None)
    assert found["judged"] == told["audits"] == told["evaluations"] == []
    assert found["command"].endswith("--no-judge")
    assert told["verdicts"]["leaks"]["word"] == "not known"


def test_what_was_judged_with_other_numbers_stays_and_says_with_how_many(done, report, again):
    """Four cases and one step are there, five and two are asked for."""
    out, run = again
    found, told = run(Judging(cases=5, steps=2))
    assert found["problems"] == [
        "gan, seed 0: was judged before with 4 cases, 1 steps, which stays; expected 5 cases, "
        "2 steps. To judge anew delete judged/gan-seed0 in the study's folder."
    ]
    assert found["judged"] == done["judged"]
    assert "--judge-cases 4 --judge-steps 1" in found["command"]
    assert (told["audits"], told["evaluations"]) == (report["audits"], report["evaluations"])
    assert "was judged before with 4 cases" in (out / "report.html").read_text()


def test_a_study_without_judging_says_what_it_does_not_know(hearts, done, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(hearts / "out", out)
    results = json.loads((out / "results.json").read_text())
    (out / "results.json").write_text(json.dumps({**results, "judged": []}))
    found = write_report(Parts(study=out), tmp_path / "report")
    assert (
        found["verdicts"]["faithful"]["word"] == found["verdicts"]["leaks"]["word"] == ("not known")
    )
    assert len(found["missing"]) == 3


def test_the_page_tells_patients_left_out_false_alarms_and_failed_seeds(hearts, done, tmp_path):
    """In one of four patients only "both" finds what is not there; under seed 4 it failed."""
    out = tmp_path / "copy"
    out.mkdir()
    results = json.loads((hearts / "out" / "results.json").read_text())
    results |= {"seeds": [0, 4], "judged": []}
    (out / "results.json").write_text(json.dumps(results))
    head, *lines = (hearts / "out" / "patients.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines]
    measures, patient = len(head.split(",")) - 4, rows[0][2]
    for row in rows:
        if row[2] == patient:
            row[4:] = ["" if row[0] == "real" else "0"] * measures
    rows += [[arm, "4", *rest] for arm, _, *rest in rows if arm == "real"]
    (out / "patients.csv").write_text("\n".join([head, *map(",".join, rows)]))
    (row,) = write_report(Parts(study=out), tmp_path / "report")["study"]["help"][0]["comparisons"]
    assert (row["false_alarms"], row["failed"]) == ([1, 0], [4])
    assert (row["above"]["patients"], row["above"]["left_out"]) == (3, 1)
    page = (tmp_path / "report" / "report.html").read_text()
    alarm = (
        "false alarms: it alone finds what is not there in 1 test patient(s), the other alone in 0"
    )
    for told in ("no evidence: of 2 seeds 1 failed", "; 3 test patient(s), 6 are needed; " + alarm,
                 " Failed: seed 4.", "<small> over 3 of 4 patients</small>",
                 f"<small>{alarm}</small>"):  # fmt: skip
        assert told in page, told


def test_the_page_tells_how_often_each_arm_sees_a_real_sample(hearts, done, tmp_path):
    """Half of them in the same steps: twice. A tenth of twice the draws, 90:10: .2 times."""
    out = tmp_path / "copy"
    out.mkdir()
    results = json.loads((hearts / "out" / "results.json").read_text()) | {"judged": []}
    more = {
        "half": {"real": 0.5},
        "late": {"synthetic": 1, "by": "gan", "order": "synthetic-first", "schedule": "90:10"},
        "shown": {"showing": ["left ventricle"]},
    }
    results["spec"]["arms"] |= more
    results["arms"] |= dict.fromkeys(more, results["arms"]["real"])
    (out / "results.json").write_text(json.dumps(results))
    head, *lines = (hearts / "out" / "patients.csv").read_text().splitlines()
    alike = [line.removeprefix("real") for line in lines if line.startswith("real,")]
    lines += [name + line for name in more for line in alike]
    (out / "patients.csv").write_text("\n".join([head, *lines]))
    found = write_report(Parts(study=out), tmp_path / "report")
    seen = {name: arm["exposure"] for name, arm in found["study"]["arms"].items()}
    assert seen == {"real": 1, "both": 1, "half": 2, "late": pytest.approx(0.2), "shown": 1}
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("<td>0.20&nbsp;×</td>") == 1
    assert page.count("<small>and more by as much as fewer are in use: those that show") == 1
    assert "among arms that use all of them in one pool" in page


def test_a_study_that_did_not_keep_what_its_star_stands_for_is_told_in_words(
    hearts, done, tmp_path
):
    out = tmp_path / "copy"
    out.mkdir()
    results = json.loads((hearts / "out" / "results.json").read_text()) | {"judged": []}
    del results["lesion"]
    results["spec"]["lesion"] = ["*"]
    results["spec"]["segmenters"]["lesion_share"] = 0.5
    (out / "results.json").write_text(json.dumps(results))
    shutil.copy(hearts / "out" / "patients.csv", out)
    write_report(Parts(study=out), tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Samples that show what counts as lesion are drawn more often" in page


def test_parts_that_were_made_apart_come_together(hearts, done, report, tmp_path):
    folder = hearts / "out" / "judged" / "gan-seed0"
    cases = {f"abcd_{n:03}": {"truth": side} for n, side in enumerate(["real", "synthetic"] * 4)}
    (tmp_path / "key.json").write_text(json.dumps({"study": "abcd", "cases": cases}))
    (tmp_path / "answers-R1.csv").write_text(
        "\n".join(["case,answer,comment", *(f"{case},real," for case in cases)])
    )
    score_study([tmp_path / "answers-R1.csv"], tmp_path / "key.json", tmp_path / "score")
    told = CliRunner().invoke(
        app,
        ["report", "--audit", str(folder / "audit"), "--evaluate", str(folder / "evaluate"),
         "--reader-study", str(tmp_path / "score"), "--out", str(tmp_path / "report")],
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    assert "helps: not known" in told.output
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert found["study"] is None
    assert found["missing"] == ["No study: whether training with these scans helps is not known."]
    assert found["audits"][0]["lines"] == report["audits"][0]["lines"]
    assert found["verdicts"]["readers"]["sentences"] == [found["reader_study"]["verdict"]]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Can experts tell it from real scans?" in page


def test_parts_whose_folders_are_called_alike_keep_their_own_pictures(hearts, done, tmp_path):
    folder = hearts / "out" / "judged" / "gan-seed0"
    for name in ("one", "two"):
        for part in ("evaluate", "audit"):
            shutil.copytree(folder / part, tmp_path / name / part)
    for picture in (tmp_path / "two" / "audit" / "pairs").iterdir():
        Image.new("L", (8, 8), 77).save(picture)
    parts = {
        f"{what}s": [tmp_path / name / part for name in ("one", "two", "one")]
        for what, part in (("evaluation", "evaluate"), ("audit", "audit"))
    }
    found = write_report(Parts(**parts), tmp_path / "report")
    assert [one["name"] for one in found["audits"]] == ["one/audit", "two/audit"]
    assert [one["name"] for one in found["evaluations"]] == ["one/evaluate", "two/evaluate"]
    page = (tmp_path / "report" / "report.html").read_text()
    shown = {name: set() for name in ("one", "two")}
    for name, pictures in shown.items():
        for path in (tmp_path / name / "audit" / "pairs").iterdir():
            pictures.add(base64.b64encode(path.read_bytes()).decode() in page)
    assert True in shown["one"]
    assert True in shown["two"]


def test_good_news_of_some_generators_says_that_it_is_not_of_all(report):
    told = {
        "study": report["study"] | {"not_judged": {"evaluate": [], "audit": ["other, seed 0"]}},
        "evaluations": report["evaluations"],
        "audits": [{**report["audits"][0], "verdict": "pass"}],
        "reader_study": None,
    }
    headline = verdicts(told)["verdicts"]["leaks"]["headline"]
    assert headline.endswith("(the study itself did not look at other, seed 0)")
    told["audits"][0]["verdict"] = "leak"
    assert "look at" not in verdicts(told)["verdicts"]["leaks"]["headline"]


def test_pairs_are_shown_as_pairs(hearts, done, tmp_path):
    train = hearts / "out" / "judged" / "train"
    evaluate(train, train, tmp_path / "evaluate", limit=2)  # the same names: each is its own pair
    found = write_report(Parts(evaluations=(tmp_path / "evaluate",)), tmp_path / "report")
    assert found["evaluations"][0]["faithful"] == {
        "word": None, "reason": "not asked", "facts": None, "structures": {}
    }  # fmt: skip
    shown = samples_of(tmp_path / "evaluate")
    assert len(shown["paired"]) == 2
    assert shown["paired"][0]["real"] == shown["paired"][0]["synthetic"]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "that is to show the same" in page
    assert "no pair" not in page
    assert "evaluate: no verdict (not asked)." in page


def test_numbers_of_judging_that_mean_nothing_are_refused():
    with pytest.raises(SettingsError, match="judge: found -1 cases"):
        Judging(cases=-1)


def test_a_report_of_nothing_and_wrong_folders_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="found no part"):
        write_report(Parts(), tmp_path / "report")
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "audit.json").write_text("{}")
    with pytest.raises(DataError) as told:
        write_report(Parts(tmp_path / "study", (), (tmp_path / "audit",)), tmp_path / "report")
    assert "results.json: cannot be read" in str(told.value)
    assert "lacks verdict, pairs" in str(told.value)
    assert not (tmp_path / "report").exists()


def test_a_report_replaces_no_page_of_a_part(tmp_path):
    folder, out = tmp_path / "part", tmp_path / "link"
    folder.mkdir()
    out.symlink_to(folder)
    for name in ("report.html", "metrics.json"):
        (folder / name).write_text("of the part")
    for parts, found in (
        (Parts(evaluations=(folder,)), "is one of the parts"),
        (Parts(audits=(tmp_path, folder)), "is one of the parts"),
        (Parts(reader_study=folder), "is one of the parts"),
        (Parts(tmp_path / "study"), r"holds an evaluation \(metrics.json\)"),
    ):
        refused = f"link: {found}, whose own pages .* expected .* Choose another --out"
        with pytest.raises(SettingsError, match=refused):
            write_report(parts, out)
    assert {path.read_text() for path in folder.iterdir()} == {"of the part"}
    with pytest.raises(DataError):  # its own folder is not refused: there is no study
        write_report(Parts(folder), out)


def test_pictures_that_are_not_of_these_numbers_are_not_shown(hearts, done, report, tmp_path):
    folder = tmp_path / "evaluate"
    shutil.copytree(hearts / "out" / "judged" / "gan-seed0" / "evaluate", folder)
    shown = samples_of(folder)
    assert len(shown["real"]) == len(shown["synthetic"]) == 3
    assert all(row["case"].startswith("synth_") for row in shown["synthetic"])
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**metrics, "scansmith": "another"}))
    assert samples_of(folder) is None
    audit = hearts / "out" / "judged" / "gan-seed0" / "audit"
    pairs = pairs_of(report["audits"][0], audit)
    assert [row["line"] for row in pairs] == ["whole"] * 3 + ["lesion"] * 3 + ["inside"] * 3
    third = report["audits"][0]["pairs"][2]
    assert (pairs[2]["case"], pairs[2]["train_case"]) == (third["case"], third["train_case"])
    assert pairs_of(report["audits"][0], tmp_path) == []
