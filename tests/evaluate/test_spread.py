from __future__ import annotations

import math

import numpy as np
import pytest

from scansmith.evaluate.distance import wasserstein
from scansmith.evaluate.spread import (
    compare,
    difference_of_patients,
    generator,
    halves,
    mean_of_patients,
    thinned,
    verdict,
    widened,
)


def test_a_mean_counts_cases_and_its_interval_draws_patients() -> None:
    rng = np.random.default_rng(0)
    found = mean_of_patients([1.0, 1, 1, 5], ["a", "a", "a", "b"], rng)
    assert found["mean"] == 2.0
    assert (found["cases"], found["patients"], found["left_out"]) == (4, 2, 0)
    assert found["interval"] == [1.0, 5.0]  # draws are a+a, a+b or b+b


def test_values_that_are_not_finite_are_counted_and_left_out() -> None:
    rng = np.random.default_rng(0)
    found = mean_of_patients([20.0, math.inf, math.nan, 30.0], ["a", "b", "c", "d"], rng)
    assert (found["mean"], found["left_out"]) == (25.0, 2)
    nothing = mean_of_patients([math.inf], ["a"], rng)
    assert nothing["mean"] is None
    assert "not finite" in nothing["reason"]
    assert mean_of_patients([], [], rng)["reason"] == "no case has it"


def test_one_patient_gives_no_interval() -> None:
    found = mean_of_patients([1.0, 3.0], ["a", "a"], np.random.default_rng(0))
    assert (found["mean"], found["interval"]) == (2.0, None)
    assert found["reason"]


def test_the_difference_of_two_means_draws_the_patients_of_both() -> None:
    rng = np.random.default_rng(0)
    real = [0.0, 1.0, math.nan], ["a", "b", "c"]
    found = difference_of_patients(real, ([5.0, 5.0, 8.0], ["x", "x", "y"]), rng)
    assert found["value"] == pytest.approx(6 - 0.5)
    # Real mean 0 to 1, synthetic 5 to 8. Of 256 draws of four patients 14 have b and x alone, which
    # is 5.5 % and gives 5 - 1, and 14 a and y alone, 8 - 0. Of two patients t is 12.706, not 1.960.
    wide = 12.706 / 1.960 * math.sqrt(2)
    expected = [5.5 - wide * (5.5 - 4), 5.5 + wide * (8 - 5.5)]
    assert found["interval"] == pytest.approx(expected, rel=1e-3)
    alone = difference_of_patients(real, ([5.0], ["x"]), rng)
    assert (alone["value"], alone["interval"]) == (4.5, None)
    assert difference_of_patients(([], []), real, rng)["value"] is None


def test_who_is_in_both_sets_is_drawn_for_both_at_once() -> None:
    """Patients from .1 to .9, and .05 less in what was made from each: the loss is the same."""
    wide = 12.706 / 1.960 * math.sqrt(2)  # of two patients
    rng = np.random.default_rng(0)
    names = [f"p{n}" for n in range(9)]
    real = [0.1 * (n + 1) for n in range(9)]
    made = [value - 0.05 for value in real]
    found = difference_of_patients((real, names), (made, names), rng)
    assert found["interval"] == pytest.approx([-0.05, -0.05])
    # of others' the loss drowns in the patients' spread: sd .26, twice, over 9 of either
    others = difference_of_patients((real, names), (made, [f"q{n}" for n in range(9)]), rng)
    assert others["value"] == pytest.approx(found["value"]) == pytest.approx(-0.05)
    half = 1.96 * math.sqrt(2 * (0.01 * 60 / 9) / 9)  # variance of 1..9 is 60 / 9
    half *= 2.306 / 1.960 * math.sqrt(9 / 8)  # t of nine patients
    assert others["interval"] == pytest.approx([-0.05 - half, -0.05 + half], abs=0.04)
    # one shared, others on one side: real a 0, b 1; synthetic b 3, c 4. Of 27 draws aaa and ccc
    # lack a set; of the other 25 bbb, 4 %, gives the least, 2, and aac and acc, six, the most, 4
    some = difference_of_patients(([0.0, 1.0], ["a", "b"]), ([3.0, 4.0], ["b", "c"]), rng)
    assert some["value"] == 3
    assert some["interval"] == pytest.approx([3 - wide, 3 + wide], rel=1e-3)


