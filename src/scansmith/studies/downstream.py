"""Do synthetic scans help? Segmenters that learn from mixes of real and synthetic samples.

A study (see `spec`) is done in one folder, in cells that are kept when they are finished:

    store/          the samples; patients are dealt out here, before anything is trained
    stores/         the same patients' samples for generators with data settings of their own
    sets/           synthetic sets from elsewhere, brought to the same grid and intensities
    generators/     a run for each generator and seed, trained on the store's training patients
    segmenters/     a run for each arm and seed
    cells/          each test case's Dice, one file for each arm and seed; or why there is none

Generators of a seed serve the arms of that seed, so that arms are compared seed by seed and patient
by patient. A cell that fails is told and does not keep the others from being done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from scansmith.augment import refuse_swapped_sides
from scansmith.data.store import Store
from scansmith.evaluate.label_value import label_value_dice, label_value_mse
from scansmith.evaluate.modality_segmenters import ModalitySegmenters, train_modality_segmenters
from scansmith.evaluate.overlap import MEAN, dice, finite_mean
from scansmith.evaluate.segmentation import Labelled, Samples, Segmenter, train_segmenter
from scansmith.evaluate.segmenter_networks import check_network
from scansmith.scan import DataError, RunError, ScansmithError, SettingsError
from scansmith.studies.cells import Scores, attempt, cell, file_name, is_kept
from scansmith.studies.counterparts import Case, labelled, real_cases, told_apart
from scansmith.studies.makers import Makers, set_store
from scansmith.studies.mix import Mix
from scansmith.studies.mixed import Favour, enhanced, mixed
from scansmith.studies.place import Place
from scansmith.studies.processes import each_seed, killed
from scansmith.studies.spec import COPIES, LABEL_DICE, LABEL_MSE, Arm, Spec
from scansmith.train.folder import begun_alike

Tell = Callable[[str], None]


class Downstream:
    """The arms of a study under one seed; its store has been prepared."""

    def __init__(self, place: Place[Spec], seed: int):
        self.opened = Store.open(place.out / "store")
        lesion = place.spec.lesions(self.opened.facts.structures)
        self.spec, self.seed = place.spec.model_copy(update={"lesion": lesion}), seed
        self.place = replace(place, spec=self.spec)
        self.structures, self.seen_as = told_apart(self.opened.facts.structures)
        self.known("decided_by", self.spec.decided_by)

    @cached_property
    def values(self) -> np.ndarray:
        """What each of `structures` is in the data's files: BraTS calls enhancing tumour 4."""
        names = self.opened.facts.structures
        return self.opened.table.decode(np.array([names.index(name) for name in self.structures]))

    @cached_property
    def makers(self) -> Makers:
        """Who makes synthetic samples for the arms."""
        return Makers(self.place, self.opened, self.real, self.seed)

    @cached_property
    def real(self) -> list[Case]:
        """The real cases to learn from."""
        return real_cases(self.opened, "train")

    @cached_property
    def test(self) -> list[Case]:
        """The real cases to be tested on."""
        return tested(self.opened)

    def check(self) -> None:
        """Refuse what would let every arm fail, before anything is trained.

        Raises:
            SettingsError: structures are named that there are not, or the segmenters' network has
                no such form; with all that is wrong.
            RunError: the folder holds cells or runs of another study.
        """
        self._check_settings()
        for name in self.spec.arms:
            self.is_done(name)
        for name in self.spec.generators:
            self.place.is_trained(name, self.seed)

    def _check_settings(self) -> None:
        named = {"lesion": self.spec.lesion, "organ": self.spec.organ}
        named |= {f"arms.{name}.showing": arm.showing for name, arm in self.spec.arms.items()}
        asked, dims = self.spec.segmenters, self.opened.facts.dims
        checks: list[Callable[[], object]] = [
            partial(check_network, asked.numbers, dims, self.structures),
            partial(refuse_swapped_sides, asked.augmentation, self.structures, dims),
            *(partial(self.known, what, names) for what, names in named.items()),
        ]
        problems = []
        for check in checks:
            try:
                check()
            except SettingsError as error:
                problems.append(str(error))
        if problems:
            raise SettingsError("\n".join(problems))

    def is_done(self, name: str) -> bool:
        """Whether an arm's cell is finished; it is not if its set on disk cannot be used now.

        Raises:
            RunError: it is of another study.
        """
        try:
            record = self.record(name)
        except ScansmithError:  # told when it is the arm's turn
            return False
        if is_kept(self.cells, f"{name} seed{self.seed}", record):
            return True
        own = self._run_of(name)
        for run in (path.parent for path in own.glob("**/run.json")):
            alone = {} if run == own else {"modality": run.name}  # each modality's is in a folder
            begun_alike(run, {"samples": record | alone})
        return False

    def _run_of(self, name: str) -> Path:
        """The folder of an arm's segmenter; those of modalities have folders of their own in it."""
        return self.place.out / "segmenters" / file_name(f"{name} seed{self.seed}")

    def score(self, name: str) -> Scores:
        """Dice of an arm's segmenter on every real test case."""

        def work() -> Scores:
            segmenter = self.trained(name)
            return {
                case.key: segmenter.scores(case.image, self.seen_as[case.labels], self.measure)
                for case in self.test
            }

        found = cell(self.cells, f"{name} seed{self.seed}", self.record(name), work)
        assert found is not None
        return found

    def measure(self, labels_true: np.ndarray, labels_pred: np.ndarray) -> dict[str, float]:
        """Dice of each structure, and their mean: of those that decide, if the study names any.

        With a segmenter for each modality label values are compared too, as the paper does that
        has them: means over the samples.
        """
        found = dice(labels_true, labels_pred, self.structures)
        if self.spec.decided_by:
            found[MEAN] = finite_mean([found[name] for name in self.spec.decided_by])
        if self.spec.segmenters.each_modality:
            values = (self.values[labels] for labels in (labels_true, labels_pred))
            pairs = list(zip(*values, strict=True))
            found[LABEL_MSE] = float(np.mean([label_value_mse(*pair) for pair in pairs]))
            found[LABEL_DICE] = float(np.mean([label_value_dice(*pair) for pair in pairs]))
        return found

    def known(self, what: str, names: Sequence[str]) -> list[int]:
        """Indices of structures of the data.

        Raises:
            SettingsError: there are others among the names; `what` says whose they are.
        """
        there = list(self.opened.facts.structures)
        if wrong := [name for name in names if name not in there[1:]]:
            raise SettingsError(
                f"{what}: found {', '.join(wrong)}, expected names among {', '.join(there[1:])}. "
                "Name structures of the data."
            )
        return [there.index(name) for name in names]

    @property
    def cells(self) -> Path:
        """The folder of what is finished."""
        return self.place.out / "cells"

    def trained(self, name: str) -> Segmenter | ModalitySegmenters:
        """The segmenter of an arm, or those of its modalities; an unfinished training goes on."""
        arm, told = self.spec.arms[name], self.spec.segmenters
        samples, steps = self.samples(arm)
        modalities = self.opened.facts.modalities
        learn: Callable[..., Segmenter | ModalitySegmenters]
        if told.each_modality:
            learn = partial(train_modality_segmenters, samples, modalities=modalities)
        else:
            learn = partial(train_segmenter, samples, channels=len(modalities))
        with self.place.watched(f"{name}, seed {self.seed}") as progress:
            return learn(
                dims=self.opened.facts.dims,
                structures=self.structures,
                steps=steps,
                seed=self.seed,
                augment=told.augmentation if arm.augment else False,
                spacing_mm=self.opened.spacing_mm,
                numbers=told.numbers,
                run=self._run_of(name),
                record=self.record(name),
                progress=progress,
            )

    def samples(self, arm: Arm) -> tuple[Samples, int]:
        """What an arm learns from, and for how many steps."""
        cases = self.showing(arm)
        real = labelled(cases, self.seen_as)
        made = Labelled([], [])
        if arm.synthetic:
            made = self.makers.samples(arm.by, arm.plan.sizes(len(real))["synthetic"])
        batch = self.spec.segmenters.batch
        steps = self.steps(arm, len(real))
        whose = [case.patient for case in cases for _ in case.labels]
        mix = arm.plan.mix(len(real), steps * batch, self.seed, synthetic=len(made), patients=whose)
        return mixed(mix, self._sources(mix, real, made), batch, self._favour()), steps

    def _favour(self) -> Favour | None:
        share = self.spec.segmenters.lesion_share
        if not share:
            return None
        lesions = self.known("lesion", self.spec.lesion)
        return Favour(tuple(int(k) for k in self.seen_as[lesions]), share)

    def showing(self, arm: Arm) -> list[Case]:
        """The real cases that an arm learns from, with the samples that it asks for.

        Raises:
            SettingsError: a structure is asked for that there is not.
            DataError: no sample shows any of them.
        """
        if not arm.showing:
            return self.real
        wanted, found = self.known("showing", arm.showing), []
        for case in self.real:
            keep = [n for n, labels in enumerate(case.labels) if np.isin(labels, wanted).any()]
            if keep:
                numbers = tuple(case.numbers[n] for n in keep)
                image, labels = case.image[keep], case.labels[keep]
                found.append(Case(case.case, case.patient, image, labels, numbers))
        if not found:
            raise DataError(
                f"showing: found no real sample with {' or '.join(arm.showing)}, expected some. "
                "Leave it out, or learn from more patients."
            )
        return found

    def steps(self, arm: Arm, real: int) -> int:
        """Steps of an arm: as many as the reference's, or as keep the real samples' exposure."""
        told, sizes = self.spec.segmenters, arm.plan.sizes(real)
        steps = told.steps * arm.times
        if told.hold == "real" and sizes["real"]:
            steps *= sum(sizes.values()) / sizes["real"]
        return max(1, round(steps))

    def _sources(self, mix: Mix, real: Labelled, made: Labelled) -> dict[Any, Labelled]:
        found = {"real": real, "synthetic": made}
        if mix.sizes["enhanced"]:
            spacing = self.opened.spacing_mm
            found["enhanced"] = enhanced(real, mix, self.spec.segmenters.augmentation, spacing)
        return found

    def record(self, name: str) -> dict[str, Any]:
        """What decides the result of an arm.

        Raises:
            ScansmithError: the arm's set on disk cannot be used, or was changed.
        """
        arm, told = self.spec.arms[name], self.spec.segmenters
        by: Any = arm.by
        if arm.by in self.spec.generators:
            by = self.spec.generators[arm.by].model_dump(mode="json")
        elif arm.by in self.spec.sets:
            by = {"content": set_store(self.place, arm.by).facts.fingerprint}
        copied = [list(self.spec.lesion), list(self.spec.organ)] if arm.by == COPIES else []
        return {
            "arm": arm.model_dump(mode="json"),
            "by": by,
            "copied": copied,
            "favoured": list(self.spec.lesion) if told.lesion_share else [],
            "decided by": list(self.spec.decided_by),
            "seed": self.seed,
            "store": self.opened.facts.fingerprint,
            "segmenters": told.model_dump(mode="json", exclude={"numbers": {"device", "threads"}}),
        }


