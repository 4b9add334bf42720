"""Studies that are started with `python -m`: what is mistyped is told, and leaves no traceback."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from scansmith import studies
from scansmith.scan import SettingsError
from scansmith.studies.command import seeds_of

HERE = Path(studies.__path__[0])


@pytest.mark.parametrize(
    ("module", "words", "told"),
    [
        ("lesion_classification", ["--store", "nosuch"], "nosuch: no finished store here"),
        ("lesion_classification", ["ant-gan=nosuch"], "nosuch: no run.json here"),
        ("lesion_classification", ["a=nosuch", "--seeds", "x"], "--seeds: found 'x', expected"),
        ("healed_channel", ["a=nosuch", "--seeds", "0,0"], "--seeds: found '0,0', expected"),
        ("healed_channel", [], "expected a store (--store STORE) or trained runs"),
        ("label_use", ["nosuch", "a=nosuch", "--seeds", ""], "--seeds: found '', expected"),
        ("audit_calibration", ["nosuch"], "nosuch: no such folder"),
    ],
)
def test_a_mistake_is_one_line_and_the_exit_code_is_2(
    module, words, told, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [module, *words, "--out", "out"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(HERE / f"{module}.py"), run_name="__main__")
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith(f"Error: {told}")


def test_every_study_that_is_started_so_tells_its_mistakes():
    started = [path for path in HERE.glob("*.py") if "__main__" in path.read_text("utf-8")]
    assert len(started) >= 11
    assert [
        path.name for path in started if "    command(main)" not in path.read_text("utf-8")
    ] == []


def test_seeds_are_whole_numbers_each_once():
    assert seeds_of("0, 1,12") == (0, 1, 12)
    for words in ("", "1,", "-1", "1.5", "1,1", "²"):
        with pytest.raises(SettingsError, match="--seeds: found"):
            seeds_of(words)
