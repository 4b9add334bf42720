"""Numbers of the audit against values worked by hand and other people's implementations."""

import numpy as np
import pytest
from scipy.stats import binomtest, hypergeom
from sklearn.metrics import roc_auc_score

from scansmith.evaluate.privacy import statistics
from scansmith.evaluate.privacy.statistics import nearer_to_train, ranked
from scansmith.scan import DataError

INF = np.inf


def share(distances, trained):
    return nearer_to_train(ranked(np.array([distances], float)), np.array(trained))[0]


def test_the_larger_side_is_thinned_to_the_size_of_the_smaller_one():
    three_to_one = [True, True, True, False]
    # One of three training patients is drawn; the nearest hold-out patient is second: 1 of 3.
    assert share([1, 3, 4, 2], three_to_one) == pytest.approx(1 / 3)
    assert share([1, 2, 4, 3], three_to_one) == pytest.approx(2 / 3)
    assert share([2, 3, 4, 1], three_to_one) == 0
    assert share([1, 2, 3, 4], three_to_one) == 1
    # One of three hold-out patients is drawn: it is not the nearest one in 2 of 3.
    assert share([2, 1, 3, 4], [True, False, False, False]) == pytest.approx(2 / 3)
    assert share([1, 2], [True, False]) == 1


def test_thinning_agrees_with_the_hypergeometric_distribution():
    rng = np.random.default_rng(0)
    for _ in range(20):
        distances, trained = rng.random(12), np.arange(12) < 8
        before = int((distances[trained] < distances[~trained].min()).sum())
        # 4 of 8 are drawn; at least one of those before the nearest hold-out patient.
        expected = 1 - hypergeom(8, before, 4).pmf(0)
        assert share(distances, trained) == pytest.approx(expected, abs=1e-9)


def test_unequal_sides_are_not_biased():
    rng = np.random.default_rng(1)
    for members in (5, 20, 35):
        distances, trained = rng.random((4000, 40)), np.arange(40) < members
        rows = nearer_to_train(ranked(distances), trained)
        assert rows.mean() == pytest.approx(0.5, abs=0.03)


def test_a_patient_who_is_not_to_be_counted_makes_a_side_smaller():
    # Without the third, two training patients and one hold-out patient are left: 1 of 2.
    assert share([1, 3, INF, 2], [True, True, True, False]) == pytest.approx(0.5)
    assert np.isnan(share([1, 2, 3, INF], [True, True, True, False]))


def test_the_expected_nearest_of_some():
    # Pairs of (1, 2, 3): 1, 1, 2; mean 4/3.
    rows = np.array([[3.0, 1.0, 2.0], [INF, 4.0, 6.0]])
    assert statistics.expected_nearest(rows, 2) == pytest.approx([4 / 3, 4])
    assert statistics.expected_nearest(rows, 1) == pytest.approx([2, 5])
    assert statistics.expected_nearest(rows, 3) == pytest.approx([1, 4])


def test_a_case_counts_with_its_patient():
    distances = np.array([[3.0, 1.0, 2.0, 5.0]])
    found = statistics.by_patient(distances, ["a", "a", "b", "c"], ["a", "b", "c"])
    assert found.tolist() == [[1, 2, 5]]


def test_gaps_are_logarithms_of_the_ratio_of_the_two_nearest():
    rows = np.array([[10, 1, np.e], [2, 2, 2], [1, INF, INF]])
    assert statistics.gaps(rows) == pytest.approx([1, 0, 0])
    assert statistics.gaps(rows[:, :1]) == pytest.approx([0, 0, 0])


def test_the_limit_of_a_gap_is_that_of_an_exponential_or_beyond_every_real_one():
    # Mean 0.1, 100 tests at 1 %: 0.1 ln 10000 = 0.921, above 1.5 times the largest (0.3).
    assert statistics.gap_limit(np.array([0.0, 0.1, 0.2]), 100, 0.01) == pytest.approx(0.9210340)
    # One pair of scans of one person among strangers: 1.5 * 2 = 3.
    assert statistics.gap_limit(np.array([0.0] * 19 + [2.0]), 100, 0.01) == pytest.approx(3.0)


def test_gaps_between_strangers_are_exponential():
    rng = np.random.default_rng(2)
    # The tail of -log(distance) is exponential for distances uniform near 0.
    found = statistics.gaps(rng.random((5000, 200)))
    assert found.std() == pytest.approx(found.mean(), rel=0.1)
    assert np.median(found) == pytest.approx(found.mean() * np.log(2), rel=0.1)


