"""Lesions copied into slices without any: what fakes have to beat, since it needs no generator.

A normal slice with the lesion of another patient's abnormal one (`carve_mix`) is an abnormal slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from scansmith.data.store import Store
from scansmith.studies.carve_mix import CarveMix, Sample
from scansmith.studies.healed_slices import Slice

Pair = tuple[int, Slice, Slice]
"""A number that chance is drawn by, a normal slice, and the abnormal one whose lesion it gets."""

TRIES = 10  # donors for a slice: one that does not show the organ holds nobody's lesion


@dataclass(frozen=True)
class Copying:
    """How lesions are copied between the slices of a store that was prepared for ANT-GAN.

    Attributes:
        lesion: its indices in the store.
        seed: of who gets whose lesion, and how much round it.
    """

    store: Store
    lesion: tuple[int, ...]
    seed: int

    def pairs(self, normal: Sequence[Slice], abnormal: Sequence[Slice]) -> Iterator[Pair]:
        """Normal slices, each with one of another patient whose lesion fits; some have none."""
        for number, target in enumerate(normal):
            order = np.random.default_rng([self.seed, number]).permutation(len(abnormal))
            others = (abnormal[n] for n in order if abnormal[n].patient != target.patient)
            pairs = ((number, target, donor) for donor in islice(others, TRIES))
            yield from islice((pair for pair in pairs if self.copied(pair) is not None), 1)

    def copied(self, pair: Pair) -> np.ndarray | None:
        """The slice (C, H, W) with the lesion; None if it shows too little of it to be abnormal."""
        number, target, donor = pair
        rng = np.random.default_rng([self.seed, number])
        made = self._mix.mixed(self._sample(target), self._sample(donor), rng)
        least = self.store.recipe.settings["min_pixels"]
        if made is None or np.isin(made.labels, self.lesion).sum() < least:
            return None
        return made.image

    @property
    def _mix(self) -> CarveMix:
        organ = self.store.recipe.settings["organ"]
        inside = (self.store.table.index(organ),) if organ else ()
        return CarveMix(self.lesion, inside, self.store.spacing_mm)

    def _sample(self, place: Slice) -> Sample:
        return Sample(*self.store.sample(place.case, place.sample))


@dataclass(frozen=True, eq=False)
class Copies(Sequence[np.ndarray]):
    """Slices (C, H, W) with another patient's lesion. Made when they are asked for."""

    copying: Copying
    pairs: Sequence[Pair]

    @staticmethod
    def of(copying: Copying, normal: Sequence[Slice], abnormal: Sequence[Slice]) -> Copies:
        """A copy of each normal slice into which a lesion fits."""
        return Copies(copying, list(copying.pairs(normal, abnormal)))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, number: Any) -> Any:
        return self.copying.copied(self.pairs[number])
