"""Does ANT-GAN help to tell slices with a lesion from slices without? (ANT-GAN, Tables VI and VII)

    python -m scansmith.studies.lesion_classification NAME=RUN[,RUN...] --out DIR
    python -m scansmith.studies.lesion_classification --store STORE --preset cpu --out DIR

channel   Table VI: a VGG16 sees (x, A2N(x)) ("NAME") or (x, x) ("plain"), and learns from all
          slices of the training patients
fakes     Table VII: an AlexNet learns from 50 normal and 50 abnormal slices ("real"), or from these
          and what ANT-GAN makes of the same 100 ("real + NAME"): 50 fake abnormal, 50 fake normal;
          or what is made of them without a generator ("real + copies": other patients' lesions in
          the normal ones, and lesions filled with the mean round them). Each also with classical
          augmentation; and "all real": every slice of the training patients, whose classes had to
          be known to train ANT-GAN

All arms of a question take the same number of steps; half of every batch is abnormal. Folds are
dealt by patient, and every fold trains an ANT-GAN of its own without its test patients
(`healed_folds`). Under each seed the repeats of Table VII go through the folds in turn, each with
other slices. What is finished is kept in DIR and not done again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from scansmith.evaluate.classification import ClassifierNumbers, check_network
from scansmith.io.atomic import write_bytes
from scansmith.methods.ant_gan import AntGan
from scansmith.scan import SettingsError
from scansmith.settings import Augmentation, Section, load_settings, number
from scansmith.studies.cells import REFUSED, Scores, all_done, attempt
from scansmith.studies.command import command, seeds_of
from scansmith.studies.healed_folds import (
    CrossValidation,
    Fold,
    Folds,
    Runs,
    add_options,
    cross_validation_of,
    store_of,
)
from scansmith.studies.healed_slices import Images, TwoChannels
from scansmith.studies.lesion_classification_report import (
    ALL,
    AUGMENTED,
    COPIES,
    DEFAULT,
    PLAIN,
    REAL,
    Found,
    as_markdown,
    slices_csv,
    summarise,
)
from scansmith.studies.lesion_classifiers import (
    Kinds,
    Sample,
    Training,
    judged,
    with_copies,
    with_fakes,
)
from scansmith.studies.named import named_folders
from scansmith.train.checkpoint import write_json

Question = Literal["channel", "fakes"]
QUESTIONS: tuple[str, ...] = get_args(Question)
UNTRAINED = (REAL, COPIES, ALL)
"""What Table VII learns from without an ANT-GAN."""
CPU = {
    **{"channel.width": 0.125, "channel.learning_rate": 1e-3, "channel_steps": 500},
    **{"fakes.width": 0.25, "fakes.learning_rate": 1e-3, "fakes_steps": 500, "batch": 8},
}


class Asked(Section):
    """The classifiers and their training, the same in every arm of a question."""

    channel: ClassifierNumbers = ClassifierNumbers(network="vgg16")
    fakes: ClassifierNumbers = ClassifierNumbers(network="alexnet")
    channel_steps: int = number(10_000, "training steps; the paper does not tell", gt=0)
    fakes_steps: int = number(2000, "training steps; the paper does not tell", gt=0)
    batch: int = number(32, "slices in a step, half of them abnormal", gt=1, multiple_of=2)
    slices: int = number(50, "real slices of each class, and fake ones", "Table VII", gt=0)
    repeats: int = number(
        5, "of Table VII under each seed, with other slices; the paper does not tell", gt=0
    )
    augmentation: Augmentation = Augmentation()


@dataclass(frozen=True)
class Study:
    """The classifiers of both questions; `channel` and `fakes` do what is not done yet."""

    folds: Folds
    asked: Asked = field(default_factory=Asked)

    @property
    def arms(self) -> dict[str, list[str]]:
        """What classifiers learn from, in each question."""
        twice = [REAL, *(f"{REAL} + {name}" for name in (COPIES, *self.folds.runs))]
        return {
            "channel": [PLAIN, *self.folds.runs],
            "fakes": [*twice, *(f"{arm}{AUGMENTED}" for arm in twice), ALL],
        }

    def check(self, questions: Sequence[str]) -> None:
        """Refuse what would let cells fail when hours of others are done.

        Raises:
            SettingsError: the slices are too small for a network.
            DataError: a fold that is tested on lacks a class among its training or test patients,
                or has fewer slices than Table VII draws.
        """
        for question in questions:
            network = getattr(self.asked, question).network
            check_network(network, self.folds.store.facts.size, f"{question}.network")
        every, repeated = self.folds.all, self.folds.all[: self.asked.repeats]
        if "fakes" in questions:
            for fold in repeated:
                Kinds(fold, "train").drawn(self.asked.slices, 0)
        for fold in every if "channel" in questions else repeated:
            Kinds(fold, "train").all()
            Kinds(fold, "test").all()

    def channel(self, arm: str, fold: Fold, seed: int) -> Scores:
        """Table VI: what an arm says of each slice that the fold tests on."""
        healed = None if arm == PLAIN else self.folds.healed(arm, fold, seed)

        def sample() -> Sample:
            slices, classes = Kinds(fold, "train").all()
            return Sample.of(TwoChannels(fold.store, slices, healed), classes, slices)

        training = Training(
            f"channel {arm} fold{fold.number} seed{seed}",
            fold,
            seed,
            self.asked.channel,
            self.asked.channel_steps,
            self.asked.batch,
            self.asked.augmentation,
            {"arm": arm, "made by": None if arm == PLAIN else self._maker(arm, fold, seed)},
        )
        return judged(
            self.folds.out, training, sample, lambda part: TwoChannels(fold.store, part, healed)
        )

    def fakes(self, arm: str, repeat: int, seed: int) -> Scores:
        """Table VII: what an arm says of each slice that the repeat's fold tests on."""
        fold = self.fold_of(repeat)
        by = arm.removesuffix(AUGMENTED).removeprefix(f"{REAL} + ")
        made_by = None if by in UNTRAINED else self._maker(by, fold, seed)
        training = Training(
            f"fakes {arm} seed{seed} repeat{repeat}",
            fold,
            _own_seed(repeat, seed),
            self.asked.fakes,
            self.asked.fakes_steps,
            self.asked.batch,
            self.asked.augmentation if arm.endswith(AUGMENTED) else None,
            {"arm": arm, "slices": self.asked.slices, "made by": made_by},
        )
        return judged(
            self.folds.out,
            training,
            lambda: self.sample(by, repeat, seed),
            lambda part: Images(fold.store, part),
        )

    def fold_of(self, repeat: int) -> Fold:
        """Whom a repeat tests on."""
        return self.folds.all[repeat % len(self.folds.all)]

    def sample(self, by: str, repeat: int, seed: int) -> Sample:
        """What "real", "all real", or "real" and copies or the fakes of a name are in a repeat."""
        fold, own_seed = self.fold_of(repeat), _own_seed(repeat, seed)
        kinds = Kinds(fold, "train")
        if by == COPIES:
            return with_copies(kinds, self.asked.slices, own_seed)
        if by not in UNTRAINED:
            method = self.folds.gan(by, fold, seed)[0].method
            assert isinstance(method, AntGan)
            return with_fakes(kinds, method, self.asked.slices, own_seed)
        slices, classes = kinds.all() if by == ALL else kinds.drawn(self.asked.slices, own_seed)
        return Sample.of(Images(fold.store, slices), classes, slices)

    def found(self, question: str, problems: list[str]) -> Found:
        """Every cell of a question: arm -> under each seed (folds together), or in its repeats.

        Args:
            problems: what went wrong; cells that fail are added, and are empty.
        """
        arms, seeds = self.arms[question], self.folds.asked.seeds
        if question == "fakes":
            found: Found = {arm: [] for arm in arms}
            for seed, repeat in product(seeds, range(self.asked.repeats)):
                for arm in arms:
                    what = f"{arm}, repeat {repeat}, seed {seed}"
                    work = partial(self.fakes, arm, repeat, seed)
                    found[arm].append(attempt(what, work, problems, REFUSED) or {})
            return found
        found = {arm: [{} for _ in seeds] for arm in arms}
        for fold in self.folds:
            for turn, seed in enumerate(seeds):
                for arm in arms:
                    what = f"{arm}, fold {fold.number}, seed {seed}"
                    work = partial(self.channel, arm, fold, seed)
                    found[arm][turn] |= attempt(what, work, problems, REFUSED) or {}
        return found

    def _maker(self, name: str, fold: Fold, seed: int) -> str:
        return self.folds.gan(name, fold, seed)[0].fingerprint


