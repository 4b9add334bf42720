"""Counts and sizes of a labelled case: lesions, where they lie, how they stand out; volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import (
    binary_dilation,
    center_of_mass,
    distance_transform_edt,
    find_objects,
    label,
)
from skimage.filters import threshold_otsu

from scansmith.evaluate.view import AXES, View

#: Smaller pieces are specks of a mask, not lesions; they stay in the volume of the structure.
LEAST_VOXELS = 4
#: What a lesion is set off against: the voxels so near to it, one voxel round it at least.
SHELL_MM = 5.0
#: With so many voxels of the organ in that shell, the rest (air, bone, vessels) is left out.
LEAST_SHELL = 8
# A single value that fills this share of an image is padding or blanked background.
_BLANK = 0.05


@dataclass(frozen=True)
class Lesion:
    """One connected lesion.

    Attributes:
        volume_mm3: voxels times voxel volume.
        position: centre along each patient axis of AXES, 0..1 in the box of organ or body.
        contrast: its mean minus that of its surroundings, in each modality.
    """

    volume_mm3: float
    position: dict[str, float]
    contrast: dict[str, float] = field(default_factory=dict)


def lesions_of(
    case: View, lesion: np.ndarray, images: Mapping[str, np.ndarray] | None = None
) -> list[Lesion]:
    """Connected pieces of a lesion mask (neighbours by face, edge or corner), largest first.

    Args:
        lesion: bool (D, H, W).
        images: (D, H, W) of each modality whose contrast is wanted.
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
        middle = center_of_mass(pieces[boxes[n - 1]] == n)
        centre = np.add([part.start for part in boxes[n - 1]], middle)
        place = (centre - low) / np.maximum(high - low, 1)
        by_axis = dict(zip(case.axes, place.clip(0, 1).tolist(), strict=True))
        contrast = {}
        if images:
            inside, shell, box = _surroundings(case, pieces, n, boxes[n - 1], lesion)
            if shell.any():
                contrast = {
                    name: float(image[box][inside].mean() - image[box][shell].mean())
                    for name, image in images.items()
                }
        position = {axis: by_axis[axis] for axis in AXES}
        found.append(Lesion(float(sizes[n]) * voxel, position, contrast))
    return found


def _surroundings(
    case: View, pieces: np.ndarray, number: int, box: tuple[slice, ...], lesion: np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[slice, ...]]:
    """A piece and the shell round it, bool, in a box that holds both; no lesion is in the shell.

    The shell is of labelled structures alone where enough of it is.
    """
    margins = [max(int(np.ceil(SHELL_MM / step)), 1) for step in case.spacing_mm]
    box = tuple(
        slice(max(part.start - margin, 0), part.stop + margin)
        for part, margin in zip(box, margins, strict=True)
    )
    inside = pieces[box] == number
    near = distance_transform_edt(~inside, sampling=case.spacing_mm) <= SHELL_MM
    shell = (near | binary_dilation(inside, np.ones((3, 3, 3)))) & ~lesion[box]
    if case.labels is not None:
        organ = shell & (case.labels[box] > 0)
        shell = organ if organ.sum() >= LEAST_SHELL else shell
    return inside, shell, box


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
