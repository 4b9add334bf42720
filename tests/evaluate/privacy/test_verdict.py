"""The verdict from numbers alone: every reason for and against a pass, one at a time."""

import copy

import pytest

from scansmith.evaluate.privacy.verdict import judge

CLEAN = {"identifying": 0, "unread": [], "unknown": []}


def line():
    """No copies, and so little chance that a share of 0.83 or an AUC of 0.73 is noticed."""
    return {
        "cases": 40,
        "compared": 40,
        "patients": {"train": 30, "holdout": 40},
        "nearer_to_train": {"share": 0.5},
        "membership": {"auc": 0.5},
        "mean_of_chance": {"share": 0.5, "auc": 0.5},
        "sd_of_chance": {"share": 0.1, "auc": 0.07},
        "copies": {"train": 0, "holdout": 0},
    }


def judged(change=lambda lines, tests, metadata: None):
    lines = {name: line() for name in ("whole", "lesion", "inside", "features")}
    tests = {"p": 0.5, "critical": 2.0, "p_train_unlike_holdout": 0.5}
    metadata = copy.deepcopy(CLEAN)
    change(lines, tests, metadata)
    return judge(lines, tests, metadata)


def test_where_nothing_speaks_against_it_the_set_passes():
    found = judged()
    assert (found["verdict"], found["needed"]) == ("pass", None)
    assert "a share of 0.83 or an AUC of 0.73" in found["reasons"][0]  # 0.5 + (2 + 1.28) sd


@pytest.mark.parametrize(
    ("p", "verdict"),
    [(0.0099, "leak"), (0.01, "inconclusive"), (0.049, "inconclusive"), (0.05, "pass")],
)
def test_a_leaning_that_is_no_leak_and_no_pass_is_inconclusive(p, verdict):
    found = judged(lambda lines, tests, metadata: tests.update(p=p))
    assert found["verdict"] == verdict
    if verdict == "inconclusive":
        assert [reason for reason in found["reasons"] if "lean towards" in reason] != []
        assert len(found["reasons"]) == 1
        twice = {"train_patients": 60, "holdout_patients": 60, "synthetic_cases": 80}
        assert found["needed"] == twice


@pytest.mark.parametrize("few", ["cases", "train", "holdout"])
def test_fewer_than_20_of_anything_are_too_few(few):
    def change(count):
        def to(lines, tests, metadata):
            whole = lines["whole"]
            (whole if few == "cases" else whole["patients"])[few] = count

        return to

    found = judged(change(19))
    assert found["verdict"] == "inconclusive"
    assert [" too few " in reason for reason in found["reasons"]] == [True]
    assert min(found["needed"].values()) == 20
    assert judged(change(20))["verdict"] == "pass"


@pytest.mark.parametrize(("what", "wanted"), [("share", 0.85), ("auc", 0.75)])
def test_a_search_that_would_not_notice_a_leaning_says_how_many_cases_would_do(what, wanted):
    sd = 1.01 * (wanted - 0.5) / (2.0 + 1.2816)

    def blind(lines, tests, metadata):
        lines["whole"]["sd_of_chance"][what] = 2 * sd

    found = judged(blind)
    assert found["verdict"] == "inconclusive"
    assert [" too few " in reason for reason in found["reasons"]] == [True]
    # Twice the deviation wanted: four times as many, and 2 % more for the 1.01.
    needed = {"train_patients": 123, "holdout_patients": 123, "synthetic_cases": 164}
    assert found["needed"] == needed
    close = judged(lambda lines, *_: lines["whole"]["sd_of_chance"].update({what: 0.98 * sd}))
    assert close["verdict"] == "pass"


def test_a_leaning_is_noticed_as_far_above_chance_as_exchanged_patients_are():
    """They show a share of 0.6 where the lesion is commoner in training patients."""

    def shown(share):
        return lambda lines, *_: lines["whole"]["mean_of_chance"].update(share=share)

    found = judged(shown(0.6))
    assert found["verdict"] == "inconclusive"
    assert "from a share of 0.93 " in found["reasons"][0]  # 0.6 + (2 + 1.28) sd
    # 0.25 above it are wanted, 3.28 sd of 0.1 are there: 1.3126 squared, of 30 and of 40.
    needed = {"train_patients": 52, "holdout_patients": 52, "synthetic_cases": 69}
    assert found["needed"] == needed
    # Chance itself gives what is wanted: more patients of the kind would not do.
    assert judged(shown(0.9))["needed"]["synthetic_cases"] == 40
    assert "share 0.50 (0.51), AUC 0.50 (0.50)" in judged(shown(0.51))["reasons"][0]


