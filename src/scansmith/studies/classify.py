"""Can a network tell slices with a lesion from slices without, and do synthetic scans help it?

One data set on disk is split by patient; a classifier learns from its training slices ("real"), and
one more from these and each synthetic set together ("real + NAME"), all for the same number of
steps, half of every batch abnormal. Beside synthetic sets one learns from what needs no generator
("real + copies"): normal slices with other training patients' lesions. A slice is abnormal if the
lesion covers `data.min_pixels` of it, normal if it shows none; between the two it is left out. A
scan is abnormal if one of its slices is, and as probable as the most probable of them.

Scans without a label file are left out: nothing tells what they show. A label file without a
lesion is a scan without one. A synthetic set that a test patient had a part in is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from scansmith.data.layouts import find_layout
from scansmith.data.prepare import prepare
from scansmith.data.store import Store
from scansmith.evaluate.classification import (
    ClassifierNumbers,
    balanced,
    check_network,
    train_classifier,
)
from scansmith.evaluate.classification_scores import scores_by_patient
from scansmith.evaluate.confusion import gains, table_of
from scansmith.evaluate.lesion_rule import ABNORMAL, NORMAL, UNCLEAR, LesionRule
from scansmith.evaluate.segmentation import Labelled
from scansmith.io.atomic import write_bytes
from scansmith.methods.ant_gan import AntGan, AntSettings
from scansmith.recipe import Draw, Edits, Recipe
from scansmith.scan import DataError, SettingsError
from scansmith.settings import Augmentation, Section, load_settings, number
from scansmith.studies.auc_gains import auc_gain
from scansmith.studies.cells import REFUSED, Scores, all_done, attempt, cell, file_name
from scansmith.studies.classify_report import COPIES, REAL, as_markdown
from scansmith.studies.counterparts import differences, told_apart
from scansmith.studies.healed_slices import Images, Joined, Maps, Slice, slices
from scansmith.studies.leakage import check_leakage
from scansmith.studies.lesion_copies import Copies, Copying
from scansmith.train.checkpoint import write_json

DATA = ("data.split=0.7,0,0.3", "data.min_foreground=0.05")
"""Over the `cpu` preset of ANT-GAN's data: nobody validates, and the ends of a scan count too."""
AT_ONCE = 64  # test slices in memory


class Asked(Section):
    """The classifiers and their training, the same in every arm. Sized for two CPU cores."""

    steps: int = number(1000, "training steps", gt=0)
    batch: int = number(8, "slices in a step, half of them abnormal", gt=1, multiple_of=2)
    numbers: ClassifierNumbers = ClassifierNumbers(width=0.125, learning_rate=1e-3)
    augmentation: Augmentation = Augmentation()


