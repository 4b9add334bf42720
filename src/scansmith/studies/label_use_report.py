"""What the label-use study found, as numbers, tables, a CSV file and a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scansmith.evaluate.overlap import MEAN, by_patient
from scansmith.evaluate.segmentation import Segmenter
from scansmith.studies.cells import Scores
from scansmith.studies.counterparts import Case
from scansmith.studies.paired_scores import (
    in_common,
    mean_of,
    minus,
    over_seeds,
    percent,
    share,
    summary_of,
)
from scansmith.studies.tables import cell, table
from scansmith.train.pictures import save_grid

Rows = Mapping[str, Sequence[Scores]]
"""Arm or test set -> the scores under each seed."""

REAL = "real"


def summarise(real: Rows, made: Rows, alike: Rows) -> dict[str, Any]:
    """Means with intervals over patients; what real cases teach is the measure.

    Args:
        real: arm -> Dice on the real test cases.
        made: test set -> Dice of the segmenters trained on real cases.
        alike: test set -> likeness to the real test cases.
    """
    arms = {}
    for arm, seeds in real.items():
        rows, reference = in_common(seeds, real[REAL])
        arms[arm] = {
            "dice": summary_of(over_seeds(seeds)),
            "each seed": [mean_of(by_patient(scores)) for scores in seeds],
            "share of real": share(rows, reference, arm),
            "above real": summary_of(minus(rows, reference)),
        }
    there = {name: [scores for scores in seeds if scores] for name, seeds in made.items()}
    return {
        "real test": arms,
        "synthetic test": {
            name: {
                "dice": summary_of(over_seeds(seeds)),
                "likeness": summary_of(over_seeds([s for s in alike[name] if s])),
            }
            for name, seeds in there.items()
            if seeds
        },
        "without synthetic test": [name for name, seeds in there.items() if not seeds],
    }


def as_markdown(result: Mapping[str, Any]) -> str:
    """The study as tables."""
    arms, sets = result["real test"], result["synthetic test"]
    measures = list(arms[REAL]["dice"])
    lines = [
        f"{result['test patients']} test patients, {result['train patients']} training patients, "
        f"{result['asked']['steps']} steps, seeds {result['asked']['seeds']}. Means over patients "
        "with 95 % bootstrap intervals over patients; each patient counts once.",
        "",
        "Dice on real test cases, of segmenters trained on",
        "",
        *table(
            ["", *measures, "each seed", "% of real", "above real"],
            [
                [
                    arm,
                    *(cell(found["dice"][name]) for name in measures),
                    ", ".join("-" if v is None else f"{v:.3f}" for v in found["each seed"]),
                    percent(found["share of real"]),
                    "" if arm == REAL else cell(found["above real"][MEAN]),
                ]
                for arm, found in arms.items()
            ],
        ),
    ]
    if sets:
        likeness = list(next(iter(sets.values()))["likeness"])
        real = [cell(arms[REAL]["dice"][name]) for name in measures]
        lines += [
            "",
            "Dice of the segmenters trained on real cases, on what the test cases' labels become, "
            "and how like the test cases that is. A map with context took part of it from the "
            "scan, so that its likeness is partly reconstruction.",
            "",
            *table(
                ["", *measures, *likeness],
                [
                    ["real test cases", *real, *("" for _ in likeness)],
                    *(
                        [
                            name,
                            *(cell(found["dice"][measure]) for measure in measures),
                            *(cell(found["likeness"][measure]) for measure in likeness),
                        ]
                        for name, found in sets.items()
                    ),
                ],
            ),
        ]
    if result["without synthetic test"]:
        missing = ", ".join(result["without synthetic test"])
        lines += ["", f"Not made from the test cases, which the run's store lacks: {missing}."]
    return "\n".join(lines) + "\n"


def rows_csv(seeds: Sequence[int], real: Rows, made: Rows) -> str:
    """Every score: one line for each arm, seed, test set and case."""
    measures = list(next(iter(real[REAL][0].values())))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trained on", "seed", "tested on", "patient", "case", *measures])
    groups = [(arm, REAL, found) for arm, found in real.items()]
    groups += [(REAL, name, found) for name, found in made.items()]
    for arm, tested, found in groups:
        for seed, scores in zip(seeds, found, strict=True):
            for key, row in scores.items():
                patient, _, case = key.rpartition("/")
                values = ["" if np.isnan(row[m]) else f"{row[m]:.5f}" for m in measures]
                writer.writerow([arm, seed, tested, patient, case, *values])
    return text.getvalue()


def save_picture(
    test: Sequence[Case],
    made: Mapping[str, Sequence[Case] | None],
    segmenter: Segmenter,
    seen_as: np.ndarray,
    path: Path,
    modalities: Sequence[str],
    count: int = 6,
) -> None:
    """Test cases as rows: labels, real, what is found in it, then the same for what was made.

    Of a case in slices, the one with most labelled pixels is shown.
    """
    chosen = np.linspace(0, len(test) - 1, min(count, len(test))).astype(int)
    samples = [
        (int(n), int(np.argmax([(seen_as[labels] > 0).sum() for labels in test[n].labels])))
        for n in chosen
    ]

    def shown(cases: Sequence[Case]) -> tuple[torch.Tensor, torch.Tensor]:
        images = np.stack([cases[n].image[sample] for n, sample in samples])
        found = segmenter.predict(images).astype(np.int64)
        return torch.from_numpy(images), torch.from_numpy(found)

    labels = np.stack([seen_as[test[n].labels[sample]] for n, sample in samples])
    panels = {"labels": torch.from_numpy(labels.astype(np.int64))}
    panels["real"], panels["found in real"] = shown(test)
    for name, cases in made.items():
        if cases is not None:
            panels[name], panels[f"found in {name}"] = shown(cases)
    save_grid(panels, path, modalities)
