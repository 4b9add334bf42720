"""The intensity range that PSNR, SSIM and the features see: declared, or found in the real set.

Scans whose units are arbitrary (MR) may come in scales of their own, some a thousand times another:
no window of all shows them. Each is then brought to its own range, 0 to 1, before it is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scansmith.evaluate.fidelity import declared
from scansmith.scan import SettingsError

# Soft tissue: livers, their tumours, muscle and fat differ by tens of HU (centre 60, width 400).
SOFT_TISSUE_HU = (-140.0, 260.0)
# Air and fat are well below water in every CT; a CT without them was not stored in HU.
_SURELY_HU = -20.0
#: Both ends of a case's own range.
SHARES = (0.001, 0.999)
# Widths of cases' own ranges that differ by more than this factor are scales of their own.
_OTHER_SCALE = 4.0
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
        own: the window is of each case's own range (`in_own_ranges`), in shares of it.
    """

    low: float
    high: float
    data_range: float
    clip: bool
    source: str
    own: bool = False

    @property
    def alike(self) -> bool:
        """Whether a value means the same in every case: a declared window, or Hounsfield units."""
        return self.source.split(";")[0] in (_DECLARED, _HU)

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
    samples = [np.asarray(sample, np.float64).ravel() for sample in samples]
    values = np.concatenate(samples)
    low, high = (float(q) for q in np.quantile(values, SHARES))
    source = "0.1 to 99.9 percentile of the real set"
    if modality == "ct" and low < _SURELY_HU:
        (low, high), source = SOFT_TISSUE_HU, _HU
    elif modality == "ct":
        source += " (no value of air or fat, so not taken for Hounsfield units)"
    elif (apart := _scales_apart(samples)) > _OTHER_SCALE and data_range is None:
        source = (
            f"each case's own 0.1 to 99.9 percentile, as the real cases' scales differ {apart:.3g} "
            "times"
        )
        return Window(0.0, 1.0, 1.0, True, source, own=True)
    if high <= low:
        low, high = float(values.min()), float(values.max())
    if data_range is not None:
        return Window(low, high, declared(data_range), False, f"{source}; data range declared")
    return Window(low, high, declared(high - low), True, source)


def units_of(window: Window) -> str:
    """What values within a window are in, in words."""
    return "share of the case's own range" if window.own else "raw units"


def in_own_ranges(image: np.ndarray, windows: Sequence[Window], like: np.ndarray) -> np.ndarray:
    """An image (C, D, H, W) in the units of its windows: those of own ranges brought to 0..1.

    Args:
        like: whose ranges count: the image itself, or the real case of its pair.
    """
    if not any(window.own for window in windows):
        return image
    image = np.array(image, np.float32)
    for channel, window in enumerate(windows):
        if window.own:
            low, high = np.quantile(like[channel], SHARES)
            image[channel] = (image[channel] - low) / (high - low if high > low else 1.0)
    return image


def _scales_apart(samples: Sequence[np.ndarray]) -> float:
    """How many times as wide the widest case's range is as the narrowest one's."""
    widths = [np.subtract(*np.quantile(sample, SHARES[::-1])) for sample in samples]
    wide = [float(width) for width in widths if width > 0]
    return max(wide) / min(wide) if wide else 1.0


def voxel_sample(values: np.ndarray, most: int = _SAMPLES) -> np.ndarray:
    """At most so many values, drawn from the array: the same ones each time."""
    flat = np.asarray(values).ravel()
    if flat.size <= most:
        return flat.astype(np.float32)
    drawn = np.random.default_rng(flat.size).integers(flat.size, size=most)
    return flat[np.sort(drawn)].astype(np.float32)
