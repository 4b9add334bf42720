"""Fitting intensity codecs: which raw values become which network values.

A recipe states the rule (`Intensity`); scans give the numbers (`Statistics`); both make a `Codec`.
Statistics of cases can be merged, so that no data set needs to fit in memory.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scansmith.recipe import Codec, Intensity
from scansmith.scan import DataError, Problem, Scan, SettingsError

#: Quantiles kept of a case, so that percentiles of a data set are right to 1/4096 in rank.
_QUANTILES = np.linspace(0.0, 1.0, 4097)
#: Values squared at once: a whole CT in float64 would take gigabytes in each process.
_AT_ONCE = 1 << 22
#: Share of a case's labelled voxels beyond one limit from which on nothing can be told in them.
_BEYOND = 0.99


@dataclass(frozen=True)
class Statistics:
    """What is known of the raw values of one modality.

    Attributes:
        count: how many values there were.
        squares: sum of squared differences from the mean.
        top: the percentile that the intensity rule asks for; the largest value for 100.
        quantiles: 4097 evenly spaced ones, where percentiles of several cases will be wanted.
    """

    count: int
    mean: float = 0.0
    squares: float = 0.0
    low: float = 0.0
    high: float = 0.0
    top: float = 0.0
    quantiles: tuple[float, ...] = ()

    @property
    def sd(self) -> float:
        """Standard deviation of the values."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The numbers by name, for JSON."""
        return asdict(self)


