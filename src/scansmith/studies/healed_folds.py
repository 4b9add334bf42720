"""Cross-validation of what is done with healed slices: who is tested when, and by whose ANT-GAN.

Of K folds each patient is tested in one, and the ANT-GAN of a fold learns from the other folds
alone: one that had seen a test patient would heal that patient's slices better than a new
patient's. In the folder of a study lie

    folds/foldK/store       the study's samples, split so that fold K is tested on
    folds/foldK/NAME seedS  an ANT-GAN trained on it; with one fold the runs that were given serve
    healed/WEIGHTS          A2N of all slices of a case, half precision

One fold is the store's own split. `shared_gan` takes the paper literally, which tells of one
ANT-GAN on 80 % of the patients and of five folds: four in five test patients are known to it, and
every number that comes of it is marked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from scansmith.data.arrays import ArrayFile
from scansmith.data.folds import deal_folds, fold_store
from scansmith.data.split import UNUSED
from scansmith.data.store import Store, write_array
from scansmith.methods.ant_gan import AntGan
from scansmith.scan import DataError, RunError, SettingsError
from scansmith.studies.cells import file_name
from scansmith.studies.counterparts import differences
from scansmith.studies.healed_slices import translated
from scansmith.studies.spec import words
from scansmith.train.checkpoint import read_json, write_json
from scansmith.train.loop import choose_device
from scansmith.workflow import LoadedRun, load_run, read_record, train

LEAK = (
    "--shared-gan: the ANT-GAN learned from {known} of {tested} patients that are tested on. This "
    "takes the paper literally; it says nothing about new patients."
)
Runs = Mapping[str, Sequence[Path]]


@dataclass(frozen=True)
class CrossValidation:
    """Who is tested on, and whose ANT-GAN heals.

    Attributes:
        folds: 5 as in the paper; 1: the store's own split.
        dealt: seed of dealing patients out.
        shared_gan: heal with one ANT-GAN in all folds, which knows test patients.
        seeds: of the trainings.
        preset: ANT-GAN's, where no run is given whose settings are taken.
        sets: its settings over those, a.b=c.
    """

    folds: int = 5
    dealt: int = 0
    shared_gan: bool = False
    seeds: tuple[int, ...] = (0,)
    preset: str = "paper"
    sets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.folds < 1 or not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise SettingsError(
                f"cross-validation: found {self.folds} folds and seeds {self.seeds}, expected 1 "
                "fold or more and seeds that differ. For example --folds 5 --seeds 0,1,2."
            )
        if self.shared_gan and self.folds == 1:
            raise SettingsError(
                "--shared-gan: found one fold, whose ANT-GAN is never shared. Leave it out, or ask "
                "for more folds."
            )


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold: a store whose test split is tested on."""

    number: int
    store: Store

    def patients(self, split: str) -> set[str]:
        """Whose scans a split holds."""
        return {self.store.cases[name].patient for name in self.store.names(split)}


