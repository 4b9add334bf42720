"""From what was kept of each case to the numbers of metrics.json."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from scansmith.evaluate.cases import CaseMeasures, Plan
from scansmith.evaluate.distance import (
    frechet_distance,
    kernel_distance,
    kolmogorov_smirnov,
    standardised,
    wasserstein,
)
from scansmith.evaluate.features import FEATURES
from scansmith.evaluate.pairs import MEASURES, REGIONS
from scansmith.evaluate.spread import Groups, compare, generator, mean_of_patients, uncompared
from scansmith.evaluate.view import AXES
from scansmith.scan import DataError

#: One pair: names of its case and patient, and {channel: {region: {measure: value}}}.
PairRow = dict[str, Any]
#: Together at most so many voxels of a set go into an intensity distance.
_MOST_VOXELS = 50_000
# The matrix roots of a network's features take a tenth of a second; a hundred of them, a while.
_MANY_FEATURES = 200
# Smaller shifts, in standard deviations, are nobody's concern.
_LEAST_SHIFT = 0.01


def paired(rows: Sequence[PairRow], plan: Plan, seed: int) -> dict[str, Any]:
    """Mean of each fidelity measure: {modality: {region: {measure: {mean, interval, ...}}}}."""
    result: dict[str, Any] = {}
    for channel, modality in enumerate(plan.shared.modalities):
        result[modality] = {}
        for region in REGIONS:
            found = [row for row in rows if region in row["values"][str(channel)]]
            if not found:
                continue
            result[modality][region] = {}
            for measure in MEASURES:
                if measure == "ms_ssim" and region != "whole":
                    continue
                values = [row["values"][str(channel)][region].get(measure) for row in found]
                known = [float("nan") if v is None else v for v in values]
                rng = generator(seed, modality, region, measure)
                patients = [row["patient"] for row in found]
                result[modality][region][measure] = mean_of_patients(known, patients, rng)
    return result


def intensities(
    real: Sequence[CaseMeasures], synthetic: Sequence[CaseMeasures], plan: Plan, seed: int
) -> dict[str, Any]:
    """Raw intensities: {modality: {region: {real, synthetic, wasserstein, kolmogorov_smirnov}}}."""
    result: dict[str, Any] = {}
    for modality in plan.shared.modalities:
        result[modality] = {}
        for region in plan.regions:
            key = (modality, region)
            sets = [_thinned(_kept(cases, "voxels", key)) for cases in (real, synthetic)]
            entry: dict[str, Any] = {
                side: _described(groups) for side, groups in zip(_SIDES, sets, strict=True)
            }
            for name, distance in _BY_VALUE.items():
                rng = generator(seed, "intensity", modality, region, name)
                entry[name] = compare(sets[0], sets[1], distance, rng)
            clipped = [c.clipped[key] for c in real if key in c.clipped]
            entry["real_share_outside_window"] = float(np.mean(clipped)) if clipped else None
            result[modality][region] = entry
    return result


def textures(
    real: Sequence[CaseMeasures], synthetic: Sequence[CaseMeasures], plan: Plan, seed: int
) -> dict[str, Any]:
    """Distances of radiomics-like features: {modality: {region: {frechet, kernel, largest}}}."""
    result: dict[str, Any] = {}
    for modality in plan.shared.modalities:
        result[modality] = {}
        for region in plan.regions:
            key = (modality, region)
            sets = [_kept(cases, "features", key) for cases in (real, synthetic)]
            names = ("radiomics", modality, region)
            result[modality][region] = _of_features(sets[0], sets[1], FEATURES, seed, names)
    return result


def networks(
    real: Sequence[CaseMeasures], synthetic: Sequence[CaseMeasures], plan: Plan, seed: int
) -> dict[str, Any] | None:
    """Distances of the feature network's features, {modality: {frechet, kernel}}."""
    if plan.network is None:
        return None
    result = {}
    for modality in plan.shared.modalities:
        sets = [_kept(cases, "network", modality) for cases in (real, synthetic)]
        result[modality] = _of_features(sets[0], sets[1], (), seed, ("network", modality))
    return result


def lesions(
    real: Sequence[CaseMeasures], synthetic: Sequence[CaseMeasures], plan: Plan, seed: int
) -> dict[str, Any]:
    """Count, volume and place of lesions: {measure: {unit, real, synthetic, distances}}."""
    if not plan.shared.lesion:
        return {}
    measures: dict[str, tuple[str, Callable[[CaseMeasures], Iterable[float]]]] = {
        "lesions per case": ("lesions", lambda c: [float(len(c.lesions))]),
        "lesion volume": ("mm3", lambda c: [lesion.volume_mm3 for lesion in c.lesions]),
        "lesion volume per case": ("mm3", lambda c: [sum(x.volume_mm3 for x in c.lesions)]),
    }
    for axis in AXES:

        def place(case: CaseMeasures, axis: str = axis) -> list[float]:
            return [lesion.position[axis] for lesion in case.lesions]

        measures[f"position {axis}"] = ("share of the box of organ or body", place)
    found = {
        name: _of_values(name, unit, values, real, synthetic, seed)
        for name, (unit, values) in measures.items()
    }
    return {name: entry for name, entry in found.items() if not _flat(name, entry)}


