"""Overlap of two label maps: Dice of each structure, and of the regions that brain tumours have.

A structure that is empty in both maps has no overlap to speak of: its Dice is nan, and means leave
it out. To call it 1 (as the BraTS ranking does) would lift the mean of a method by the number of
cases that lack the structure. A structure that is empty in one map alone has Dice 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scansmith.labels.table import is_context
from scansmith.scan import DataError

#: Name of the mean over structures in a case's scores.
MEAN = "mean"
#: BraTS: what a region is made of. Source: Menze et al., IEEE TMI 34 (2015), section II.D.
REGIONS = {
    "whole tumour": ("necrosis", "oedema", "non-enhancing", "enhancing"),
    "tumour core": ("necrosis", "non-enhancing", "enhancing"),
    "enhancing tumour": ("enhancing",),
}


def dice_of_masks(first: np.ndarray, second: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|) of two masks, bool, of one shape.

    Returns:
        0 to 1; nan if both are empty, 0 if one is.
    """
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else float("nan")


def dice(
    labels_true: np.ndarray, labels_pred: np.ndarray, structures: Sequence[str]
) -> dict[str, float]:
    """Dice of each structure of a case, and their mean.

    Args:
        labels_true, labels_pred: structure indices, any shape: all slices of a case together.
        structures: K names in index order; the background and context are not scored.
    Returns:
        structure -> Dice, then the regions of BraTS where the structures are theirs, then "mean"
        over the structures (not the regions) that are in at least one of the maps.
    Raises:
        DataError: the shapes differ, or there is an index without a name.
    """
    _check(labels_true, labels_pred, len(structures))
    scored = {n: (k,) for k, n in enumerate(structures) if k and not is_context(n)}
    found = {}
    for name, indices in {**scored, **regions(structures)}.items():
        masks = (np.isin(labels, indices) for labels in (labels_true, labels_pred))
        found[name] = dice_of_masks(*masks)
    return {**found, MEAN: finite_mean([found[name] for name in scored])}


def by_patient(scores: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Mean scores of each patient over the patient's cases, nan left out.

    Args:
        scores: "patient/case" -> measure -> value, as studies keep them.
    """
    grouped: dict[str, list[Mapping[str, float]]] = {}
    for case, row in scores.items():
        grouped.setdefault(case.rpartition("/")[0], []).append(row)
    return {
        patient: {name: finite_mean([row[name] for row in rows]) for name in rows[0]}
        for patient, rows in grouped.items()
    }


def finite_mean(values: Sequence[float]) -> float:
    """Mean of the values that are finite; nan if none is."""
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def regions(structures: Sequence[str]) -> Mapping[str, tuple[int, ...]]:
    """Whole tumour, tumour core and enhancing tumour as indices; {} if the names are not BraTS'."""
    if not {"oedema", "enhancing"} <= set(structures):
        return {}
    return {
        region: tuple(k for k, name in enumerate(structures) if name in parts)
        for region, parts in REGIONS.items()
    }


def _check(labels_true: np.ndarray, labels_pred: np.ndarray, structures: int) -> None:
    if labels_true.shape != labels_pred.shape:
        raise DataError(
            f"overlap: true labels {labels_true.shape} and predicted labels {labels_pred.shape} "
            "differ. Compare them on one grid."
        )
    for what, labels in (("true", labels_true), ("predicted", labels_pred)):
        if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < structures:
            raise DataError(
                f"overlap: found {what} labels from {labels.min()} to {labels.max()}, expected "
                f"indices 0 to {structures - 1}. Encode them with the label table."
            )