def test_with_two_real_patients_it_says_that_no_copy_could_be_called():
    def change(train):
        return lambda lines, *_: lines["whole"]["patients"].update(train=train, holdout=1)

    told = [any("called a copy" in r for r in judged(change(n))["reasons"]) for n in (1, 2)]
    assert told == [True, False]


@pytest.mark.parametrize("p", [0.5, 0.001])
def test_nothing_follows_where_training_and_holdout_patients_differ_as_groups(p):
    found = judged(lambda lines, tests, _: tests.update(p=p, p_train_unlike_holdout=0.009))
    assert found["verdict"] == "inconclusive"
    assert "differ as groups (p = 0.009)" in found["reasons"][0]
    leaning = [reason for reason in found["reasons"] if "lean towards" in reason]
    assert len(leaning) == (p == 0.001)
    assert found["needed"] is None  # more patients of the same groups would not do
    equal = judged(lambda lines, tests, _: tests.update(p_train_unlike_holdout=0.01))
    assert equal["verdict"] == "pass"


@pytest.mark.parametrize("p", [0.0025, 0.03])
def test_a_leaning_where_the_groups_differ_is_not_called_too_little_for_a_leak(p):
    found = judged(lambda lines, tests, _: tests.update(p=p, p_train_unlike_holdout=0.0005))
    (reason,) = [one for one in found["reasons"] if "lean towards" in one]
    assert reason == (
        f"The synthetic cases lean towards the training patients (p = {p}). As these may differ "
        "from the hold-out patients as a group (p = 0.0005), that may come from the groups and not "
        "from training: it is taken neither for a leak nor for a pass."
    )


@pytest.mark.parametrize(("unlike", "verdict"), [(0.04, "inconclusive"), (0.06, "leak")])
def test_a_leaning_proves_nothing_where_the_groups_may_differ(unlike, verdict):
    found = judged(lambda lines, tests, _: tests.update(p=0.001, p_train_unlike_holdout=unlike))
    assert found["verdict"] == verdict


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("whole", "inconclusive"),
        ("lesion", "inconclusive"),
        ("inside", "inconclusive"),
        ("features", "pass"),  # these call no single case a copy
    ],
)
def test_copies_of_holdout_patients_are_inconclusive(name, verdict):
    found = judged(lambda lines, *_: lines[name]["copies"].update(holdout=2))
    assert found["verdict"] == verdict
    told = [
        reason.startswith("2 of 40 synthetic cases") and "nearer to one hold-out patient" in reason
        for reason in found["reasons"]
    ]
    assert told == [verdict == "inconclusive"]


def test_copies_of_holdout_patients_are_counted_line_by_line():
    """The same six cases by three lines are no 18; of the insides there are 7 in the 6 cases."""

    def change(lines, *_):
        for name in ("whole", "lesion", "inside", "features"):
            lines[name].update(cases=6, compared=7 if name == "inside" else 6)
            lines[name]["copies"].update(holdout=5 if name == "inside" else 6)

    (reason,) = [one for one in judged(change)["reasons"] if "hold-out patient than" in one]
    assert reason.startswith(
        "6 of 6 synthetic cases (whole image), 6 of 6 synthetic cases (lesion) and 5 of 7 "
        "synthetic lesions (lesion's inside) are nearer to one hold-out patient than strangers "
        "ever are: "
    )


def test_a_file_that_could_not_be_read_keeps_the_set_from_a_pass():
    files = [{"file": f"{name}.bin", "error": "no text"} for name in "abcd"]
    found = judged(lambda lines, tests, metadata: metadata.update(unread=files))
    assert (found["verdict"], found["needed"]) == ("inconclusive", None)
    assert found["reasons"][0].startswith("4 files (a.bin, b.bin, c.bin, ...) of the synthetic set")

    def leak(lines, tests, metadata):
        metadata.update(unread=files, identifying=1)

    assert judged(leak)["verdict"] == "leak"


def test_files_of_an_unknown_kind_are_told_and_do_not_decide():
    found = judged(lambda lines, tests, metadata: metadata.update(unknown=["LICENSE"]))
    assert found["verdict"] == "pass"
    assert found["reasons"][-1].startswith("1 file (LICENSE) of the synthetic set, of kinds that")

    def few(lines, tests, metadata):
        lines["whole"]["cases"] = 3
        metadata.update(unknown=["LICENSE"])

    found = judged(few)
    assert found["verdict"] == "inconclusive"
    assert "(LICENSE)" in found["reasons"][-1]
