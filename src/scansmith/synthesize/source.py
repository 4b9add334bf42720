"""Where a synthetic case comes from: a case of the store, and its labels, edited or as they are.

Everything random about case number n is a function of (seed, n) alone, so that a case is the same
whoever makes it, and whatever was made before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from scipy.ndimage import find_objects

from scansmith.data.batches import places
from scansmith.data.store import Store
from scansmith.labels.bank import LesionBank, cut_lesions
from scansmith.labels.place import edit_labels
from scansmith.labels.redraw import redraw
from scansmith.labels.regraft import regraft
from scansmith.labels.table import CONTEXT, is_context
from scansmith.methods.base import Method
from scansmith.recipe import Edits, Recipe
from scansmith.scan import DataError, SettingsError

Purpose = Literal["edit", "make", "order"]
_PURPOSES: dict[Purpose, int] = {"edit": 1, "make": 2, "order": 3}
_ENOUGH_HEALTHY = 3  # fewer lesion-free cases would be drawn on over and over
_CUT_THERE = 0.98  # of its box, which a crop fills and a head does not
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
        first: number of the first of its N samples in the case: 0 for a whole case.
        image: float32 (N, C, *S), network range, as it was.
        labels: uint8 (N, *S), structure indices, edited.
        edits: what was done to the labels, for the record; empty: nothing.
    """

    number: int
    case: str
    first: int
    image: np.ndarray
    labels: np.ndarray
    edits: dict[str, Any]


Place = tuple[str, int | None]
"""A case of a store, whole, or one of its samples."""


