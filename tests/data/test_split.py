import pytest

from scansmith.data.split import split_patients
from scansmith.scan import DataError, SettingsError

SHARES = (0.8, 0.0, 0.2)


def numbers(split):
    return tuple(list(split.values()).count(part) for part in ("train", "validation", "test"))


def test_a_patient_never_crosses_the_split():
    scans = ["p1", "p1", "p2", "p3", "p2", "p4"]  # two scans of p1 and of p2
    assert sorted(split_patients(scans, SHARES, 0)) == ["p1", "p2", "p3", "p4"]


def test_order_and_repetition_of_names_do_not_matter():
    names = [f"p{n}" for n in range(20)]
    assert split_patients(names, SHARES, 3) == split_patients([*names[::-1], "p4"], SHARES, 3)


def test_another_seed_gives_another_split():
    names = [f"p{n}" for n in range(20)]
    assert split_patients(names, SHARES, 0) != split_patients(names, SHARES, 1)


@pytest.mark.parametrize(
    ("patients", "shares", "expected"),
    [
        (25, (0.8, 0.0, 0.2), (20, 0, 5)),
        (10, (0.7, 0.1, 0.2), (7, 1, 2)),
        (4, (0.8, 0.0, 0.2), (3, 0, 1)),  # 3.2 and 0.8: the larger remainder gets the fourth
        (3, (0.9, 0.05, 0.05), (1, 1, 1)),  # everybody gets one, training gives
        (2, (0.95, 0.0, 0.05), (1, 0, 1)),
        (1, (1.0, 0.0, 0.0), (1, 0, 0)),
    ],
)
def test_numbers_follow_the_shares(patients, shares, expected):
    assert numbers(split_patients([f"p{n}" for n in range(patients)], shares, 0)) == expected


def test_fewer_patients_than_parts_is_an_error():
    with pytest.raises(DataError, match=r"2 patient\(s\) for train, validation, test") as told:
        split_patients(["a", "b", "a"], (0.6, 0.2, 0.2), 0)
    assert "(data.split=1,0,0 in the data's settings)" in str(told.value)
    assert "--set" not in str(told.value)  # which of a study's are the segmenters'


@pytest.mark.parametrize("shares", [(0.5, 0.0, 0.2), (1.2, -0.2, 0.0), (0.0, 0.5, 0.5), (1.0,)])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(SettingsError, match="add up to 1") as told:
        split_patients(["a", "b", "c"], shares, 0)
    assert "--set" not in str(told.value)


def test_fewer_patients_to_learn_from_leave_the_test_patients_as_they_are():
    names = [f"p{n}" for n in range(20)]
    whole, five, three = (split_patients(names, (0.7, 0.1, 0.2), 1, most) for most in (0, 5, 3))
    assert numbers(five) == (5, 2, 4)
    assert list(five.values()).count("unused") == 14 - 5
    parts = {
        most: {name for name, part in split.items() if part == "train"}
        for most, split in ((0, whole), (5, five), (3, three))
    }
    assert parts[3] < parts[5] < parts[0]
    held_out = {name: part for name, part in whole.items() if part != "train"}
    assert all(five[name] == part for name, part in held_out.items())
    with pytest.raises(DataError, match=r"14 training patient\(s\), expected 15"):
        split_patients(names, (0.7, 0.1, 0.2), 1, 15)
