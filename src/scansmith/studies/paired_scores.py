"""Scores of segmenters over seeds, and of two kinds of them in pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scansmith.evaluate.overlap import MEAN, by_patient, finite_mean
from scansmith.evaluate.spread import LEVEL, generator
from scansmith.studies.cells import Scores

Rows = Mapping[str, Mapping[str, float]]
"""Patient -> measure -> value; nan where a measure has none."""

RESAMPLES = 2000


def over_seeds(seeds: Sequence[Scores]) -> dict[str, dict[str, float]]:
    """Patient -> measure -> mean over the patient's cases and over the seeds."""
    patients = [by_patient(scores) for scores in seeds]
    return {
        patient: {name: finite_mean([rows[patient][name] for rows in patients]) for name in row}
        for patient, row in patients[0].items()
    }


def in_common(
    mine: Sequence[Scores], theirs: Sequence[Scores]
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """`over_seeds` of both, from what both have of a case under a seed.

    Who lacks a structure has Dice nan where nothing is found and 0 where something is. Averaged
    apart, one arm's false alarm under one seed and the other's under another would make a pair.

    Args:
        mine, theirs: scores of the same test cases under the same seeds, in the same order.
    """
    pairs = list(zip(mine, theirs, strict=True))
    return (
        over_seeds([_where_both(one, other) for one, other in pairs]),
        over_seeds([_where_both(other, one) for one, other in pairs]),
    )


def _where_both(one: Scores, other: Scores) -> Scores:
    return {
        case: {name: v if np.isfinite(other[case][name]) else np.nan for name, v in row.items()}
        for case, row in one.items()
    }


def minus(rows: Rows, others: Rows) -> dict[str, dict[str, float]]:
    """Patient -> measure -> difference, nan where one has none."""
    return {
        patient: {name: value - others[patient][name] for name, value in row.items()}
        for patient, row in rows.items()
    }


def share(rows: Rows, reference: Rows, arm: str) -> dict[str, Any]:
    """Mean Dice as a percentage of what real cases teach, patients resampled in pairs."""
    pairs = np.array([(row[MEAN], reference[patient][MEAN]) for patient, row in rows.items()])
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    if not len(pairs) or not pairs[:, 1].sum():
        return {"mean": None, "interval": None}
    value = 100 * float(pairs[:, 0].mean() / pairs[:, 1].mean())
    if len(pairs) < 2:
        return {"mean": value, "interval": None}
    draws = generator(0, arm).integers(len(pairs), size=(RESAMPLES, len(pairs)))
    sums = pairs[draws].sum(axis=1)
    ratios = 100 * sums[:, 0] / np.where(sums[:, 1] > 0, sums[:, 1], np.nan)
    low, high = np.nanquantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"mean": value, "interval": [float(low), float(high)]}


def percent(found: Mapping[str, Any]) -> str:
    """What `share` found, as a table has it."""
    if found["mean"] is None:
        return "-"
    text = f"{found['mean']:.1f}"
    if found["interval"] is None:
        return text
    low, high = found["interval"]
    return f"{text} ({low:.1f} to {high:.1f})"