class Sources:
    """What of a store can be drawn on, in a seeded order that goes round and round.

    Args:
        task: one of the recipe's tasks; "": what its `edits` are for.
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
        task: str = "",
        edit: bool = True,
        split: str = "train",
        lesions: tuple[int, int] = (1, 3),
        from_healthy: bool = True,
        shapes: Store | None = None,
    ):
        self.edits = edits = edits_for(store.recipe, task)
        self.store, self.seed, self.edit, self.lesions = store, seed, edit, lesions
        self.kind = edits.kind if edit else ""
        self.lesion = structure_indices(store, edits.lesion) if edit else ()
        self.organ = structure_indices(store, edits.organ) if edit else ()
        self.places = self._eligible(split, from_healthy)
        self.bank = lesion_bank(shapes or store) if self.kind == "place" else None

    def __len__(self) -> int:
        return len(self.places)

    @property
    def names(self) -> tuple[str, ...]:
        """The cases drawn on, in the order of names."""
        return tuple(dict.fromkeys(case for case, _ in self.places))

    def place(self, number: int) -> Place:
        """The source of case number `number`: each once, then again in another order."""
        turn, position = divmod(number, len(self.places))
        return self.places[_order(self.seed, turn, len(self.places))[position]]

    def take(self, number: int, turn: int = 0) -> Source:
        """The source of case number `number`.

        If the edit cannot be done in a case, the next one in the order is tried.

        Args:
            turn: 1, 2, ...: other labels for the same number, if no image can be made for these.
        Raises:
            DataError: it can be done in none of five.
        """
        if not self.kind:
            return self._loaded(number, self.place(number))
        rng = np.random.default_rng(chance("edit", self.seed, number, *((turn,) if turn else ())))
        told = {"turn": turn} if turn else {}
        steps = range(turn, turn + min(_TRIES, len(self.places)))
        tried = [self.place(number + step) for step in steps]
        for place in tried:
            source = self._loaded(number, place)
            try:
                labels, record = self._edited(source, rng)
                return replace(source, labels=labels, edits=record | told)
            except DataError as error:
                found = error
        raise DataError(
            f"case number {number}: no labels could be made from "
            f"{', '.join(case for case, _ in tried)}. {found}"
        ) from found

    def _loaded(self, number: int, place: Place) -> Source:
        case, sample = place
        if sample is None:
            return Source(number, case, 0, *self.store.volume(case), {})
        image, labels = self.store.sample(case, sample)
        return Source(number, case, sample, image[None], labels[None], {})

    def _edited(
        self, source: Source, rng: np.random.Generator
    ) -> tuple[np.ndarray, dict[str, Any]]:
        if self.kind == "keep":
            return source.labels, {}
        alone = self.edits.unit == "sample" or _flat(self.store)
        grid_mm = self.store.cases[source.case].grid_mm
        flat = alone and self.store.recipe.dims == 2
        labels = source.labels[0] if flat or self.store.recipe.dims == 3 else source.labels
        view = self._view(labels)
        edited = labels.copy()
        edited[view], record = self._changed(labels[view], grid_mm[1:] if flat else grid_mm, rng)
        return np.ascontiguousarray(edited.reshape(source.labels.shape), dtype=np.uint8), record

    def _view(self, labels: np.ndarray) -> tuple[slice, ...]:
        """The part of a map that is bent: of a crop what was scanned, so that its frame stays.

        Where regions tell tissue from nothing, a body that fills its box was cut there: bent with
        the rest, its straight sides would be borders that no scan has.
        """
        (box,) = find_objects((labels > 0).astype(np.uint8)) or (None,)
        cut = self.kind == "deform" and self.store.recipe.regions is not None
        if not cut or box is None or (labels[box] > 0).mean() < _CUT_THERE:
            return (slice(None),) * labels.ndim
        return box

    def _changed(
        self, labels: np.ndarray, spacing_mm: tuple[float, ...], rng: np.random.Generator
    ) -> tuple[np.ndarray, dict[str, Any]]:
        if self.kind == "redraw":
            return redraw(labels, spacing_mm, lesion=self.lesion, rng=rng)
        if self.kind == "reshape":
            return regraft(labels, spacing_mm, lesion=self.lesion, organ=self.organ, rng=rng)
        return edit_labels(
            labels,
            spacing_mm,
            kind=self.kind,
            lesion=self.lesion,
            organ=self.organ,
            bank=self.bank,
            rng=rng,
            lesions=self.lesions,
            strength=self.edits.strength,
        )

    def _eligible(self, split: str, from_healthy: bool) -> tuple[Place, ...]:
        if self.edits.unit == "case":
            return tuple((name, None) for name in self._eligible_cases(split, from_healthy))
        draw = next(d for d in self.store.recipe.draws if d.name == self.edits.draw)
        found = [p for case in places(self.store, split, draw) for p in case]
        if not found:
            raise DataError(
                f"{self.store.path}: no sample of split {split!r} suits draw {draw.name}. Choose "
                "another split, or prepare with other shares."
            )
        return tuple(found)

    def _eligible_cases(self, split: str, from_healthy: bool) -> tuple[str, ...]:
        names = tuple(sorted(self.store.names(split)))
        if not names:
            there = sorted({case.split for case in self.store.cases.values()})
            raise DataError(
                f"{self.store.path}: no case in split {split!r}, expected one of "
                f"{', '.join(there)}. Choose another split, or prepare with other shares."
            )
        if self.kind in ("", "keep"):
            return names
        wanted = self.organ or structure_indices(self.store, ("*",))
        if self.kind == "reshape":
            wanted = self.lesion
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


@lru_cache(maxsize=16)
def _order(seed: int, turn: int, number: int) -> np.ndarray:
    return np.random.default_rng(chance("order", seed, turn)).permutation(number)


def edits_for(recipe: Recipe, task: str) -> Edits:
    """How labels are changed for a task. Raises SettingsError with the tasks there are."""
    if task and task not in recipe.tasks:
        there = ", ".join(recipe.tasks) or "no other task than its own"
        raise SettingsError(f"task {task!r}: {recipe.method} has {there}. Choose one, or none.")
    return recipe.tasks[task] if task else recipe.edits


def _has(store: Store, name: str, indices: Sequence[int]) -> bool:
    return bool(store.counts(name)[:, list(indices)].sum() > 0)


def structure_indices(store: Store, names: Sequence[str]) -> tuple[int, ...]:
    """Structure names of a recipe as indices of a store; "*" is all that is labelled in files.

    "context" stands for every region that preparing added.
    """
    structures = list(enumerate(store.table.structures))
    if "*" in names:
        return tuple(k for k, name in structures if k and not is_context(name))
    regions = tuple(k for k, name in structures if is_context(name))
    if CONTEXT in names:
        others = tuple(name for name in names if name != CONTEXT)
        return (*structure_indices(store, others), *regions)
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