def check_names(names: Iterable[str]) -> None:
    """Raises SettingsError if an ANT-GAN has the name of an arm that is there without it."""
    arms = (PLAIN, *UNTRAINED)
    if taken := [name for name in names if name in arms or name.endswith(AUGMENTED)]:
        raise SettingsError(f"{', '.join(taken)}=: is an arm's name. Name the run otherwise.")


def _own_seed(repeat: int, seed: int) -> int:
    """The seed of a repeat's slices and training: another one under each seed of the study."""
    return int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0])


def study(
    runs: Runs,
    out: Path | str,
    *,
    cross_validation: CrossValidation | None = None,
    asked: Asked | None = None,
    store: Path | None = None,
    questions: Sequence[str] = QUESTIONS,
) -> dict[str, Any]:
    """Every cell, then results.json, results.md and slices.csv in the folder.

    Args:
        runs: name -> ANT-GANs, one for each seed in turn; what becomes of them is said at `Folds`.
            Empty: one is trained, with the settings of `cross_validation`.
        store: whose patients are dealt out; None: that of the first run.
    Raises:
        DataError: a run learned from test patients, or has other samples than the store.
        RunError: the folder holds another study, or cells failed; then the others are done.
    """
    cross_validation, out = cross_validation or CrossValidation(), Path(out)
    runs = dict(runs) or {DEFAULT: []}
    check_names(runs)
    one = Study(Folds(store_of(runs, store), runs, out, cross_validation), asked or Asked())
    one.check(questions)
    problems: list[str] = []
    found = {q: one.found(q, problems) for q in QUESTIONS if q in questions}
    all_done(out, problems)
    result = {
        **one.folds.facts(),
        "asked": one.asked.model_dump(mode="json"),
        **{question: summarise(question, arms) for question, arms in found.items()},
    }
    write_json(out / "results.json", result)
    write_bytes(out / "results.md", as_markdown(result).encode())
    write_bytes(out / "slices.csv", slices_csv(found).encode())
    return result


def main(words: Sequence[str] | None = None) -> None:
    """Command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add_options(parser)
    parser.add_argument("--only", choices=QUESTIONS, help="one question; default: both")
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="of the classifiers"
    )
    given = parser.parse_args(words)
    seeds_of(given.seeds)  # whoever mistypes them is told
    asked = load_settings(Asked, preset=CPU if given.preset == "cpu" else None, sets=given.set)
    result = study(
        named_folders(given.runs),
        given.out,
        cross_validation=cross_validation_of(given),
        asked=asked,
        store=given.store,
        questions=(given.only,) if given.only else QUESTIONS,
    )
    print(as_markdown(result))


if __name__ == "__main__":
    command(main)
