"""Counts and sizes of a labelled case: lesions, where they lie, volumes of structures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import center_of_mass, find_objects, label
from skimage.filters import threshold_otsu

from scansmith.evaluate.view import AXES, View

#: Smaller pieces are specks of a mask, not lesions; they stay in the volume of the structure.
LEAST_VOXELS = 4
# A single value that fills this share of an image is padding or blanked background.
_BLANK = 0.05


@dataclass(frozen=True)
class Lesion:
    """One connected lesion.

    Attributes:
        volume_mm3: voxels times voxel volume.
        position: centre along each patient axis of AXES, 0..1 in the box of organ or body.
    """

    volume_mm3: float
    position: dict[str, float]


def lesions_of(case: View, lesion: np.ndarray) -> list[Lesion]:
    """Connected pieces of a lesion mask (neighbours by face, edge or corner), largest first.

    Args:
        lesion: bool (D, H, W).
    """
    pieces, _ = label(lesion, np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel())
    numbers = [n for n in range(1, len(sizes)) if sizes[n] >= LEAST_VOXELS]
    if not numbers:
        return []
    low, high = frame(case, lesion)
    voxel = float(np.prod(case.spacing_mm))
    boxes = find_objects(pieces)
    found = []
    for n in sorted(numbers, key=lambda n: -sizes[n]):
        inside = center_of_mass(pieces[boxes[n - 1]] == n)
        centre = np.add([part.start for part in boxes[n - 1]], inside)
        place = (centre - low) / np.maximum(high - low, 1)
        by_axis = dict(zip(case.axes, place.clip(0, 1).tolist(), strict=True))
        found.append(Lesion(float(sizes[n]) * voxel, {axis: by_axis[axis] for axis in AXES}))
    return found


def frame(case: View, lesion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last voxel (D, H, W) of the box that positions are relative to.

    The box of the labelled structures other than the lesion; where there are none, of the body.
    """
    organ = (case.labels > 0) & ~lesion if case.labels is not None else np.zeros_like(lesion)
    reference = organ if organ.any() else body(case.image[0])
    ends = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        present = np.flatnonzero(reference.any(axis=others))
        ends.append((present[0], present[-1]))
    return np.array(ends).T.astype(float)[0], np.array(ends).T.astype(float)[1]


def body(image: np.ndarray) -> np.ndarray:
    """The largest connected piece that is not background: bool (D, H, W), never empty.

    Where one value fills a part of the image (blanked air, skull stripping), all but that value;
    else what is brighter than Otsu's threshold. The largest piece: one bright voxel of the table
    would stretch the box that positions are relative to.
    """
    values, counts = np.unique(image, return_counts=True)
    if len(values) == 1:
        return np.ones(image.shape, bool)
    blank = counts.max() >= _BLANK * image.size
    present = image != values[np.argmax(counts)] if blank else image > threshold_otsu(image)
    pieces, _ = label(present)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return pieces == np.argmax(sizes)


def volumes_mm3(case: View, structures: tuple[str, ...]) -> dict[str, float]:
    """Volume of each structure but the background."""
    if case.labels is None:
        return {}
    counts = np.bincount(case.labels.ravel(), minlength=len(structures))
    voxel = float(np.prod(case.spacing_mm))
    return {name: float(counts[i]) * voxel for i, name in enumerate(structures) if i}
