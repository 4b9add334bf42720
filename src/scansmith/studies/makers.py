"""Where the synthetic samples of a study's arms come from: who makes them, round after round."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from scansmith.data.store import Store
from scansmith.evaluate.segmentation import Labelled
from scansmith.scan import DataError, ScansmithError
from scansmith.studies.carve_mix import CarveMix
from scansmith.studies.counterparts import (
    Case,
    ClassMeans,
    Maker,
    differences,
    labelled,
    real_cases,
    recoded,
    tells,
    told_apart,
)
from scansmith.studies.label_sampling import LabelSampling
from scansmith.studies.leakage import check_leakage
from scansmith.studies.place import Place
from scansmith.studies.spec import COPIES, MEANS, Spec
from scansmith.synthesize.source import Sources


class Makers:
    """The generators of a seed, the sets from elsewhere and the baselines, by name.

    A round is one synthetic case or slice for each real one that can be drawn on, which may be
    fewer than there are. What was made serves every arm.

    Args:
        store: the study's.
        real: the cases to learn from.
    """

    def __init__(self, place: Place[Spec], store: Store, real: Sequence[Case], seed: int):
        self.place, self.spec, self.store = place, place.spec, store
        self.real, self.seed = real, seed
        self._rounds: dict[str, list[Sequence[Case]]] = {}

    def samples(self, by: str, wanted: int) -> Labelled:
        """So many synthetic samples or more, unless a further round brings none.

        Each round is shuffled: who takes the first of many would else take those whose names come
        first, which may be of a few patients or of one centre, under every seed the same.
        """
        rounds, before = 1, None
        while True:
            found = self._shuffled(by, rounds)
            if len(found) >= wanted or len(found) == before:
                return found
            before = len(found)
            rounds = max(rounds + 1, -(-wanted * rounds // max(before, 1)))

    def cases(self, by: str, rounds: int) -> list[Case]:
        """What the first rounds gave."""
        return [case for made in self._made(by, rounds) for case in made]

    def _made(self, by: str, rounds: int) -> Sequence[Sequence[Case]]:
        """The first rounds; those that were not asked for before are made now."""
        made = self._rounds.setdefault(by, [])
        while len(made) < rounds:
            made.append(self._round(by, len(made)))
        return made[:rounds]

    def _shuffled(self, by: str, rounds: int) -> Labelled:
        """The samples of the first rounds, in an order of this seed, the same for every arm."""
        _, seen_as = told_apart(self.store.facts.structures)
        images, labels = [], []
        for turn, cases in enumerate(self._made(by, rounds)):
            found = labelled(cases, seen_as)
            order = np.random.default_rng([self.seed, turn, len(found)]).permutation(len(found))
            images += [found.images[n] for n in order]
            labels += [found.labels[n] for n in order]
        return Labelled(images, labels)

    def maker(self, generator: str) -> Maker:
        """A generator's run, refused if it was trained on other patients than this study's."""
        run = self.place.trained(generator, self.seed)
        return Maker.of(generator, run, self.store, sorted(self._learners))

    @property
    def _learners(self) -> set[str]:
        """Patients who may be learned from, those of whom no sample says what it shows included."""
        return {self.store.cases[name].patient for name in self.store.names("train")}

    def _round(self, by: str, turn: int) -> Sequence[Case]:
        """Round 0, 1, ... of one maker."""
        if by in self.spec.generators:
            maker = self.maker(by)
            with self.place.watched(f"{by}, seed {self.seed}, samples") as progress:
                made = maker.edited(1, self.seed, after=turn, progress=progress)
            return [recoded(case, maker.own, self.store) for case in made]
        if by in self.spec.sets:
            return [] if turn else self._on_disk(by)
        if by == COPIES:
            names = self.store.facts.structures
            spacing = self.store.spacing_mm
            copies = CarveMix.named(names, self.spec.lesion, self.spec.organ, spacing)
            return copies.cases(self.real, 1, self.seed, after=turn)
        structures = len(self.store.facts.structures)
        painter = (
            ClassMeans.of(self.real, structures) if by == MEANS else LabelSampling.of(self.real)
        )
        return [
            painter.painted(case, np.random.default_rng([self.seed, number]))
            for number, case in self._edited_maps(turn)
        ]

    def set_of(self, name: str) -> Store:
        """A synthetic set as the study's store would have it.

        Raises:
            DataError: a test patient had a part in it, or another whom the segmenters may not see;
                it cannot be told, or it does not fit.
        """
        given, store = self.spec.sets[name], set_store(self.place, name)
        with _named(self.place, name):
            told = check_leakage(
                given.path, self.store, runs=given.runs, learned=given.learned or None
            )
            problems = differences(store, self.store) + self._unseen(told.learned | told.drawn)
            if problems:
                raise DataError("\n".join(f"{given.path}: {problem}" for problem in problems))
        return store

    def _on_disk(self, name: str) -> list[Case]:
        """A synthetic set's cases. Raises DataError; see `set_of`."""
        store = self.set_of(name)
        return [recoded(case, store, self.store) for case in real_cases(store, "train")]

    def _unseen(self, learned: Collection[str]) -> list[str]:
        """A line if patients of the data set had a part in a set whom segmenters may not see."""
        there = {case.patient for case in self.store.cases.values()}
        allowed = self._learners
        others = sorted(there & set(learned) - allowed)
        if not others:
            return []
        return [
            f"{len(others)} patient(s) of the data set had a part in it whom the segmenters may "
            f"not see, {others[0]} among them, expected {len(allowed)} patients at most. Make it "
            "from these alone, or allow more (--patients)."
        ]

    def _edited_maps(self, turn: int) -> Iterator[tuple[int, Case]]:
        """The real cases' label maps, edited as the recipe says, under their old images.

        Each with the number that it has among those of all rounds.
        """
        sources = Sources(self.store, self.seed, from_healthy=False)
        for number in range(turn * len(sources), (turn + 1) * len(sources)):
            one = sources.take(number)
            patient = self.store.cases[one.case].patient
            kept = [n for n, labels in enumerate(one.labels) if tells(self.store, one.case, labels)]
            numbers = tuple(one.first + n for n in kept)
            yield number, Case(one.case, patient, one.image[kept], one.labels[kept], numbers)


def set_store(place: Place[Spec], name: str) -> Store:
    """A synthetic set, prepared; errors say which one.

    Raises:
        DataError: it cannot be prepared, or was changed since it was.
    """
    with _named(place, name):
        return place.store_of(name)


@contextmanager
def _named(place: Place[Spec], name: str) -> Iterator[None]:
    """What goes wrong within is told with the name and the folder of a set."""
    folder = place.spec.sets[name].path
    try:
        yield
    except ScansmithError as error:
        told = str(error)
        where = "" if told.startswith(f"{folder}:") else f"{folder}: "
        raise type(error)(f"sets.{name}: {where}{told}") from error
