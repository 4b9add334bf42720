"""Does a segmenter learn from synthetic scans what it learns from real ones?

    python -m scansmith.studies.label_use STORE --out DIR --seeds 0,1,2 --steps N NAME=RUN[,RUN...]

STORE is that of a label-to-image method; runs given under one name differ by their seed and are
paired with the seeds in turn. Segmenters learn from

    real                the training cases of STORE
    NAME                as many synthetic cases, whose label maps are theirs, edited once
    class means + noise the same maps without a GAN: each structure's mean and spread
    real + NAME         both, the real ones as often as in "real"

all for the same number of steps, with classical augmentation, and are tested on the real test
cases. The one trained on real cases is also tested on synthetic ones made from the test cases'
labels as they are: does it find in them the labels that they were made from? High Dice there is no
proof of quality, since it is highest on plain images.

Each patient counts once; what is finished is kept in DIR and not done again.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from scansmith.data.store import Store
from scansmith.evaluate import fidelity
from scansmith.evaluate.overlap import dice
from scansmith.evaluate.segmentation import (
    Labelled,
    Samples,
    Segmenter,
    SegmenterNumbers,
    shuffled,
    together,
    train_segmenter,
)
from scansmith.io.atomic import write_bytes
from scansmith.scan import Batch, DataError, SettingsError
from scansmith.settings import Augmentation, Section, load_settings
from scansmith.studies.cells import Scores, cell, file_name
from scansmith.studies.command import command, seeds_of
from scansmith.studies.counterparts import Case, ClassMeans, Maker, labelled, real_cases, told_apart
from scansmith.studies.label_use_report import as_markdown, rows_csv, save_picture, summarise
from scansmith.studies.named import named_folders
from scansmith.train.checkpoint import write_json

REAL, CONTROL = "real", "class means + noise"


@dataclass(frozen=True)
class Asked:
    """What a study is asked for.

    Attributes:
        steps, batch: of every training; "real + NAME" draws `batch` of each in every step.
        multiple: synthetic cases for each training case.
        patients: only so many training patients, the first by name; None: all.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 500
    batch: int = 2
    multiple: int = 1
    patients: int | None = None
    numbers: SegmenterNumbers = field(default_factory=SegmenterNumbers)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        low = min(self.steps, self.batch, self.multiple, self.patients or 1, len(self.seeds))
        if low < 1 or len(set(self.seeds)) < len(self.seeds):
            raise SettingsError(
                f"label_use: found steps {self.steps}, batch {self.batch}, multiple "
                f"{self.multiple}, patients {self.patients}, seeds {self.seeds}, expected numbers "
                "from 1 up and seeds that differ. Correct the one that is not."
            )


class Settable(Section):
    """What `--set` can change of the segmenters."""

    numbers: SegmenterNumbers = SegmenterNumbers()
    augmentation: Augmentation = Augmentation()


