"""Equal numbers: as many cases of each real patient on both sides, with a limit and without."""

from __future__ import annotations

import numpy as np
import pytest

from scansmith.evaluate.privacy.equal import evened, thinned
from scansmith.scan import CaseFiles


def files(prefix, *counts):
    """Cases of as many patients as there are counts, each with so many cases."""
    return tuple(
        CaseFiles(f"{prefix}{person}_{n}", {}, None, f"{prefix}{person}")
        for person, count in enumerate(counts)
        for n in range(count)
    )


def cases_of(side):
    return [files.case for files in side]


def test_a_limit_leaves_real_patients_of_both_sets_the_same_number_of_cases():
    """Two training patients, five hold-out patients, of 8 cases each: 16 and 40. The limit of 10
    leaves two cases to each of the five, and so two to each of the two.
    """
    made, train, holdout = files("s", *[1] * 20), files("t", 8, 8), files("h", *[8] * 5)
    found = thinned((made, train, holdout), 10)
    assert [len(side) for side in found] == [10, 4, 10]
    # The middle ones of 0 to 3 and of 4 to 7.
    assert cases_of(found[1]) == ["t0_2", "t0_6", "t1_2", "t1_6"]
    assert cases_of(found[2]) == [f"h{person}_{n}" for person in range(5) for n in (2, 6)]


def test_a_limit_below_the_number_of_patients_takes_one_case_of_some():
    found = thinned((files("s", 1), files("t", 8, 8), files("h", *[8] * 5)), 3)
    assert cases_of(found[1]) == ["t0_4", "t1_4"]
    assert cases_of(found[2]) == ["h0_4", "h2_4", "h4_4"]


@pytest.mark.parametrize("limit", [None, 12])
def test_a_limit_that_no_set_exceeds_takes_nothing_away(limit):
    sets = files("s", 1), files("t", 10, 1, 1), files("h", 1, 1)
    assert thinned(sets, limit) == sets


def people(prefix, *counts):
    """Patient -> cases, of as many patients as there are counts."""
    return {f"{prefix}{n}": [f"{prefix}{n}_{k}" for k in range(c)] for n, c in enumerate(counts)}


def numbers(kept, prefix):
    """How many cases each patient of a side keeps, in rising order."""
    names = [name.partition("_")[0] for name in kept if name.startswith(prefix)]
    return sorted(names.count(name) for name in set(names))


@pytest.mark.parametrize(
    ("train", "holdout", "left"),
    [
        ((6, 6, 6), (1, 1, 1), ([1, 1, 1], [1, 1, 1])),
        ((1, 1, 1), (4, 4, 4), ([1, 1, 1], [1, 1, 1])),
        ((6, 6, 6), (6, 1, 1), ([1, 1, 6], [1, 1, 6])),  # the most are equal, the others are not
        ((3, 1, 2), (2, 3, 1), ([1, 2, 3], [1, 2, 3])),  # nothing is to be left out
        ((9, 9, 9, 9, 9, 9), (8, 2), ([2, 2, 2, 8, 8, 8], [2, 8])),
        ((5, 1), (2, 2), ([1, 2], [1, 2])),
    ],
)
def test_both_sides_keep_equal_numbers_from_the_most_to_the_fewest(train, holdout, left):
    kept = evened(people("t", *train), people("h", *holdout))
    assert (numbers(kept, "t"), numbers(kept, "h")) == left


def test_what_is_kept_of_a_patient_is_not_at_an_end():
    assert evened({"a": list("12345")}, {"b": ["9"]}) == ["3", "9"]
    assert evened({"a": list("1234")}, {"b": ["8", "9"]}) == ["2", "4", "8", "9"]


def test_sides_of_any_size_keep_like_numbers():
    rng = np.random.default_rng(0)
    train, holdout = rng.integers(20, 60, 60).tolist(), rng.integers(4, 12, 25).tolist()
    kept = evened(people("t", *train), people("h", *holdout))
    assert numbers(kept, "h") == sorted(holdout)
    assert len(numbers(kept, "t")) == 60
    assert np.mean(numbers(kept, "t")) == pytest.approx(np.mean(holdout), abs=0.2)
