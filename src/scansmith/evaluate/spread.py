"""How sure a number is, and how large it is beside the spread of real patients.

A distance has no scale of its own. So it is set beside the same distance between two halves of
the real set, split by patient: what a perfect copy of the scanner and its patients would score.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import norm as normal
from scipy.stats import t as student

#: patient -> samples (n, d)
Groups = Mapping[str, np.ndarray]
Distance = Callable[[np.ndarray, np.ndarray], float]

#: Fewer real patients cannot be split into halves that say anything.
LEAST_PATIENTS = 4
LEVEL = 0.95
#: How often patients are drawn anew for the interval of a mean and of a distance, and halved.
RESAMPLES, DRAWS, SPLITS = 1000, 100, 20
FAR = 3.0
#: Why there is no verdict on a distance that may be 0 for all that is known.
UNTOLD = "beyond the spread of real patients, but too few patients to tell it from 0"


def generator(seed: int, *names: str) -> np.random.Generator:
    """Chance for one number of the report, so that each stays the same when others are added."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def mean_of_patients(
    values: Sequence[float],
    patients: Sequence[str],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
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
    rows = np.stack(list(_sums(finite).values()))
    found = {"mean": float(_ratio(rows.sum(0))), **found, "patients": len(rows)}
    if len(rows) < 2:
        return {**found, "interval": None, "reason": "one patient has no spread between patients"}
    return {**found, "interval": quantiles(_ratio(_redrawn_sums(rows, rng, resamples)))}


