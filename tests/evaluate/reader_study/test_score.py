"""Scores of a reader study: the published table, numbers by hand, every mistake in a sheet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import beta, fisher_exact

from scansmith.evaluate.reader_study.answers import read_key, read_sheets
from scansmith.evaluate.reader_study.pages import answer_sheet
from scansmith.evaluate.reader_study.score import score_study
from scansmith.evaluate.reader_study.score_page import p_words
from scansmith.evaluate.reader_study.statistics import (
    LEAST_CASES,
    Answers,
    Proportion,
    cohen,
    cohen_interval,
    detectable,
    exchange_p,
    fleiss,
    holm,
    power,
    rejected,
)
from scansmith.scan import DataError, SettingsError


def write_key(folder: Path, real: int, synthetic: int) -> Path:
    """A key of so many cases, real and synthetic in turn."""
    truths = ["real"] * real + ["synthetic"] * synthetic
    cases = {f"abcd_{n:03}": {"truth": truth} for n, truth in enumerate(truths)}
    path = folder / "key.json"
    path.write_text(json.dumps({"study": "abcd", "cases": cases}))
    return path


def write_sheet(folder: Path, reader: str, table: Answers) -> Path:
    """The answers of a reader with this table, for a key of `write_key`."""
    words = ["real"] * table.real_as_real + ["synthetic"] * table.real_as_synthetic
    words += ["real"] * table.synthetic_as_real + ["synthetic"] * table.synthetic_as_synthetic
    rows = [f"abcd_{n:03},{word}," for n, word in enumerate(words)]
    path = folder / f"answers-{reader}.csv"
    path.write_text("\n".join(["case,answer,comment", *rows]))
    return path


# MAGAN, Table 4: 50 real and 50 synthetic slices, two readers.
FIRST, SECOND = Answers(37, 13, 18, 32), Answers(42, 8, 44, 6)


@pytest.fixture
def published(tmp_path: Path) -> dict:
    key = write_key(tmp_path, 50, 50)
    sheets = [write_sheet(tmp_path, "R1", FIRST), write_sheet(tmp_path, "R2", SECOND)]
    return score_study(sheets, key, tmp_path / "score")


def test_the_published_table_gives_the_published_percentages(published, tmp_path: Path) -> None:
    first, second = published["readers"]["R1"], published["readers"]["R2"]
    assert first["specificity"]["value"] == 0.74
    assert first["sensitivity"]["value"] == 0.64
    assert second["specificity"]["value"] == 0.84
    assert second["sensitivity"]["value"] == 0.12
    assert (first["accuracy"]["value"], second["accuracy"]["value"]) == (0.69, 0.48)
    page = (tmp_path / "score" / "score.md").read_text()
    for line in (
        "| R1 | real | 37 | 13 | 74 % |",
        "| R1 | synthetic | 18 | 32 | 64 % |",
        "| R2 | real | 42 | 8 | 84 % |",
        "| R2 | synthetic | 44 | 6 | 12 % |",
    ):
        assert line in page
    assert json.loads((tmp_path / "score" / "score.json").read_text()) == published


def test_the_verdicts_on_the_published_table(published) -> None:
    first, second = published["readers"]["R1"], published["readers"]["R2"]
    assert first["tells"] == "yes"
    assert first["p"] < 0.001
    assert first["verdict"].startswith("Told real from synthetic. Right in 69 of 100 cases (69 %")
    assert second["tells"] == "not shown"
    assert "Could not be shown to tell" in second["verdict"]
    assert "This does not say that the reader cannot tell" in second["verdict"]
    assert "called 14 of 100 synthetic" in second["verdict"]
    assert published["verdict"].startswith("1 of 2 readers (R1; p < .05 after Holm")
    assert "not a medical device" in published["intended_use"].lower()


def test_intervals_are_those_of_clopper_and_pearson() -> None:
    """By quantiles of the beta distribution, which is another way to the same ends."""
    for right, of in ((69, 100), (0, 12), (7, 7), (1, 40)):
        low = beta.ppf(0.025, right, of - right + 1) if right else 0.0
        high = beta.ppf(0.975, right + 1, of - right) if right < of else 1.0
        assert Proportion(right, of).interval == pytest.approx((low, high), abs=1e-9)


def test_p_values_by_hand() -> None:
    # All eight right: of C(8, 4) = 70 ways to deal the answers, this one and its opposite.
    assert Answers(4, 0, 0, 4).p == pytest.approx(2 / 70)
    assert Answers(4, 0, 0, 4).p_binomial == pytest.approx(2 / 2**8)
    assert Answers(3, 0, 0, 3).p == pytest.approx(2 / 20)
    assert LEAST_CASES == 8
    # C(14, 7) = 3432; of C(20, 10) = 184 756 ways the two are 1.1e-5.
    assert p_words(Answers(7, 0, 0, 7).p) == "p = 0.00058"
    assert p_words(Answers(10, 0, 0, 10).p) == "p < 0.0001"
    assert Answers(10, 10, 10, 10).p == 1


def test_a_reader_who_leans_is_found_out_by_the_test_and_not_by_the_accuracy() -> None:
    """Calls all but ten real, and those ten rightly synthetic: right in 60 of 100."""
    table = Answers(50, 0, 40, 10)
    assert table.p < 0.002
    assert table.p_binomial > 0.05
    assert Answers(0, 50, 10, 40).p < 0.002  # and who leans the other way, wrongly


def test_who_takes_the_one_for_the_other_has_told_them_apart(tmp_path: Path) -> None:
    key = write_key(tmp_path, 10, 10)
    found = score_study([write_sheet(tmp_path, "X", Answers(1, 9, 9, 1))], key, tmp_path / "score")
    assert found["readers"]["X"]["tells"] == "wrong way round"
    assert "took the one for the other" in found["readers"]["X"]["verdict"]
    assert found["verdict"].startswith("The reader told the two apart, but the wrong way round: ")


def test_who_has_none_of_fourteen_right_is_not_said_to_know_the_synthetic_ones(
    tmp_path: Path,
) -> None:
    key = write_key(tmp_path, 7, 7)
    found = score_study([write_sheet(tmp_path, "X", Answers(0, 7, 7, 0))], key, tmp_path / "score")
    assert found["readers"]["X"]["p"] == pytest.approx(
        2 / 3432
    )  # this dealing of C(14, 7), or its opposite
    assert "told the synthetic cases from the real ones" not in found["verdict"]
    assert (
        "**The reader told the two apart, but the wrong way round"
        in (tmp_path / "score" / "score.md").read_text()
    )


def test_each_reader_who_was_found_out_is_named_with_his_direction(tmp_path: Path) -> None:
    key = write_key(tmp_path, 10, 10)
    tables = {"A": Answers(10, 0, 0, 10), "B": Answers(0, 10, 10, 0), "C": Answers(5, 5, 5, 5)}
    sheets = [write_sheet(tmp_path, name, table) for name, table in tables.items()]
    found = score_study(sheets, key, tmp_path / "score")
    told, swapped = found["verdict"].split("ones. ", 1)
    assert told.startswith("1 of 3 readers (A; p < .05 after Holm's correction) told the synthetic")
    assert swapped.startswith("1 of 3 readers (B; p < .05 after Holm's correction) told the two")


def test_the_headline_and_the_lines_below_it_go_by_one_test(tmp_path: Path) -> None:
    """All eight right: p is 2 / C(8, 4) = .029, of three readers 6 / 70 = .086."""
    key = write_key(tmp_path, 4, 4)
    tables = {"anna": Answers(4, 0, 0, 4), "ben": Answers(2, 2, 2, 2), "eve": Answers(2, 2, 2, 2)}
    sheets = [write_sheet(tmp_path, name, table) for name, table in tables.items()]
    found = score_study(sheets, key, tmp_path / "score")
    anna = found["readers"]["anna"]
    assert anna["tells"] == "not shown"
    assert "p = 0.029, 0.086 after Holm's correction for 3 readers" in anna["verdict"]
    # Not even all right is below .05 / 3: no accuracy could have been found out.
    assert found["detectable_accuracy"] is None
    assert "even a reader who is always right (p < .05 after Holm's" in found["verdict"]
    page = (tmp_path / "score" / "score.md").read_text()
    assert "Told real from synthetic" not in page
    assert "every verdict goes by p after Holm's correction" in page
    alone = score_study(sheets[:1], key, tmp_path / "alone")
    assert alone["readers"]["anna"]["tells"] == "yes"
    assert "Holm's" not in alone["verdict"] + alone["readers"]["anna"]["verdict"]


def test_patients_of_several_pictures_count_as_wholes(tmp_path: Path) -> None:
    """Five pictures each of two real and two synthetic patients, all told apart.

    Fisher takes the twenty for independent: p = 2 / C(20, 10). Of the C(4, 2) = 6 ways to deal the
    four patients out, the shown one and its reverse are as extreme: p = 1 / 3.
    """
    truth = [False] * 10 + [True] * 10
    whose = [name for name in ("a", "b", "c", "d") for _ in range(5)]
    assert Answers(10, 0, 0, 10).p == pytest.approx(2 / 184756)
    assert exchange_p(truth, truth, whose, 0) == pytest.approx(1 / 3, abs=0.02)
    wrong = [not one for one in truth]
    assert exchange_p(wrong, truth, whose, 0) == exchange_p(truth, truth, whose, 0)
    assert exchange_p([True] * 20, truth, whose, 0) == 1
    # A patient of both sides counts as two: a, b real and a, b synthetic are four, as above.
    both = [name for name in ("a", "b", "a", "b") for _ in range(5)]
    assert exchange_p(truth, truth, both, 0) == pytest.approx(1 / 3, abs=0.02)
    # Where each picture is of its own patient, it is Fisher's test up to its draws.
    called = [False] * 8 + [True] * 2 + [False] * 3 + [True] * 7
    alone = exchange_p(called, truth, list(map(str, range(20))), 0)
    assert alone == pytest.approx(Answers(8, 2, 3, 7).p, abs=0.02)


def test_a_reader_who_goes_by_patients_is_not_found_out_by_many_pictures(tmp_path: Path) -> None:
    key = write_key(tmp_path, 10, 10)
    content = json.loads(key.read_text())
    for n, row in enumerate(content["cases"].values()):
        row["patient"] = f"p{n // 5}"
    sheet = write_sheet(tmp_path, "R1", Answers(10, 0, 0, 10))
    plain = score_study([sheet], key, tmp_path / "plain")
    assert plain["readers"]["R1"]["tells"] == "yes"
    assert plain["p_by"] == "Fisher's exact test"
    key.write_text(json.dumps(content))
    found = score_study([sheet], key, tmp_path / "score")
    assert (found["patients"], found["p_by"]) == (
        {"real": 2, "synthetic": 2},
        "exchange of patients",
    )
    assert found["readers"]["R1"]["tells"] == "not shown"
    assert found["detectable_accuracy"] is None  # two patients a side find nobody out
    assert "p (exchange of patients)" in (tmp_path / "score" / "score.md").read_text()


def test_the_accuracy_that_could_be_found_out_is_that_of_the_test_that_was_used() -> None:
    """Of five and five, 2 / C(10, 5) = .0079: all right counts, also for 3 and 6 readers (.048).

    One wrong of ten is .048 (2 * (1 + 5) / 252), which counts for a single reader alone; so of
    three the accuracy a has a^10 + (1 - a)^10 = .8.
    """
    assert detectable(5, 5, readers=3) == pytest.approx(0.8 ** (1 / 10), abs=1e-5)
    assert detectable(5, 5, readers=6) == pytest.approx(0.8 ** (1 / 10), abs=1e-5)
    assert detectable(5, 5, readers=7) is None
    assert detectable(5, 5) < 0.95


def test_the_tables_that_count_are_those_that_scipy_s_test_rejects() -> None:
    for real, synthetic in ((7, 7), (5, 9)):
        found = rejected(real, synthetic)
        for hits in range(synthetic + 1):
            for alarms in range(real + 1):
                table = [[real - alarms, alarms], [synthetic - hits, hits]]
                assert found[hits, alarms] == (fisher_exact(table).pvalue < 0.05), table


def test_what_a_study_could_have_found_out() -> None:
    # Of four and four only all right (or all wrong) counts: a^8 + (1 - a)^8.
    region = rejected(4, 4)
    assert power(0.9, region) == pytest.approx(0.9**8 + 0.1**8)
    assert detectable(4, 4) == pytest.approx(0.8 ** (1 / 8), abs=1e-5)
    assert detectable(3, 3) is None
    assert power(0.5, rejected(20, 20)) < 0.05
    assert detectable(50, 50) < detectable(20, 20) < detectable(10, 10)
    rng = np.random.default_rng(0)
    least = detectable(20, 20)
    hits, alarms = rng.binomial(20, least, 4000), rng.binomial(20, 1 - least, 4000)
    assert rejected(20, 20)[hits, alarms].mean() == pytest.approx(0.8, abs=0.03)


def test_holm_s_correction_by_hand() -> None:
    # Sorted .01, .03, .04 times 3, 2, 1 is .03, .06, .04; none below the one before it.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.8, 0.7]) == [1.0, 1.0]


def test_cohen_s_kappa_by_hand() -> None:
    # 20 both yes, 15 both no, 5 and 10 mixed: agreed .7; by chance .5 * .6 + .5 * .4 = .5.
    one = ["real"] * 25 + ["synthetic"] * 25
    other = ["real"] * 20 + ["synthetic"] * 5 + ["real"] * 10 + ["synthetic"] * 15
    assert cohen(one, other) == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    # Standard error sqrt(.7 * .3 / (50 * .5^2)) = .13: .4 -+ .25 (Cohen 1960, eq. 9).
    low, high = cohen_interval(one, other, seed=0)
    assert (low, high) == pytest.approx((0.15, 0.65), abs=0.04)
    assert cohen(["real"] * 4, ["real"] * 4) is None
    assert cohen_interval(["real"] * 4, ["real"] * 4, seed=0) is None


def test_fleiss_kappa_is_that_of_the_worked_example() -> None:
    """Ten subjects, 14 raters, five categories: .210 (Wikipedia, "Fleiss' kappa")."""
    table = np.array(
        [
            [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
        ]
    )  # fmt: skip
    assert fleiss(table) == pytest.approx(0.210, abs=5e-4)
    assert fleiss(np.array([[3, 0], [3, 0]])) is None
    assert fleiss(np.array([[3, 0], [0, 3]])) == 1


def test_agreement_of_three_readers_is_told(tmp_path: Path) -> None:
    key = write_key(tmp_path, 4, 4)
    tables = {"A": Answers(4, 0, 0, 4), "B": Answers(4, 0, 0, 4), "C": Answers(4, 0, 4, 0)}
    sheets = [write_sheet(tmp_path, name, table) for name, table in tables.items()]
    found = score_study(sheets, key, tmp_path / "score")
    pairs = {tuple(row["readers"]): row for row in found["agreement"]["cohen"]}
    assert (pairs["A", "B"]["agreed"], pairs["A", "B"]["kappa"]) == (1, 1)
    # C says always the same: agrees on half of the cases, as chance would have it.
    assert (pairs["A", "C"]["agreed"], pairs["A", "C"]["kappa"]) == (0.5, 0)
    # 4 cases of 3 alike (1), 4 of 2 and 1 (1/3): mean 2/3. Shares 16/24, 8/24: chance 5/9.
    assert found["agreement"]["fleiss"] == pytest.approx((2 / 3 - 5 / 9) / (1 - 5 / 9))
    assert "Fleiss' kappa 0.25" in (tmp_path / "score" / "score.md").read_text()
    # Three tests: .029 becomes .086, so the study as a whole shows nothing.
    assert found["readers"]["A"]["tells"] == "not shown"
    assert found["readers"]["A"]["p_holm"] == pytest.approx(6 / 70)
    assert found["verdict"].startswith("It could not be shown that any of the 3 readers can tell")


def test_the_plot_is_a_picture_and_the_notes_of_the_key_are_repeated(tmp_path: Path) -> None:
    path = write_key(tmp_path, 4, 4)
    key = json.loads(path.read_text())
    path.write_text(json.dumps({**key, "notes": ["2 of 4 real cases have a lesion."]}))
    sheet = write_sheet(tmp_path, "Dr | X", Answers(2, 2, 2, 2))
    found = score_study([sheet], path, tmp_path / "score")
    with Image.open(tmp_path / "score" / "score.png") as picture:
        assert picture.format == "PNG"
    page = (tmp_path / "score" / "score.md").read_text()
    assert "> 2 of 4 real cases have a lesion." in page
    assert "| Dr \\| X | real | 2 | 2 | 50 % |" in page
    assert found["agreement"] == {"cohen": [], "fleiss": None}
    assert "That is no proof that they cannot be told apart" in found["verdict"]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_sheets_are_read_as_spreadsheets_of_any_country_write_them(
    tmp_path: Path, mark: str
) -> None:
    key = read_key(write_key(tmp_path, 1, 1))
    text = f'Answer{mark}Case{mark}comment\r\n"Real"{mark}abcd_000{mark}"a{mark} ""b"""\r\n'
    text += f" SYNTHETIC {mark}abcd_001\r\n{mark}{mark}\r\n"
    path = tmp_path / "answers-Zoë.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    (sheet,) = read_sheets([path], key)
    assert sheet.reader == "Zoë"
    assert sheet.answers == {"abcd_000": "real", "abcd_001": "synthetic"}


