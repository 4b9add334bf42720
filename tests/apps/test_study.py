"""`scansmith study` on the command line: its exit codes."""

import sys

import pytest

from scansmith.apps.cli import main
from scansmith.studies import run


@pytest.mark.parametrize(("problems", "code"), [([], 0), (["gan, seed 1: no space left"], 1)])
def test_a_part_that_failed_is_seen_by_a_scheduler(tmp_path, monkeypatch, capsys, problems, code):
    def done(spec, data, out, **options):
        out.mkdir()
        (out / "results.md").write_text("# the table\n")
        return {"problems": problems}

    monkeypatch.setattr(run, "run_study", done)
    words = ["study", "magan/help", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["scansmith", *words])
    with pytest.raises(SystemExit) as left:
        main()
    assert (left.value.code or 0) == code
    printed = capsys.readouterr()
    assert "# the table" in printed.out  # what was done is told all the same
    assert ("not done: 1 part(s)" in printed.err) == bool(problems)