def tested(store: Store) -> list[Case]:
    """The real cases that segmenters are tested on. Raises DataError if there are none."""
    found = real_cases(store, "test")
    if not found:
        raise DataError(
            f"{store.path}: no labelled case in the test split, on which segmenters are compared. "
            "Give data.split a share for it (--data-set data.split=0.8,0,0.2)."
        )
    return found


def run_cells(
    place: Place[Spec], seeds: Sequence[int], jobs: int = 1, tell: Tell = print
) -> tuple[dict[str, list[Scores | None]], list[str]]:
    """Every arm under every seed.

    Args:
        jobs: seeds at work at once, each in a process of its own.
    Returns:
        arm -> scores under each seed, None where a cell failed; and what went wrong.
    Raises:
        DataError: nobody to test on.
        SettingsError: structures are named that there are not.
        RunError: the folder holds another study, or no cell at all could be finished.
    """
    for name in ("", *place.spec.generators):
        note = place.store(name).cut_note  # prepared before the processes, which would all write it
        if note:
            tell(f"{name}: {note}" if name else note)
    tested(place.store())
    tell(_to_do(place, seeds))
    if others := _others(place):
        tell(
            f"{place.out}: also holds cells of {', '.join(others)}, which this study does not "
            "name. They stay in cells/, and results and report are written without them."
        )
    for line in _unusable(place, seeds):
        tell(line)
    done = [
        _kept(place, seed) if found is None else found
        for seed, found in zip(seeds, each_seed(_arms, place, seeds, jobs), strict=True)
    ]
    problems = [problem for _, told in done for problem in told]
    if not any(scores for found, _ in done for scores in found.values()):
        raise RunError("\n".join([f"{place.out}: no cell could be finished.", *problems]))
    for problem in problems:
        tell(problem)
    return {name: [found[name] for found, _ in done] for name in place.spec.arms}, problems


