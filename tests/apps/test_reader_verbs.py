"""`scansmith reader-study`: from two data sets to a score, as a user would do it."""

import csv
import json
import sys

import pytest

from scansmith.apps.cli import main
from scansmith.data.phantom import write_phantoms


@pytest.fixture
def say(monkeypatch, capsys):
    """Exit code, standard output and error of `scansmith WORDS`."""
    monkeypatch.setenv("COLUMNS", "100")

    def ran(*words):
        monkeypatch.setattr(sys, "argv", ["scansmith", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        return left.value.code or 0, printed.out, printed.err

    return ran


def test_a_study_is_made_answered_and_scored(say, tmp_path):
    for name, seed in (("real", 1), ("made", 2)):
        write_phantoms(tmp_path / name, "heart", 5, seed, size=(32, 32, 8))
    # Phantoms of any seed have the same names; these are other patients.
    for path in list((tmp_path / "made").rglob("ct_train_*")):
        path.rename(path.with_name(path.name.replace("ct_train_1", "ct_train_9")))
    study, key = tmp_path / "study", tmp_path / "away" / "key.json"
    sets = tmp_path / "real", tmp_path / "made"
    code, out, err = say(
        "reader-study", "make", *sets, "--out", study, "--cases", 10, "--key", key, "--seed", 5
    )
    assert code == 0, err
    assert "10 cases in" in out
    assert str(key) in out
    # a^10 + 10 a^9 (1 - a), none or one wrong of ten, is .8.
    assert "A single reader who is right in 92 % of the cases" in out

    truth = {name: row["truth"] for name, row in json.loads(key.read_text())["cases"].items()}
    sheets = []
    for reader in ("reader-1", "reader-2"):
        path = study / f"answers-{reader}.csv"
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        path = tmp_path / path.name
        with path.open("w", newline="") as file:
            sheet = csv.DictWriter(file, rows[0].keys())
            sheet.writeheader()
            for row in rows:
                sheet.writerow(row | {"answer": truth[row["case"]]})
        sheets.append(path)
    code, out, err = say(
        "reader-study", "score", *sheets, "--key", key, "--out", tmp_path / "score"
    )
    assert code == 0, err
    assert "reader-1: Told real from synthetic. Right in 10 of 10 cases" in out
    # 2 / C(10, 5) is .0079, twice that for two readers.
    assert "p = 0.0079, 0.016 after Holm's correction for 2 readers" in out
    assert {p.name for p in (tmp_path / "score").iterdir()} == {
        *("score.json", "score.md", "score.png")
    }

    # Three patients a side find nobody out, however many slices of them are shown.
    left_out = [w for n in (1, 2) for w in ("--leave-out", f"ct_train_10{n:02}")]
    left_out += [w for n in (1, 2) for w in ("--leave-out", f"ct_train_90{n:02}")]
    code, out, err = say(
        *("reader-study", "make", *sets, "--out", tmp_path / "few", "--cases", 8),
        *("--per-case", 2, *left_out),
    )
    assert code == 0, err
    assert "So few patients could not find out even a reader who is always right" in out

    # What cannot be done is said in a line, with exit code 2.
    code, _, err = say("reader-study", "make", *sets, "--out", tmp_path / "two", "--cases", 7)
    assert (code, err.count("\n")) == (2, 1)
    code, _, err = say(
        "reader-study", "make", *sets, "--out", tmp_path / "two", "--cases", 8, "--key", key
    )
    assert code == 2
    assert "is there already" in err
    assert not (tmp_path / "two").exists()
