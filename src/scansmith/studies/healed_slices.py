"""Slices of a store by their place, alone or with what ANT-GAN made of them, read when needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from scansmith.data.arrays import ArrayFile
from scansmith.data.store import Store
from scansmith.methods.ant_gan import lesion_indices

CHUNK = 16


@dataclass(frozen=True, eq=False)
class Slice:
    """A slice of a store by its place."""

    case: str
    sample: int
    patient: str


def translated(network: nn.Module, images: np.ndarray) -> np.ndarray:
    """Slices (N, C, H, W) through A2N or N2A, float16: 0.0005 of -1..1 is not seen."""
    device = next(network.parameters()).device
    made = []
    with torch.no_grad():
        for part in torch.from_numpy(np.ascontiguousarray(images)).float().split(CHUNK):
            made.append(network(part.to(device)).half().cpu())
    return torch.cat(made).numpy()


def slices(store: Store, split: str) -> list[Slice]:
    """All slices of a split that training may draw, with lesion and without."""
    return [
        Slice(name, n, store.cases[name].patient)
        for name in store.names(split)
        for n in range(store.cases[name].samples)
        if n not in store.cases[name].left_out
    ]


def lesion_of(store: Store) -> tuple[int, ...]:
    """The lesion's indices, by the rule of ANT-GAN."""
    data = store.recipe.settings
    organ = store.table.index(data["organ"]) if data["organ"] else 0
    return tuple(lesion_indices(store.table.structures, data["lesion"], organ))


@dataclass(frozen=True, eq=False)
class TwoChannels(Sequence[np.ndarray]):
    """Slices (2 C, H, W): x with A2N(x), or with itself. Read when they are asked for."""

    store: Store
    places: Sequence[Slice]
    healed: Mapping[str, ArrayFile] | None

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: Any) -> Any:
        place = self.places[number]
        image, _ = self.store.sample(place.case, place.sample)
        second = image if self.healed is None else self.healed[place.case].part(place.sample)
        return np.concatenate([image, second.astype(np.float32)])


@dataclass(frozen=True, eq=False)
class Maps(Sequence[np.ndarray]):
    """The label maps of slices, as a segmenter is to see them. Read when they are asked for."""

    store: Store
    places: Sequence[Slice]
    seen_as: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: Any) -> Any:
        place = self.places[number]
        return self.seen_as[self.store.sample(place.case, place.sample)[1]]


@dataclass(frozen=True, eq=False)
class Images(Sequence[np.ndarray]):
    """Slices (C, H, W) as they are. Read when they are asked for."""

    store: Store
    places: Sequence[Slice]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: Any) -> Any:
        place = self.places[number]
        return self.store.sample(place.case, place.sample)[0]


@dataclass(frozen=True, eq=False)
class Joined(Sequence[np.ndarray]):
    """Sequences one after the other."""

    parts: Sequence[Sequence[np.ndarray]]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __getitem__(self, number: Any) -> Any:
        for part in self.parts:
            if number < len(part):
                return part[number]
            number -= len(part)
        raise IndexError(number)