def structures(
    real: Sequence[CaseMeasures], synthetic: Sequence[CaseMeasures], plan: Plan, seed: int
) -> dict[str, Any]:
    """Volume of each shared structure in cases that have it, {structure: {...}}."""
    result = {}
    for name in plan.shared.structures[1:]:

        def volume(case: CaseMeasures, name: str = name) -> list[float]:
            found = case.volumes_mm3.get(name, 0.0)
            return [found] if found else []

        result[name] = _of_values(f"volume of {name}", "mm3", volume, real, synthetic, seed)
        for side, cases in zip(_SIDES, (real, synthetic), strict=True):
            result[name][side]["cases_with"] = sum(bool(volume(case)) for case in cases)
    return result


_SIDES = ("real", "synthetic")
_BY_VALUE = {"wasserstein": wasserstein, "kolmogorov_smirnov": kolmogorov_smirnov}


def _flat(name: str, entry: dict[str, Any]) -> bool:
    """Whether an axis is none: pictures have one slice, so no place from feet to head."""
    spreads = [entry[side].get("sd") for side in _SIDES]
    return name.startswith("position") and spreads == [0.0, 0.0]


def _of_values(
    name: str,
    unit: str,
    values: Callable[[CaseMeasures], Iterable[float]],
    real: Sequence[CaseMeasures],
    synthetic: Sequence[CaseMeasures],
    seed: int,
) -> dict[str, Any]:
    """One number or several of each labelled case, compared between the sets."""
    sets = [
        _groups([c for c in cases if c.labelled], lambda c: np.array(list(values(c)), float))
        for cases in (real, synthetic)
    ]
    result: dict[str, Any] = {"unit": unit}
    result |= {side: _described(groups) for side, groups in zip(_SIDES, sets, strict=True)}
    for distance_name, distance in _BY_VALUE.items():
        rng = generator(seed, name, distance_name)
        result[distance_name] = compare(sets[0], sets[1], distance, rng)
    return result


def _of_features(
    real: Groups, synthetic: Groups, names: Sequence[str], seed: int, chance: tuple[str, ...]
) -> dict[str, Any]:
    """Frechet and kernel distance of features in standard deviations of the real set."""
    counts = {
        f"{side}_samples": sum(map(len, groups.values()))
        for side, groups in zip(_SIDES, (real, synthetic), strict=True)
    }
    if min(counts.values()) < 2:
        reason = "fewer than two slices with enough of the region in one of the sets"
        empty = uncompared(reason, counts)
        return {"frechet": empty, "kernel": empty, "largest_shifts": []}
    try:
        z_real, z_synthetic, used = _standardised_groups(real, synthetic)
    except DataError as error:
        empty = uncompared(str(error), counts)
        return {"frechet": empty, "kernel": empty, "largest_shifts": []}
    many = int(used.sum()) > _MANY_FEATURES
    effort = {"resamples": 20, "splits": 10} if many else {"resamples": 100, "splits": 20}
    result: dict[str, Any] = {"features": int(used.sum()), "left_out": int((~used).sum())}
    for name, distance, signed in (
        ("frechet", frechet_distance, False),
        ("kernel", kernel_distance, True),
    ):
        rng = generator(seed, *chance, name)
        result[name] = compare(z_real, z_synthetic, distance, rng, signed=signed, **effort)
    if min(counts.values()) <= result["features"]:
        result["note"] = "fewer slices than features: read the ratio, not the Frechet distance"
    result["largest_shifts"] = _shifts(z_synthetic, used, names)
    return result


def _shifts(synthetic: Groups, used: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """The features whose mean is furthest off, in standard deviations of the real set."""
    if not names:
        return []
    mean = np.concatenate(list(synthetic.values())).mean(0)
    kept = [name for name, keep in zip(names, used, strict=True) if keep]
    order = [i for i in np.argsort(-np.abs(mean))[:8] if abs(mean[i]) >= _LEAST_SHIFT]
    return [{"feature": kept[i], "shift_sd": float(mean[i])} for i in order]


def _standardised_groups(real: Groups, synthetic: Groups) -> tuple[Groups, Groups, np.ndarray]:
    a, b = (np.concatenate(list(groups.values())) for groups in (real, synthetic))
    *scaled, used = standardised(a, b)
    back = []
    for groups, rows in zip((real, synthetic), scaled, strict=True):
        ends = np.cumsum([len(found) for found in groups.values()])[:-1]
        back.append(dict(zip(groups, np.split(rows, ends), strict=True)))
    return back[0], back[1], used


def _groups(
    cases: Iterable[CaseMeasures], values: Callable[[CaseMeasures], np.ndarray | None]
) -> dict[str, np.ndarray]:
    """Values of all cases of a patient together; patients without one are left out."""
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for case in cases:
        own = values(case)
        if own is not None and len(own):
            found[case.patient].append(own)
    return {patient: np.concatenate(parts) for patient, parts in sorted(found.items())}


def _kept(cases: Iterable[CaseMeasures], what: str, key: Any) -> dict[str, np.ndarray]:
    """What the cases kept under a key of `voxels`, `features` or `network`, by patient."""
    return _groups(cases, lambda case: getattr(case, what).get(key))


def _thinned(groups: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    total = sum(map(len, groups.values()))
    step = max(-(-total // _MOST_VOXELS), 1)
    return {name: values[::step] for name, values in groups.items()}


def _described(groups: Groups) -> dict[str, Any]:
    if not groups:
        return {"count": 0, "mean": None, "reason": "no case has it"}
    values = np.concatenate(list(groups.values())).astype(np.float64)
    quantiles = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))
    names = ("p5", "p25", "median", "p75", "p95")
    return {
        "count": len(values),
        "mean": float(values.mean()),
        "sd": float(values.std()),
        **{name: float(q) for name, q in zip(names, quantiles, strict=True)},
    }
