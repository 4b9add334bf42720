import json
from dataclasses import replace

import pytest

from scansmith.apps.demo import DEMOS, run_demo
from scansmith.methods import find_method
from scansmith.scan import RunError, SettingsError
from scansmith.settings import load_settings

TINY = replace(
    DEMOS["heart"],
    sets=(
        *("data.size=32,32", "method.base=4", "method.patch=4"),
        *("train.batch=2", "train.steps=2"),
    ),
    phantoms=4,
    size=(32, 32, 8),
    made=2,
)


def test_the_demo_ends_with_two_reports_and_says_where(tmp_path):
    out = tmp_path / "demo"
    told = run_demo(out, "heart", plan=TINY)
    for report in (out / "report" / "report.html", out / "report" / "held-out" / "report.html"):
        assert report.is_file()
        assert str(report) in told
    held_out = json.loads((out / "report" / "held-out" / "metrics.json").read_text("utf-8"))
    assert held_out["pairs"]["count"] >= 1  # the grids agree, so real and made can be subtracted
    rows = (out / "synthetic" / "provenance.jsonl").read_text("utf-8").splitlines()
    assert len(rows) == 2
    assert run_demo(out, "heart", plan=TINY) == told  # a finished demo may be run again


def test_the_demo_leaves_other_folders_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("final", encoding="utf-8")
    with pytest.raises(RunError, match="expected an empty folder"):
        run_demo(tmp_path, "heart", plan=TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_of_another_demo_is_refused(tmp_path):
    (tmp_path / "demo.json").write_text('{"organ": "liver"}', encoding="utf-8")
    with pytest.raises(RunError, match="another organ or version"):
        run_demo(tmp_path, "heart", plan=TINY)


def test_there_is_no_demo_of_an_unknown_organ(tmp_path):
    with pytest.raises(SettingsError, match="liver, heart"):
        run_demo(tmp_path / "x", "kidney")


@pytest.mark.parametrize("organ", DEMOS)
def test_the_settings_of_a_demo_exist_and_fit_its_phantoms(organ):
    demo = DEMOS[organ]
    kind = find_method(demo.method)
    settings = load_settings(kind.settings_type, preset=kind.presets["cpu"], sets=demo.sets)
    assert kind.recipe(settings).size == demo.size[:2]