def test_all_mistakes_of_all_sheets_are_told_at_once(tmp_path: Path) -> None:
    key = write_key(tmp_path, 4, 4)
    good = write_sheet(tmp_path, "good", Answers(4, 0, 0, 4))
    bad = tmp_path / "answers-bad.csv"
    rows = ["case,answer", "abcd_000,real", "abcd_000,synthetic", "wxyz_001,real"]
    rows += ["abcd_001,fake", "abcd_002,", "abcd_003,real"]
    bad.write_text("\n".join(rows))
    other = tmp_path / "other" / "answers-good.csv"
    other.parent.mkdir()
    other.write_bytes(good.read_bytes())
    latin = tmp_path / "latin.csv"
    latin.write_bytes("case,answer,comment\nabcd_000,real,für".encode("latin-1"))
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("a,b\n1,2\n")
    sheets = [good, bad, other, latin, wrong, tmp_path / "none.csv"]
    with pytest.raises(DataError) as error:
        score_study(sheets, key, tmp_path / "score")
    told = [(p.where, p.kind) for p in error.value.problems]
    assert told == [
        ("answers-bad.csv, line 3", "duplicate"),
        ("answers-bad.csv, line 4", "case"),
        ("answers-bad.csv, line 5", "answer"),
        ("answers-bad.csv", "missing"),
        ("latin.csv", "csv"),
        ("wrong.csv", "csv"),
        (str(tmp_path / "none.csv"), "file"),
        ("good", "reader"),
    ]
    text = str(error.value)
    assert "5 cases have no answer: abcd_002, abcd_004, abcd_005, abcd_006, abcd_007" in text
    assert "none.csv" in text
    assert "there is no such file" in text
    assert "No such file or directory" not in text
    assert "abcd_001 is called 'fake', expected real or synthetic" in text
    assert not (tmp_path / "score").exists()


