"""The classifiers of ANT-GAN's Tables VI and VII: what they learn from, what they say of others.

What is learned from is a class for each slice, not a label map: a fake abnormal slice is abnormal
because it was made so. Classifiers take label maps; here they are 0 or 1 everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from scansmith.data.batches import places
from scansmith.evaluate.classification import ClassifierNumbers, balanced, train_classifier
from scansmith.evaluate.lesion_rule import ABNORMAL, CLASSES, NORMAL, LesionRule
from scansmith.evaluate.segmentation import Labelled
from scansmith.methods.ant_gan import AntGan
from scansmith.scan import DataError
from scansmith.settings import Augmentation
from scansmith.studies.cells import Scores, cell, file_name
from scansmith.studies.healed_folds import Fold, kept_apart
from scansmith.studies.healed_slices import Images, Slice, lesion_of, translated
from scansmith.studies.healing import mean_fill
from scansmith.studies.lesion_copies import Copies, Copying

RULE = LesionRule((ABNORMAL,))
AT_ONCE = 64  # test slices in memory


@dataclass(frozen=True)
class Kinds:
    """The slices of a fold's split by class, as the store's own draws have them."""

    fold: Fold
    split: str

    @cached_property
    def of(self) -> dict[int, list[Slice]]:
        """NORMAL and ABNORMAL. Raises DataError if a class has none."""
        store, found = self.fold.store, {}
        draws = {draw.name: draw for draw in store.recipe.draws}
        for kind, name in ((NORMAL, "normal"), (ABNORMAL, "abnormal")):
            found[kind] = [
                Slice(case, n, store.cases[case].patient)
                for group in places(store, self.split, draws[name])
                for case, n in group
            ]
            if not found[kind]:
                raise DataError(
                    f"{store.path}: fold {self.fold.number} has no {name} slice in its "
                    f"{self.split} split, expected one at least. Add patients, or ask for fewer "
                    "folds."
                )
        return found

    def all(self) -> tuple[list[Slice], list[int]]:
        """Every slice, and its class."""
        slices = [one for kind in (NORMAL, ABNORMAL) for one in self.of[kind]]
        return slices, [kind for kind in (NORMAL, ABNORMAL) for _ in self.of[kind]]

    def drawn(self, each: int, seed: int) -> tuple[list[Slice], list[int]]:
        """So many slices of each class by chance, normal ones first. Raises DataError: too few."""
        chosen = []
        for kind in (NORMAL, ABNORMAL):
            there = self.of[kind]
            if len(there) < each:
                raise DataError(
                    f"{self.fold.store.path}: fold {self.fold.number} has {len(there)} "
                    f"{CLASSES[kind]} slices to learn from, expected {each}. Add patients, or ask "
                    "for fewer (--set slices=...)."
                )
            order = np.random.default_rng([seed, kind]).permutation(len(there))
            chosen += [there[n] for n in sorted(order[:each])]
        return chosen, [NORMAL] * each + [ABNORMAL] * each


@dataclass(frozen=True)
class Sample:
    """What a classifier learns from.

    Attributes:
        classes: NORMAL or ABNORMAL, of each image (C, H, W).
        patients: whose slices these are, or were made of.
    """

    images: Sequence[np.ndarray]
    classes: Sequence[int]
    patients: frozenset[str]

    @staticmethod
    def of(images: Sequence[np.ndarray], classes: Sequence[int], places: Sequence[Slice]) -> Sample:
        """Images, and where they or what they were made of came from."""
        return Sample(images, classes, frozenset(place.patient for place in places))

    def labelled(self) -> Labelled:
        """With maps that are the class everywhere."""
        size = self.images[0].shape[1:]
        maps = {kind: np.full(size, kind, np.uint8) for kind in (NORMAL, ABNORMAL)}
        return Labelled(self.images, [maps[kind] for kind in self.classes])


def with_fakes(kinds: Kinds, method: AntGan, each: int, seed: int) -> Sample:
    """So many real slices of each class, N2A of the normal ones and A2N of the abnormal ones."""
    drawn, classes = kinds.drawn(each, seed)
    images = list(Images(kinds.fold.store, drawn))
    normal, abnormal = np.split(np.stack(images), 2)
    made = [*translated(method.n2a, normal), *translated(method.a2n, abnormal)]
    fake = [ABNORMAL] * each + [NORMAL] * each
    return Sample.of([*images, *(one.astype(np.float32) for one in made)], classes + fake, drawn)


def with_copies(kinds: Kinds, each: int, seed: int) -> Sample:
    """So many real slices of each class, and what can be made of them without a generator.

    Of the normal ones copies with another patient's lesion, as far as one fits; the abnormal ones
    with the mean of the body round it in place of the lesion.
    """
    store = kinds.fold.store
    drawn, classes = kinds.drawn(each, seed)
    images, normal, abnormal = list(Images(store, drawn)), drawn[:each], drawn[each:]
    lesion = lesion_of(store)
    copies = Copies.of(Copying(store, lesion, seed), normal, abnormal)
    masks = [np.isin(store.sample(place.case, place.sample)[1], lesion) for place in abnormal]
    filled = mean_fill(np.stack(images[each:]), np.stack(masks))
    fake = [ABNORMAL] * len(copies) + [NORMAL] * each
    return Sample.of([*images, *copies, *filled], classes + fake, drawn)


@dataclass(frozen=True)
class Training:
    """One classifier of a fold: how it learns.

    Attributes:
        facts: what else decides the result: the arm, whose ANT-GAN, how many slices.
    """

    name: str
    fold: Fold
    seed: int
    numbers: ClassifierNumbers
    steps: int
    batch: int
    augmentation: Augmentation | None
    facts: Mapping[str, Any]

    def record(self) -> dict[str, Any]:
        """What decides the result."""
        told = self.augmentation
        return {
            **self.facts,
            "store": self.fold.store.facts.fingerprint,
            "seed": self.seed,
            "numbers": self.numbers.model_dump(mode="json", exclude={"device", "threads"}),
            "steps": self.steps,
            "batch": self.batch,
            "augmentation": told and told.model_dump(mode="json"),
        }


View = Callable[[Sequence[Slice]], Sequence[np.ndarray]]


def judged(out: Path, asked: Training, sample: Callable[[], Sample], view: View) -> Scores:
    """What a classifier says of every slice that its fold tests on; trained if it is not.

    Args:
        out: the study's folder.
        view: slices -> what the classifier sees of them.
    Returns:
        "patient/case/slice" -> abnormal (0 or 1), chance (probability of being abnormal).
    Raises:
        DataError: the fold's test patients lack a class, which is found before anything is trained;
            or a test patient's slice, or what was made of one, is learned from.
    """

    def work() -> Scores:
        slices, classes = Kinds(asked.fold, "test").all()
        learned = sample()
        tested: Collection[str] = asked.fold.patients("test")
        kept_apart(tested, {f"the classifier {asked.name!r}": learned.patients})
        judge = train_classifier(
            balanced(learned.labelled(), RULE, asked.batch, asked.seed),
            RULE,
            channels=len(learned.images[0]),
            steps=asked.steps,
            seed=asked.seed,
            augment=asked.augmentation or False,
            spacing_mm=asked.fold.store.spacing_mm,
            numbers=asked.numbers,
            run=out / "classifiers" / file_name(asked.name),
            record=asked.record(),
        )
        found = {}
        for start in range(0, len(slices), AT_ONCE):
            part = slices[start : start + AT_ONCE]
            chances = judge.predict(np.stack(list(view(part))))
            kinds = classes[start : start + AT_ONCE]
            for place, kind, chance in zip(part, kinds, chances, strict=True):
                key = f"{place.patient}/{place.case}/{place.sample:04}"
                found[key] = {"abnormal": float(kind), "chance": float(chance)}
        return found

    found = cell(out / "cells", asked.name, asked.record(), work)
    assert found is not None
    return found
