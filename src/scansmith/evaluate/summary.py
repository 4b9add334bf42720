"""From what was kept of each case to the numbers of metrics.json."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from scansmith.evaluate.cases import CaseMeasures, Plan, groups, kept
from scansmith.evaluate.continuity import IMAGE_MEASURES, LEAST_SLICES
from scansmith.evaluate.distance import kolmogorov_smirnov, wasserstein
from scansmith.evaluate.pairs import MEASURES, REGIONS
from scansmith.evaluate.spread import Groups, compare, generator, mean_of_patients
from scansmith.evaluate.view import AXES
from scansmith.evaluate.windows import units_of

#: One pair: names of its case and patient, and {channel: {region: {measure: value}}}.
PairRow = dict[str, Any]
#: Together at most so many voxels of a set go into an intensity distance.
MOST_VOXELS = 50_000


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
            sets = [_thinned(kept(cases, "voxels", key)) for cases in (real, synthetic)]
            entry: dict[str, Any] = {
                side: _described(own) for side, own in zip(_SIDES, sets, strict=True)
            }
            for name, distance in _BY_VALUE.items():
                rng = generator(seed, "intensity", modality, region, name)
                entry[name] = compare(sets[0], sets[1], distance, rng)
            clipped = [c.clipped[key] for c in real if key in c.clipped]
            entry["real_share_outside_window"] = float(np.mean(clipped)) if clipped else None
            result[modality][region] = entry
    return result


def lesions(
    real: Sequence[CaseMeasures], synthetic: Sequence[CaseMeasures], plan: Plan, seed: int
) -> dict[str, Any]:
    """Count, volume, place, contrast of lesions: {measure: {unit, real, synthetic, distances}}."""
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
    for modality, window in zip(plan.shared.modalities, plan.windows, strict=True):

        def contrast(case: CaseMeasures, modality: str = modality) -> list[float]:
            return [x.contrast[modality] for x in case.lesions if modality in x.contrast]

        unit = f"{units_of(window)}: lesion minus what is round it"
        measures[f"lesion contrast, {modality}"] = (unit, contrast)
    sides = _labelled(real), _labelled(synthetic)
    found = {
        name: _of_values(name, unit, values, *sides, seed)
        for name, (unit, values) in measures.items()
    }
    return {name: entry for name, entry in found.items() if not _flat(name, entry)}


def structures(
    real: Sequence[CaseMeasures], synthetic: Sequence[CaseMeasures], plan: Plan, seed: int
) -> dict[str, Any]:
    """Volume of each shared structure in cases that have it, {structure: {...}}."""
    result = {}
    real, synthetic = _labelled(real), _labelled(synthetic)
    for name in plan.shared.structures[1:]:

        def volume(case: CaseMeasures, name: str = name) -> list[float]:
            found = case.volumes_mm3.get(name, 0.0)
            return [found] if found else []

        result[name] = _of_values(f"volume of {name}", "mm3", volume, real, synthetic, seed)
        for side, cases in zip(_SIDES, (real, synthetic), strict=True):
            result[name][side]["cases_with"] = sum(bool(volume(case)) for case in cases)
    return result


def continuities(
    real: Sequence[CaseMeasures], synthetic: Sequence[CaseMeasures], plan: Plan, seed: int
) -> dict[str, Any]:
    """How slices go on in volumes: {modality or "labels": {measure: {unit, real, ...}}}."""
    if not all(any(c.shape[0] >= LEAST_SLICES for c in side) for side in (real, synthetic)):
        return {}
    result: dict[str, Any] = {}
    for modality in plan.shared.modalities:
        result[modality] = {}
        for measure in IMAGE_MEASURES:

            def own(case: CaseMeasures, key: tuple[str, str] = (modality, measure)) -> list[float]:
                return _finite(case.continuity.get(key[0], {}).get(key[1], float("nan")))

            name = f"{measure} between slices, {modality}"
            unit = _CONTINUITY_UNITS[measure]
            result[modality][measure] = _of_values(name, unit, own, real, synthetic, seed)
    if len(plan.shared.structures) > 1:

        def overlap(case: CaseMeasures) -> list[float]:
            return _finite(case.label_overlap)

        unit = _CONTINUITY_UNITS["overlap"]
        entry = _of_values("label overlap", unit, overlap, real, synthetic, seed)
        result["labels"] = {"overlap": entry}
    return result


_SIDES = ("real", "synthetic")
_CONTINUITY_UNITS = {
    "step": "share of the window",
    "similarity": "SSIM",
    "flicker": "ratio of second to first differences",
    "overlap": "Dice",
}
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
    """One number or several of each case, compared between the sets."""
    sets = [
        groups(cases, lambda c: np.array(list(values(c)), float)) for cases in (real, synthetic)
    ]
    result: dict[str, Any] = {"unit": unit}
    result |= {side: _described(own) for side, own in zip(_SIDES, sets, strict=True)}
    for distance_name, distance in _BY_VALUE.items():
        rng = generator(seed, name, distance_name)
        result[distance_name] = compare(sets[0], sets[1], distance, rng)
    return result


def _labelled(cases: Sequence[CaseMeasures]) -> list[CaseMeasures]:
    return [case for case in cases if case.labelled]


def _finite(value: float) -> list[float]:
    return [value] if np.isfinite(value) else []


def _thinned(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    total = sum(map(len, found.values()))
    step = max(-(-total // MOST_VOXELS), 1)
    return {name: values[::step] for name, values in found.items()}


def _described(found: Groups) -> dict[str, Any]:
    if not found:
        return {"count": 0, "mean": None, "reason": "no case has it"}
    values = np.concatenate(list(found.values())).astype(np.float64)
    quantiles = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))
    names = ("p5", "p25", "median", "p75", "p95")
    return {
        "count": len(values),
        "mean": float(values.mean()),
        "sd": float(values.std()),
        **{name: float(q) for name, q in zip(names, quantiles, strict=True)},
    }