@dataclass(frozen=True)
class Classifiers:
    """The arms of one study in its folder: store/, sets/, classifiers/, cells/."""

    data: Path
    out: Path
    synthetic: Mapping[str, Path]
    lesion: tuple[str, ...]
    asked: Asked
    settings: AntSettings
    runs: tuple[Path, ...] = ()
    learned: tuple[str, ...] = ()

    @cached_property
    def store(self) -> Store:
        """The real slices, prepared once."""
        return prepare(self.data, self.out / "store", self._recipe(), workers=1)

    @cached_property
    def rule(self) -> LesionRule:
        """What is abnormal, by the names of the store's structures."""
        names, _ = told_apart(self.store.facts.structures)
        return LesionRule.of(names, self.lesion or None, self.settings.data.min_pixels)

    @cached_property
    def arms(self) -> list[str]:
        """What classifiers learn from; beside synthetic sets copies, if one lesion fits at all."""
        beside = list(self.synthetic)
        if beside and any(True for _ in self._copying(0).pairs(*self.sides)):
            beside.insert(0, COPIES)
        return [REAL, *(f"{REAL} + {name}" for name in beside)]

    def set_of(self, name: str) -> Store:
        """A synthetic set as the store would have it.

        Raises:
            DataError: a test patient had a part in it, or another who may not be learned from; it
                cannot be told, it does not fit, or nothing in it is labelled.
        """
        root = self.synthetic[name]
        told = check_leakage(root, self.store, runs=self.runs, learned=self.learned or None)
        whole = self._recipe().model_copy(update={"split": (1.0, 0.0, 0.0), "patients": 0})
        found = prepare(root, self.out / "sets" / file_name(name), whole, workers=1)
        problems = differences(found, self.store) + self._unseen(told.learned | told.drawn)
        if not problems and not labelled(found, "train", root)[1]:
            problems = ["no labelled slice, expected some to learn from. Give it with its labels."]
        if problems:
            raise DataError("\n".join(f"{root}: {problem}" for problem in problems))
        return found

    def _unseen(self, had_a_part: Collection[str]) -> list[str]:
        """A line if patients of the data had a part in a set whom classifiers may not see."""
        patients = {case.patient for case in self.store.cases.values()}
        allowed = {self.store.cases[name].patient for name in self.store.names("train")}
        others = sorted(patients & set(had_a_part) - allowed)
        if not others:
            return []
        return [
            f"{len(others)} patient(s) of the data had a part in it whom real slices alone are not "
            f"learned from, {others[0]} among them, expected none. Make it from the "
            f"{len(allowed)} training patients alone."
        ]

    def score(self, arm: str, seed: int) -> Scores:
        """Class and probability of each clear test slice: "patient/case/slice"."""
        by = arm.removeprefix(f"{REAL} + ") if arm != REAL else ""
        beside = [self.set_of(by).facts.fingerprint] if by in self.synthetic else [by] * bool(by)
        record = {
            "arm": arm,
            "seed": seed,
            "learned from": [self.store.facts.fingerprint, *beside],
            "rule": {"lesion": list(self.rule.lesion), "least_pixels": self.rule.least_pixels},
            **self.asked.model_dump(mode="json", exclude={"numbers": {"device", "threads"}}),
        }
        name = f"{arm} seed{seed}"
        run = self.out / "classifiers" / file_name(name)

        def work() -> Scores:
            judge = train_classifier(
                balanced(self.samples(by, seed), self.rule, self.asked.batch, seed),
                self.rule,
                channels=len(self.store.facts.modalities),
                steps=self.asked.steps,
                seed=seed,
                augment=self.asked.augmentation,
                spacing_mm=self.store.spacing_mm,
                numbers=self.asked.numbers,
                run=run,
                record=record,
            )
            return self._said(judge)

        scores = cell(self.out / "cells", name, record, work)
        assert scores is not None
        return scores

    def samples(self, by: str, seed: int) -> Labelled:
        """The real training slices, and beside them copies or the set of a name; "": nothing."""
        sources = {self.data: self.store}
        if by in self.synthetic:
            sources[self.synthetic[by]] = self.set_of(by)
        found = [labelled(store, "train", root) for root, store in sources.items()]
        images: list[Sequence[np.ndarray]] = [Images(store, places) for store, places in found]
        maps: list[Sequence[np.ndarray]] = [seen(store, places) for store, places in found]
        if by == COPIES:
            copies = Copies.of(self._copying(seed), *self.sides)
            abnormal = np.full(self.store.facts.size, self.rule.lesion[0], np.uint8)
            images.append(copies)
            maps.append([abnormal] * len(copies))
        return Labelled(Joined(images), Joined(maps))

    @cached_property
    def sides(self) -> tuple[list[Slice], list[Slice]]:
        """The labelled training slices that are normal, and those that are abnormal."""
        found = self._classified("train")
        normal, abnormal = ([s for s, kind in found if kind == side] for side in (NORMAL, ABNORMAL))
        return normal, abnormal

    @cached_property
    def unclear(self) -> set[str]:
        """Test patients with a slice that is neither normal nor abnormal."""
        return {place.patient for place, kind in self.tested if kind == UNCLEAR}

    @cached_property
    def tested(self) -> list[tuple[Slice, int]]:
        """The labelled test slices and their classes."""
        return self._classified("test")

    def _classified(self, split: str) -> list[tuple[Slice, int]]:
        _, places = labelled(self.store, split, self.data)
        classes = self.rule.of_samples(Labelled([], seen(self.store, places)))
        return list(zip(places, classes.tolist(), strict=True))

    def _said(self, judge: Any) -> Scores:
        clear = [(place, kind) for place, kind in self.tested if kind != UNCLEAR]
        if not clear:
            raise DataError(
                f"{self.store.path}: no labelled test slice is normal or abnormal, expected some. "
                "Give data.split a larger share for testing, or lower data.min_pixels."
            )
        found = {}
        for start in range(0, len(clear), AT_ONCE):
            part = clear[start : start + AT_ONCE]
            chances = judge.predict(np.stack(list(Images(self.store, [p for p, _ in part]))))
            for (place, kind), chance in zip(part, chances, strict=True):
                key = f"{place.patient}/{place.case}/{place.sample:04}"
                found[key] = {"abnormal": float(kind), "chance": float(chance)}
        return found

    def _copying(self, seed: int) -> Copying:
        """Of the lesion as the store itself counts structures, context included."""
        _, seen_as = told_apart(self.store.facts.structures)
        lesion = np.flatnonzero(np.isin(seen_as, self.rule.lesion)).tolist()
        return Copying(self.store, tuple(lesion), seed)

    def _recipe(self) -> Recipe:
        """ANT-GAN's slices, whatever they show: a set may hold lesions alone."""
        stated = AntGan.recipe(self.settings)
        any_slice = {"draws": (Draw(name="any"),), "edits": Edits(kind="keep"), "tasks": {}}
        plain = self.settings.data.model_dump(mode="json")
        return stated.model_copy(
            update={**any_slice, "method": "classify", "channels": None, "settings": plain}
        )


