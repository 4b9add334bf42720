"""Regions that preparing adds to label maps: what lies where nothing is labelled.

Labels that leave most of an image open give blurred, average anatomy; a coarse map of what lies
round them mends it. The general form of MM-GAN's brain label.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu
from sklearn.cluster import KMeans

from scansmith.labels.table import CONTEXT, LabelTable
from scansmith.recipe import Regions

_SEEN = 20_000  # voxels that the clusters are fitted to: more do not move their borders


def with_regions(table: LabelTable, regions: Regions | None, taken: int) -> LabelTable:
    """The table with the region structures after its own, at values from `taken` + 1 on."""
    extra = {taken + 1 + place: name for place, name in enumerate(region_names(regions))}
    aliases = {alias: table.names[value] for alias, value in table.aliases.items()}
    return LabelTable({**table.names, **aliases, **extra}) if extra else table


def region_names(regions: Regions | None) -> tuple[str, ...]:
    """Structures that `regions` adds, in their order."""
    if regions is None:
        return ()
    if regions.kind != "kmeans":
        return (CONTEXT,)
    return tuple(f"{CONTEXT} {place + 1}" for place in range(regions.classes))


def add_regions(
    image: np.ndarray,
    labels: np.ndarray,
    outside: np.ndarray,
    regions: Regions,
    first: int,
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """Labels with regions where they were background.

    Args:
        image: raw values of one modality, (D, H, W).
        labels: structure indices, (D, H, W).
        outside: bool (D, H, W), where there is no body; stays background.
        first: index of the first region structure.
        spacing_mm: one step along D, H, W.
    Returns:
        A changed copy.
    """
    if regions.kind == "inside":
        inside = _inside(image, regions.rim_mm, spacing_mm)
        return np.where((labels == 0) & inside, np.asarray(first, labels.dtype), labels)
    free = (labels == 0) & ~outside
    changed = labels.copy()
    if regions.kind == "foreground":
        body = ndimage.binary_fill_holes(_largest(~outside | (labels > 0)))
        changed[body & (labels == 0)] = first
    elif free.any():
        smooth = _smoothed(image, ~outside, regions.smooth)
        borders = _cluster_borders(smooth[free], regions.classes)
        changed[free] = first + np.searchsorted(borders, smooth[free])
    return changed


def _inside(image: np.ndarray, rim_mm: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """The body without its rim, slice by slice: a scan of slices far apart has no depth to erode.

    Half of Otsu's threshold parts air from tissue, where his own may part fat from the rest.
    """
    if image.min() == image.max():
        return np.zeros(image.shape, bool)
    bright = _largest(image - image.min() > (threshold_otsu(image) - image.min()) / 2)
    found = np.zeros_like(bright)
    for piece, kept in zip(bright, found, strict=True):
        filled = np.pad(ndimage.binary_fill_holes(piece), 1)
        depth_mm = ndimage.distance_transform_edt(filled, sampling=tuple(spacing_mm[1:]))
        kept[:] = depth_mm[1:-1, 1:-1] > rim_mm
    return found


def _largest(body: np.ndarray) -> np.ndarray:
    """The largest connected piece."""
    pieces, count = ndimage.label(body)
    return pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:])) if count > 1 else body


def _smoothed(image: np.ndarray, body: np.ndarray, sd: float) -> np.ndarray:
    """Gaussian mean of the body's voxels alone."""
    if sd == 0:
        return image.astype(np.float32)
    weight = ndimage.gaussian_filter(body.astype(np.float32), sd)
    blurred = ndimage.gaussian_filter(np.where(body, image, 0).astype(np.float32), sd)
    return blurred / np.maximum(weight, 1e-6)


def _cluster_borders(values: np.ndarray, classes: int) -> np.ndarray:
    """The limits between clusters of numbers, ascending, `classes` - 1 of them.

    Started from quantiles, so that nothing is random.
    """
    step = -(-values.size // _SEEN)
    seen = values[::step].astype(np.float64).reshape(-1, 1)
    starts = np.quantile(seen, (np.arange(classes) + 0.5) / classes).reshape(-1, 1)
    if len(np.unique(seen)) <= classes:
        centres = starts
    else:
        centres = KMeans(classes, init=starts, n_init=1).fit(seen).cluster_centers_
    centres = np.sort(centres.ravel())
    return (centres[1:] + centres[:-1]) / 2