class Study:
    """The trainings and tests of one store; `score` and `likeness` do what is not done yet."""

    def __init__(self, store: Store, runs: Mapping[str, Sequence[Path]], out: Path, asked: Asked):
        self.store, self.out, self.asked = store, out, asked
        everybody = sorted({store.cases[name].patient for name in store.names("train")})
        self.patients = everybody[: asked.patients]
        self.structures, self.seen_as = told_apart(store.facts.structures)
        self.makers = {
            name: [Maker.of(name, run, store, self.patients) for run in folders]
            for name, folders in runs.items()
        }
        self.controls = _controls(self.makers)
        self._made: tuple[tuple[str, int], list[Case]] | None = None
        self._remade: dict[tuple[str, int], list[Case] | None] = {}

    @cached_property
    def train(self) -> list[Case]:
        """The real cases to learn from."""
        return real_cases(self.store, "train", self.patients)

    @cached_property
    def test(self) -> list[Case]:
        """The real cases to be tested on."""
        found = real_cases(self.store, "test")
        if not found:
            raise DataError(
                f"{self.store.path}: no labelled case in the test split. Prepare it with another "
                "split (--set data.split=0.8,0,0.2)."
            )
        return found

    @property
    def arms(self) -> list[str]:
        """What segmenters learn from."""
        both = [f"{REAL} + {name}" for name in self.makers]
        return [REAL, *self.makers, *self.controls, *both]

    def maker(self, name: str, seed: int) -> Maker:
        """The run of a name that is paired with a seed."""
        makers = self.makers[name]
        return makers[self.asked.seeds.index(seed) % len(makers)]

    def segmenter(self, arm: str, seed: int) -> Segmenter:
        """The trained segmenter of an arm; an unfinished training goes on."""
        return train_segmenter(
            _lazily(lambda: self._samples(arm, seed)),
            dims=self.store.facts.dims,
            structures=self.structures,
            channels=len(self.store.facts.modalities),
            steps=self.asked.steps,
            seed=seed,
            augment=self.asked.augmentation,
            spacing_mm=self.store.spacing_mm,
            numbers=self.asked.numbers,
            run=self.out / "segmenters" / file_name(f"{arm} seed{seed}"),
            record=self._record(arm, seed),
        )

    def score(self, arm: str, seed: int, tested: str = REAL) -> Scores | None:
        """Dice of an arm's segmenter on the real test cases, or on those of a name or control."""

        def work() -> Scores | None:
            cases = self.tested(tested, seed)
            if cases is None:
                return None
            segmenter = self.segmenter(arm, seed)
            seen_as = self._seen_as(tested, seed)
            return {
                case.key: dice(seen_as[case.labels], segmenter.predict(case.image), self.structures)
                for case in cases
            }

        record = self._record(arm, seed) | {"tested": self._record(tested, seed)}
        return cell(self.out / "cells", f"{arm} seed{seed} on {tested}", record, work)

    def likeness(self, name: str, seed: int) -> Scores | None:
        """SSIM and MAE of what the test cases' labels become, against the test cases."""

        def work() -> Scores | None:
            made = self.tested(name, seed)
            if made is None:
                return None
            pairs = zip(self.test, made, strict=True)
            return {real.key: self._alike(real, synthetic) for real, synthetic in pairs}

        record = self._record(name, seed)
        return cell(self.out / "cells", f"likeness {name} seed{seed}", record, work)

    def tested(self, name: str, seed: int) -> list[Case] | None:
        """The test cases, or what a name or control makes of their labels."""
        if name == REAL:
            return self.test
        key = self.controls.get(name, name), seed
        maker = self.maker(*key)
        if key not in self._remade:
            kept = {k: cases for k, cases in self._remade.items() if k[1] == seed}
            self._remade = {**kept, key: maker.reconstructed(self.test, self.store, seed)}
        made = self._remade[key]
        return made if made is None or name in self.makers else self._painted(made, maker, seed)

    def _samples(self, arm: str, seed: int) -> Samples:
        if arm.startswith(f"{REAL} + "):
            parts = (REAL, arm.removeprefix(f"{REAL} + "))
            return together(*(self._samples(part, seed) for part in parts))
        if arm == REAL:
            return shuffled(labelled(self.train, self.seen_as), self.asked.batch, seed)
        return shuffled(self._learned_from(arm, seed), self.asked.batch, seed)

    def _learned_from(self, arm: str, seed: int) -> Labelled:
        name = self.controls.get(arm, arm)
        if self._made is None or self._made[0] != (name, seed):
            made = self.maker(name, seed).edited(self.asked.multiple, seed)
            self._made = (name, seed), made
        cases = self._made[1]
        if arm in self.controls:
            cases = self._painted(cases, self.maker(name, seed), seed)
        return labelled(cases, self._seen_as(name, seed))

    def _painted(self, cases: Sequence[Case], maker: Maker, seed: int) -> list[Case]:
        own = maker.own
        means = ClassMeans.of(real_cases(own, "train"), len(own.facts.structures))
        return [
            means.painted(case, np.random.default_rng([seed, number]))
            for number, case in enumerate(cases)
        ]

    def _seen_as(self, name: str, seed: int) -> np.ndarray:
        if name == REAL:
            return self.seen_as
        own = self.maker(self.controls.get(name, name), seed).own
        return told_apart(own.facts.structures)[1]

    def _alike(self, real: Case, made: Case) -> dict[str, float]:
        found: dict[str, list[float]] = {"ssim": [], "mae / range": []}
        for c in range(real.image.shape[1]):
            codec = self.store.codec(real.case, c)
            width = codec.data_range / codec.scale
            x, y = (case.image[:, c] for case in (real, made))
            if self.store.facts.dims == 3:
                x, y = x[0], y[0]
            small = min(x.shape[-2:]) < 2 * fidelity.SSIM_RADIUS + 1
            black = float(x.min())
            found["ssim"].append(np.nan if small else fidelity.ssim(x, y, width, black=black))
            found["mae / range"].append(fidelity.mae(x, y) / width)
        return {name: float(np.mean(values)) for name, values in found.items()}

    def _record(self, arm: str, seed: int) -> dict[str, Any]:
        """What decides the result of a training on an arm, or of a test set."""
        name = arm.removeprefix(f"{REAL} + ")
        made = [] if arm == REAL else [self.maker(self.controls.get(name, name), seed)]
        return {
            "arm": arm,
            "seed": seed,
            "store": self.store.facts.fingerprint,
            "patients": len(self.patients),
            "made by": [maker.loaded.fingerprint for maker in made],
            **self.settings(),
        }

    def settings(self) -> dict[str, Any]:
        """The settings that every cell shares."""
        asked = self.asked
        return {
            "steps": asked.steps,
            "batch": asked.batch,
            "multiple": asked.multiple,
            "numbers": asked.numbers.facts(),
            "augmentation": asked.augmentation.model_dump(mode="json"),
        }


