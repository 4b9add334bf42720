"""Synthetic counterparts of real cases, in memory: made by a run, or by a control without a GAN.

They are what `scansmith synthesize` would write with the same run and seed, before it is rounded to
a file's numbers. All is kept in network range, for which the run's store and the study's store must
have one rule. Where its numbers or the structures' differ, `recoded` brings a case from the one to
the other, so that a segmenter may learn from the one and be tested on the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from scansmith.data.prepare_case import alone
from scansmith.data.store import Store
from scansmith.evaluate.segmentation import Labelled
from scansmith.labels.table import is_context
from scansmith.scan import DataError
from scansmith.synthesize.order import Order
from scansmith.synthesize.provenance import Origin
from scansmith.synthesize.source import Source, Sources, structure_indices
from scansmith.synthesize.works import Works
from scansmith.workflow import LoadedRun, Progress, load_run


@dataclass(frozen=True, eq=False)
class Case:
    """The labelled samples of a case, real or synthetic.

    Attributes:
        image: float32 (N, C, *S), network range.
        labels: uint8 (N, *S), structure indices of the store it is of, context included.
        numbers: N sample numbers in the store's case.
    """

    case: str
    patient: str
    image: np.ndarray
    labels: np.ndarray
    numbers: tuple[int, ...]

    @property
    def key(self) -> str:
        """The case as tables of scores name it."""
        return f"{self.patient}/{self.case}"


def told_apart(structures: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """What a segmenter has to find: names without context, and each index as it is to see it.

    Context is no finding: preparing worked it out of the image, or it follows from the rest.
    """
    names = tuple(name for name in structures if not is_context(name))
    found = [0 if is_context(name) else names.index(name) for name in structures]
    return names, np.array(found, dtype=np.uint8)


def real_cases(store: Store, split: str, patients: Sequence[str] | None = None) -> list[Case]:
    """The cases of a split, in the order of names; those with nothing labelled are left out.

    Samples that training never draws and those that `tells` nothing of are left out too.
    """
    found = []
    for name in store.names(split):
        stored = store.cases[name]
        if patients is None or stored.patient in patients:
            case = _kept(store, Case(name, stored.patient, *store.volume(name), ()), 0)
            found += [case] if len(case.image) else []
    return found


def labelled(cases: Sequence[Case], seen_as: np.ndarray) -> Labelled:
    """All samples of cases, as a segmenter learns from them."""
    return Labelled(
        [image for case in cases for image in case.image],
        [seen_as[labels] for case in cases for labels in case.labels],
    )


@dataclass(frozen=True, eq=False)
class Maker:
    """A trained run with its store, ready to make counterparts.

    Attributes:
        own: the store that the run was trained on.
    """

    name: str
    run: Path
    loaded: LoadedRun
    own: Store

    @staticmethod
    def of(name: str, run: Path, study: Store, patients: Sequence[str]) -> Maker:
        """Load a run, and refuse one that the study cannot judge.

        Args:
            study: the store whose test cases are tested on.
            patients: who may be learned from.
        Raises:
            DataError: the run's store has other samples or intensities, or it was trained on other
                patients than these.
        """
        loaded = load_run(run)
        wanted = loaded.method.facts.fingerprint
        own = study if study.facts.fingerprint == wanted else Store.open(loaded.store)
        if own.facts.fingerprint != wanted:
            raise DataError(
                f"{own.path}: is not the store that {run} was trained on any more (fingerprint "
                f"{own.facts.fingerprint}, expected {wanted}). Put it back, or train again."
            )
        problems = differences(own, study) or _leaks(own, study, patients)
        if problems:
            raise DataError("\n".join(f"{run}: {problem}" for problem in problems))
        return Maker(name, run, loaded, own)

    def edited(
        self,
        multiple: int,
        seed: int,
        most: int | None = None,
        after: int = 0,
        progress: Progress | None = None,
    ) -> list[Case]:
        """Counterparts of the training cases, each map edited once: `multiple` for each of them.

        Of all, with a lesion or without: what an arm learns is to be of as many patients as real
        cases are, and as many.

        Args:
            most: only so many, the first ones; None: all.
            after: multiples that were made before; those that follow them are made.
        """
        sources = Sources(self.own, seed, from_healthy=False)
        first, count = after * len(sources), multiple * len(sources)
        numbers = range(first, first + (count if most is None else min(count, most)))
        made, works = [], self._works(sources)
        for number in numbers:
            source, image, labels, _ = works.drawn(sources.take(number))
            patient, places = self.own.cases[source.case].patient, tuple(range(len(image)))
            case = Case(source.case, patient, image, labels, places)
            made.append(_kept(self.own, case, source.first))
            if progress is not None:
                progress(len(made), len(numbers), made[-1].case)
        return made

    def reconstructed(self, cases: Sequence[Case], study: Store, seed: int) -> list[Case] | None:
        """Counterparts of cases of the study, from their labels as they are.

        Returns:
            One for each case, with the same samples; None if the run's store has neither the cases
            nor the structures to read them from the study's.
        """
        store = self.own
        if any(case.case not in store.cases for case in cases):
            if study.facts.structures != store.facts.structures:
                return None
            store = study
        sources = Sources(store, seed, edit=False, split="all")
        made, works = [], self._works(sources)
        for number, case in enumerate(cases):
            source = Source(number, case.case, 0, *store.volume(case.case), {})
            image, labels, _ = works.draw(source)
            kept = list(case.numbers)
            made.append(Case(case.case, case.patient, image[kept], labels[kept], case.numbers))
        return made

    def _works(self, sources: Sources) -> Works:
        order = Order(None, sources.seed, edit=sources.edit, split="all")
        origin = Origin(self.run.name, self.loaded.fingerprint, type(self.loaded.method).name)
        return Works(self.loaded.method, sources, order, origin)


@dataclass(frozen=True, eq=False)
class ClassMeans:
    """The control without a GAN: each structure's mean value and spread, as noise."""

    mean: np.ndarray
    sd: np.ndarray

    @staticmethod
    def of(cases: Sequence[Case], structures: int) -> ClassMeans:
        """Mean and standard deviation of each modality in each structure, (C, K), over all voxels.

        A structure that no case has gets the values of the background.
        """
        channels = cases[0].image.shape[1]
        count = np.zeros(structures)
        total, squares = np.zeros((channels, structures)), np.zeros((channels, structures))
        for case in cases:
            flat = case.labels.ravel()
            count += np.bincount(flat, minlength=structures)
            for c in range(channels):
                values = case.image[:, c].ravel().astype(np.float64)
                total[c] += np.bincount(flat, values, structures)
                squares[c] += np.bincount(flat, values**2, structures)
        mean = total / np.maximum(count, 1)
        sd = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0))
        absent = count == 0
        mean[:, absent], sd[:, absent] = mean[:, :1], sd[:, :1]
        return ClassMeans(mean.astype(np.float32), sd.astype(np.float32))

    def painted(self, case: Case, rng: np.random.Generator) -> Case:
        """A case's label map as means and noise."""
        noise = rng.standard_normal(case.image.shape, dtype=np.float32)
        flat = self.mean[:, case.labels], self.sd[:, case.labels]
        mean, sd = (np.moveaxis(values, 0, 1) for values in flat)
        return Case(case.case, case.patient, mean + sd * noise, case.labels, case.numbers)


