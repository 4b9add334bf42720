"""The command line on tiny phantoms: what it prints, where, and with which exit code."""

import inspect
import json
import re
import subprocess
import sys
from typing import get_args

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

import scansmith
from scansmith.apps import options
from scansmith.apps.cli import app, main
from scansmith.data.phantom import ORGANS
from scansmith.data.write import LAYOUT_WRITERS
from scansmith.methods import METHODS

TINY = [
    "data.size=32,32",
    "method.base=4",
    "method.patch=4",
    "train.steps=2",
    "train.batch=2",
    "train.threads=1",
]
SETS = [word for setting in TINY for word in ("--set", setting)]


def ran(*words, monkeypatch, capsys):
    """Exit code, standard output and error of the command line, as `scansmith WORDS` has them."""
    monkeypatch.setattr(sys, "argv", ["scansmith", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        main()
    printed = capsys.readouterr()
    return left.value.code or 0, printed.out, printed.err


@pytest.fixture
def say(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    return lambda *words: ran(*words, monkeypatch=monkeypatch, capsys=capsys)


def verbs(command=None, path=()):
    """Every verb as (words, command)."""
    command = command or get_command(app)
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            yield from verbs(below, (*path, name))
    else:
        yield path, command


@pytest.fixture(scope="module")
def hearts(tmp_path_factory):
    """A data set of phantom hearts, its store and a run of two steps, made by the verbs."""
    folder = tmp_path_factory.mktemp("hearts")
    ph, store, run = (str(folder / name) for name in ("ph", "store", "run"))
    for words in (
        ["data", "phantom", ph, "--organ", "heart", "--cases", "3", "--size", "32,32,8"],
        ["data", "prepare", ph, store, "--method", "heart-gan", "--workers", "1", *SETS],
        ["train", "heart-gan", store, "--out", run, *SETS],
    ):
        CliRunner().invoke(app, words, catch_exceptions=False)
    return folder


def test_preparing_says_where_the_grid_cuts_labels_away(hearts, say, tmp_path):
    """The phantom's heart is wider than half of its slices."""
    words = ["data", "prepare", hearts / "ph", "--method", "mm-gan", "--workers", "1"]
    code, _, error = say(*words, tmp_path / "small", "--set", "data.size=16,16,16")
    assert code == 0
    assert re.search(r"The grid cuts labels away in [1-3] case\(s\): of ct_train_\d+", error)
    assert "prepare again on a larger grid" in error
    code, _, error = say(*words, tmp_path / "large", "--set", "data.size=16,32,32")
    assert (code, "cuts labels" in error) == (0, False)


@pytest.mark.parametrize("verb", [" ".join(path) for path, _ in verbs()])
def test_every_verb_has_help_with_an_example(verb):
    shown = CliRunner().invoke(app, [*verb.split(), "--help"], env={"COLUMNS": "100"})
    assert shown.exit_code == 0
    assert re.search(rf"Example: scansmith {verb}\b", shown.output), shown.output


def test_every_option_says_what_it_is():
    for path, command in verbs():
        for option in command.params:
            assert option.help or option.name == "help", (path, option.name)


def test_the_choices_are_those_that_the_rooms_offer():
    assert set(get_args(options.Organ)) == set(ORGANS)
    assert set(get_args(options.Layout)) == set(LAYOUT_WRITERS)


@pytest.mark.parametrize("verb", ["data prepare", "train", "synthesize", "evaluate", "audit"])
def test_an_option_stands_for_every_argument_of_the_python_verb(verb):
    words = tuple(verb.split())
    (command,) = (command for path, command in verbs() if path == words)
    offered = {option.name for option in command.params} - {"help", "print_config"}
    wanted = set(inspect.signature(getattr(scansmith, words[-1])).parameters) - {"progress"}
    assert offered == wanted


def test_methods_are_listed_with_paper_and_needs(say):
    code, out, _ = say("methods")
    assert code == 0
    assert all(name in out for name in METHODS)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nonsense"],
        ["train"],
        ["train", "magan"],
        ["train", "magan", "store", "--out"],
        ["data", "phantom", "out", "--organ", "kidney"],
        ["data", "phantom", "out", "--cases", "0"],
        ["synthesize", "run", "--out", "x"],
        ["synthesize", "run", "--cases", "2"],
        ["methods", "--unknown"],
    ],
)
def test_wrong_usage_exits_with_2(say, words):
    assert say(*words)[0] == 2


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["train", "magann", "--print-config"], "magann"),
        (["train", "magan", "--print-config", "--set", "train.stepps=1"], "train.steps?"),
        (["train", "magan", "--print-config", "--preset", "gpu"], "Choose one of"),
        (["train", "magan", "--print-config", "--config", "none.yaml"], "none.yaml: cannot be"),
        (["train", "heart-gan", "nowhere", "--out", "r"], "nowhere"),
        (["data", "phantom", "x", "--size", "64,64"], "--size: found '64,64'"),
        (["data", "check", "nowhere"], "nowhere"),
        (["data", "prepare", "nowhere", "s", "--method", "heart-gan"], "nowhere"),
        (["synthesize", "nowhere", "--out", "x", "--cases", "1"], "nowhere"),
        (
            ["synthesize", "r", "--out", "x", "--cases", "1", "--shard", "3/2"],
            "--shard: found '3/2'",
        ),
        (["evaluate", "nowhere", "nowhere", "--out", "x"], "nowhere"),
    ],
)
def test_bad_input_is_one_clear_error_without_a_traceback(say, tmp_path, monkeypatch, words, text):
    monkeypatch.chdir(tmp_path)
    code, out, err = say(*words)
    assert code == 2
    assert err.startswith("Error: ")
    assert text in err
    assert "Traceback" not in err + out
    assert list(tmp_path.iterdir()) == []


