"""How sure a number is, and how large it is beside the spread of real patients.

A distance has no scale of its own. So it is set beside the same distance between two halves of
the real set, split by patient: what a perfect copy of the scanner and its patients would score.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

#: patient -> samples (n, d)
Groups = Mapping[str, np.ndarray]
Distance = Callable[[np.ndarray, np.ndarray], float]

#: Fewer real patients cannot be split into halves that say anything.
LEAST_PATIENTS = 4
LEVEL = 0.95
FAR = 3.0


def generator(seed: int, *names: str) -> np.random.Generator:
    """Chance for one number of the report, so that each stays the same when others are added."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def mean_of_patients(
    values: Sequence[float],
    patients: Sequence[str],
    rng: np.random.Generator,
    resamples: int = 1000,
) -> dict[str, Any]:
    """Mean over cases with a 95 % bootstrap interval over patients.

    Returns:
        mean, interval (low, high), cases, patients; null with a `reason` where there is none.
        Values that are not finite are left out and counted.
    """
    finite = [(v, p) for v, p in zip(values, patients, strict=True) if np.isfinite(v)]
    left_out = len(values) - len(finite)
    found: dict[str, Any] = {"cases": len(finite), "left_out": left_out}
    if not finite:
        why = "no case has it" if not values else "not finite in any case (see docs/measures.md)"
        return {"mean": None, "interval": None, "reason": why, **found}
    names = sorted({p for _, p in finite})
    sums = np.array([sum(v for v, p in finite if p == name) for name in names])
    counts = np.array([sum(p == name for _, p in finite) for name in names])
    found = {"mean": float(sums.sum() / counts.sum()), **found, "patients": len(names)}
    if len(names) < 2:
        return {**found, "interval": None, "reason": "one patient has no spread between patients"}
    draws = rng.integers(len(names), size=(resamples, len(names)))
    means = sums[draws].sum(1) / counts[draws].sum(1)
    return {**found, "interval": _quantiles(means)}


def compare(
    real: Groups,
    synthetic: Groups,
    distance: Distance,
    rng: np.random.Generator,
    *,
    resamples: int = 100,
    splits: int = 20,
    signed: bool = False,
) -> dict[str, Any]:
    """A distance between two sets, its interval, and its size beside real against real.

    Args:
        real, synthetic: samples of each patient (or of each case where nobody is known).
        signed: the distance can be below 0 (unbiased estimates).
    Returns:
        value: distance of all real and all synthetic samples.
        interval: value -+ 1.96 standard errors, the error from resampling patients of both sets.
        real_vs_real, real_vs_synthetic: {median, interval} over splits of the real patients into
            halves A and B: A against B, and A against as many synthetic patients as B has.
        ratio: of these two medians. 1: as far apart as two groups of real patients.
        verdict: close (median real_vs_synthetic inside the real_vs_real interval), differs, far
            (above 3 times its upper end), or null with a `reason`.
    """
    real = {name: samples for name, samples in sorted(real.items()) if len(samples)}
    synthetic = {name: samples for name, samples in sorted(synthetic.items()) if len(samples)}
    counts = {"real_samples": _count(real), "synthetic_samples": _count(synthetic)}
    counts |= {"real_patients": len(real), "synthetic_patients": len(synthetic)}
    if min(counts["real_samples"], counts["synthetic_samples"]) < 2:
        reason = "fewer than two samples in one of the sets"
        return uncompared(reason, counts)
    value = distance(_pooled(real), _pooled(synthetic))
    result: dict[str, Any] = {"value": value, **counts}
    result |= _interval(value, real, synthetic, distance, rng, resamples, signed)
    return result | _scale(real, synthetic, distance, rng, splits)


def uncompared(reason: str, counts: Mapping[str, int]) -> dict[str, Any]:
    """What `compare` returns where there is nothing to compare, and why."""
    names = ("value", "interval", "real_vs_real", "real_vs_synthetic", "ratio", "verdict")
    return {**dict.fromkeys(names), "reason": reason, **counts}


def _interval(
    value: float,
    real: Groups,
    synthetic: Groups,
    distance: Distance,
    rng: np.random.Generator,
    resamples: int,
    signed: bool,
) -> dict[str, Any]:
    """Normal interval with the bootstrap's standard error.

    Its percentiles would not do: drawing patients twice makes a set less varied, so resampled
    distances lie above the distance itself.
    """
    if min(len(real), len(synthetic)) < 2 or resamples < 2:
        return {"interval": None}
    draws = []
    for _ in range(resamples):
        a, b = (_pooled(_redrawn(groups, rng)) for groups in (real, synthetic))
        if min(len(a), len(b)) >= 2:
            draws.append(distance(a, b))
    error = 1.96 * float(np.std(draws, ddof=1)) if len(draws) > 1 else float("nan")
    if not np.isfinite(error):
        return {"interval": None}
    return {"interval": [value - error if signed else max(value - error, 0.0), value + error]}


def _scale(
    real: Groups, synthetic: Groups, distance: Distance, rng: np.random.Generator, splits: int
) -> dict[str, Any]:
    """Real against real and real against synthetic, with equally many patients."""
    empty = {"real_vs_real": None, "real_vs_synthetic": None, "ratio": None, "verdict": None}
    if len(real) < LEAST_PATIENTS:
        reason = f"{len(real)} real patients; {LEAST_PATIENTS} are needed to split them in halves"
        return {**empty, "reason": reason}
    among_real, to_synthetic = [], []
    names = list(real)
    for _ in range(splits):
        order = rng.permutation(len(names))
        half = [names[i] for i in order[: len(names) // 2]]
        other = [names[i] for i in order[len(names) // 2 :]]
        # A synthetic case made from a patient of half A would be compared with its own source.
        others = [name for name in synthetic if name not in half] or list(synthetic)
        chosen = rng.permutation(len(others))[: len(other)]
        a, b = _pooled({n: real[n] for n in half}), _pooled({n: real[n] for n in other})
        s = _pooled({others[i]: synthetic[others[i]] for i in chosen})
        if min(len(a), len(b), len(s)) >= 2:
            among_real.append(distance(a, b))
            to_synthetic.append(distance(a, s))
    if not among_real:
        return {**empty, "reason": "too few samples in a half of the patients"}
    reference, matched = float(np.median(among_real)), float(np.median(to_synthetic))
    high = _quantiles(among_real)[1]
    return {
        "real_vs_real": {"median": reference, "interval": _quantiles(among_real)},
        "real_vs_synthetic": {"median": matched, "interval": _quantiles(to_synthetic)},
        "ratio": matched / reference if reference > 0 else None,
        "verdict": verdict(matched, high),
    }


def verdict(matched: float, real_high: float) -> str:
    """close, differs or far: the distance beside the upper end of what real patients show."""
    if matched <= real_high:
        return "close"
    return "differs" if matched <= FAR * max(real_high, 0.0) else "far"


def _redrawn(groups: Groups, rng: np.random.Generator) -> dict[str, np.ndarray]:
    names = list(groups)
    draw = rng.integers(len(names), size=len(names))
    return {f"{n}": groups[names[i]] for n, i in enumerate(draw)}


def _pooled(groups: Groups) -> np.ndarray:
    return np.concatenate(list(groups.values()))


def _count(groups: Groups) -> int:
    return sum(len(samples) for samples in groups.values())


def _quantiles(values: Sequence[float] | np.ndarray) -> list[float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]