def tells(store: Store, case: str, labels: np.ndarray) -> bool:
    """Whether a sample's label map says what the sample shows: some structure, or that there is no
    lesion.

    Where lesions are set into an organ, a sample that shows the organ without any says that there
    is none, be the organ a region that preparing added. Where lesions lie anywhere, a sample
    without one says so if others of its case are labelled. Other samples may just not be labelled.

    Args:
        case: of the store, the sample's own or the one that its labels were made from.
    """
    _, seen_as = told_apart(store.facts.structures)
    edits = store.recipe.edits
    if edits.lesion and not edits.organ:
        free = store.cases[case].labelled
    else:
        free = bool(np.isin(labels, structure_indices(store, edits.organ)).any())
    return free or bool(seen_as[labels].any())


def _kept(store: Store, case: Case, first: int) -> Case:
    """The samples that are labelled and that training may draw."""
    left_out = store.cases[case.case].left_out
    kept = [
        n
        for n, labels in enumerate(case.labels)
        if first + n not in left_out and tells(store, case.case, labels)
    ]
    return Case(
        case.case,
        case.patient,
        case.image[kept],
        case.labels[kept],
        tuple(first + n for n in kept),
    )


def differences(own: Store, study: Store) -> list[str]:
    """Where two stores differ in what a segmenter would notice."""

    def facts(store: Store) -> dict[str, object]:
        names, _ = told_apart(store.facts.structures)
        return {
            "dims": store.facts.dims,
            "size": store.facts.size,
            "modalities": store.facts.modalities,
            "structures": names,
            "intensity": store.recipe.intensity,
        }

    def told(value: object) -> str:
        if not isinstance(value, tuple):
            return str(value)
        joint = " x " if all(isinstance(one, int) for one in value) else ", "
        return joint.join(map(str, value))

    here, there = facts(own), facts(study)
    remedy = "Both have to be of one kind, and prepared with the same settings."
    return [
        f"{own.path}: {name} {told(here[name])}, the study's store has {told(there[name])}. "
        f"{remedy}"
        for name in here
        if here[name] != there[name]
    ]


def recoded(case: Case, own: Store, study: Store) -> Case:
    """A case in the study's network range and structure indices, its raw values what they are.

    Where one pair of statistics stands for a whole data set, another set's own would make a dark
    set bright, and a faithful one with more lesions other than it is. What lies outside the range
    of either store is clipped. Context is background if the tables differ, since regions that one
    store tells apart are not another's; nobody learns it as a finding (`told_apart`).

    Args:
        own: the store that it comes from, in which `differences` finds nothing.
    """
    mine, theirs = own.facts.codecs, study.facts.codecs
    if not alone(own.recipe) and mine != theirs:
        channels = [
            there.encode(here.decode(case.image[:, c]))
            for c, (here, there) in enumerate(zip(mine, theirs, strict=True))
        ]
        case = replace(case, image=np.stack(channels, axis=1))
    there = study.facts.structures
    if own.facts.structures != there:
        found = [0 if is_context(name) else there.index(name) for name in own.facts.structures]
        case = replace(case, labels=np.array(found, dtype=np.uint8)[case.labels])
    return case


def _leaks(own: Store, study: Store, patients: Sequence[str]) -> list[str]:
    """Patients that a run learned from and should not have."""
    learned = {own.cases[name].patient for name in own.names("train")}
    test = {study.cases[name].patient for name in study.names("test")}
    if tested := sorted(learned & test):
        return [
            f"learned from {len(tested)} test patient(s) of the study, {tested[0]} among them. "
            "Prepare its store with the same split (data.split, data.seed) and train it again."
        ]
    if others := sorted(learned - set(patients)):
        return [
            f"learned from {len(others)} patient(s) that the segmenters may not see, {others[0]} "
            f"among them, expected {len(patients)} patients at most. Train it on these alone, or "
            "allow more (--patients)."
        ]
    return []