def test_an_empty_answer_sheet_is_not_a_score(tmp_path: Path) -> None:
    key = write_key(tmp_path, 4, 4)
    sheet = tmp_path / "answers-reader-1.csv"
    sheet.write_bytes(answer_sheet([f"abcd_{n:03}" for n in range(8)]))
    with pytest.raises(DataError, match=r"8 cases have no answer: .* and 3 more"):
        score_study([sheet], key, tmp_path / "score")


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    for content, text in (
        ({}, "holds no cases"),
        ({"cases": {"a": {"truth": "real"}}}, "no case is synthetic"),
        ({"cases": {"a": {"truth": "real"}, "b": "fake", "c": 3}}, "b: found 'fake'"),
    ):
        path = tmp_path / "key.json"
        path.write_text(json.dumps(content))
        with pytest.raises(DataError, match=text):
            read_key(path)
    with pytest.raises(DataError, match=r"none\.json.*there is no such file"):
        read_key(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match="not readable as JSON"):
        read_key(tmp_path / "broken.json")


def test_places_that_cannot_be_are_refused(tmp_path: Path) -> None:
    key = write_key(tmp_path, 4, 4)
    with pytest.raises(SettingsError, match="answers: no sheet given"):
        score_study([], key, tmp_path / "score")
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="is a file, expected a folder"):
        score_study([tmp_path / "none.csv"], key, tmp_path / "file")


def test_one_sheet_under_two_names_is_noted(tmp_path: Path) -> None:
    """Same answers with mistakes; two always right, or with one word for all, may agree."""
    key = write_key(tmp_path, 6, 6)
    tables = {
        "A": Answers(4, 2, 1, 5),
        "B": Answers(4, 2, 1, 5),
        "C": Answers(6, 0, 0, 6),
        "D": Answers(6, 0, 0, 6),
        "E": Answers(6, 0, 6, 0),
        "F": Answers(6, 0, 6, 0),
    }
    sheets = [write_sheet(tmp_path, name, table) for name, table in tables.items()]
    (note,) = score_study(sheets, key, tmp_path / "score")["notes"]
    assert "sheets of A and B are the same" in note
    assert note in (tmp_path / "score" / "score.md").read_text()