@dataclass(frozen=True)
class Folds:
    """The folds of one study.

    Attributes:
        runs: name -> trained ANT-GANs, one for each seed in turn. With one fold they heal; with
            more, each fold trains new ones with their settings (but for `shared_gan`). None of a
            name: settings of `asked`.
    """

    store: Store
    runs: Runs
    out: Path
    asked: CrossValidation
    _loaded: dict[Path, LoadedRun] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        as_they_are = self.asked.folds == 1 or self.asked.shared_gan
        if self.asked.sets and as_they_are and all(self.runs.values()):
            raise SettingsError(
                "--gan-set: found settings, but the runs that are given are taken as they are. "
                "Leave them out, or ask for more folds, which train anew."
            )
        problems = [p for name in self.runs for run in self.runs[name] for p in self._unfit(run)]
        if problems:
            raise DataError("\n".join(problems))

    def __iter__(self) -> Iterator[Fold]:
        return iter(self.all)

    @cached_property
    def all(self) -> list[Fold]:
        """Every fold, its store written."""
        if self.asked.folds == 1:
            return [Fold(1, self.store)]
        there = (case.patient for case in self.store.cases.values() if case.split != UNUSED)
        dealt = deal_folds(there, self.asked.folds, self.asked.dealt)
        return [
            Fold(k, fold_store(self.store, self.out / "folds" / f"fold{k}" / "store", test))
            for k, test in enumerate(dealt, 1)
        ]

    def gan(self, name: str, fold: Fold, seed: int) -> tuple[LoadedRun, set[str]]:
        """The ANT-GAN of a fold, trained if it is not, and the patients that it learned from.

        Raises:
            DataError: it learned from a patient that the fold tests on.
        """
        if self.asked.shared_gan:
            own, run = self.store, self._given(name, seed) or self._trained(name, None, seed)
        elif self.asked.folds == 1:
            own, run = self.store, self._given(name, seed) or self._trained(name, fold, seed)
        else:
            own, run = fold.store, self._trained(name, fold, seed)
        if run not in self._loaded:
            self._loaded[run] = load_run(run, device=str(choose_device("auto")))
        loaded = self._loaded[run]
        wanted = loaded.method.facts.fingerprint
        own = own if own.facts.fingerprint == wanted else Store.open(loaded.store)
        if own.facts.fingerprint != wanted:
            raise DataError(
                f"{own.path}: is not the store that {run} was trained on any more (fingerprint "
                f"{own.facts.fingerprint}, expected {wanted}). Put it back, or train again."
            )
        learned = {own.cases[case].patient for case in own.names("train")}
        if not self.asked.shared_gan:
            kept_apart(fold.patients("test"), {f"the ANT-GAN of {run}": learned})
        return loaded, learned

    def facts(self) -> dict[str, Any]:
        """Who was tested when, for the head of a study's results."""
        return {
            "store": self.store.facts.fingerprint,
            "seeds": list(self.asked.seeds),
            "folds": [sorted(fold.patients("test")) for fold in self],
            "warnings": self.warnings(),
        }

    def warnings(self) -> list[str]:
        """What makes the numbers say less than they seem to; printed as well."""
        if not self.asked.shared_gan:
            return []
        tested = {p for fold in self for p in fold.patients("test")}
        _, learned = self.gan(next(iter(self.runs)), self.all[0], self.asked.seeds[0])
        text = LEAK.format(known=len(learned & tested), tested=len(tested))
        print(f"warning: {text}", file=sys.stderr, flush=True)
        return [text]

    def healed(self, name: str, fold: Fold, seed: int) -> Mapping[str, ArrayFile]:
        """A2N of all slices of the fold's cases: case -> (N, C, H, W), on disk."""
        loaded, _ = self.gan(name, fold, seed)
        method = loaded.method
        assert isinstance(method, AntGan)
        folder = self.out / "healed" / loaded.fingerprint
        found = {}
        for case in (*fold.store.names("train"), *fold.store.names("test")):
            path = folder / f"{case}.npy"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_array(path, translated(method.a2n, fold.store.volume(case)[0]))
            found[case] = ArrayFile.find(path)
        return found

    def _given(self, name: str, seed: int) -> Path | None:
        runs = self.runs[name]
        return runs[self.asked.seeds.index(seed) % len(runs)] if runs else None

    def _trained(self, name: str, fold: Fold | None, seed: int) -> Path:
        """The folder of an ANT-GAN trained on a fold (None: on the store's own split)."""
        folder = self.out / "folds" / (f"fold{fold.number}" if fold else "shared")
        store, run = (fold.store if fold else self.store), folder / file_name(f"{name} seed{seed}")
        sets = [*self._settings(name, seed), f"train.seed={seed}"]
        done = folder / f"{run.name}.json"
        record = {"store": store.facts.fingerprint, "preset": self.asked.preset, "sets": sets}
        if done.exists() and _meant(read_json(done)) != _meant(record):
            raise RunError(
                f"{run}: an ANT-GAN of other settings or another store. Give those that it was "
                "begun with, or another folder."
            )
        if not done.exists():
            train(
                AntGan.name,
                store.path,
                run,
                preset=self.asked.preset,
                sets=sets,
                resume=(run / "run.json").exists(),
            )
            write_json(done, record)
        return run

    def _settings(self, name: str, seed: int) -> list[str]:
        """Settings as words: those of the run that was given but its seed, then `asked`'s."""
        run = self._given(name, seed)
        if run is None:
            return list(self.asked.sets)
        settings = read_record(run)["settings"]
        found = {
            f"{part}.{key}": value
            for part in ("method", "train")
            for key, value in settings[part].items()
            if key not in ("device", "threads", "seed")
        }
        return [*words(found), *self.asked.sets]

    def _unfit(self, run: Path) -> list[str]:
        record = read_record(run)
        if record["method"] != AntGan.name:
            return [
                f"{run}: found a run of {record['method']}, expected one of {AntGan.name}. Give "
                f"such a run, or train it (scansmith train {AntGan.name})."
            ]
        own = Store.open(record["store"])
        return [f"{run}: {problem}" for problem in differences(own, self.store)]


