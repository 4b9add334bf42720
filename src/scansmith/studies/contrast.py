"""What tumours look like, beside their organ and inside, and fills that know nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scansmith.evaluate.fine_texture import fine_texture
from scansmith.scan import DataError
from scansmith.studies.tables import Slice, by_scan

FILLS = ("fill, liver mean", "fill, liver mean - contrast", "fill + noise", "oracle mean")
"""Names of what `fills` gives."""


@dataclass(frozen=True)
class Contrast:
    """What tumours of the training split look like, each scan counting alike.

    Attributes:
        below: mean of the liver minus mean of the tumour, raw units.
        sd: standard deviation inside tumours.
    """

    below: float
    sd: float


def contrast_of(slices: Sequence[Slice], organ: int, lesion: int) -> Contrast:
    """Mean contrast and spread of tumours, over scans."""
    below: dict[str, list[float]] = {}
    spread: dict[str, list[float]] = {}
    for one in slices:
        t, liver = one.labels == lesion, one.labels == organ
        if t.any() and liver.any():
            below.setdefault(one.case, []).append(one.image[liver].mean() - one.image[t].mean())
            spread.setdefault(one.case, []).append(one.image[t].std())
    if not below:
        raise DataError("no slice with both organ and lesion. Prepare a data set that has some.")
    return Contrast(
        float(np.mean([np.mean(v) for v in below.values()])),
        float(np.mean([np.mean(v) for v in spread.values()])),
    )


def fills(contrast: Contrast, organ: int, lesion: int) -> dict[str, Callable[[Slice], np.ndarray]]:
    """Baselines that no training is needed for: name -> slice with its tumour filled."""

    def filled(one: Slice, value: float | np.ndarray) -> np.ndarray:
        return np.where(one.labels == lesion, value, one.image).astype(np.float32)

    def liver_mean(one: Slice) -> float:
        liver = one.image[one.labels == organ]
        # A slice may be all tumour; then the scan's surroundings are the only guess there is.
        return float(liver.mean()) if liver.size else float(one.image[one.labels > 0].mean())

    def noisy(one: Slice) -> np.ndarray:
        seed = [int(x) for x in one.case.encode()] + [int((one.labels == lesion).sum())]
        noise = np.random.default_rng(seed).normal(0, contrast.sd, one.image.shape)
        return filled(one, liver_mean(one) - contrast.below + noise)

    ways: tuple[Callable[[Slice], np.ndarray], ...] = (
        lambda one: filled(one, liver_mean(one)),
        lambda one: filled(one, liver_mean(one) - contrast.below),
        noisy,
        lambda one: filled(one, float(one.image[one.labels == lesion].mean())),
    )
    return dict(zip(FILLS, ways, strict=True))


def contrasts(
    slices: Sequence[Slice], paint: Callable[[Slice], np.ndarray] | None, organ: int, lesion: int
) -> list[float]:
    """Liver mean minus tumour mean of each slice, painted or as it is."""
    found = []
    for one in slices:
        image = one.image if paint is None else paint(one)
        t, liver = one.labels == lesion, one.labels == organ
        if t.any() and liver.any():
            found.append(float(one.image[liver].mean() - image[t].mean()))
    return found


def textures(
    slices: Sequence[Slice], paint: Callable[[Slice], np.ndarray] | None, lesion: int
) -> dict[str, dict[str, float]]:
    """Mean texture of large tumours by scan (see `by_scan`), painted or as they are."""
    kept, rows = [], []
    for one in slices:
        found = fine_texture(one.image if paint is None else paint(one), one.labels == lesion)
        if not np.isnan(found["mesh"]):
            kept.append(one)
            rows.append(found)
    return by_scan(kept, rows)


def spread(values: Sequence[float]) -> dict[str, float]:
    """How many, their mean, standard deviation and the share above 10."""
    found = np.asarray(values)
    return {
        "slices": len(found),
        "mean": float(found.mean()),
        "sd": float(found.std()),
        "above 10": float((found > 10).mean()),
    }
