"""Does a healed slice beside the slice itself help to segment the lesion? (ANT-GAN, Table V)

    python -m scansmith.studies.healed_channel NAME=RUN[,RUN...] --out DIR
    python -m scansmith.studies.healed_channel --store STORE --preset cpu --out DIR

Two segmenters that are alike learn from the same slices, shown twice in two channels: "plain" sees
(x, x), NAME sees (x, A2N(x)). All slices with enough body are learned from and tested on, those
without lesion too, since a lesion that is found there is wrong. Dice is of a whole scan, structure
by structure, and of the nested regions of brain tumours where the labels have them.

Folds are dealt by patient, and every fold trains an ANT-GAN of its own without its test patients
(`healed_folds`). What is finished is kept in DIR and not done again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scansmith.evaluate.overlap import by_patient, dice
from scansmith.evaluate.segmentation import Labelled, SegmenterNumbers, shuffled, train_segmenter
from scansmith.io.atomic import write_bytes
from scansmith.scan import SettingsError
from scansmith.settings import Augmentation, Section, load_settings, number
from scansmith.studies.cells import REFUSED, Scores, all_done, attempt, cell, file_name
from scansmith.studies.command import command, seeds_of
from scansmith.studies.counterparts import told_apart
from scansmith.studies.downstream_report import alarms, over, rows_csv
from scansmith.studies.healed_folds import (
    CrossValidation,
    Fold,
    Folds,
    Runs,
    add_options,
    cross_validation_of,
    kept_apart,
    store_of,
)
from scansmith.studies.healed_slices import Maps, TwoChannels, slices
from scansmith.studies.named import named_folders
from scansmith.studies.paired_scores import false_alarms, in_common, mean_of, minus, over_seeds
from scansmith.studies.tables import cell as written
from scansmith.studies.tables import published, summary, table
from scansmith.train.checkpoint import write_json

PLAIN, DEFAULT = "plain", "ant-gan"
PUBLISHED = {
    "item": "ANT-GAN (arXiv 1810.10850), Table V",
    "data": "BraTS 2018, FLAIR, 240 x 240 pixels, 300 000 steps",
    "measure": "mean Dice of five folds",
    "arms": {
        PLAIN: {"enhancing tumour": 0.7544, "whole tumour": 0.8760, "tumour core": 0.7753},
        DEFAULT: {"enhancing tumour": 0.7777, "whole tumour": 0.8910, "tumour core": 0.7977},
    },
}
CPU = {"numbers.base": 16, "numbers.depth": 3, "steps": 500, "batch": 4}


class Asked(Section):
    """The segmenters and their training, the same in every arm."""

    steps: int = number(10_000, "training steps; the paper does not tell", gt=0)
    batch: int = number(8, "slices in a step; the paper does not tell", gt=0)
    numbers: SegmenterNumbers = SegmenterNumbers(base=64, depth=4)
    augmentation: Augmentation = Augmentation()


@dataclass(frozen=True)
class Study:
    """The segmenters of all folds and seeds; `score` does what is not done yet."""

    folds: Folds
    asked: Asked = field(default_factory=Asked)

    @property
    def arms(self) -> list[str]:
        """What segmenters see."""
        return [PLAIN, *self.folds.runs]

    def score(self, arm: str, fold: Fold, seed: int) -> Scores:
        """Dice of each scan that the fold tests on."""
        name, record = f"{arm} fold{fold.number} seed{seed}", self._record(arm, fold, seed)
        work = partial(self._work, arm, fold, seed, name, record)
        found = cell(self.folds.out / "cells", name, record, work)
        assert found is not None
        return found

    def _work(
        self, arm: str, fold: Fold, seed: int, name: str, record: Mapping[str, Any]
    ) -> Scores:
        store, asked = fold.store, self.asked
        healed = None if arm == PLAIN else self.folds.healed(arm, fold, seed)
        structures, seen_as = told_apart(store.facts.structures)
        kept_apart(fold.patients("test"), {"the segmenter": fold.patients("train")})
        places = slices(store, "train")
        learned = Labelled(TwoChannels(store, places, healed), Maps(store, places, seen_as))
        segmenter = train_segmenter(
            shuffled(learned, asked.batch, seed),
            dims=2,
            structures=structures,
            channels=2 * len(store.facts.modalities),
            steps=asked.steps,
            seed=seed,
            augment=asked.augmentation,
            spacing_mm=store.spacing_mm,
            numbers=asked.numbers,
            run=self.folds.out / "segmenters" / file_name(name),
            record=record,
        )
        found = {}
        for case in store.names("test"):
            shown = [place for place in slices(store, "test") if place.case == case]
            if shown:
                said = segmenter.predict(np.stack(list(TwoChannels(store, shown, healed))))
                truth = np.stack(list(Maps(store, shown, seen_as)))
                found[f"{store.cases[case].patient}/{case}"] = dice(truth, said, structures)
        return found

    def _record(self, arm: str, fold: Fold, seed: int) -> dict[str, Any]:
        """What decides the result of an arm."""
        asked = self.asked
        return {
            "arm": arm,
            "store": fold.store.facts.fingerprint,
            "seed": seed,
            "healed by": None if arm == PLAIN else self.folds.gan(arm, fold, seed)[0].fingerprint,
            "steps": asked.steps,
            "batch": asked.batch,
            "numbers": asked.numbers.facts(),
            "augmentation": asked.augmentation.model_dump(mode="json"),
        }


def study(
    runs: Runs,
    out: Path | str,
    *,
    cross_validation: CrossValidation | None = None,
    asked: Asked | None = None,
    store: Path | None = None,
) -> dict[str, Any]:
    """Every cell, then results.json, results.md and patients.csv in the folder.

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
    if PLAIN in runs:
        raise SettingsError(f"{PLAIN}=: is the name of the reference. Name the run otherwise.")
    folds = Folds(store_of(runs, store), runs, out, cross_validation)
    one = Study(folds, asked or Asked())
    found: dict[str, list[Scores]] = {arm: [{} for _ in cross_validation.seeds] for arm in one.arms}
    problems: list[str] = []
    for fold in folds:
        for turn, seed in enumerate(cross_validation.seeds):
            for arm in one.arms:
                what = f"{arm}, fold {fold.number}, seed {seed}"
                scores = attempt(what, partial(one.score, arm, fold, seed), problems, REFUSED)
                found[arm][turn] |= scores or {}
    all_done(out, problems)
    result = {
        **folds.facts(),
        "asked": one.asked.model_dump(mode="json"),
        "published": PUBLISHED,
        **summarise(found),
    }
    write_json(out / "results.json", result)
    write_bytes(out / "results.md", as_markdown(result).encode())
    write_bytes(out / "patients.csv", rows_csv(cross_validation.seeds, found).encode())
    return result