def _others(place: Place[Spec]) -> list[str]:
    """Arms, as files are called after them, that were trained here by a file that named others."""
    mine = {file_name(name) for name in place.spec.arms}
    there = {path.stem.rpartition("-seed")[0] for path in (place.out / "cells").glob("*.json")}
    return sorted(there - mine)


def _to_do(place: Place[Spec], seeds: Sequence[int]) -> str:
    """How much there is to do, for who waits; what would let it fail is refused before."""
    arms, done = list(place.spec.arms), 0
    for seed in seeds:
        study = Downstream(place, seed)
        study.check()
        done += sum(map(study.is_done, arms))
    cells, before = len(arms) * len(seeds), f", {done} of them done before" if done else ""
    return f"{cells} cell(s) to train{before}: {len(arms)} arm(s) under {len(seeds)} seed(s)"


def _unusable(place: Place[Spec], seeds: Sequence[int]) -> list[str]:
    """A line for each set that cannot be used, told before hours of training of other arms.

    The sets of all arms that are not done are prepared by this, before processes would write them.
    """
    studies, problems = [Downstream(place, seed) for seed in seeds], list[str]()
    for name, arms in place.spec.makers.items():
        if name in place.spec.sets:
            waiting = [arm for arm in arms if not all(one.is_done(arm) for one in studies)]
            what = f"cannot be done as it is, the others go on: {', '.join(waiting)}"
            if waiting:
                attempt(what, partial(studies[0].makers.set_of, name), problems)
    return problems


def _arms(place: Place[Spec], seed: int) -> tuple[dict[str, Scores | None], list[str]]:
    """Every arm under one seed, so that what a maker made serves all of them; what went wrong."""
    study, problems = Downstream(place, seed), list[str]()
    found: dict[str, Scores | None] = {}
    for name in place.spec.arms:
        found[name] = attempt(f"{name}, seed {seed}", partial(study.score, name), problems)
    return found, problems


def _kept(place: Place[Spec], seed: int) -> tuple[dict[str, Scores | None], list[str]]:
    """What was finished under a seed before its process was killed; and a line about that."""
    study = Downstream(place, seed)
    found = {name: study.score(name) if study.is_done(name) else None for name in place.spec.arms}
    return found, [killed(seed)]
