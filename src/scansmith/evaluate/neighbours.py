"""Precision, recall, density, coverage: is each synthetic sample like a real one, and all real ones
like a synthetic one?

A distance between sets cannot tell few perfect images from many poor ones. These four can. Round
every sample x lies a ball B(x) that reaches to its k-th nearest neighbour in its own set;
n real samples r, m synthetic samples s:

precision   share of the s that lie in some B(r)                     looks real
density     mean over the s of the number of B(r) they lie in, / k   the same, outliers count less
recall      share of the r that lie in some B(s)                     varied
coverage    share of the r whose B(r) holds some s                   the same, outliers count less

Source: Kynkaanniemi et al., NeurIPS 2019 (precision, recall); Naeem et al., ICML 2020, eq. 3 and 4
(density, coverage; k = 5). A point on a ball's rim counts as inside, so that equal samples do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from scansmith.evaluate.spread import (
    FAR,
    SPLITS,
    Groups,
    counted,
    halves,
    mean_of_patients,
    quantiles,
    reasons,
    thinned,
    too_few,
)
from scansmith.scan import DataError

NEIGHBOURS = 5
MEASURES = ("precision", "density", "recall", "coverage")
#: At most so many samples of a set; all pairs of distances are held at once.
MOST_SAMPLES = 2000
#: Where real patients lack less than this to 1, far is judged as if they lacked this.
LEAST_LACK = 0.1


def neighbour_scores(
    real: np.ndarray, synthetic: np.ndarray, k: int = NEIGHBOURS
) -> dict[str, np.ndarray]:
    """What each sample adds to the four measures, which are the means of these values.

    Args:
        real, synthetic: (n, d) and (m, d), Euclidean.
    Returns:
        precision (m,), density (m,), recall (n,), coverage (n,).
    Raises:
        DataError: a set has no more than k samples.
    """
    least = min(len(real), len(synthetic))
    if least <= k:
        raise DataError(
            f"neighbours: {least} samples in a set, expected more than {k}. Compare more cases."
        )
    across = cdist(real, synthetic)  # (n, m)
    reach_real, reach_synthetic = (_reach(x, k) for x in (real, synthetic))
    in_real = across <= reach_real[:, None]
    in_synthetic = across <= reach_synthetic[None]
    return {
        "precision": in_real.any(axis=0).astype(float),
        "density": in_real.sum(axis=0) / k,
        "recall": in_synthetic.any(axis=1).astype(float),
        "coverage": in_real.any(axis=1).astype(float),
    }


def compare_neighbours(
    real: Groups, synthetic: Groups, rng: np.random.Generator, k: int = NEIGHBOURS
) -> dict[str, Any]:
    """The four measures of two sets, and beside them what half of the real patients score.

    Args:
        real, synthetic: samples of each patient (n, d).
    Returns:
        {measure: {value, interval, counts, real_vs_real, real_vs_synthetic, verdict}}, as
        `spread.compare` has them, but high is good: close if the median real_vs_synthetic is not
        below the real_vs_real interval; far if it lacks more than 3 times as much to 1.
        The interval draws the patients that the measure is a mean over, and keeps the others.
    """
    real, synthetic = _thinned(real), _thinned(synthetic)
    counts = counted(real, synthetic)
    try:
        scores = neighbour_scores(_pooled(real), _pooled(synthetic), k)
    except DataError as error:
        return {name: _without(str(error), counts) for name in MEASURES}
    result = {}
    scale = _scale(real, synthetic, rng, k)
    for name in MEASURES:
        groups = synthetic if name in ("precision", "density") else real
        patients = [patient for patient, rows in groups.items() for _ in rows]
        found = mean_of_patients(scores[name].tolist(), patients, rng)
        entry = {"value": found["mean"], "interval": found["interval"], **counts}
        beside = _beside(scale, name)
        result[name] = entry | beside | reasons(found, beside)
    return result


def _scale(
    real: Groups, synthetic: Groups, rng: np.random.Generator, k: int
) -> dict[str, tuple[list[float], list[float]]] | str:
    """Values real against real and real against synthetic; a sentence where there are none."""
    if reason := too_few(real):
        return reason
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in MEASURES}
    for half, other, matched in halves(real, synthetic, rng, SPLITS):
        if min(len(half), len(other), len(matched)) <= k:
            continue
        for side, samples in enumerate((other, matched)):
            for name, values in neighbour_scores(half, samples, k).items():
                found[name][side].append(float(values.mean()))
    return found if found[MEASURES[0]][0] else "too few samples in a half of the patients"


def _beside(scale: dict[str, tuple[list[float], list[float]]] | str, name: str) -> dict[str, Any]:
    if isinstance(scale, str):
        return {"real_vs_real": None, "real_vs_synthetic": None, "verdict": None, "reason": scale}
    among, across = scale[name]
    low, median = quantiles(among)[0], float(np.median(across))
    far = 1 - median > FAR * max(1 - low, LEAST_LACK)
    return {
        "real_vs_real": {"median": float(np.median(among)), "interval": quantiles(among)},
        "real_vs_synthetic": {"median": median, "interval": quantiles(across)},
        "verdict": "close" if median >= low else "far" if far else "differs",
    }


def _without(reason: str, counts: dict[str, int]) -> dict[str, Any]:
    names = ("value", "interval", "real_vs_real", "real_vs_synthetic", "verdict")
    return {**dict.fromkeys(names), "reason": reason, **counts}


def _reach(samples: np.ndarray, k: int) -> np.ndarray:
    """Distance of each sample to its k-th nearest other one, (n,)."""
    return np.partition(cdist(samples, samples), k, axis=1)[:, k]


def _pooled(groups: Groups) -> np.ndarray:
    return np.concatenate(list(groups.values())) if groups else np.empty((0, 1))


def _thinned(groups: Groups) -> dict[str, np.ndarray]:
    """The samples of all patients, evenly thinned where the set has more than can be held."""
    found = {name: rows for name, rows in sorted(groups.items()) if len(rows)}
    ends = np.cumsum([len(rows) for rows in found.values()])
    kept = thinned(np.arange(ends[-1]), MOST_SAMPLES) if found else np.empty(0, int)
    parts = np.split(kept, np.searchsorted(kept, ends[:-1])) if found else []
    own = zip(found.items(), ends, parts, strict=True)
    return {name: rows[part - (end - len(rows))] for (name, rows), end, part in own if len(part)}