def summarise(found: Mapping[str, Sequence[Scores]]) -> dict[str, Any]:
    """Dice of every arm, and what it has above "plain", paired by patient and seed."""
    rows = {arm: over_seeds(seeds) for arm, seeds in found.items()}
    above = {
        arm: minus(*in_common(seeds, found[PLAIN])) for arm, seeds in found.items() if arm != PLAIN
    }
    return {
        "arms": {
            arm: {
                "dice": summary(list(own.values()), list(own)),
                "each seed": [mean_of(by_patient(seed)) for seed in found[arm]],
            }
            for arm, own in rows.items()
        },
        "false alarms": {
            arm: false_alarms(
                [(one, other) for one, other in zip(seeds, found[PLAIN], strict=True)]
            )
            for arm, seeds in found.items()
            if arm != PLAIN
        },
        "above plain": {arm: summary(list(own.values()), list(own)) for arm, own in above.items()},
    }


def as_markdown(result: Mapping[str, Any]) -> str:
    """The study as tables, with the published numbers beside it."""
    measures = list(result["arms"][PLAIN]["dice"])
    tested = sum(len(fold) for fold in result["folds"])
    rows = [
        [arm, *(written(told["dice"][m]) for m in measures), _each(told["each seed"])]
        for arm, told in result["arms"].items()
    ]
    lines = [
        *(f"**{warning}**\n" for warning in result["warnings"]),
        f"{tested} test patients in {len(result['folds'])} fold(s), seeds "
        f"{', '.join(map(str, result['seeds']))}. Mean Dice over patients with 95 % bootstrap "
        "intervals over patients.",
        "",
        *table(["", *measures, "each seed"], rows),
        "",
        "(x, A2N(x)) minus (x, x), paired by patient and seed",
        "",
        *table(
            ["", *measures],
            [
                [arm, *(written(t[m]) + over(t[m]) for m in measures)]
                for arm, t in result["above plain"].items()
            ],
        ),
        "",
        *(
            f"{arm}, {told}. They are no part of the differences.\n"
            for arm, counts in result["false alarms"].items()
            if (told := alarms(counts))
        ),
        *published(result["published"], {a: told["dice"] for a, told in result["arms"].items()}),
    ]
    return "\n".join(lines) + "\n"


def _each(values: Sequence[float | None]) -> str:
    return ", ".join("-" if value is None else f"{value:.3f}" for value in values)


def main(words: Sequence[str] | None = None) -> None:
    """Command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add_options(parser)
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="of the segmenters"
    )
    given = parser.parse_args(words)
    seeds_of(given.seeds)  # whoever mistypes them is told
    asked = load_settings(Asked, preset=CPU if given.preset == "cpu" else None, sets=given.set)
    cross_validation, runs = cross_validation_of(given), named_folders(given.runs)
    result = study(
        runs, given.out, cross_validation=cross_validation, asked=asked, store=given.store
    )
    print(as_markdown(result))


if __name__ == "__main__":
    command(main)