def _meant(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the record of a training comes to: of settings that stand twice the last one counts."""
    return {**record, "sets": dict(word.split("=", 1) for word in record["sets"])}


def store_of(runs: Runs, store: Path | None) -> Store:
    """The study's store: the one that is named, else that of the first run.

    Raises:
        SettingsError: there is neither.
        DataError: the store is not one of ANT-GAN.
    """
    first = next((run for found in runs.values() for run in found), None)
    if store is None and first is None:
        raise SettingsError(
            "expected a store (--store STORE) or trained runs (NAME=RUN). For example ant-gan=run."
        )
    found = Store.open(store or read_record(first)["store"])  # type: ignore[arg-type]
    if found.recipe.method != AntGan.name:
        raise DataError(
            f"{found.path}: prepared for {found.recipe.method}, expected {AntGan.name}. Prepare "
            f"the data with --method {AntGan.name}."
        )
    return found


def kept_apart(tested: Collection[str], learned: Mapping[str, Collection[str]]) -> None:
    """Refuse a test patient whom something learned from.

    Args:
        learned: what learned -> the patients that it learned from.
    Raises:
        DataError: all of them are named.
    """
    problems = [
        f"{what} learned from {len(both)} patient(s) that are tested on, {both[0]} among them, "
        "expected none. Train it on the training patients of the same split, or let every fold "
        "train its own (--folds 2 or more)."
        for what, patients in learned.items()
        if (both := sorted(set(tested) & set(patients)))
    ]
    if problems:
        raise DataError("\n".join(problems))


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `CrossValidation`, and what is healed by whom."""
    parser.add_argument("runs", nargs="*", help="NAME=RUN[,RUN...], ANT-GANs; none: trained here")
    parser.add_argument("--out", type=Path, required=True, help="given again, it goes on")
    parser.add_argument("--store", type=Path, help="of ant-gan; default: that of the first run")
    parser.add_argument("--folds", type=int, default=5, help="1: the store's own split")
    parser.add_argument("--fold-seed", type=int, default=0, help="of dealing patients out")
    parser.add_argument("--shared-gan", action="store_true", help="one ANT-GAN in all folds; leaks")
    parser.add_argument("--seeds", default="0", help="of the trainings, for example 0,1,2")
    parser.add_argument(
        "--preset", choices=("paper", "cpu"), default="paper", help="networks, and ANT-GAN"
    )
    parser.add_argument("--gan-set", action="append", default=[], metavar="A.B=C", help="ANT-GAN")


def cross_validation_of(given: argparse.Namespace) -> CrossValidation:
    """The options as they were given."""
    return CrossValidation(
        given.folds,
        given.fold_seed,
        given.shared_gan,
        tuple(int(seed) for seed in given.seeds.split(",")),
        given.preset,
        tuple(given.gan_set),
    )