def measure(raw: np.ndarray, intensity: Intensity) -> Statistics:
    """Statistics of raw values (any shape) as an intensity rule needs them.

    Values are limited to the rule's `low` and `high` first, and to those other than 0 if the rule
    looks at the foreground only: 0 lies outside the brain, and only there, also in images that
    were standardised before and have negative tissue.
    """
    values = np.asarray(raw, dtype=np.float32).ravel()
    if intensity.foreground_only:
        values = values[values != 0]
    if intensity.low is not None or intensity.high is not None:
        values = np.clip(values, intensity.low, intensity.high)
    if not values.size:
        return Statistics(0)
    mean = float(values.mean(dtype=np.float64))
    squares = sum(
        float(np.square(part.astype(np.float64) - mean).sum())
        for part in np.array_split(values, values.size // _AT_ONCE + 1)
    )
    low, high = float(values.min()), float(values.max())
    if intensity.percentile >= 100:
        return Statistics(values.size, mean, squares, low, high, high)
    top = float(np.percentile(values, intensity.percentile))
    if intensity.scope == "case":
        return Statistics(values.size, mean, squares, low, high, top)
    quantiles = tuple(np.quantile(values, _QUANTILES).tolist())
    return Statistics(values.size, mean, squares, low, high, top, quantiles)


def merge(parts: Iterable[Statistics], intensity: Intensity) -> Statistics:
    """Statistics of the values of several cases together.

    Source: Chan, Golub, LeVeque 1979, pairwise update of mean and sum of squares.
    """
    known = [part for part in parts if part.count]
    if len(known) < 2:
        return known[0] if known else Statistics(0)
    whole = known[0]
    for part in known[1:]:
        count = whole.count + part.count
        apart = part.mean - whole.mean
        whole = Statistics(
            count,
            whole.mean + apart * part.count / count,
            whole.squares + part.squares + apart**2 * whole.count * part.count / count,
            min(whole.low, part.low),
            max(whole.high, part.high),
            max(whole.top, part.top),
        )
    if intensity.percentile >= 100:
        return whole
    top = _merged_percentile(known, intensity.percentile / 100)
    return Statistics(whole.count, whole.mean, whole.squares, whole.low, whole.high, top)


def unseen(
    scan: Scan, modalities: Sequence[str], values: Collection[int], intensity: Intensity
) -> list[Problem]:
    """A problem for each modality in which a rule's limits make all that is labelled alike.

    So it is with CT that is stored as HU + 1024, or before its slope and intercept were applied.

    Args:
        values: label values that count; 0 never does.
    """
    if scan.labels is None or (intensity.low is None and intensity.high is None):
        return []
    labelled, problems = np.isin(scan.labels, [value for value in values if value]), []
    for name, image in zip(scan.modalities, scan.image, strict=True):
        if name not in modalities or not labelled.any():
            continue
        raw = image[labelled]
        above = intensity.high is not None and float(np.mean(raw >= intensity.high)) >= _BEYOND
        below = intensity.low is not None and float(np.mean(raw <= intensity.low)) >= _BEYOND
        if above or below:
            limit = intensity.high if above else intensity.low
            found = (
                f"what is labelled lies {'above' if above else 'below'} {limit:g} in {name}, where "
                f"the window ends, around {np.median(raw):g}, and would be all alike"
            )
            remedy = (
                "Store CT in Hounsfield units; for others choose limits or data.intensity to fit"
            )
            problems.append(Problem(scan.case, "window", found, remedy))
    return problems


def fit_codec(intensity: Intensity, statistics: Statistics, where: str = "intensity") -> Codec:
    """The codec of one modality.

    Args:
        where: the case or data set that the statistics are of, for errors.
    Raises:
        SettingsError: the rule lacks a limit that it needs.
        DataError: the values are all alike, so that no range can be told.
    """
    if intensity.kind == "window":
        if intensity.low is None or intensity.high is None or intensity.low >= intensity.high:
            raise SettingsError(
                f"intensity: a window from {intensity.low} to {intensity.high} is empty. Set a "
                "lower and a higher limit, for example -200 and 250 HU for the liver."
            )
        return _between(intensity.low, intensity.high, intensity)
    if statistics.count == 0 or statistics.low == statistics.high:
        found = "no voxel other than 0" if statistics.count == 0 else f"only {statistics.low:g}"
        raise DataError(
            Problem(
                where,
                "constant",
                f"found {found} in the image, expected different values",
                "Replace the image or take the case out of the data set",
            )
        )
    if intensity.kind == "minmax":
        low = statistics.low if intensity.low is None else intensity.low
        high = statistics.top if intensity.high is None else intensity.high
        if low >= high:
            raise DataError(
                Problem(
                    where,
                    "constant",
                    f"the image's brightest values end at {high:g}, not above its lowest, {low:g}",
                    f"Raise the percentile (found {intensity.percentile:g}) or replace the image",
                )
            )
        return _between(low, high, intensity)
    return _standard(statistics, intensity)


def fit_codecs(
    intensity: Intensity, statistics: Sequence[Statistics], where: str = "intensity"
) -> tuple[Codec, ...]:
    """The codecs of C modalities. Raises as `fit_codec` does."""
    return tuple(fit_codec(intensity, each, where) for each in statistics)


def _between(low: float, high: float, intensity: Intensity) -> Codec:
    bottom, top = intensity.target
    scale = (high - low) / (top - bottom)
    return Codec(
        offset=low - bottom * scale,
        scale=scale,
        low=bottom,
        high=top,
        background=intensity.background,
        data_range=high - low,
    )


def _standard(statistics: Statistics, intensity: Intensity) -> Codec:
    scale = statistics.sd * (intensity.clip or 1.0)
    low = None if intensity.low is None else (intensity.low - statistics.mean) / scale
    high = None if intensity.high is None else (intensity.high - statistics.mean) / scale
    if intensity.clip is not None:
        low = -1.0 if low is None else max(low, -1.0)
        high = 1.0 if high is None else min(high, 1.0)
    bottom = (statistics.low - statistics.mean) / scale if low is None else low
    top = (statistics.high - statistics.mean) / scale if high is None else high
    return Codec(
        offset=statistics.mean,
        scale=scale,
        low=low,
        high=high,
        background=intensity.background,
        data_range=(top - bottom) * scale,
    )


def _merged_percentile(parts: Sequence[Statistics], rank: float) -> float:
    """The value below which a share `rank` of all values lies, by bisection on the summed CDF."""
    low = min(part.low for part in parts)
    high = max(part.high for part in parts)
    wanted = rank * sum(part.count for part in parts)
    for _ in range(60):
        middle = (low + high) / 2
        below = sum(part.count * np.interp(middle, part.quantiles, _QUANTILES) for part in parts)
        low, high = (middle, high) if below < wanted else (low, middle)
    return high
