from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from scansmith.evaluate import neighbours
from scansmith.evaluate.neighbours import MEASURES, compare_neighbours, neighbour_scores
from scansmith.scan import DataError


def _means(real: np.ndarray, synthetic: np.ndarray, k: int) -> dict[str, float]:
    return {name: float(v.mean()) for name, v in neighbour_scores(real, synthetic, k).items()}


def test_the_four_measures_by_hand_on_a_line() -> None:
    # k = 1. Real 0, 1, 10: balls reach 1, 1, 9. Synthetic 0.5, 0.6, 30: balls reach .1, .1, 29.4.
    # 0.5 and 0.6 lie in the balls of 0 and of 1, and 0.6 is 9.4 from 10, outside; so is 30 (20).
    # Balls of the synthetic: 0 and 1 are .5 and .4 from the nearest, beyond .1; 30 reaches to 0.6,
    # so it holds 1 and 10, not 0.
    real, synthetic = np.array([[0.0], [1], [10]]), np.array([[0.5], [0.6], [30]])
    found = neighbour_scores(real, synthetic, k=1)
    assert found["precision"].tolist() == [1, 1, 0]
    assert found["density"].tolist() == [2, 2, 0]
    assert found["recall"].tolist() == [0, 1, 1]
    assert found["coverage"].tolist() == [1, 1, 0]


def test_the_four_measures_by_another_implementation() -> None:
    rng = np.random.default_rng(0)
    real, synthetic, k = rng.normal(0, 1, (60, 4)), rng.normal(1.0, 1.2, (50, 4)), 5
    # A query among its own samples finds itself first, so that k neighbours need k + 1.
    trees = [NearestNeighbors().fit(x) for x in (real, synthetic)]
    reach = [t.kneighbors(x, k + 1)[0][:, k] for t, x in zip(trees, (real, synthetic), strict=True)]
    inside = [[np.linalg.norm(s - r) <= reach[0][i] for i, r in enumerate(real)] for s in synthetic]
    expected = {
        "precision": np.mean([any(row) for row in inside]),
        "density": np.mean([sum(row) / k for row in inside]),
        "recall": np.mean(
            [
                any(np.linalg.norm(s - r) <= reach[1][j] for j, s in enumerate(synthetic))
                for r in real
            ]
        ),
        "coverage": np.mean(trees[1].kneighbors(real, 1)[0][:, 0] <= reach[0]),
    }
    assert _means(real, synthetic, k) == pytest.approx(expected)
    assert 0 < expected["precision"] < 1
    assert 0 < expected["recall"] < 1


def test_a_copy_is_wholly_inside_and_few_images_cover_little() -> None:
    real = np.random.default_rng(1).normal(0, 1, (80, 3))
    assert all(value >= 1 for value in _means(real, real, 5).values())
    few = np.repeat(real[:2], 40, axis=0) + np.random.default_rng(2).normal(0, 1e-6, (80, 3))
    found = _means(real, few, 5)
    assert found["precision"] == 1
    assert found["recall"] < 0.1
    assert found["coverage"] < 0.3
    noise = np.random.default_rng(3).uniform(20, 90, (80, 3))
    assert _means(real, noise, 5)["precision"] == 0
    assert _means(real, noise, 5)["coverage"] == 0


def _patients(mean: float, sd: float, seed: int, count: int = 10) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"p{seed}_{n}": rng.normal(mean, sd, (12, 3)) for n in range(count)}


def test_a_set_like_the_real_one_is_close_and_others_are_not() -> None:
    real, rng = _patients(0, 1, 1), np.random.default_rng(0)
    close = compare_neighbours(real, _patients(0, 1, 2), rng)
    assert {found["verdict"] for found in close.values()} == {"close"}
    for found in close.values():
        low, high = found["interval"]
        assert low <= found["value"] <= high
        assert (found["real_samples"], found["synthetic_patients"]) == (120, 10)
    narrow = compare_neighbours(real, _patients(0, 0.05, 3), rng)
    assert narrow["precision"]["verdict"] == "close"
    assert narrow["coverage"]["verdict"] == "far"
    wide = compare_neighbours(real, _patients(0, 9, 4), rng)
    assert wide["precision"]["verdict"] == "far"


def test_a_set_is_thinned_to_what_can_be_held_however_few_samples_a_patient_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(neighbours, "MOST_SAMPLES", 10)
    groups = {f"p{n:02}": np.full((1 + n % 2, 1), float(n)) for n in range(20)}  # 30 samples
    kept = neighbours._thinned(groups)
    assert sum(map(len, kept.values())) == 10
    assert all(name == f"p{int(rows[0, 0]):02}" for name, rows in kept.items())
    assert {"p00", "p19"} <= set(kept)  # from the first to the last
    monkeypatch.setattr(neighbours, "MOST_SAMPLES", 30)
    whole = neighbours._thinned(groups)
    assert {name: rows.tolist() for name, rows in whole.items()} == {
        name: rows.tolist() for name, rows in groups.items()
    }
    assert neighbours._thinned({"p": np.empty((0, 1))}) == {}


def test_too_few_samples_or_patients_are_told() -> None:
    with pytest.raises(DataError, match="3 samples in a set, expected more than 5"):
        neighbour_scores(np.zeros((3, 2)), np.zeros((9, 2)))
    one = {"a": np.random.default_rng(0).normal(0, 1, (4, 2))}
    nothing = compare_neighbours(one, _patients(0, 1, 2), np.random.default_rng(0))
    assert {found["value"] for found in nothing.values()} == {None}
    assert "4 samples in a set" in nothing["recall"]["reason"]
    three = compare_neighbours(_patients(0, 1, 1, 3), _patients(0, 1, 2), np.random.default_rng(0))
    assert list(three) == list(MEASURES)
    assert three["coverage"]["value"] > 0
    assert three["coverage"]["verdict"] is None
    assert "3 real patients" in three["coverage"]["reason"]
    alone = compare_neighbours(_patients(0, 1, 1), _patients(0, 1, 2, 1), np.random.default_rng(0))
    assert alone["precision"]["interval"] is None
    assert alone["precision"]["reason"] == "one patient has no spread between patients"
    assert "reason" not in alone["coverage"]  # drawn from the real patients
