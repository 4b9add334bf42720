"""`scansmith evaluate`: what is said, and left, where it is stopped."""

import sys
from importlib import import_module

import pytest

from scansmith.apps.cli import main


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "stopped; nothing of it is kept, the same command begins anew\n"),
        (
            ["--faithfulness"],
            "stopped; the same command measures anew and goes on with the segmenter's training\n",
        ),
    ],
)
def test_who_stops_an_evaluation_is_told_what_is_left_of_it(
    words, told, monkeypatch, capsys, tmp_path
):
    def stopped(*args, **options):
        raise KeyboardInterrupt

    # The package's name is its verb's, too.
    monkeypatch.setattr(import_module("scansmith.evaluate"), "evaluate", stopped)
    sets = [str(tmp_path / "real"), str(tmp_path / "made")]
    line = ["scansmith", "evaluate", *sets, "--out", str(tmp_path / "report"), *words]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 130
    assert capsys.readouterr().err.endswith(told)
