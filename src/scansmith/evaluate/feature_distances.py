"""From the features that were kept of each case to distances between the sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scansmith.evaluate.cases import CaseMeasures, Plan, kept
from scansmith.evaluate.distance import frechet_distance, kernel_distance, standardised
from scansmith.evaluate.features import FEATURES
from scansmith.evaluate.neighbours import MEASURES, compare_neighbours
from scansmith.evaluate.planes import LEAST_SIDE, PLANES, by_plane, over_planes
from scansmith.evaluate.spread import DRAWS, SPLITS, Groups, compare, counted, generator, uncompared
from scansmith.scan import DataError

# The matrix roots of a network's features take a tenth of a second; a hundred of them, a while.
MANY_FEATURES = 200
#: How often patients are drawn anew and split in halves, with few features and with many.
EFFORT = ({"resamples": DRAWS, "splits": SPLITS}, {"resamples": 20, "splits": 10})
# Smaller shifts, in standard deviations, are nobody's concern.
_LEAST_SHIFT = 0.01
_DISTANCES = (("frechet", frechet_distance, False), ("kernel", kernel_distance, True))


def textures(
    real: Sequence[CaseMeasures], synthetic: Sequence[CaseMeasures], plan: Plan, seed: int
) -> dict[str, Any]:
    """Radiomics-like features: {modality: {region: {frechet, kernel, neighbours, largest}}}."""
    result: dict[str, Any] = {}
    for modality in plan.shared.modalities:
        result[modality] = {}
        for region in plan.regions:
            key = (modality, region)
            sets = [kept(cases, "features", key) for cases in (real, synthetic)]
            chance = ("radiomics", modality, region)
            result[modality][region] = _of_features(sets[0], sets[1], FEATURES, seed, chance)
    return result


def networks(
    real: Sequence[CaseMeasures], synthetic: Sequence[CaseMeasures], plan: Plan, seed: int
) -> dict[str, Any] | None:
    """The feature network's features: {modality: {frechet, kernel, neighbours, three_planes}}.

    Of the scanned slices (2D), and of cuts in three planes (2.5D).
    """
    if plan.network is None:
        return None
    result = {}
    for modality in plan.shared.modalities:
        sets = [kept(cases, "network", modality) for cases in (real, synthetic)]
        entry = _of_features(sets[0], sets[1], (), seed, ("network", modality))
        result[modality] = entry | {"three_planes": _planes(real, synthetic, modality, seed)}
    return result


def _of_features(
    real: Groups, synthetic: Groups, names: Sequence[str], seed: int, chance: tuple[str, ...]
) -> dict[str, Any]:
    """Distances and neighbours of features, in standard deviations of the real set."""
    counts = counted(real, synthetic)
    least = min(counts["real_samples"], counts["synthetic_samples"])
    if least < 2:
        reason = "fewer than two slices with enough of the region in one of the sets"
        return _nothing(reason, counts)
    try:
        z_real, z_synthetic, used = _standardised_groups(real, synthetic)
    except DataError as error:
        return _nothing(str(error), counts)
    effort = EFFORT[int(used.sum()) > MANY_FEATURES]
    result: dict[str, Any] = {"features": int(used.sum()), "left_out": int((~used).sum())}
    for name, distance, signed in _DISTANCES:
        rng = generator(seed, *chance, name)
        result[name] = compare(z_real, z_synthetic, distance, rng, signed=signed, **effort)
    rng = generator(seed, *chance, "neighbours")
    result["neighbours"] = compare_neighbours(z_real, z_synthetic, rng)
    if least <= result["features"]:
        result["note"] = "fewer slices than features: read the ratio, not the Frechet distance"
    result["largest_shifts"] = _shifts(z_synthetic, used, names)
    return result


def _nothing(reason: str, counts: dict[str, int]) -> dict[str, Any]:
    beside = {name: uncompared(reason, counts) for name in MEASURES}
    return {**_apart(reason, counts), "neighbours": beside, "largest_shifts": []}


def _apart(reason: str, counts: dict[str, int]) -> dict[str, Any]:
    return {name: uncompared(reason, counts) for name, _, _ in _DISTANCES}


def _planes(
    real: Sequence[CaseMeasures], synthetic: Sequence[CaseMeasures], modality: str, seed: int
) -> dict[str, Any]:
    """Mean over three planes of the distances, of all cases that are thick enough."""
    planes = tuple(PLANES.values())
    by_side = [
        {p: kept(cases, "planes", (modality, p)) for p in planes} for cases in (real, synthetic)
    ]
    counts = counted(by_side[0][planes[0]], by_side[1][planes[0]])
    if min(counts["real_patients"], counts["synthetic_patients"]) < 1:
        reason = f"no volumes of {LEAST_SIDE} voxels or more along each axis in one of the sets"
        return _apart(reason, counts)
    usable = np.logical_and.reduce([_used(by_side[0][p]) for p in planes])
    if not usable.any():
        reason = "all features are constant in the real set"
        return _apart(reason, counts)
    stacked: list[dict[str, np.ndarray]] = [{}, {}]
    for number, plane in enumerate(planes):
        own = [{n: rows[:, usable] for n, rows in side[plane].items()} for side in by_side]
        *scaled, _ = _standardised_groups(own[0], own[1])
        for rows_of, into in zip(scaled, stacked, strict=True):
            for patient, rows in rows_of.items():
                numbered = np.column_stack([np.full(len(rows), number), rows])
                into[patient] = np.concatenate(
                    [*([into[patient]] if patient in into else []), numbered]
                )
    effort = EFFORT[int(usable.sum()) > MANY_FEATURES]
    result: dict[str, Any] = {"features": int(usable.sum())}
    both = [np.concatenate(list(side.values())) for side in stacked]
    for name, distance, signed in _DISTANCES:
        rng = generator(seed, "three planes", modality, name)
        mean = over_planes(distance)
        entry = compare(stacked[0], stacked[1], mean, rng, signed=signed, **effort)
        apart = [distance(a, b) for a, b in by_plane(both[0], both[1])]
        result[name] = entry | {"planes": dict(zip(planes, apart, strict=True))}
    return result


def _shifts(synthetic: Groups, used: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """The features whose mean is furthest off, in standard deviations of the real set."""
    if not names:
        return []
    mean = np.concatenate(list(synthetic.values())).mean(0)
    there = [name for name, keep in zip(names, used, strict=True) if keep]
    order = [i for i in np.argsort(-np.abs(mean))[:8] if abs(mean[i]) >= _LEAST_SHIFT]
    return [{"feature": there[i], "shift_sd": float(mean[i])} for i in order]


def _used(real: Groups) -> np.ndarray:
    """Which features are not constant in the real set, bool (d,)."""
    rows = np.concatenate(list(real.values()))
    try:
        return standardised(rows, rows)[2]
    except DataError:
        return np.zeros(rows.shape[1], bool)


def _standardised_groups(real: Groups, synthetic: Groups) -> tuple[Groups, Groups, np.ndarray]:
    a, b = (np.concatenate(list(found.values())) for found in (real, synthetic))
    *scaled, used = standardised(a, b)
    back = []
    for found, rows in zip((real, synthetic), scaled, strict=True):
        ends = np.cumsum([len(own) for own in found.values()])[:-1]
        back.append(dict(zip(found, np.split(rows, ends), strict=True)))
    return back[0], back[1], used
