"""`scansmith audit` on the command line: what it prints, and its exit codes."""

import json
import re
import sys

import numpy as np
import pytest

from scansmith.apps.cli import main
from scansmith.data.write import open_writer
from scansmith.labels.table import LabelTable
from scansmith.scan import Scan


def write(root, seeds, prefix):
    writer = open_writer("slices", root, ("ct",), LabelTable({1: "liver"}))
    for seed in seeds:
        image = np.random.default_rng(seed).integers(0, 99, (1, 16, 18, 1)).astype(np.int16)
        labels = (image[0] > 50).astype(np.uint8)
        writer.write(Scan(f"{prefix}{seed}x", image, np.diag([-1.0, -1, 1, 1]), ("ct",), labels))
    writer.close()
    return str(root)


def say(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["scansmith", *words])
    with pytest.raises(SystemExit) as left:
        main()
    printed = capsys.readouterr()
    return left.value.code or 0, printed.out, printed.err


def test_a_verdict_of_any_kind_exits_with_0_and_refused_sets_with_2(tmp_path, monkeypatch, capsys):
    made = write(tmp_path / "made", range(4), "s")
    train = write(tmp_path / "train", range(4, 9), "t")
    holdout = write(tmp_path / "holdout", range(9, 14), "h")
    out = tmp_path / "out"
    words = ["audit", made, "--train", train, "--holdout", holdout, "--out", str(out)]
    code, printed, _ = say(monkeypatch, capsys, *words)
    assert code == 0
    assert printed.startswith("verdict: inconclusive")
    assert re.search(r"About this many would do: \d+ train patients, \d+ holdout", printed)
    assert json.loads((out / "audit.json").read_text())["verdict"] == "inconclusive"

    words = ["audit", made, "--train", train, "--holdout", train]
    code, _, printed = say(monkeypatch, capsys, *words)
    assert code == 2
    assert "5 patients are in the training and in the hold-out set" in printed