def run_study(study: Study) -> dict[str, Any]:
    """Every cell, then results.json, results.md, patients.csv and samples.png in the folder."""
    asked, sets = study.asked, [*study.makers, *study.controls]
    real: dict[str, list[Scores]] = {arm: [] for arm in study.arms}
    made: dict[str, list[Scores]] = {name: [] for name in sets}
    alike: dict[str, list[Scores]] = {name: [] for name in sets}
    for seed in asked.seeds:
        for arm in study.arms:
            real[arm].append(study.score(arm, seed) or {})
        for name in sets:
            made[name].append(study.score(REAL, seed, name) or {})
            alike[name].append(study.likeness(name, seed) or {})
    result = {
        "store": study.store.facts.fingerprint,
        "train patients": len(study.patients),
        "test patients": len({case.patient for case in study.test}),
        "asked": {"seeds": list(asked.seeds), **study.settings()},
        "runs": {name: [m.loaded.fingerprint for m in ms] for name, ms in study.makers.items()},
        **summarise(real, made, alike),
    }
    write_json(study.out / "results.json", result)
    write_bytes(study.out / "results.md", as_markdown(result).encode())
    write_bytes(study.out / "patients.csv", rows_csv(asked.seeds, real, made).encode())
    first = {name: study.tested(name, asked.seeds[0]) for name in study.makers}
    segmenter = study.segmenter(REAL, asked.seeds[0])
    path, modalities = study.out / "samples.png", study.store.facts.modalities
    save_picture(study.test, first, segmenter, study.seen_as, path, modalities)
    return result


def _controls(makers: Mapping[str, Sequence[Maker]]) -> dict[str, str]:
    """Control -> the name whose maps it paints; names that share a store share their control."""
    stores: dict[str, str] = {}
    for name, runs in makers.items():
        stores.setdefault(runs[0].own.facts.fingerprint, name)
    several = len(stores) > 1
    return {f"{CONTROL} ({name})" if several else CONTROL: name for name in stores.values()}


def _lazily(build: Callable[[], Samples]) -> Samples:
    """Samples whose source is built when the first is asked for: a finished training asks none."""
    built: list[Samples] = []

    def draw(step: int) -> Batch:
        if not built:
            built.append(build())
        return built[0](step)

    return draw


def _runs(words: Sequence[str]) -> dict[str, list[Path]]:
    """NAME=RUN[,RUN...] by name."""
    found = named_folders(words)
    if wrong := [name for name in found if not re.fullmatch(r"[\w.-]+", name) or name == REAL]:
        raise SettingsError(
            f"{', '.join(wrong)}: expected names of letters, digits, dots and hyphens, and not "
            f"{REAL!r}. Name the runs so."
        )
    return found


def main(words: Sequence[str] | None = None) -> None:
    """Command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("store", type=Path)
    parser.add_argument("runs", nargs="+", help="NAME=RUN[,RUN...]")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=2, help="samples in a step")
    parser.add_argument("--multiple", type=int, default=1, help="synthetic cases for a real one")
    parser.add_argument("--patients", type=int, help="learn from the first N patients alone")
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="numbers.* or augmentation.*"
    )
    given = parser.parse_args(words)
    tree = load_settings(Settable, sets=given.set)
    asked = Asked(
        seeds_of(given.seeds),
        given.steps,
        given.batch,
        given.multiple,
        given.patients,
        tree.numbers,
        tree.augmentation,
    )
    study = Study(Store.open(given.store), _runs(given.runs), given.out, asked)
    print(as_markdown(run_study(study)))


if __name__ == "__main__":
    command(main)
