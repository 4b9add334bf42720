"""How much one arm's area under the ROC curve is above another's, paired by patient and seed.

The area is the share of pairs of an abnormal and a normal slice in which the abnormal one is called
more probable; a tie counts half. U (P, P) holds the pairs won by abnormal slices of one patient
against normal ones of another, so that a resampling which draws patient p w_p times has

    area = w U w / ((w . abnormal) (w . normal))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scansmith.evaluate.spread import RESAMPLES, generator, quantiles

Seed = Mapping[str, Mapping[str, float]]
"""'patient/case/slice' -> "abnormal" (1 or 0) and "chance", of one training."""


def auc_gain(seeds: Sequence[Seed], reference: Sequence[Seed], seed: int = 0) -> dict[str, Any]:
    """As `evaluate.confusion.gains` of the other measures: mean, sd, interval, value of each."""
    patients = sorted({_patient(key) for one in [*seeds, *reference] for key in one})
    draws = generator(seed, "auc").integers(len(patients), size=(RESAMPLES, len(patients)))
    drawn = np.stack([np.bincount(draw, minlength=len(patients)) for draw in draws])
    weights = np.concatenate([np.ones((1, len(patients)), int), drawn])  # everybody once, first
    above = np.stack(
        [
            areas(one, patients, weights) - areas(other, patients, weights)
            for one, other in zip(seeds, reference, strict=True)
        ],
        axis=1,
    )  # (1 + R, T)
    each, there = above[0], np.isfinite(above)
    some = there.any(axis=1)
    means = np.where(there, above, 0).sum(axis=1)[some] / there.sum(axis=1)[some]
    resampled = means[1:] if some[0] else means
    finite = each[there[0]]
    enough = len(patients) > 1 and len(resampled) >= RESAMPLES / 2
    return {
        "mean": float(finite.mean()) if len(finite) else None,
        "sd": float(finite.std(ddof=1)) if len(finite) > 1 else None,
        "interval": quantiles(resampled) if enough else None,
        "each": [float(value) if np.isfinite(value) else None for value in each],
    }


def areas(one: Seed, patients: Sequence[str], weights: np.ndarray) -> np.ndarray:
    """The area in each resampling (R,), nan where no normal or no abnormal slice is drawn.

    Args:
        weights: (R, P), how often each patient is drawn.
    """
    chances: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in patients}
    for key, row in one.items():
        chances[_patient(key)][int(row["abnormal"])].append(row["chance"])
    normal = [np.sort(chances[name][0]) for name in patients]
    abnormal = [np.array(chances[name][1]) for name in patients]
    won = np.array([[_won(mine, theirs) for theirs in normal] for mine in abnormal])
    pairs = (weights @ [len(a) for a in abnormal]) * (weights @ [len(n) for n in normal])
    wins = ((weights @ won) * weights).sum(axis=1)
    return np.divide(wins, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def _won(abnormal: np.ndarray, normal: np.ndarray) -> float:
    """Pairs in which the abnormal slice is called more probable, and half the ties."""
    below = np.searchsorted(normal, abnormal, "left") + np.searchsorted(normal, abnormal, "right")
    return float(below.sum()) / 2


def _patient(key: str) -> str:
    return key.rsplit("/", 2)[0]
