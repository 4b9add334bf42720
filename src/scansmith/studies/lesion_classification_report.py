"""What the classifiers of ANT-GAN's Tables VI and VII said: numbers, tables beside the paper's."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from scansmith.evaluate.confusion import MEASURES, Table, gains, means, table_of
from scansmith.studies.cells import Scores
from scansmith.studies.tables import cell, published, table

PLAIN, DEFAULT, REAL, ALL, AUGMENTED = "plain", "ant-gan", "real", "all real", ", augmented"
COPIES = "copies"
Found = dict[str, list[Scores]]
"""Arm -> "patient/case/slice" -> abnormal, chance; under each seed, or in each seed's repeats."""
DATA = "BraTS 2018, FLAIR, 240 x 240 pixels, 300 000 steps"
PUBLISHED = {
    "channel": {
        "item": "ANT-GAN (arXiv 1810.10850), Table VI",
        "data": DATA,
        "measure": "means of five folds",
        "arms": {
            PLAIN: {"precision": 0.8941, "recall": 0.8986, "f1": 0.896},
            DEFAULT: {"precision": 0.9235, "recall": 0.9096, "f1": 0.917},
        },
    },
    "fakes": {
        "item": "ANT-GAN (arXiv 1810.10850), Table VII",
        "data": DATA,
        "measure": "means of several draws of the 100 slices",
        "arms": {
            REAL: {"precision": 0.6556, "recall": 0.6336, "f1": 0.644},
            f"{REAL} + {DEFAULT}": {"precision": 0.7719, "recall": 0.7794, "f1": 0.776},
        },
    },
}
TITLES = {
    "channel": "A healed slice beside the slice",
    "fakes": "Fake slices beside few real ones",
}
SEEN = {
    "channel": "(x, x) is plain, (x, A2N(x)) the others",
    "fakes": "all arms took the same number of steps",
}


def summarise(question: str, found: Found) -> dict[str, Any]:
    """Every arm's measures, and what it has above the reference, paired by patient and training."""
    tables = {arm: [table_of_scores(scores) for scores in each] for arm, each in found.items()}
    reference = PLAIN if question == "channel" else REAL
    first = next(iter(found.values()))
    keys = {key for scores in first for key in scores}
    abnormal = {key for scores in first for key, row in scores.items() if row["abnormal"]}
    return {
        "reference": reference,
        "test slices": {"normal": len(keys - abnormal), "abnormal": len(abnormal)},
        "test patients": len({patient_of(key) for key in keys}),
        "trainings": len(first),
        "arms": {arm: means(each) for arm, each in tables.items()},
        "above": {
            arm: gains(each, tables[reference]) for arm, each in tables.items() if arm != reference
        },
        "published": PUBLISHED[question],
    }


def table_of_scores(scores: Scores) -> Table:
    """Right and wrong slices of each patient."""
    return table_of(
        (patient_of(key), int(row["abnormal"]), row["chance"]) for key, row in scores.items()
    )


def patient_of(key: str) -> str:
    """Of "patient/case/slice"."""
    return key.rsplit("/", 2)[0]


def as_markdown(result: Mapping[str, Any]) -> str:
    """The study as tables, with the published numbers beside it."""
    lines = [
        *(f"**{warning}**\n" for warning in result["warnings"]),
        f"{len(result['folds'])} fold(s), seeds {', '.join(map(str, result['seeds']))}. Measures "
        "over all test slices of a training, averaged over trainings, with 95 % bootstrap "
        "intervals over patients.",
    ]
    for question, title in TITLES.items():
        if question in result:
            told = _question(question, result[question], len(result["seeds"]))
            lines += ["", f"**{title}**", "", *told]
    return "\n".join(lines) + "\n"


def _question(question: str, told: Mapping[str, Any], seeds: int) -> list[str]:
    counts = told["test slices"]
    arms = [
        [arm, *(cell(found[m]) for m in MEASURES), _sd(found["f1"]["sd"])]
        for arm, found in told["arms"].items()
    ]
    above = [
        [arm, *(cell(found[m]) for m in MEASURES), _sd(found["f1"]["sd"])]
        for arm, found in told["above"].items()
    ]
    head = ["", *MEASURES, "sd of F1"]
    return [
        f"{told['test patients']} test patients with {counts['abnormal']} abnormal and "
        f"{counts['normal']} normal slices; {told['trainings']} training(s) an arm, "
        f"{told['trainings'] // seeds} under each seed; {SEEN[question]}.",
        "",
        *table(head, arms),
        "",
        f"Above {told['reference']}, paired by patient and training",
        "",
        *table(head, above),
        "",
        *published(told["published"], told["arms"]),
    ]


def _sd(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def slices_csv(found: Mapping[str, Found]) -> str:
    """Every probability: a line for each question, arm, training and test slice."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["question", "arm", "training", "patient", "case", "slice", "abnormal", "chance"]
    )
    for question, arms in found.items():
        for arm, each in arms.items():
            for training, scores in enumerate(each):
                for key, row in scores.items():
                    writer.writerow(
                        [question, arm, training, *key.rsplit("/", 2), int(row["abnormal"]),
                         f"{row['chance']:.5f}"]
                    )  # fmt: skip
    return text.getvalue()
