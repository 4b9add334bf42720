"""Batches for training: which samples a step draws is a function of seed and step alone.

Nothing is remembered between steps, so a training that resumes at any step sees what it would
have seen. Draws of different names are independent of each other.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import torch

from scansmith.data.draws import qualifying
from scansmith.data.store import Store
from scansmith.recipe import Draw
from scansmith.scan import Batch, DataError

Place = tuple[str, int]
"""A sample of a store: case and number."""


class Batches:
    """Draws of a recipe from one split of a store.

    balance "sample": each epoch takes every sample once, in a new order. Epochs count from step 0
        and training from step 1, so that its first epoch lacks one batch.
    balance "case": each epoch takes every case once, in a new order, with one of its samples.
    """

    def __init__(self, store: Store, split: str, batch: int, seed: int):
        """Find the samples of every draw.

        Raises:
            DataError: a draw has no sample in this split.
        """
        self.store, self.batch, self.seed = store, batch, seed
        found = {draw: places(store, split, draw) for draw in store.recipe.draws}
        self.places: dict[str, list[list[Place]]] = {
            name: cases
            for draw, cases in found.items()
            for name in draw.names(store.facts.modalities)
        }
        empty = [draw for draw, cases in found.items() if not cases]
        if empty:
            raise DataError("\n".join(_nothing(store, split, draw) for draw in empty))

    def __call__(self, step: int) -> dict[str, Batch]:
        """The batch of each draw at a step (any whole number from 0)."""
        return {
            draw: self._load([self._place(draw, step * self.batch + b) for b in range(self.batch)])
            for draw in self.places
        }

    def samples(self, draw: str) -> list[Place]:
        """Every sample that a draw may take, by case and number."""
        return [place for case in self.places[draw] for place in case]

    def fixed(self, count: int) -> dict[str, Batch]:
        """The same samples every time, evenly spread over all: for pictures and validation.

        There are fewer than `count` if a draw has fewer.
        """
        chosen = {}
        for draw in self.places:
            every = self.samples(draw)
            number = min(count, len(every))
            chosen[draw] = [every[(2 * n + 1) * len(every) // (2 * number)] for n in range(number)]
        return {draw: self._load(places) for draw, places in chosen.items()}

    def _place(self, draw: str, turn: int) -> Place:
        """The sample drawn at a turn; turns count samples, not steps."""
        cases = self.places[draw]
        if self.store.recipe.balance == "case":
            epoch, position = divmod(turn, len(cases))
            samples = cases[_order(len(cases), self.seed, draw, epoch)[position]]
            return samples[int(_chance(self.seed, draw, "sample", turn).integers(len(samples)))]
        every = self._every(draw)
        epoch, position = divmod(turn, len(every))
        return every[_order(len(every), self.seed, draw, epoch)[position]]

    @lru_cache  # noqa: B019  (one Batches lives as long as its training)
    def _every(self, draw: str) -> list[Place]:
        return self.samples(draw)

    def _load(self, places: list[Place]) -> Batch:
        pairs = [self.store.sample(case, sample) for case, sample in places]
        return Batch(
            image=torch.from_numpy(np.stack([image for image, _ in pairs])),
            labels=torch.from_numpy(np.stack([labels for _, labels in pairs])).long(),
            cases=tuple(case for case, _ in places),
            samples=tuple(sample for _, sample in places),
        )


def places(store: Store, split: str, draw: Draw) -> list[list[Place]]:
    """Samples that a draw may take, grouped by case; cases without any are not there."""
    groups = []
    for case in store.names(split):
        allowed = qualifying(draw, store.counts(case), store.table)
        allowed[list(store.cases[case].left_out)] = False
        if allowed.any():
            groups.append([(case, int(sample)) for sample in np.flatnonzero(allowed)])
    return groups


def _nothing(store: Store, split: str, draw: Draw) -> str:
    wanted = ", ".join([*draw.has, *(f"no {name}" for name in draw.lacks)]) or "anything"
    return (
        f"{store.path}: draw {draw.name}: none of the {len(store.names(split))} case(s) of "
        f"{split} has a sample with {wanted}. Use another split, or prepare with another share or "
        "seed for it (data.split and data.seed in the data's settings)."
    )


def _chance(seed: int, draw: str, purpose: str, turn: int) -> np.random.Generator:
    """A generator for one decision; names enter by their hash."""
    words = hashlib.sha256(f"{purpose} {draw}".encode()).digest()[:8]
    return np.random.default_rng([seed, turn, int.from_bytes(words, "little")])


@lru_cache(maxsize=16)
def _order(number: int, seed: int, draw: str, epoch: int) -> np.ndarray:
    return _chance(seed, draw, "order", epoch).permutation(number)