def test_the_interval_is_wilsons():
    low, high = statistics.wilson(0.8, 10)
    expected = binomtest(8, 10).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high))
    # sd of chance 0.1: as sure as 0.25 / 0.01 = 25 independent cases, not as 100.
    found = statistics.share_with_interval(np.full(100, 0.8), 0.1, 100)
    assert found["interval"] == pytest.approx(statistics.wilson(0.8, 25))
    found = statistics.share_with_interval(np.full(100, 0.8), 0.01, 40)  # 40 volumes
    assert found["interval"] == pytest.approx(statistics.wilson(0.8, 40))


def test_the_auc_is_scikit_learns():
    rng = np.random.default_rng(3)
    scores, member = rng.integers(0, 9, 50).astype(float), rng.random(50) < 0.4
    assert statistics.auc(scores, member) == pytest.approx(roc_auc_score(member, scores))
    found = statistics.auc_with_interval(scores, member, rng)
    assert found["interval"][0] < found["auc"] < found["interval"][1]


def test_members_found_at_few_false_alarms():
    # 20 hold-out scores 0..19: their 95th percentile is 18.05. Members at 18 and 30: one of two.
    scores = np.array([18.0, 30.0, *range(20)])
    member = np.arange(22) < 2
    found = statistics.auc_with_interval(scores, member, np.random.default_rng(0))
    assert found["found_at_5_percent"] == 0.5


def test_one_patient_of_a_side_gives_no_interval():
    scores, rng = np.array([3.0, 1.0, 2.0]), np.random.default_rng(0)
    for member in (np.arange(3) < 1, np.arange(3) > 0):
        assert statistics.auc_with_interval(scores, member, rng)["interval"] is None
    four = np.array([3.0, 1.0, 2.0, 0.0])
    assert len(statistics.auc_with_interval(four, np.arange(4) < 2, rng)["interval"]) == 2


def test_authenticity_by_hand():
    # Case 1 is 1 from training case a, whose own neighbour is 2 away: not authentic.
    # Case 2 is 2 from training case b, whose own neighbour is 1 away: authentic.
    to_train, among = np.array([[1.0, 5.0], [4.0, 2.0]]), np.array([2.0, 1.0])
    assert statistics.authenticity(to_train, among) == 0.5


def test_exchanging_patients_gives_the_exact_p():
    trained = np.array([True, True, False, False])
    rng = np.random.default_rng(4)
    # Both of the first two patients are chosen by chance in 1 of 6 ways.
    found = statistics.exchanged(lambda who: np.array([who[:2].sum()]), trained, np.zeros(4), rng)
    assert found["p"] == pytest.approx(1 / 6, abs=0.03)
    assert found["each"] == [found["p"]]
    # 0, 1, 2 with 1/6, 4/6, 1/6: mean 1, variance 1/3.
    assert found["mean"][0] == pytest.approx(1, abs=0.05)
    assert found["sd"][0] == pytest.approx(np.sqrt(1 / 3), abs=0.03)


def test_patients_are_exchanged_within_their_stratum_alone():
    trained = np.array([True, False, True, True, False, False])
    strata, counts = np.array([1, 0, 0, 1, 1, 1]), set()

    def look(who):
        counts.add((int(who[strata == 0].sum()), int(who[strata == 1].sum())))
        return np.array([who[[0, 2, 3]].sum()])

    found = statistics.exchanged(look, trained, strata, np.random.default_rng(6))
    assert counts == {(1, 2)}
    # Both of 0 and 3 out of four, 1 in 6, and 2 out of two, 1 in 2; of all six, 1 in 20.
    assert found["p"] == pytest.approx(1 / 12, abs=0.02)


def test_what_is_no_number_has_no_p():
    trained, rng = np.array([True, True, False, False]), np.random.default_rng(7)

    def look(who):
        return np.array([np.nan if who[:2].all() else 0.0])

    with pytest.raises(DataError, match="no finite number"):
        statistics.exchanged(look, trained, np.zeros(4), rng)
    with pytest.raises(DataError, match="no finite number"):  # in exchanged patients alone
        statistics.exchanged(look, ~trained, np.zeros(4), rng)


def test_several_looks_are_paid_for():
    rng = np.random.default_rng(5)
    trained, weights = np.arange(40) < 20, rng.random((10, 40))
    found = statistics.exchanged(lambda who: weights @ who, trained, np.zeros(40), rng, 500)
    assert found["p"] > min(found["each"])
    assert found["critical"] > 1.9  # one look: 1.64
