"""Are lesions where a synthetic set says, for segmenters that learned from real scans alone?

    python -m scansmith.studies.lesion_guidance STORE --out DIR --steps 500 \\
        NAME=SYNTHETIC[,SYNTHETIC...] ...

The registered multimodal paper's Table 1: one segmenter for each modality learns from STORE's
training slices and is shown the slices with lesions of the held-out patients and of the synthetic
sets (made without a filter), each set by another lesion guidance. Told are the paper's error and
Dice of label values, means over modalities; the Dice of the lesion as a whole in each modality; and
its contrast there, the mean inside less the mean of the brain round it (0 to 1 is the range of a
volume: see `registration`), which tells a lesion that was drawn from one that a segmenter guesses
at. Each patient counts once, as `registration` has it; sets under one name are put together.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation

from scansmith.data.store import Store
from scansmith.evaluate.label_value import label_value_dice, label_value_mse
from scansmith.evaluate.overlap import dice_of_masks
from scansmith.evaluate.segmentation import (
    Labelled,
    Segmenter,
    SegmenterNumbers,
    shuffled,
    train_segmenter,
)
from scansmith.labels.table import LabelTable
from scansmith.scan import DataError
from scansmith.settings import Section, load_settings
from scansmith.studies.command import command
from scansmith.studies.named import named_folders
from scansmith.studies.registration import Options, Shown, real_slices, synthetic_slices
from scansmith.studies.tables import cell, save_study, summary, table

REAL = "real"
RIM = 3  # pixels


@dataclass(frozen=True)
class Asked:
    """What a study is asked for.

    Attributes:
        steps, batch: of the training of each modality's segmenter.
        slices: at most so many of each case.
        least_lesion: pixels that a slice shows at least, or it is left out.
    """

    steps: int = 500
    batch: int = 8
    seed: int = 0
    slices: int = 8
    least_lesion: int = 6
    numbers: SegmenterNumbers = field(default_factory=SegmenterNumbers)


class Settable(Section):
    """What `--set` can change of the segmenters."""

    numbers: SegmenterNumbers = SegmenterNumbers()


def segmenters(store: Store, asked: Asked, out: Path) -> list[Segmenter]:
    """One for each modality, from the training slices; an unfinished training goes on."""
    images, labels = [], []
    for name in store.names("train"):
        case, truth = store.volume(name)
        kept = [n for n in range(len(case)) if n not in store.cases[name].left_out]
        images += [case[n] for n in kept]
        labels += [truth[n] for n in kept]
    found = []
    for number, modality in enumerate(store.facts.modalities):
        one = Labelled([image[number : number + 1] for image in images], labels)
        found.append(
            train_segmenter(
                shuffled(one, asked.batch, asked.seed),
                dims=2,
                structures=store.facts.structures,
                channels=1,
                steps=asked.steps,
                seed=asked.seed,
                numbers=asked.numbers,
                run=out / "segmenters" / modality,
                record={
                    "store": store.facts.fingerprint,
                    "modality": modality,
                    "batch": asked.batch,
                },
            )
        )
    return found


def scores(
    one: Shown, judges: Sequence[Segmenter], modalities: Sequence[str], table: LabelTable
) -> dict[str, float]:
    """The measures of one slice that shows a lesion; MSE and Dice of the values in files."""
    truth, value = one.labels, table.decode
    rim = binary_dilation(truth > 0, iterations=RIM) & (truth == 0) & one.brain
    errors, values, row = [], [], {}
    for number, (modality, judge) in enumerate(zip(modalities, judges, strict=True)):
        image = one.images[number]
        said = judge.predict(image[None, None])[0]
        errors.append(label_value_mse(value(truth), value(said)))
        values.append(label_value_dice(value(truth), value(said)))
        row[f"Dice, {modality}"] = dice_of_masks(truth > 0, said > 0)
        around = image[rim].mean() if rim.any() else np.nan
        row[f"contrast, {modality}"] = float(image[truth > 0].mean() - around)
    whole = {"MSE": float(np.mean(errors)), "Dice": float(np.mean(values))}
    return whole | row


def study(
    sets: dict[str, list[Shown]], judges: Sequence[Segmenter], store: Store, asked: Asked
) -> dict[str, Any]:
    """Every set's measures with intervals.

    Args:
        sets: name -> slices with a lesion.
    Raises:
        DataError: a set shows no lesion.
    """
    found = {}
    for name, slices in sets.items():
        if not slices:
            raise DataError(
                f"{name}: no slice shows a lesion of {asked.least_lesion} pixels. Give a set with "
                "labels, or lower --least-lesion."
            )
        by_patient: dict[str, list[dict[str, float]]] = {}
        for one in slices:
            row = scores(one, judges, store.facts.modalities, store.table)
            by_patient.setdefault(one.patient, []).append(row)
        means = [
            {key: float(np.nanmean([row[key] for row in rows])) for key in rows[0]}
            for rows in by_patient.values()
        ]
        told = summary(means, list(by_patient))
        found[name] = told | {"slices": len(slices), "patients": len(means)}
    return {"steps": asked.steps, "seed": asked.seed, "sets": found}


def as_markdown(result: dict[str, Any]) -> str:
    """The study as the tables of docs/results.md."""
    sets = result["sets"]
    measures = [key for key in next(iter(sets.values())) if key not in ("slices", "patients")]
    contrasts = [key for key in measures if key.startswith("contrast")]
    finds = [key for key in measures if key not in contrasts]
    lines = table(
        ["", "patients", "slices", *finds],
        [
            [name, str(told["patients"]), str(told["slices"]), *(cell(told[m]) for m in finds)]
            for name, told in sets.items()
        ],
    )
    rows = [[name, *(cell(told[m]) for m in contrasts)] for name, told in sets.items()]
    return "\n".join([*lines, "", *table(["", *contrasts], rows)]) + "\n"


def main(words: Sequence[str] | None = None) -> None:
    """Command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("store", type=Path)
    parser.add_argument("sets", nargs="*", help="NAME=SYNTHETIC[,SYNTHETIC...]")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", default="test", help="of the real cases")
    parser.add_argument("--steps", type=int, default=500, help="of each segmenter")
    parser.add_argument("--seed", type=int, default=0, help="of the segmenters")
    parser.add_argument("--slices", type=int, default=8, help="of a case, at most")
    parser.add_argument("--least-lesion", type=int, default=6, help="pixels of a slice")
    parser.add_argument("--least-brain", type=float, default=0.1, help="share of a slice")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="numbers.*")
    given = parser.parse_intermixed_args(words)
    numbers = load_settings(Settable, sets=given.set).numbers
    asked = Asked(
        given.steps,
        seed=given.seed,
        slices=given.slices,
        least_lesion=given.least_lesion,
        numbers=numbers,
    )
    store = Store.open(given.store)
    options = Options(slices=asked.slices, least_brain=given.least_brain)
    sets = {REAL: real_slices(store, given.split, options, lesion=asked.least_lesion)}
    for name, roots in named_folders(given.sets).items():
        sets[name] = [
            one
            for root in roots
            for one in synthetic_slices(root, store, options, asked.least_lesion)
        ]
    result = study(sets, segmenters(store, asked, given.out), store, asked)
    save_study(given.out, result, as_markdown(result))
    print(as_markdown(result))


if __name__ == "__main__":
    command(main)