@pytest.mark.parametrize(("patients", "t"), [(2, 12.706), (6, 2.571), (30, 2.045)])
def test_intervals_of_few_patients_are_widened_by_students_t(patients: int, t: float) -> None:
    expected = t / 1.960 * math.sqrt(patients / (patients - 1))
    assert widened(patients) == pytest.approx(expected, rel=1e-3)


def _patients(mean: float, count: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"p{seed}_{n}": rng.normal(mean + rng.normal(), 1, 50) for n in range(count)}


def test_a_set_like_the_real_one_is_close_and_a_shifted_one_is_far() -> None:
    real = _patients(0, 12, 1)
    close = compare(real, _patients(0, 12, 2), wasserstein, generator(0, "x"))
    assert close["verdict"] == "close"
    assert close["real_patients"] == 12
    low, high = close["interval"]
    assert low <= close["value"] <= high
    far = compare(real, _patients(20, 12, 3), wasserstein, generator(0, "x"))
    assert far["verdict"] == "far"
    assert far["value"] == pytest.approx(20, abs=1.5)
    assert far["ratio"] > 10


def test_a_case_is_not_compared_with_the_patient_it_was_made_from() -> None:
    # Each patient is one value; the synthetic set copies them all. Were copies of half A's own
    # patients compared with A, some distances would be 0.
    real = {f"p{n}": np.full(4, float(10**n)) for n in range(4)}
    found = compare(real, real, wasserstein, generator(3, "x"))
    assert found["value"] == 0.0
    assert found["real_vs_synthetic"] == found["real_vs_real"]
    assert found["ratio"] == 1.0


@pytest.mark.parametrize(
    ("patients", "samples", "beside"),
    [
        # Halves of 10 real patients with 6 samples each: 5 and 5 patients, 30 samples.
        (12, 6, (5, 30)),
        (3, 6, (3, 18)),  # fewer synthetic patients: as few real ones beside them
        (12, 20, (5, 30)),  # more synthetic samples of each: thinned to as many as the real ones
        (12, 2, (5, 10)),  # fewer: the real ones are thinned
    ],
)
def test_what_stands_beside_half_of_the_real_patients_is_as_large(
    patients: int, samples: int, beside: tuple[int, int]
) -> None:
    real = {f"r{n}": np.full((6, 1), float(n)) for n in range(10)}
    synthetic = {f"s{n}": np.full((samples, 1), 100.0 + n) for n in range(patients)}
    for half, other, made in halves(real, synthetic, generator(0, "x"), 5):
        assert len(half) == 30
        assert (len(np.unique(other)), len(other)) == beside
        assert (len(np.unique(made)), len(made)) == beside
        assert not set(half.ravel()) & set(other.ravel())


def test_a_small_set_like_the_real_one_is_as_close_as_a_large_one() -> None:
    # 40 real patients beside 4 of their kind. Among equally few real ones the distance is as large.
    few = [
        compare(_patients(0, 40, 1), _patients(0, 4, seed), wasserstein, generator(seed, "x"))
        for seed in range(2, 8)
    ]
    assert [found["verdict"] for found in few] == ["close"] * 6


def test_rows_are_thinned_evenly_over_all() -> None:
    assert thinned(np.arange(9), 3).tolist() == [0, 4, 8]
    assert thinned(np.arange(3), 3).tolist() == [0, 1, 2]


def test_three_patients_give_no_verdict_but_a_reason() -> None:
    found = compare(_patients(0, 3, 1), _patients(0, 9, 2), wasserstein, generator(0))
    assert found["verdict"] is None
    assert found["value"] > 0
    assert "3 real patients" in found["reason"]
    empty = compare({}, _patients(0, 9, 2), wasserstein, generator(0))
    assert empty["value"] is None
    assert "fewer than two samples" in empty["reason"]


