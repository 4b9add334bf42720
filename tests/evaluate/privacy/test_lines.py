"""Lines of evidence: of a case every large lesion is looked at, and judged by real lesions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

from scansmith.evaluate.privacy import statistics
from scansmith.evaluate.privacy.cases import Grid, Layout, Trace, lesions
from scansmith.evaluate.privacy.lines import ALPHA, Line, Sides, hashes, lines_of, measure
from scansmith.evaluate.privacy.neighbours import Nearness, flipped, flips
from scansmith.evaluate.view import Shared, View

NOTHING = np.zeros(2)
CHANCE = {"mean": {"share": 0.5, "auc": 0.5}, "sd": {"share": 0.1, "auc": 0.1}}


def test_beside_the_largest_lesion_only_large_ones_count():
    labels = np.zeros((1, 40, 40), np.uint8)
    labels[0, 0:5, 0:4] = 1  # 20 voxels: a speck beside larger ones
    labels[0, 10:16, 0:8] = 1  # 48
    labels[0, 20:30, 0:10] = 1  # 100
    case = View("a", "a", np.zeros((1, 1, 40, 40), np.float32), labels, (1.0, 1.0, 1.0))
    assert [int(piece.sum()) for piece in lesions(case, (1,))] == [100, 48]
    labels[0, 10:] = 0
    assert [int(piece.sum()) for piece in lesions(case, (1,))] == [20]  # the largest is the speck


def test_gaps_of_lesions_are_judged_by_gaps_of_real_lesions():
    """Patient a has two lesions; log(1.0 / 0.5), of the second, is the largest real gap."""
    inf = np.inf
    real = np.array(
        [
            [inf, inf, 0.8, 0.8, 0.9],
            [inf, inf, 0.5, 1.0, 1.0],
            [0.8, 0.5, inf, 0.6, 0.6],
            [0.8, 1.0, 0.6, inf, 0.7],
            [0.9, 1.0, 0.6, 0.7, inf],
        ]
    )
    own, patients = ("a", "a", "b", "c", "d"), ("a", "b", "c", "d")
    across = Nearness(np.full((1, 5), 1.0), np.ones((1, 5), bool), {})
    line = Line(
        "lesion", np.array([0]), np.arange(5), (np.array([0]), np.array([0, 1, 0, 0, 0])),
        across, real, np.ones(5), own, patients, np.array([True, True, False, False]),
    )  # fmt: skip
    found = measure(line, 1, 1, CHANCE, 0)["copies"]
    gaps = np.log([1.0, 2.0, 0.6 / 0.5, 0.7 / 0.6, 0.7 / 0.6])
    assert found["largest_real_gap"] == pytest.approx(np.log(2.0))
    assert found["gap_limit"] == pytest.approx(statistics.gap_limit(gaps, 1, ALPHA))


def features(synthetic, real, own, trained):
    """A line of cases on an axis: distances are differences. `trained` are names of patients."""
    made, real = np.array(synthetic, float), np.array(real, float)
    across = np.abs(made[:, None] - real[None])
    same = np.array([[name == other for other in own] for name in own])
    among = np.where(same, np.inf, np.abs(real[:, None] - real[None]))
    patients = tuple(dict.fromkeys(own))
    pieces = np.zeros(len(made), int), np.zeros(len(real), int)
    return Line(
        "features", np.arange(len(made)), np.arange(len(real)), pieces,
        Nearness(across, np.ones(across.shape, bool), {}), among, across.min(axis=0),
        tuple(own), patients, np.array([name in trained for name in patients]),
    )  # fmt: skip


@pytest.mark.parametrize(("own", "real"), [("ab", [0, 10]), ("aab", [0, 1, 10])])
def test_two_real_patients_call_no_copies(own, real):
    """Each has one other patient, and no gap: a limit of 0 would call everything a copy."""
    found = measure(features([2, 9, 50], real, own, "a"), 3, 6, CHANCE, 0)
    assert found["copies"] == {
        "gap_limit": np.inf, "train": 0, "holdout": 0,
        "largest_real_gap": np.inf, "above_real_train": 0, "above_real_holdout": 0,
    }  # fmt: skip
    assert found["membership"]["interval"] is None
    assert found["authenticity"] == {"synthetic": None, "holdout": None}
    assert found["holdout_nearer_to_train"] is None
    # With a third the gaps of real patients are known: log 10/4, 6/4 and 10/6.
    three = measure(features([2, 9, 50], [0, 4, 10], "abc", "a"), 3, 6, CHANCE, 0)
    assert three["copies"]["largest_real_gap"] == pytest.approx(np.log(2.5))


def test_authenticity_compares_case_with_case():
    """Training patients a (0 and 8) and b (10 and 40), hold-out patients c (13, 70) and d (100).

    From the nearest case of the other of a and b, 0 is 10 away, 8 and 10 are 2, and 40 is 32. Of
    the synthetic cases 12.5 is 2.5 from 10, farther than 2; 1 and 37 are nearer to 0 and 40 than
    these are to the other patient. Of the hold-out cases 13 is 3 from 10, farther; 70 is 30 from
    40, nearer; 100 is 60 from 40, farther. Patient by patient, a would be 2 from b, and 37 and
    all hold-out patients farther than that from theirs.
    """
    line = features([12.5, 1, 37], [0, 8, 10, 40, 13, 70, 100], "aabbccd", "ab")
    found = measure(line, 3, 6, CHANCE, 0)["authenticity"]
    assert found["synthetic"] == pytest.approx(1 / 3)
    assert found["holdout"] == pytest.approx(2 / 3)


def hashed(name, image, patient=None):
    """A trace of an image (1, H, W) with all that a hash needs."""
    low = dctn(image, norm="ortho")[:, :8, :8]
    return Trace(name, patient or name, {}, {}, NOTHING, low)


def pictures(count, seed):
    rng = np.random.default_rng(seed)
    return [gaussian_filter(rng.standard_normal((1, 32, 32)), (0, 3, 3)) for _ in range(count)]


def test_hashes_count_copies_of_either_side_turned_or_not_and_no_strangers():
    real, strangers = pictures(12, 0), pictures(20, 1)
    cases = [hashed(f"r{n}", image) for n, image in enumerate(real)]
    cases.append(hashed("r3 again", real[3], "r3"))  # another scan of one person is no stranger
    trained = np.array([*[True] * 6, *[False] * 6, True])
    turned = [flipped(real[1], (2,)), flipped(real[2], (1, 2)), flipped(real[7], (1,))]
    made = [real[0], *turned, *strangers]
    found = hashes(Sides([hashed(f"s{n}", x) for n, x in enumerate(made)], cases, trained))
    assert (found["copies_train"], found["copies_holdout"]) == (3, 1)
    assert found["bits"] == 63
    assert [found["distances"][n, source] for n, source in enumerate((0, 1, 2, 7))] == [0, 0, 0, 0]
    assert found["least_between_patients"] == min(
        _bits(real[i], real[j]) for i in range(12) for j in range(12) if i != j
    )
    assert found["distances"][4:].min() >= found["least_between_patients"] > 0
    alone = hashes(Sides([hashed(f"s{n}", x) for n, x in enumerate(strangers)], cases, trained))
    assert (alone["copies_train"], alone["copies_holdout"]) == (0, 0)


def _bits(first, second):
    """Bits that differ between two pictures, the least over all flips of the first."""
    spectra = [dctn(flipped(first, f), norm="ortho")[:, :8, :8] for f in flips(first.shape)]
    other = dctn(second, norm="ortho")[:, :8, :8].ravel()[1:]
    signs = [x.ravel()[1:] > np.median(x.ravel()[1:]) for x in spectra]
    return min(int((sign != (other > np.median(other))).sum()) for sign in signs)


def test_features_are_compared_in_standard_deviations_of_the_real_cases():
    """Of three features one is in thousands, and one the same for all real cases."""
    real = np.array([[0, 0, 5], [2000, 0, 5], [0, 4, 5], [2000, 4, 5]], float)  # sd 1000, 2, 0
    made = np.array([[2000, 0, 5], [1000, 4, 99]], float)
    image = np.random.default_rng(0).random((1, 1, 24, 24))

    def case(name, embedding):
        region = {"whole": [image]}
        return Trace(name, name, region, region, embedding, np.zeros((1, 8, 8)))

    shared = Shared(("ct",), ("background",), (), "any label")
    grid = Grid((1, 24, 24), (1, 24, 24))
    sides = Sides(
        [case(f"s{n}", row) for n, row in enumerate(made)],
        [case(f"r{n}", row) for n, row in enumerate(real)],
        np.array([True, True, False, False]),
    )
    lines = lines_of(sides, Layout(shared, grid, grid, None), lambda *words: None)
    (found,) = (line for line in lines if line.name == "features")
    expected = [[2, 0.001, np.sqrt(8), 2], [np.sqrt(5), np.sqrt(5), 1, 1]]
    np.testing.assert_allclose(found.synthetic.distances, expected)
    others = np.array([[0, 2, 2, np.sqrt(8)], [2, 0, np.sqrt(8), 2]])
    np.testing.assert_allclose(found.real[:2], np.where(others > 0, others, np.inf))
    np.testing.assert_allclose(found.to_synthetic, [2, 0.001, 1, 1])
    assert found.patients == ("r0", "r1", "r2", "r3")
