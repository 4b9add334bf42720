"""Where a synthetic case comes from: a case of the store, and its labels, edited or as they are.

Everything random about case number n is a function of (seed, n) alone, so that a case is the same
whoever makes it, and whatever was made before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from scansmith.data.store import Store
from scansmith.labels.bank import LesionBank, cut_lesions
from scansmith.labels.place import edit_labels
from scansmith.methods.base import Method
from scansmith.scan import DataError

Purpose = Literal["edit", "make", "order"]
_PURPOSES: dict[Purpose, int] = {"edit": 1, "make": 2, "order": 3}
_ENOUGH_HEALTHY = 3  # fewer lesion-free cases would be drawn on over and over
_TRIES = 5  # source cases looked at before giving up on a case number


def chance(purpose: Purpose, seed: int, *numbers: int) -> np.random.SeedSequence:
    """The chance for one purpose and case; different purposes never share a stream."""
    return np.random.SeedSequence([_PURPOSES[purpose], seed, *numbers])


@dataclass(frozen=True)
class Source:
    """What a method paints from.

    Attributes:
        number: of the synthetic case.
        case: name in the store.
        image: float32 (N, C, *S), network range, as it was.
        labels: uint8 (N, *S), structure indices, edited.
        edits: what was done to the labels, for the record; empty: nothing.
    """

    number: int
    case: str
    image: np.ndarray
    labels: np.ndarray
    edits: dict[str, Any]


class Sources:
    """The cases of a store that can be drawn on, in a seeded order that goes round and round.

    Args:
        edit: change the labels as the store's recipe says.
        split: which patients' cases: "train", "validation", "test", "all".
        lesions: fewest and most lesions placed in a case, where the recipe places lesions.
        from_healthy: where the recipe places lesions, take cases without one if there are three
            or more of them, so that the lesions placed are the only ones.
        shapes: the store whose training patients' lesions are placed; None: this one.
    Raises:
        DataError: no case of the split can be drawn on.
    """

    def __init__(
        self,
        store: Store,
        seed: int,
        *,
        edit: bool = True,
        split: str = "train",
        lesions: tuple[int, int] = (1, 3),
        from_healthy: bool = True,
        shapes: Store | None = None,
    ):
        edits = store.recipe.edits
        self.store, self.seed, self.edit, self.lesions = store, seed, edit, lesions
        self.kind = edits.kind if edit else ""
        self.lesion = structure_indices(store, edits.lesion) if edit else ()
        self.organ = structure_indices(store, edits.organ) if edit else ()
        self.names = self._eligible(split, from_healthy)
        self.bank = lesion_bank(shapes or store) if self.kind == "place" else None

    def __len__(self) -> int:
        return len(self.names)

    def name(self, number: int) -> str:
        """The source case of case number `number`: each case once, then again in another order."""
        turn, place = divmod(number, len(self.names))
        order = np.random.default_rng(chance("order", self.seed, turn))
        return self.names[order.permutation(len(self.names))[place]]

    def take(self, number: int) -> Source:
        """The source of case number `number`.

        If the edit cannot be done in a case, the next one in the order is tried.

        Raises:
            DataError: it can be done in none of five.
        """
        if not self.edit:
            name = self.name(number)
            return Source(number, name, *self.store.volume(name), {})
        rng = np.random.default_rng(chance("edit", self.seed, number))
        tried = [self.name(number + step) for step in range(min(_TRIES, len(self.names)))]
        for name in tried:
            image, labels = self.store.volume(name)
            try:
                return Source(number, name, image, *self._edited(name, labels, rng))
            except DataError as error:
                found = error
        raise DataError(
            f"case number {number}: no labels could be made from {', '.join(tried)}. {found}"
        ) from found

    def _edited(
        self, name: str, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, dict[str, Any]]:
        edited, record = edit_labels(
            on_grid(self.store, labels),
            grid_spacing_mm(self.store, name),
            kind=self.kind,
            lesion=self.lesion,
            organ=self.organ,
            bank=self.bank,
            rng=rng,
            lesions=self.lesions,
        )
        return np.ascontiguousarray(edited.reshape(labels.shape), dtype=np.uint8), record

    def _eligible(self, split: str, from_healthy: bool) -> tuple[str, ...]:
        names = tuple(sorted(self.store.names(split)))
        if not names:
            there = sorted({case.split for case in self.store.cases.values()})
            raise DataError(
                f"{self.store.path}: no case in split {split!r}, expected one of "
                f"{', '.join(there)}. Choose another split, or prepare with other shares."
            )
        if not self.edit:
            return names
        wanted = self.organ or range(1, len(self.store.table.structures))
        fit = tuple(name for name in names if _has(self.store, name, wanted))
        if not fit:
            organ = " or ".join(self.store.recipe.edits.organ) or "a structure"
            raise DataError(
                f"{self.store.path}: none of {len(names)} cases in split {split!r} has {organ} to "
                "draw in. Synthesize from a store whose labels have it."
            )
        healthy = tuple(name for name in fit if not _has(self.store, name, self.lesion))
        prefer = from_healthy and self.kind == "place" and len(healthy) >= _ENOUGH_HEALTHY
        return healthy if prefer else fit


def _has(store: Store, name: str, indices: Sequence[int]) -> bool:
    return bool(store.counts(name)[:, list(indices)].sum() > 0)


def structure_indices(store: Store, names: Sequence[str]) -> tuple[int, ...]:
    """Structure names of a recipe as indices of a store; "*" is all but the background."""
    if "*" in names:
        return tuple(range(1, len(store.table.structures)))
    return tuple(store.table.index(name) for name in names)


def _flat(store: Store) -> bool:
    """Whether every case is a single picture, whose lesions have shapes of two dimensions."""
    return store.recipe.dims == 2 and all(case.samples == 1 for case in store.cases.values())


def on_grid(store: Store, labels: np.ndarray) -> np.ndarray:
    """Labels (N, *S) of a case as one map: (D, H, W), or (H, W) in a store of single pictures."""
    return labels[0] if store.recipe.dims == 3 or _flat(store) else labels


def grid_spacing_mm(store: Store, name: str) -> tuple[float, ...]:
    """One step along each axis of `on_grid`'s map."""
    return store.cases[name].grid_mm[1 if _flat(store) else 0 :]


def lesion_bank(store: Store) -> LesionBank:
    """The lesion shapes of a store's training patients.

    Raises:
        DataError: there is no lesion in the training split.
    """
    edits = store.recipe.edits
    lesion = structure_indices(store, edits.lesion)
    found = []
    for name in sorted(store.names("train")):
        if _has(store, name, lesion):
            labels = on_grid(store, store.volume(name)[1])
            found += cut_lesions(labels, lesion, grid_spacing_mm(store, name), name)
    if not found:
        raise DataError(
            f"{store.path}: no {' or '.join(edits.lesion)} in the training split to take shapes "
            "from. Prepare a data set with lesions, or synthesize with labels as they are."
        )
    return LesionBank(found, store.table.structures)


def check_source(method: Method, store: Store) -> None:
    """Refuse a store that a method cannot draw on.

    Raises:
        DataError: with every difference.
    """
    wanted, found = method.facts, store.facts
    differences = [
        f"{store.path}: {name} {getattr(found, name)}, the run was trained on "
        f"{getattr(wanted, name)}."
        for name in ("dims", "size", "modalities", "structures")
        if getattr(found, name) != getattr(wanted, name)
    ]
    if differences:
        differences.append(
            "Prepare the source for the same method with the same settings and label names."
        )
        raise DataError("\n".join(differences))
