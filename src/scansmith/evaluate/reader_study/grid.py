"""One grid and one range of grey for both sides, so that nothing but the picture differs.

A generator often draws on a coarser grid, padded to a square, and in a range of its own. Shown as
they lie on disk, its cases would be known by their size. So all cases are brought to the coarsest
step and the smallest field of view among them: nothing is interpolated to a finer step, and nothing
has to be padded. The resampling is the one that prepares scans for generators
(`scansmith.data.resample`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scansmith.data.resample import centred, resample_image
from scansmith.evaluate.view import View
from scansmith.evaluate.windows import SOFT_TISSUE_HU, Window, fit_window
from scansmith.scan import DataError, Problem

#: A case whose step is this many times the median, or its field of view so small a part of it,
#: would take too much from all others.
_UNLIKE = 2.0
LEAST_PIXELS = 16
#: A side that shows so many times as much as the other, or is so many times as coarse, is noted.
#: Padding to a square alone comes to less.
_NOTED = 1.5
# Grey values that every picture of its own range leaves out at either end.
_MIDDLES_APART, _TIMES_AS_WIDE = 40, 3  # of 256 greys; our convention
_SHARES = (0.005, 0.995)


@dataclass(frozen=True)
class Shape:
    """What a case is like before it is brought to the common grid, slices first."""

    case: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    axes: tuple[str, ...]


@dataclass(frozen=True)
class Common:
    """The grid of every picture.

    Attributes:
        shape: (D, H, W); D = 1 for slices.
        spacing_mm: of D, H, W.
        axes: patient axes of D, H, W, slices first (`view.AXES`, unless slices are not axial).
        dims: 2: slices, of which only H and W are resampled; 3: volumes.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    axes: tuple[str, ...]
    dims: int

    def applied(self, image: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
        """An image (C, D, H, W) on this grid, float32. With dims 2, D stays as it is."""
        steps = [new / old for new, old in zip(self.spacing_mm, spacing_mm, strict=True)]
        axes = [
            centred(old, new, step)
            for old, new, step in zip(image.shape[1:], self.shape, steps, strict=True)
        ]
        if self.dims == 2:
            axes[0] = centred(image.shape[1], image.shape[1], 1.0)
        return resample_image(image, axes, np.zeros(len(image)))


def common_grid(shapes: Sequence[Shape], dims: int) -> Common:
    """The coarsest step and the smallest field of view of all cases.

    Slices get square pixels. Volumes keep a step for each axis.

    Raises:
        DataError: a case has other slices than most, is much coarser or much smaller than most, or
            too little is left. Every such case is named.
    """
    axes = max((s.axes for s in shapes), key=[s.axes for s in shapes].count)
    problems = [_turned(s, axes) for s in shapes if s.axes != axes]
    first = 1 if dims == 2 else 0
    steps = np.array([s.spacing_mm for s in shapes])[:, first:]  # (cases, axes)
    fields = steps * np.array([s.shape for s in shapes])[:, first:]
    for s, step, field in zip(shapes, steps, fields, strict=True):
        problems += _unlike(s, step / np.median(steps, 0), field / np.median(fields, 0))
    if problems:
        raise DataError(problems)
    step = steps.max(axis=0) if dims == 3 else np.full(2, steps.max())
    size = np.floor(fields.min(axis=0) / step + 1e-3).astype(int)
    if size[-2:].min() < LEAST_PIXELS:
        raise DataError(
            f"the common grid: {' x '.join(map(str, size))} voxels, expected {LEAST_PIXELS} a side "
            "at least. Leave out the cases with the coarsest step or the smallest field of view."
        )
    if dims == 2:
        size, step = np.array([1, *size]), np.array([1.0, *step])
    shape = int(size[0]), int(size[1]), int(size[2])
    return Common(shape, (float(step[0]), float(step[1]), float(step[2])), axes, dims)


def compare_sides(sides: Mapping[str, Sequence[Shape]], dims: int) -> list[str]:
    """What makes one side look otherwise than the other on the common grid.

    `common_grid` looks for single cases that are unlike most. Where half of the cases are real and
    half are not, the median of all lies between the sides, and no case is unlike it.

    Returns:
        Notes on sides whose medians are more than 1.5 times apart.
    Raises:
        DataError: one side shows more than twice the length that the other shows: cut to it, its
            pictures would be crops of what the other shows whole.
    """
    first = 1 if dims == 2 else 0
    steps, fields = {}, {}
    for side, shapes in sides.items():
        step = np.array([s.spacing_mm for s in shapes])[:, first:]  # (cases, axes)
        steps[side] = np.median(step, 0)
        fields[side] = np.median(step * np.array([s.shape for s in shapes])[:, first:], 0)
    said = f"{_listed(fields)} (medians)"
    if _apart(fields) > _UNLIKE:
        remedy = (
            "Crop the scans of the set that shows more to what the other shows, or take synthetic "
            "cases that show as much as real ones"
        )
        found = f"{said}: cut to the smaller, one side would show a part of what the other shows"
        raise DataError(Problem("real and synthetic set", "field of view", found, remedy))
    notes = []
    if _apart(fields) > _NOTED:
        notes.append(f"Fields of view: {said}. All are cut to the smallest: readers may see crops.")
    if _apart(steps) > _NOTED:
        notes.append(
            f"Steps: {_listed(steps)} (medians). All are shown at the coarsest: readers may "
            "know the finer side by its smoothness."
        )
    return notes


def _apart(medians: Mapping[str, np.ndarray]) -> float:
    """How many times as large one side's is, along the axis where that is most."""
    one, other = medians.values()
    return float(max((one / other).max(), (other / one).max()))


def _listed(medians: Mapping[str, np.ndarray]) -> str:
    return ", ".join(
        f"{side} cases {' x '.join(f'{length:.3g}' for length in lengths)} mm"
        for side, lengths in medians.items()
    )


def _turned(s: Shape, axes: tuple[str, ...]) -> Problem:
    found = f"its slices follow each other from {s.axes[0]}, those of most cases from {axes[0]}"
    return Problem(s.case, "orientation", found, "Leave it out of the study")


def _unlike(s: Shape, steps: np.ndarray, fields: np.ndarray) -> list[Problem]:
    found = []
    if steps.max() > _UNLIKE:
        found.append(f"its voxels are {steps.max():.2g} times as wide as those of most cases")
    if fields.min() < 1 / _UNLIKE:
        found.append(f"it shows {fields.min():.2g} of the length that most cases show")
    remedy = "Leave it out of the study, or all cases would be made as coarse or as small"
    return [Problem(s.case, "grid", text, remedy) for text in found]


@dataclass(frozen=True)
class Greys:
    """How raw values of one modality become grey: one window for all, or each picture's own.

    Attributes:
        window: in raw units, or None: 0.5 to 99.5 percentile of each picture or volume.
    """

    modality: str
    window: tuple[float, float] | None

    def of(self, image: np.ndarray) -> np.ndarray:
        """Grey levels, uint8, of raw values of any shape."""
        low, high = self.window or (float(q) for q in np.quantile(image, _SHARES))
        scaled = (image.astype(np.float64) - low) / max(high - low, 1e-12)
        return np.rint(255 * scaled.clip(0, 1)).astype(np.uint8)

    @property
    def words(self) -> str:
        """For the key and the instructions."""
        if self.window is None:
            return "0.5 to 99.5 percentile of each picture"
        return f"{self.window[0]:g} to {self.window[1]:g}"


def fit_greys(
    modality: str, samples: Sequence[np.ndarray], declared: tuple[float, float] | None
) -> Greys:
    """One window for all if it is declared, or for CT in HU; else each picture's own.

    MR has no scale of its own: with one window for all, brightness would tell one scanner, or a
    generator, from another before anything is looked at.

    Args:
        samples: raw values of real cases.
    Raises:
        SettingsError: a window that is none.
    """
    if declared is not None:
        fit_window(modality, samples, declared)  # refuses what is no window
        return Greys(modality, (float(declared[0]), float(declared[1])))
    found: Window = fit_window(modality, samples)
    fixed = (found.low, found.high) == SOFT_TISSUE_HU
    return Greys(modality, SOFT_TISSUE_HU if fixed else None)


def spread_slices(case: View, lesion: np.ndarray, count: int) -> list[int]:
    """Numbers of `count` slices, or of all that can be shown if they are fewer: evenly spread over
    those with lesion, else over the labelled ones, else over the middle half; a single one is the
    one with most of it.

    Args:
        lesion: bool (D, H, W).
        count: 1 or more.
    Returns:
        One at least.
    """
    depth = case.image.shape[1]
    amounts = np.zeros(depth)
    for mask in (lesion, case.labels):
        if mask is not None and mask.any():
            amounts = (mask > 0).sum(axis=(1, 2)).astype(float)
            break
    else:
        amounts[depth // 4 : max(depth - depth // 4, depth // 4 + 1)] = 1
        if count == 1:
            return [depth // 2]
    if count == 1:
        return [int(np.argmax(amounts))]
    numbers = np.flatnonzero(amounts)
    count = min(count, len(numbers))
    # The middles of equal parts, so that the first and the last slice with a speck are not taken.
    places = (np.arange(count) + 0.5) * len(numbers) / count
    return [int(n) for n in numbers[places.astype(int)]]


def _inside(grey: np.ndarray) -> np.ndarray:
    """What is neither black nor white, as air is in any unit; all, where nothing else is."""
    inside = grey[(grey > 0) & (grey < 255)]
    return inside if len(inside) else grey


def greys_apart(
    modality: str, greys: Greys, samples: Mapping[str, Sequence[np.ndarray]]
) -> list[str]:
    """A note if one window shows the two sides in greys of their own, as other units would.

    Args:
        samples: side -> raw values of its cases.
    """
    if greys.window is None:
        return []
    shown = {side: _inside(greys.of(np.concatenate(of))) for side, of in samples.items()}
    low, middle, high = (
        {side: int(np.quantile(grey, share)) for side, grey in shown.items()}
        for share in (0.05, 0.5, 0.95)
    )
    widths = [high[side] - low[side] for side in shown]
    apart = max(middle.values()) - min(middle.values())
    if apart <= _MIDDLES_APART and max(widths) <= _TIMES_AS_WIDE * min(widths):
        return []
    told = ", ".join(f"{side} {low[side]} to {high[side]}" for side in shown)
    return [
        f"{modality}: in the window that fits real cases ({greys.words}) most greys of 0 to 255 "
        f"are {told}: readers may go by brightness alone. Are both sets in the same units?"
    ]
