"""Classifiers compared with each other: right and wrong slices of each patient, paired by patient.

A `Table` holds of each patient how many slices were called abnormal and were (tp), were called so
and were not (fp), were not called so and were (fn), and were neither (tn). Several tables are
several trainings: seeds, or repeats with other patients. Measures are taken over all slices of a
table and averaged over the tables; intervals draw patients anew, in all tables and arms alike,
since the slices of a patient are alike.

    precision tp / (tp + fp), recall tp / (tp + fn), F1 2 tp / (2 tp + fp + fn), accuracy

A measure without a value is nan: there is no precision if nothing was called abnormal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from scansmith.evaluate.classification_scores import THRESHOLD
from scansmith.evaluate.spread import RESAMPLES, generator, quantiles

MEASURES = ("precision", "recall", "f1", "accuracy")
Table = Mapping[str, np.ndarray]
"""patient -> (tp, fp, fn, tn)"""


def table_of(slices: Iterable[tuple[str, int, float]]) -> dict[str, np.ndarray]:
    """The table of slices: patient, 1 if it is abnormal or 0, probability of being abnormal."""
    found: dict[str, np.ndarray] = {}
    for patient, truth, chance in slices:
        called = chance >= THRESHOLD
        place = (0 if truth else 1) if called else (2 if truth else 3)
        found.setdefault(patient, np.zeros(4, np.int64))[place] += 1
    return found


def measures(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Every measure of counts (..., 4), nan where there is none."""
    tp, fp, fn, tn = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    parts = {
        "precision": (tp, tp + fp),
        "recall": (tp, tp + fn),
        "f1": (2 * tp, 2 * tp + fp + fn),
        "accuracy": (tp + tn, tp + fp + fn + tn),
    }
    return {
        name: np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
        for name, (part, whole) in parts.items()
    }


def means(tables: Sequence[Table], seed: int = 0) -> dict[str, dict[str, Any]]:
    """Each measure over the tables: mean, sd (None of one table), interval, value of each."""
    weights = _weights([tables], seed)
    return _told(*_drawn(tables, *weights), len(weights[0]))


def gains(tables: Sequence[Table], reference: Sequence[Table], seed: int = 0) -> dict[str, Any]:
    """As `means`, of what tables have above the reference's, table by table."""
    weights = _weights([tables, reference], seed)
    (values, drawn), (others, redrawn) = (_drawn(each, *weights) for each in (tables, reference))
    return _told(
        {name: values[name] - others[name] for name in MEASURES},
        {name: drawn[name] - redrawn[name] for name in MEASURES},
        len(weights[0]),
    )


def _weights(arms: Sequence[Sequence[Table]], seed: int) -> tuple[list[str], np.ndarray]:
    """All patients, and how often each is drawn in each resampling: (R, P)."""
    names = sorted({name for tables in arms for table in tables for name in table})
    rng = generator(seed, "confusion")
    draws = rng.integers(len(names), size=(RESAMPLES, len(names)))
    return names, np.stack([np.bincount(draw, minlength=len(names)) for draw in draws])


def _drawn(
    tables: Sequence[Table], names: Sequence[str], weights: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Measures of each table (T,), and in each resampling (R, T)."""
    none = np.zeros(4, np.int64)
    counts = np.array([[table.get(name, none) for name in names] for table in tables])
    return measures(counts.sum(axis=1)), measures(np.einsum("rp,tpk->rtk", weights, counts))


def _told(
    values: Mapping[str, np.ndarray], drawn: Mapping[str, np.ndarray], patients: int
) -> dict[str, dict[str, Any]]:
    return {name: _one(values[name], drawn[name], patients) for name in MEASURES}


def _one(values: np.ndarray, drawn: np.ndarray, patients: int) -> dict[str, Any]:
    finite = values[np.isfinite(values)]
    there = np.isfinite(drawn)
    some = there.any(axis=1)
    resampled = np.where(there, drawn, 0).sum(axis=1)[some] / there.sum(axis=1)[some]
    enough = patients > 1 and len(resampled) >= len(drawn) / 2
    return {
        "mean": float(finite.mean()) if len(finite) else None,
        "sd": float(finite.std(ddof=1)) if len(finite) > 1 else None,
        "interval": quantiles(resampled) if enough else None,
        "each": [float(value) if np.isfinite(value) else None for value in values],
    }
