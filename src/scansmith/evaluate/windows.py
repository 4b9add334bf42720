"""The intensity range that PSNR, SSIM and the features see: declared, or found in the real set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scansmith.evaluate.fidelity import declared
from scansmith.scan import SettingsError

# Soft tissue: livers, their tumours, muscle and fat differ by tens of HU (centre 60, width 400).
SOFT_TISSUE_HU = (-140.0, 260.0)
# Air and fat are well below water in every CT; a CT without them was not stored in HU.
_SURELY_HU = -20.0
_SHARES = (0.001, 0.999)
_SAMPLES = 20_000
_DECLARED, _HU = "declared", "soft tissue, 400 HU"


@dataclass(frozen=True)
class Window:
    """An intensity window of one modality.

    Attributes:
        low, high: raw units; features and pictures see this range, `low` is black.
        data_range: for PSNR and SSIM, raw units.
        clip: whether PSNR, SSIM and the errors see values clipped to low..high.
        source: where it is from, for the report.
    """

    low: float
    high: float
    data_range: float
    clip: bool
    source: str

    @property
    def alike(self) -> bool:
        """Whether a value means the same in every case: a declared window, or Hounsfield units."""
        return self.source in (_DECLARED, _HU)

    def applied(self, image: np.ndarray) -> np.ndarray:
        """The image as the fidelity measures see it, float32."""
        image = np.asarray(image, np.float32)
        return np.clip(image, self.low, self.high) if self.clip else image

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for metrics.json."""
        return asdict(self)


def fit_window(
    modality: str,
    samples: Iterable[np.ndarray],
    window: tuple[float, float] | None = None,
    data_range: float | None = None,
) -> Window:
    """The window of a modality.

    Args:
        samples: raw values of some real cases (`voxel_sample`).
        window: (low, high) if the user declares one. It is clipped to.
        data_range: if the user declares one. Without `window`, nothing is clipped.
    Raises:
        SettingsError: a window or a range that is none.
    """
    if window is not None:
        low, high = (float(end) for end in window)
        if not low < high or not np.isfinite([low, high]).all():
            raise SettingsError(
                f"window: found {low:g} to {high:g}, expected a low end below a high one. "
                "Give both in the images' units, for example -140 and 260."
            )
        width = declared(high - low if data_range is None else data_range)
        return Window(low, high, width, True, _DECLARED)
    values = np.concatenate([np.asarray(s, np.float64).ravel() for s in samples])
    low, high = (float(q) for q in np.quantile(values, _SHARES))
    source = "0.1 to 99.9 percentile of the real set"
    if modality == "ct" and low < _SURELY_HU:
        (low, high), source = SOFT_TISSUE_HU, _HU
    elif modality == "ct":
        source += " (no value of air or fat, so not taken for Hounsfield units)"
    if high <= low:
        low, high = float(values.min()), float(values.max())
    if data_range is not None:
        return Window(low, high, declared(data_range), False, f"{source}; data range declared")
    return Window(low, high, declared(high - low), True, source)


def voxel_sample(values: np.ndarray, most: int = _SAMPLES) -> np.ndarray:
    """At most so many values, drawn from the array: the same ones each time."""
    flat = np.asarray(values).ravel()
    if flat.size <= most:
        return flat.astype(np.float32)
    drawn = np.random.default_rng(flat.size).integers(flat.size, size=most)
    return flat[np.sort(drawn)].astype(np.float32)
