"""Lines of evidence: of a case every large lesion is looked at, and judged by real lesions."""

from __future__ import annotations

import numpy as np
import pytest

from scansmith.evaluate.privacy import statistics
from scansmith.evaluate.privacy.cases import lesions
from scansmith.evaluate.privacy.lines import ALPHA, Line, measure
from scansmith.evaluate.privacy.neighbours import Nearness
from scansmith.evaluate.view import View


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
    found = measure(line, 1, 1, {"share": 0.1, "auc": 0.1}, 0)["copies"]
    gaps = np.log([1.0, 2.0, 0.6 / 0.5, 0.7 / 0.6, 0.7 / 0.6])
    assert found["largest_real_gap"] == pytest.approx(np.log(2.0))
    assert found["gap_limit"] == pytest.approx(statistics.gap_limit(gaps, 1, ALPHA))
