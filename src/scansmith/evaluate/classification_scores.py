"""Scores of classifiers: over all slices, with an interval from resampling patients, and of each.

Positive is abnormal. All measures are scikit-learn's. A measure that has no value is None: there is
no precision if nothing was called abnormal, no recall if nothing is abnormal, no AUC in one class.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, precision_recall_fscore_support, roc_auc_score

from scansmith.evaluate.lesion_rule import ABNORMAL, NORMAL
from scansmith.evaluate.spread import generator
from scansmith.scan import DataError

MEASURES = ("accuracy", "precision", "recall", "f1", "auc")
#: From this probability on a slice is called abnormal.
THRESHOLD = 0.5
_RESAMPLES = 200


def scores(truth: np.ndarray, chance: np.ndarray) -> dict[str, float | None]:
    """Every measure of some slices.

    Args:
        truth: NORMAL or ABNORMAL, (N,).
        chance: probability of being abnormal, (N,).
    Raises:
        DataError: not one probability for each slice, no slice, or other classes.
    """
    truth, chance = np.asarray(truth), np.asarray(chance)
    if truth.shape != chance.shape or truth.ndim != 1 or not len(truth):
        raise DataError(
            f"classifier: {truth.shape} classes and {chance.shape} probabilities, expected one of "
            "each for each slice, and a slice at least. Score what was predicted."
        )
    if not np.isin(truth, (NORMAL, ABNORMAL)).all() or not np.isfinite(chance).all():
        raise DataError(
            "classifier: unclear slices or probabilities that are no numbers, expected classes 0 "
            "and 1. Leave unclear slices out (`LesionRule.clear`)."
        )
    called = (chance >= THRESHOLD).astype(int)
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, called, average="binary", zero_division=np.nan
    )
    found = {
        "accuracy": accuracy_score(truth, called),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "auc": roc_auc_score(truth, chance) if len(set(truth.tolist())) == 2 else np.nan,
    }
    return {name: None if np.isnan(value) else float(value) for name, value in found.items()}


def scores_by_patient(
    truth: np.ndarray,
    chance: np.ndarray,
    patients: Sequence[str],
    *,
    unclear: Collection[str] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """All slices together, and those of each patient.

    Args:
        patients: whose each slice is, N names.
        unclear: patients who have slices that are neither normal nor abnormal. Who has no abnormal
            one besides is neither, too, and left out of the whole patients.
    Returns:
        slices: {measure: {value, interval}}, the interval holding 95 % of 200 resamplings of
            patients (None where fewer than half of them have a value).
        whole_patients: the same with one truth and one probability for each patient: abnormal if
            any slice is, as probable as the most probable slice.
        unclear_patients: how many were left out of these.
        patients: {patient: {measure: value, "slices": n, "abnormal": n}}.
    """
    truth, chance, names = np.asarray(truth), np.asarray(chance), np.asarray(patients)
    if len(names) != len(truth):
        raise DataError(
            f"classifier: {len(truth)} slices and {len(names)} patients' names, expected a name "
            "for each slice. Name them all."
        )
    of = {str(name): np.flatnonzero(names == name) for name in sorted(set(patients))}
    neither = set(unclear) - {name for name, own in of.items() if truth[own].max() == ABNORMAL}
    whole = {
        name: (np.array([truth[own].max()]), np.array([chance[own].max()]))
        for name, own in of.items()
        if name not in neither
    }
    parts = {name: (truth[own], chance[own]) for name, own in of.items()}
    return {
        "slices": _with_intervals(parts, seed),
        "whole_patients": _with_intervals(whole, seed),
        "unclear_patients": len(neither),
        "patients": {
            name: {
                **scores(*part),
                "slices": len(part[0]),
                "abnormal": int((part[0] == ABNORMAL).sum()),
            }
            for name, part in parts.items()
        },
    }


def _with_intervals(
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]], seed: int
) -> dict[str, dict[str, Any]]:
    if not parts:
        return {measure: {"value": None, "interval": None} for measure in MEASURES}
    names = list(parts)
    values = scores(*_joined(parts, names))
    rng = generator(seed, "classification")
    drawn: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    known: dict[tuple[int, ...], dict[str, float | None]] = {}  # few patients are drawn alike often
    for _ in range(_RESAMPLES if len(names) > 1 else 0):
        again = tuple(sorted(rng.integers(len(names), size=len(names)).tolist()))
        if again not in known:
            known[again] = scores(*_joined(parts, [names[n] for n in again]))
        for measure, value in known[again].items():
            if value is not None:
                drawn[measure].append(value)
    return {
        measure: {"value": values[measure], "interval": _interval(drawn[measure])}
        for measure in MEASURES
    }


def _joined(
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]], names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    truth, chance = zip(*(parts[name] for name in names), strict=True)
    return np.concatenate(truth), np.concatenate(chance)


def _interval(values: Sequence[float]) -> list[float] | None:
    if len(values) < _RESAMPLES / 2:
        return None
    low, high = np.quantile(values, (0.025, 0.975))
    return [float(low), float(high)]