def classify(
    data: Path | str,
    out: Path | str,
    *,
    synthetic: Mapping[str, Path | str] | None = None,
    lesion: Sequence[str] = (),
    seeds: Sequence[int] = (0, 1, 2),
    data_sets: Sequence[str] = (),
    sets: Sequence[str] = (),
    runs: Sequence[Path | str] = (),
    learned: Sequence[str] = (),
) -> dict[str, Any]:
    """Train and score classifiers, or what of it is not done yet.

    Args:
        data: the real data set, in any layout that is known.
        out: the study's folder; the same one goes on with it.
        synthetic: name -> data set on disk.
        lesion: structures that make a slice abnormal; (): those named like a lesion, else any.
        data_sets: ANT-GAN's data settings, data.a=b.
        sets: settings of `Asked`, a.b=c.
        runs: runs that made the synthetic sets, if they learned from another store.
        learned: patients that the sets' generators learned from, where nothing tells.
    Returns:
        What results.json holds.
    Raises:
        SettingsError, DataError: the data cannot be used, or would leak.
        RunError: the folder holds another study, or cells failed; then the others are done.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise SettingsError(
            f"classify: found seeds {', '.join(map(str, seeds)) or 'none'}, expected one at least, "
            "each once. For example --seeds 3."
        )
    if COPIES in (synthetic or {}):
        raise SettingsError(
            f"classify: found a synthetic set named {COPIES}, as the arm that stands beside all of "
            "them is. Name it otherwise."
        )
    settings = load_settings(AntSettings, preset=AntGan.presets["cpu"], sets=[*DATA, *data_sets])
    one = Classifiers(
        Path(data),
        Path(out),
        {name: Path(root) for name, root in (synthetic or {}).items()},
        tuple(lesion),
        load_settings(Asked, sets=sets),
        settings,
        tuple(Path(run) for run in runs),
        tuple(learned),
    )
    check_network(one.asked.numbers.network, settings.data.size, "numbers.network")
    for name in one.synthetic:
        one.set_of(name)  # refused before anything is trained
    problems: list[str] = []
    found = {
        arm: [
            attempt(f"{arm}, seed {seed}", partial(one.score, arm, seed), problems, REFUSED) or {}
            for seed in seeds
        ]
        for arm in one.arms
    }
    all_done(one.out, problems)
    result = _result(one, seeds, found)
    write_json(one.out / "results.json", result)
    write_bytes(one.out / "results.md", as_markdown(result).encode())
    return result


def _result(
    one: Classifiers, seeds: Sequence[int], found: Mapping[str, Sequence[Scores]]
) -> dict[str, Any]:
    return {
        "store": one.store.facts.fingerprint,
        "seeds": list(seeds),
        "lesion": [told_apart(one.store.facts.structures)[0][k] for k in one.rule.lesion],
        "least pixels": one.rule.least_pixels,
        "train patients": len({p.patient for p in labelled(one.store, "train", one.data)[1]}),
        "without labels": sorted(set(one.store.cases) - _with_labels(one.data)),
        "sets without labels": {
            name: sorted(set(one.set_of(name).cases) - _with_labels(root))
            for name, root in one.synthetic.items()
        },
        "asked": one.asked.model_dump(mode="json"),
        "arms": {arm: _over_seeds(scores, one.unclear) for arm, scores in found.items()},
        "above": {
            arm: gains(_tables(scores), _tables(found[REAL]))
            | {"auc": auc_gain(scores, found[REAL])}
            for arm, scores in found.items()
            if arm != REAL
        },
    }


def labelled(store: Store, split: str, root: Path) -> tuple[Store, list[Slice]]:
    """The slices of a split whose scans have a label file."""
    there = _with_labels(root)
    return store, [place for place in slices(store, split) if place.case in there]


def seen(store: Store, places: Sequence[Slice]) -> Maps:
    """Label maps without context."""
    return Maps(store, places, told_apart(store.facts.structures)[1])


def _with_labels(root: Path) -> set[str]:
    return {files.case for files in find_layout(root).cases if files.labels is not None}


def _tables(seeds: Sequence[Scores]) -> list[dict[str, np.ndarray]]:
    return [
        table_of(
            (key.rsplit("/", 2)[0], int(row["abnormal"]), row["chance"]) for key, row in s.items()
        )
        for s in seeds
    ]


def _over_seeds(seeds: Sequence[Scores], unclear: Collection[str]) -> dict[str, Any]:
    """Scores of the mean probability over seeds."""
    keys = list(seeds[0])
    truth = np.array([int(seeds[0][key]["abnormal"]) for key in keys])
    chance = np.mean([[scores[key]["chance"] for key in keys] for scores in seeds], axis=0)
    patients = [key.rsplit("/", 2)[0] for key in keys]
    return scores_by_patient(truth, chance, patients, unclear=unclear)
