"""Scores of segmenters over seeds, and of two kinds of them in pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from scansmith.evaluate.overlap import MEAN, by_patient, finite_mean, regions
from scansmith.evaluate.spread import LEVEL, generator
from scansmith.studies.cells import Scores
from scansmith.studies.spec import LABEL_VALUES
from scansmith.studies.tables import summary

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


def mean_of(rows: Rows) -> float | None:
    """Mean Dice over patients; None where none has one."""
    mean = finite_mean([row[MEAN] for row in rows.values()])
    return mean if np.isfinite(mean) else None


def summary_of(rows: Rows) -> dict[str, Any]:
    """Measure -> mean over patients and its interval."""
    return summary([dict(row) for row in rows.values()], list(rows))


def in_common(
    mine: Sequence[Scores],
    theirs: Sequence[Scores],
    decided_by: Sequence[str] = (),
    silence: float = np.nan,
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """`over_seeds` of both, from what both have of a case under a seed.

    Who lacks a structure has Dice nan where nothing is found and 0 where something is. Averaged
    apart, one arm's false alarm under one seed and the other's under another would make a pair; and
    a mean over organ and tumour stood beside one over the organ alone.

    Args:
        mine, theirs: scores of the same test cases under the same seeds, in the same order.
        decided_by: see `deciding`.
        silence: Dice of who finds nothing where there is nothing and the other finds something.
            nan leaves that structure out of both; 1, as in the BraTS ranking, counts the alarm.
    """
    pairs = list(zip(mine, theirs, strict=True))
    return (
        over_seeds([_beside(one, other, decided_by, silence) for one, other in pairs]),
        over_seeds([_beside(other, one, decided_by, silence) for one, other in pairs]),
    )


def deciding(measures: Iterable[str], decided_by: Sequence[str] = ()) -> list[str]:
    """The structures that a case's mean Dice is over.

    Args:
        measures: of a case, by name.
        decided_by: the structures that a study names; empty: all, regions of them not counted.
    Returns:
        [] where cases have a mean alone.
    """
    names = [name for name in measures if name not in (MEAN, *LABEL_VALUES)]
    return list(decided_by) or [name for name in names if name not in regions(names)]


def _beside(one: Scores, other: Scores, decided_by: Sequence[str], silence: float) -> Scores:
    """Scores of one as they count beside the other's."""
    found = {}
    for case, row in one.items():
        rest = other[case]
        seen = {name: _counted(value, rest[name], silence) for name, value in row.items()}
        if structures := deciding(row, decided_by):
            seen[MEAN] = finite_mean([seen[name] for name in structures])
        found[case] = seen
    return found


def _counted(value: float, other: float, silence: float) -> float:
    if np.isfinite(value) == np.isfinite(other):
        return value
    if np.isfinite(value):  # an alarm of this one alone
        return np.nan if np.isnan(silence) else value
    return silence


def minus(rows: Rows, others: Rows) -> dict[str, dict[str, float]]:
    """Patient -> measure -> difference, nan where one has none."""
    return {
        patient: {name: value - others[patient][name] for name, value in row.items()}
        for patient, row in rows.items()
    }


def paired(
    seeds: Sequence[Scores | None],
    other: Sequence[Scores | None],
    arm: str,
    decided_by: Sequence[str] = (),
) -> Any:
    """An arm's Dice minus another's, patient by patient, of the seeds that both have.

    Args:
        decided_by: the structures that the mean is over; empty: all.
    Returns:
        above (measure -> mean, interval), counting alarms (of the mean, where who is rightly silent
        has Dice 1 and so the other's false alarm counts), share, seeds (how many), failed (places
        of the seeds in which a cell failed), each seed (mean difference; None where there is none),
        false alarms (see `false_alarms`); None if they have no seed in common.
    """
    pairs = [(a, b) for a, b in zip(seeds, other, strict=True) if a and b]
    if not pairs:
        return None
    sides = [a for a, _ in pairs], [b for _, b in pairs]
    rows, reference = in_common(*sides, decided_by)
    counted = minus(*in_common(*sides, decided_by, silence=1.0))
    return {
        "above": summary_of(minus(rows, reference)),
        "counting alarms": summary_of({name: {MEAN: row[MEAN]} for name, row in counted.items()})[
            MEAN
        ],
        "share": share(rows, reference, arm),
        "seeds": len(pairs),
        "failed": [n for n, pair in enumerate(zip(seeds, other, strict=True)) if not all(pair)],
        "false alarms": false_alarms(pairs, decided_by),
        "each seed": [_difference(*pair, decided_by) for pair in zip(seeds, other, strict=True)],
    }


def _difference(
    mine: Scores | None, theirs: Scores | None, decided_by: Sequence[str]
) -> float | None:
    """The mean difference over patients under one seed."""
    if not mine or not theirs:
        return None
    return mean_of(minus(*in_common([mine], [theirs], decided_by)))


def false_alarms(
    pairs: Sequence[tuple[Scores, Scores]], decided_by: Sequence[str] = ()
) -> list[float]:
    """Patients in whom the one alone finds what is not there, and the other alone; mean over seeds.

    Who lacks a structure has Dice nan for it if nothing is found and 0 if something is. It has no
    difference then, so that the interval does not know of the alarm. A patient of several cases or
    structures counts once on each side.

    Args:
        decided_by: the structures that are asked about; empty: all.
    """
    counts = [[len(_only(a, b, decided_by)), len(_only(b, a, decided_by))] for a, b in pairs]
    return [float(mean) for mean in np.mean(counts, axis=0)]


def _only(mine: Scores, theirs: Scores, decided_by: Sequence[str]) -> set[str]:
    """Patients with a case in which the first alone finds a structure that is not there."""
    return {
        case.rpartition("/")[0]
        for case, row in mine.items()
        for name in deciding(row, decided_by) or [MEAN]
        if np.isfinite(row[name]) and not np.isfinite(theirs[case][name])
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