def difference_of_patients(
    real: tuple[Sequence[float], Sequence[str]],
    synthetic: tuple[Sequence[float], Sequence[str]],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Synthetic mean minus real mean, patients of both sets drawn anew.

    Who is in both sets, because synthetic cases were made from these patients' own, is drawn for
    both at once: a patient who is hard to segment is so in both as a rule, and that cancels out.
    Draws without anybody of a set do not count. (Patients of one set, of the other and of both are
    not drawn each among themselves: of a group of one nothing would vary.)

    Args:
        real, synthetic: values, and the patient of each; what is not finite is left out.
    Returns:
        value, interval, which is `widened` for the few patients of the smaller set; null with a
        `reason` where there is none.
    """
    sides = []
    for values, patients in (real, synthetic):
        finite = [(v, p) for v, p in zip(values, patients, strict=True) if np.isfinite(v)]
        if not finite:
            return {"value": None, "interval": None, "reason": "one of the sets has no value"}
        sides.append(_sums(finite))
    names = sorted({*sides[0], *sides[1]})
    rows = np.stack(
        [np.concatenate([side.get(name, np.zeros(2)) for side in sides]) for name in names]
    )
    found: dict[str, Any] = {"value": float(_gap(rows.sum(0))), "interval": None}
    if min(map(len, sides)) < 2:
        return {**found, "reason": "one patient has no spread between patients"}
    draws = _redrawn_sums(rows, rng, resamples)
    ends = np.array(quantiles(_gap(draws[(draws[:, [1, 3]] > 0).all(axis=1)])))
    wider = found["value"] + widened(min(map(len, sides))) * (ends - found["value"])
    return {**found, "interval": wider.tolist()}


def widened(patients: int) -> float:
    """How much too narrow a bootstrap interval of so few is, beside Student's t: 9.2 times with
    two, 1.4 with six, 1.06 with thirty.

    Source:
        Hesterberg 2015, "What teachers should know about the bootstrap", The American
        Statistician 69(4): narrowness bias, sqrt(n / (n - 1)), and t in place of normal quantiles.
    """
    rank = (1 + LEVEL) / 2
    narrow = np.sqrt(patients / (patients - 1))
    return float(student.ppf(rank, patients - 1) / normal.ppf(rank) * narrow)


def _gap(sums: Any) -> np.ndarray:
    return _ratio(sums[..., 2:]) - _ratio(sums[..., :2])


def _ratio(sums: np.ndarray) -> np.ndarray:
    """Means from (..., 2) sums and numbers of values."""
    return sums[..., 0] / sums[..., 1]


def _sums(found: Sequence[tuple[float, str]]) -> dict[str, np.ndarray]:
    """Sum and number of the values of each patient, (2,), by the patients' names."""
    sums = {patient: np.zeros(2) for patient in sorted({patient for _, patient in found})}
    for value, patient in found:
        sums[patient] += value, 1
    return sums


def _redrawn_sums(rows: np.ndarray, rng: np.random.Generator, resamples: int) -> np.ndarray:
    """What as many patients drawn anew have together: (patients, k) becomes (resamples, k)."""
    draws = rng.integers(len(rows), size=(resamples, len(rows)))
    return rows[draws].sum(1)


def compare(
    real: Groups,
    synthetic: Groups,
    distance: Distance,
    rng: np.random.Generator,
    *,
    resamples: int = DRAWS,
    splits: int = SPLITS,
    signed: bool = False,
) -> dict[str, Any]:
    """A distance between two sets, its interval, and its size beside real against real.

    Args:
        real, synthetic: samples of each patient (or of each case where nobody is known).
        signed: the distance can be below 0 (unbiased estimates).
    Returns:
        value: distance of all real and all synthetic samples.
        interval: value -+ 1.96 standard errors, the error from resampling patients of both sets;
            null with a `reason` if one set has one patient.
        real_vs_real, real_vs_synthetic: {median, interval} over splits of the real patients into
            halves A and B: A against B, and A against synthetic patients, both cut to equally many
            patients and samples.
        ratio: of these two medians. 1: as far apart as two groups of real patients.
        verdict: of the median real_vs_synthetic beside the real_vs_real interval and the
            distance's own (`verdict`), or null with a `reason`.
    """
    real = {name: samples for name, samples in sorted(real.items()) if len(samples)}
    synthetic = {name: samples for name, samples in sorted(synthetic.items()) if len(samples)}
    counts = counted(real, synthetic)
    if min(counts["real_samples"], counts["synthetic_samples"]) < 2:
        reason = "fewer than two samples in one of the sets"
        return uncompared(reason, counts)
    value = distance(_pooled(real), _pooled(synthetic))
    interval = _interval(value, real, synthetic, distance, rng, resamples, signed)
    scale = _scale(real, synthetic, distance, rng, splits, interval["interval"])
    return {"value": value, **counts, **interval, **scale, **reasons(interval, scale)}


def halves(
    real: Groups, synthetic: Groups, rng: np.random.Generator, splits: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Real patients split at random into halves A and B, and synthetic patients to set beside B.

    B and the synthetic ones are cut to the same number of patients and of samples, whichever has
    fewer: small sets are further from A than large ones, and so are those of few patients, however
    many samples they have.

    Returns:
        Samples of A, of B, and synthetic ones, of each split.
    """
    names = list(real)
    for _ in range(splits):
        order = rng.permutation(len(names))
        half = [names[i] for i in order[: len(names) // 2]]
        other = [names[i] for i in order[len(names) // 2 :]]
        # A synthetic case made from a patient of half A would be compared with its own source.
        others = [name for name in synthetic if name not in half] or list(synthetic)
        chosen = [others[i] for i in rng.permutation(len(others))[: len(other)]]
        b = _pooled({name: real[name] for name in other[: len(chosen)]})
        s = _pooled({name: synthetic[name] for name in chosen})
        least = min(len(b), len(s))
        yield _pooled({name: real[name] for name in half}), thinned(b, least), thinned(s, least)


def thinned(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, evenly spread over all."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]


def too_few(real: Groups) -> str:
    """Why these real patients cannot be split in halves; "" if they can."""
    if len(real) >= LEAST_PATIENTS:
        return ""
    return f"{len(real)} real patients; {LEAST_PATIENTS} are needed to split them in halves"


def counted(real: Groups, synthetic: Groups) -> dict[str, int]:
    """Samples and patients of both sets."""
    return {
        "real_samples": _count(real),
        "synthetic_samples": _count(synthetic),
        "real_patients": len(real),
        "synthetic_patients": len(synthetic),
    }


def reasons(*parts: Mapping[str, Any]) -> dict[str, str]:
    """Why something is null in these parts, in one `reason`; {} if none of them says."""
    said = [part["reason"] for part in parts if "reason" in part]
    return {"reason": "; ".join(said)} if said else {}


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
    if min(len(real), len(synthetic)) < 2:
        return {"interval": None, "reason": "one patient has no spread between patients"}
    draws = []
    for _ in range(resamples):
        a, b = (_pooled(_redrawn(groups, rng)) for groups in (real, synthetic))
        if min(len(a), len(b)) >= 2:
            draws.append(distance(a, b))
    error = 1.96 * float(np.std(draws, ddof=1)) if len(draws) > 1 else float("nan")
    if not np.isfinite(error):
        return {"interval": None, "reason": "too few samples where patients are drawn anew"}
    return {"interval": [value - error if signed else max(value - error, 0.0), value + error]}


def _scale(
    real: Groups,
    synthetic: Groups,
    distance: Distance,
    rng: np.random.Generator,
    splits: int,
    interval: Sequence[float] | None,
) -> dict[str, Any]:
    """Real against real and real against synthetic, with equally many patients and samples.

    Args:
        interval: of the distance of all.
    """
    empty = {"real_vs_real": None, "real_vs_synthetic": None, "ratio": None, "verdict": None}
    if reason := too_few(real):
        return {**empty, "reason": reason}
    among_real, to_synthetic = [], []
    for a, b, s in halves(real, synthetic, rng, splits):
        if min(len(a), len(b), len(s)) >= 2:
            among_real.append(distance(a, b))
            to_synthetic.append(distance(a, s))
    if not among_real:
        return {**empty, "reason": "too few samples in a half of the patients"}
    reference, matched = float(np.median(among_real)), float(np.median(to_synthetic))
    word = verdict(matched, quantiles(among_real)[1], interval)
    return {
        "real_vs_real": {"median": reference, "interval": quantiles(among_real)},
        "real_vs_synthetic": {"median": matched, "interval": quantiles(to_synthetic)},
        "ratio": matched / reference if reference > 0 else None,
        "verdict": word,
        **({"reason": UNTOLD} if word is None else {}),
    }


def verdict(matched: float, real_high: float, interval: Sequence[float] | None) -> str | None:
    """close, differs or far: the distance beside what real patients show and what chance makes.

    Few patients can be all alike, so that their halves do not differ at all, and any distance
    would lie far beyond 0: a distance that may be 0 itself is never called one.

    Args:
        real_high: upper end of real_vs_real.
        interval: of the distance; None if a set has one patient.
    Returns:
        close up to `real_high`; far above FAR times the larger of it and the interval's half
        width, else differs; None where the interval, or without one `real_high`, reaches 0.
    """
    if matched <= real_high:
        return "close"
    low, high = interval or (real_high, real_high)
    if low <= 0:
        return None
    return "differs" if matched <= FAR * max(real_high, (high - low) / 2) else "far"


def _redrawn(groups: Groups, rng: np.random.Generator) -> dict[str, np.ndarray]:
    names = list(groups)
    draw = rng.integers(len(names), size=len(names))
    return {f"{n}": groups[names[i]] for n, i in enumerate(draw)}


def _pooled(groups: Groups) -> np.ndarray:
    return np.concatenate(list(groups.values()))


def _count(groups: Groups) -> int:
    return sum(len(samples) for samples in groups.values())


def quantiles(values: Sequence[float] | np.ndarray) -> list[float]:
    """Both ends of the middle 95 %."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]
