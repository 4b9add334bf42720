"""Lesions copied from one patient into another: what synthesis has to beat at the same cost.

Of patient b a region round the lesions is carved out, with a random rim or a little less than the
lesions, and replaces the same voxels of patient a, image and labels alike:

d      signed distance to the lesions' border in mm, < 0 inside
r      half of the time from U(-max|d| / 2, 0), else from U(0, max|d|), max over the inside
M      d <= r
x, l   x_b, l_b in M, else x_a, l_a

Source: CarveMix (Zhang et al., MICCAI 2021, arXiv 2108.06883, sections 2.2-2.3), for brains that
lie alike. Ours: `organ`, for scans that do not. The donor is then shifted by whole voxels until
the organs' middles meet, and nothing is pasted outside the organ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import center_of_mass, distance_transform_edt

from scansmith.scan import DataError, SettingsError
from scansmith.studies.counterparts import Case


def signed_distance_mm(mask: np.ndarray, spacing_mm: Sequence[float] = ()) -> np.ndarray:
    """Distance of each voxel's middle to the nearest on the other side of a border; < 0 inside.

    Args:
        mask: bool (*S), neither empty nor full.
        spacing_mm: one step along each axis; (): 1 mm.
    """
    steps = tuple(spacing_mm) or (1.0,) * mask.ndim
    inside = distance_transform_edt(mask, sampling=steps)
    outside = distance_transform_edt(~mask, sampling=steps)
    return np.where(mask, -inside, outside)


def carved(
    mask: np.ndarray, rng: np.random.Generator, spacing_mm: Sequence[float] = ()
) -> np.ndarray:
    """The region to be carved round lesions, bool (*S); their inmost voxel is always in it."""
    if mask.all():
        return mask.copy()
    distance = signed_distance_mm(mask, spacing_mm)
    deepest = -float(distance.min())
    rim = rng.uniform(0, deepest) if rng.random() < 0.5 else rng.uniform(-deepest / 2, 0)
    return distance <= rim


@dataclass(frozen=True, eq=False)
class Sample:
    """One labelled image.

    Attributes:
        image: float32 (C, *S).
        labels: uint8 (*S).
    """

    image: np.ndarray
    labels: np.ndarray


def pasted(target: Sample, donor: Sample, region: np.ndarray) -> Sample:
    """The target, and in a region bool (*S) the donor; same grid."""
    return Sample(
        np.where(region, donor.image, target.image), np.where(region, donor.labels, target.labels)
    )


def shifted(array: np.ndarray, steps: Sequence[int]) -> np.ndarray:
    """An array (..., *S) moved by whole voxels along the axes of S; what comes in is 0."""
    moved = np.zeros_like(array)
    lead = (slice(None),) * (array.ndim - len(steps))
    sides = array.shape[array.ndim - len(steps) :]
    here = tuple(
        slice(max(step, 0), max(0, side + min(step, 0)))
        for step, side in zip(steps, sides, strict=True)
    )
    there = tuple(
        slice(max(-step, 0), max(0, side - max(step, 0)))
        for step, side in zip(steps, sides, strict=True)
    )
    moved[(*lead, *here)] = array[(*lead, *there)]
    return moved


@dataclass(frozen=True)
class CarveMix:
    """Copying of lesions between patients.

    Attributes:
        lesion: structure indices of what is copied.
        organ: those that lesions lie in, the lesions left out; (): scans lie alike.
        spacing_mm: one step along each axis of S.
    """

    lesion: tuple[int, ...]
    organ: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] = ()

    @staticmethod
    def named(
        structures: Sequence[str],
        lesion: Sequence[str],
        organ: Sequence[str] = (),
        spacing_mm: Sequence[float] = (),
    ) -> CarveMix:
        """By the names of structures.

        Raises:
            SettingsError: no lesion is named, or a name is not among the structures.
        """
        wrong = [name for name in [*lesion, *organ] if name not in structures[1:]]
        if wrong or not lesion:
            raise SettingsError(
                f"copy-paste: found {', '.join(wrong) or 'no lesion'}, expected names among "
                f"{', '.join(structures[1:])}. Name the structures that are to be copied."
            )
        indices = [tuple(structures.index(name) for name in names) for names in (lesion, organ)]
        return CarveMix(indices[0], indices[1], tuple(spacing_mm))

    def cases(self, real: Sequence[Case], multiple: int, seed: int, after: int = 0) -> list[Case]:
        """Each case with lesions of other patients, `multiple` times.

        Samples that no lesion could be pasted into are left out. Slices take the donor's slice with
        a lesion that lies nearest in the stack, counted from one end to the other.

        Args:
            after: multiples that were made before; those that follow them are made.
        Raises:
            DataError: fewer than two patients, or none with a lesion that fits another.
        """
        donors = [case for case in real if np.isin(case.labels, self.lesion).any()]
        made = []
        for copy in range(after, after + multiple):
            for place, target in enumerate(real):
                others = [donor for donor in donors if donor.patient != target.patient]
                rng = np.random.default_rng([seed, copy, place])
                found = self._filled(target, others, rng)
                made += [found] if len(found.image) else []
        if not made and not after:
            raise DataError(
                f"copy-paste: found {len({case.patient for case in real})} patients, "
                f"{len({case.patient for case in donors})} of them with a lesion, and none that "
                "fits another patient; expected two patients at least. Give more cases, or name "
                "another lesion or organ."
            )
        return made

    def mixed(self, target: Sample, donor: Sample, rng: np.random.Generator) -> Sample | None:
        """One sample with another's lesions; None if none of them would lie in it."""
        region = carved(np.isin(donor.labels, self.lesion), rng, self.spacing_mm)
        if self.organ:
            whole = (*self.organ, *self.lesion)
            room, other = np.isin(target.labels, whole), np.isin(donor.labels, whole)
            if not room.any():
                return None
            away = np.subtract(center_of_mass(room), center_of_mass(other))
            steps = [int(step) for step in np.rint(away)]
            donor = Sample(shifted(donor.image, steps), shifted(donor.labels, steps))
            region = shifted(region, steps) & room
        if not np.isin(donor.labels[region], self.lesion).any():
            return None
        return pasted(target, donor, region)

    def _filled(self, target: Case, donors: Sequence[Case], rng: np.random.Generator) -> Case:
        images, labels, numbers = [], [], []
        for n, number in enumerate(target.numbers):
            here = n / max(len(target.numbers) - 1, 1)
            sample = Sample(target.image[n], target.labels[n])
            for donor in self._nearest(donors, here, rng):
                made = self.mixed(sample, donor, rng)
                if made is not None:
                    images.append(made.image)
                    labels.append(made.labels)
                    numbers.append(number)
                    break
        if not images:
            return Case(target.case, target.patient, target.image[:0], target.labels[:0], ())
        return Case(target.case, target.patient, np.stack(images), np.stack(labels), tuple(numbers))

    def _nearest(
        self, donors: Sequence[Case], here: float, rng: np.random.Generator
    ) -> Iterator[Sample]:
        """Of each donor in random order, the sample with a lesion that lies nearest."""
        for place in rng.permutation(len(donors)):
            donor = donors[place]
            space = tuple(range(1, donor.labels.ndim))
            able = np.flatnonzero(np.isin(donor.labels, self.lesion).any(axis=space))
            away = np.abs(able / max(len(donor.labels) - 1, 1) - here)
            n = able[int(np.argmin(away))]
            yield Sample(donor.image[n], donor.labels[n])