def test_one_synthetic_patient_gives_no_interval_but_a_reason() -> None:
    found = compare(_patients(0, 4, 1), _patients(0, 1, 2), wasserstein, generator(0))
    assert found["verdict"] is not None
    assert found["interval"] is None
    assert found["reason"] == "one patient has no spread between patients"
    both = compare(_patients(0, 3, 1), _patients(0, 1, 2), wasserstein, generator(0))
    assert both["reason"].startswith("one patient has no spread between patients; 3 real patients")


def test_the_same_seed_gives_the_same_numbers_whatever_else_is_measured() -> None:
    sets = _patients(0, 6, 1), _patients(1, 6, 2)
    first = compare(*sets, wasserstein, generator(5, "texture", "ct"))
    generator(5, "another").random(100)
    assert compare(*sets, wasserstein, generator(5, "texture", "ct")) == first
    assert compare(*sets, wasserstein, generator(6, "texture", "ct")) != first


def test_the_words_of_a_verdict() -> None:
    interval = [0.5, 4.5]  # -+ 2, as wide as what real patients show
    assert [verdict(x, 2.0, interval) for x in (1.0, 2.0, 2.1, 6.0, 6.1)] == [
        "close", "close", "differs", "differs", "far",
    ]  # fmt: skip
    # Three times what chance makes of the distance itself, where that is more than the real 2.
    assert [verdict(x, 2.0, [0.5, 8.5]) for x in (11.9, 12.1)] == ["differs", "far"]
    assert [verdict(x, 2.0, [0.0, 8.0]) for x in (2.0, 2.1, 100.0)] == ["close", None, None]
    # One patient, so no interval: the real halves alone are the scale, if they differ at all.
    assert [verdict(x, 2.0, None) for x in (2.0, 6.0, 6.1)] == ["close", "differs", "far"]
    assert verdict(0.1, 0.0, None) is None


def _counts(doubles: int, side: str, cases: int = 12) -> dict[str, np.ndarray]:
    """Lesions of cases of as many patients: two in so many of them, one in the others."""
    return {f"{side}{n}": np.array([1.0 + (n < doubles)]) for n in range(cases)}


@pytest.mark.parametrize(
    ("doubles", "word"),
    [
        # Real patients do not differ at all, so any distance is more than three times beyond it.
        # It is k / 12, its error 1.96 sqrt(k / 12 (1 - k / 12) / 12): larger up to k = 2.91.
        (0, "close"),
        (2, None),
        (4, "differs"),  # 4 / 12 -+ .27, and .33 is not above 3 * .27
        (11, "far"),  # 11 / 12 -+ .16
        (12, "far"),  # each of them: no error
    ],
)
def test_how_far_is_told_by_the_distance_s_own_interval_where_real_patients_are_alike(
    doubles: int, word: str | None
) -> None:
    found = compare(_counts(0, "r"), _counts(doubles, "s"), wasserstein, generator(0, "x"))
    assert found["real_vs_real"]["interval"] == [0, 0]
    assert found["value"] == pytest.approx(doubles / 12)
    assert found["verdict"] == word
    assert ("reason" in found) == (word is None)


def test_sets_of_one_distribution_are_never_far_and_seldom_differ() -> None:
    """6 % of the cases have two lesions, on both sides.

    Far needs k / 12 > 3 * 1.96 sqrt(k / 12 (1 - k / 12) / 12), 9 of 12: once in 10^8 draws. With
    no double among the real ones (48 % of the draws), differs needs 3 of 12: 3 %. With some, real
    halves differ too.
    """
    words = []
    for seed in range(100):
        drawn = np.random.default_rng(seed).binomial(12, 0.06, 2)
        sets = [_counts(k, side) for k, side in zip(drawn, "rs", strict=True)]
        words.append(compare(*sets, wasserstein, generator(seed, "x"))["verdict"])
    assert words.count("far") == 0
    assert words.count("differs") <= 8  # of 3, and 3 standard deviations of it