def test_the_printed_config_is_yaml_with_a_source_on_every_line_and_can_be_used(say, tmp_path):
    code, out, _ = say("train", "magan", "--print-config", "--set", "train.steps=7")
    assert code == 0
    tree = yaml.safe_load(out)
    assert set(tree) == {"data", "train", "method"}
    assert {"steps", "checkpoint_every", "seed", "device", "precision"} <= set(tree["train"])
    assert all(re.search(r"# .+ \[.+\]$", line) for line in out.splitlines() if line[0] == " ")
    file = tmp_path / "magan.yaml"
    file.write_text(out, encoding="utf-8")
    again = say("train", "magan", "--print-config", "--config", file)[1]
    assert yaml.safe_load(again) == tree


def test_the_paper_preset_differs_from_the_cpu_preset(say):
    def steps(preset):
        return yaml.safe_load(say("train", "magan", "--print-config", "--preset", preset)[1])

    assert steps("paper")["train"]["steps"] == 45_550  # 4555 slices, 10 epochs, batch 1
    assert steps("cpu")["train"]["steps"] < 45_550
    default = yaml.safe_load(say("train", "magan", "--print-config")[1])
    assert default == steps("cpu")


def test_a_run_folder_has_the_files_that_scripts_rely_on(hearts):
    run = hearts / "run"
    assert {"run.json", "log.jsonl", "checkpoints", "samples"} <= {p.name for p in run.iterdir()}


def test_check_as_json_is_json_and_nothing_else(say, hearts):
    code, out, _ = say("data", "check", hearts / "ph", "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["layout"], found["cases"], found["problems"]) == ("mmwhs", 3, [])


def test_check_takes_the_settings_that_prepare_will_be_given(say, hearts):
    asked = ("data", "check", hearts / "ph", "--method", "heart-gan", "--json")
    assert say(*asked)[0] == 0
    code, out, _ = say(*asked, "--set", "data.window_high=-300")
    assert code == 2
    assert {problem["kind"] for problem in json.loads(out)["problems"]} == {"window"}
    assert say(*asked, "--set", "data.window_high=-300", "--set", "data.intensity=minmax")[0] == 0
    code, _, err = say("data", "check", hearts / "ph", "--set", "data.intensity=minmax")
    assert code != 0
    assert "Give --method" in err


def test_check_lists_problems_by_case_and_exits_with_2(say, hearts, tmp_path):
    broken = tmp_path / "ph"
    broken.mkdir()
    for file in (hearts / "ph").iterdir():
        if file.is_file():
            (broken / file.name).write_bytes(file.read_bytes())
    image = next(broken.glob("*1002*image*"))
    image.write_bytes(image.read_bytes()[:200])
    code, out, _ = say("data", "check", broken)
    assert code == 2
    assert "ct_train_1002" in out
    code, out, _ = say("data", "check", broken, "--json")
    assert code == 2
    assert any("1002" in problem["where"] for problem in json.loads(out)["problems"])
    assert json.loads(say("data", "check", tmp_path / "none", "--json")[1])["layout"] is None


def test_from_run_to_synthetic_set_to_report(say, hearts, tmp_path):
    made, report = tmp_path / "made", tmp_path / "report"
    words = ["synthesize", hearts / "run", "--out", made, "--cases", 2, "--seed", 5]
    code, out, _ = say(*words)
    assert (code, str(made) in out) == (0, True)
    assert say(*words)[0] == 2  # it is there already
    assert say(*words, "--resume")[0] == 0
    assert len(list((made / "imagesTr").iterdir())) == 2
    options = ["--window", -100, 500, "--data-range", 700, "--pairs", "none", "--limit", 1]
    options += ["--lesion", "myocardium", "--seed", 3]
    code, out, _ = say("evaluate", hearts / "ph", made, "--out", report, *options)
    assert code == 0
    assert (report / "report.html").is_file()
    found = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    window, settings = found["windows"]["ct"], found["settings"]
    assert (window["low"], window["high"], window["data_range"]) == (-100, 500, 700)
    assert (settings["pairs"], settings["limit"], settings["seed"]) == ("none", 1, 3)
    assert settings["lesion"] == ["myocardium"]


def test_shards_together_are_the_whole(say, hearts, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    words = ["--cases", 3, "--seed", 5]
    assert say("synthesize", hearts / "run", "--out", whole, *words)[0] == 0
    for shard in ("1/2", "2/2"):
        assert say("synthesize", hearts / "run", "--out", parts, *words, "--shard", shard)[0] == 0
    images = sorted(p.name for p in (whole / "imagesTr").iterdir())
    assert images == sorted(p.name for p in (parts / "imagesTr").iterdir())
    for name in images:
        one, other = (folder / "imagesTr" / name for folder in (whole, parts))
        assert one.read_bytes() == other.read_bytes()


def test_the_data_settings_of_the_store_stand_in_training(say, hearts, tmp_path):
    code, _, err = say(
        "train", "heart-gan", hearts / "store", "--out", tmp_path / "r", "--set", "data.size=64,64"
    )
    assert code == 2
    assert "size" in err


def test_python_dash_m_is_the_same_command_line():
    done = subprocess.run(
        [sys.executable, "-m", "scansmith", "--version"], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"scansmith \d+\.\d+\.\d+\S*\n", done.stdout)
