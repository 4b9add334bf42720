"""Do segmenters of real volumes find in synthetic ones the labels that these were made from?

MM-GAN's Fig. 7: one segmenter for each modality learns from the real training cases and is shown
the real test cases and what each generator makes of their label maps. Told is the Dice of each
structure and of the regions that brain tumours have, by modality. A high Dice is no proof of
quality: plain images are segmented best of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scansmith.data.store import Store
from scansmith.evaluate.modality_segmenters import ModalitySegmenters, train_modality_segmenters
from scansmith.evaluate.overlap import dice
from scansmith.evaluate.segmentation import SegmenterNumbers, shuffled
from scansmith.scan import DataError
from scansmith.studies.cells import file_name
from scansmith.studies.counterparts import Case, Maker, labelled, real_cases, told_apart
from scansmith.studies.tables import cell, over_scans, table
from scansmith.train.pictures import MOST_SAMPLES, save_grid

REAL = "real"
Rows = dict[str, dict[str, float]]
"""'patient/case' -> 'modality, structure' -> Dice."""


@dataclass(frozen=True)
class Asked:
    """What a study is asked for.

    Attributes:
        steps, batch, seed: of the training of each modality's segmenter.
    """

    steps: int = 500
    batch: int = 2
    seed: int = 0
    numbers: SegmenterNumbers = field(default_factory=SegmenterNumbers)


def segmenters(store: Store, out: Path, asked: Asked) -> ModalitySegmenters:
    """One for each modality, from the real training cases; an unfinished training goes on."""
    structures, seen_as = told_apart(store.facts.structures)
    real = labelled(real_cases(store, "train"), seen_as)
    return train_modality_segmenters(
        shuffled(real, asked.batch, asked.seed),
        modalities=store.facts.modalities,
        dims=store.facts.dims,
        structures=structures,
        steps=asked.steps,
        seed=asked.seed,
        spacing_mm=store.spacing_mm,
        numbers=asked.numbers,
        run=out / "segmenters",
        record={"store": store.facts.fingerprint, "batch": asked.batch},
    )


def scores(
    cases: Sequence[Case], judges: ModalitySegmenters, store: Store, remade: Sequence[Case] = ()
) -> Rows:
    """Dice of every case in every modality.

    Args:
        cases: the real ones, whose labels are right.
        remade: what was made of their labels, which is looked at instead.
    """
    structures, seen_as = told_apart(store.facts.structures)
    found: Rows = {}
    for case, shown in zip(cases, remade or cases, strict=True):
        truth, said = seen_as[case.labels], judges.predict(shown.image)
        found[case.key] = {
            f"{modality}, {name}": value
            for modality, guess in zip(store.facts.modalities, said, strict=True)
            for name, value in dice(truth, guess, structures).items()
        }
    return found


def study(
    store: Store, runs: Mapping[str, Sequence[Path]], out: Path, asked: Asked
) -> dict[str, Any]:
    """Dice with intervals, of the real test cases and of each name's; NAME-samples.png as well.

    Raises:
        DataError: nothing to be tested on, or a run learned from patients who are tested on.
    """
    test = real_cases(store, "test")
    if not test:
        raise DataError(
            f"{store.path}: no labelled case in the test split. Give data.split a share for "
            "testing (--data-set data.split=0.8,0,0.2)."
        )
    judges = segmenters(store, out, asked)
    patients = sorted({store.cases[name].patient for name in store.names("train")})
    makers = {
        name: [Maker.of(name, run, store, patients) for run in folders]
        for name, folders in runs.items()
    }
    sets: dict[str, list[Rows]] = {REAL: [scores(test, judges, store)]}
    out.mkdir(parents=True, exist_ok=True)
    for name, found in makers.items():
        sets[name] = []
        for number, maker in enumerate(found):
            made = maker.reconstructed(test, store, asked.seed)
            assert made is not None  # the run's store is this one
            sets[name].append(scores(test, judges, store, made))
            if number == 0:
                edited = maker.edited(1, asked.seed, MOST_SAMPLES)
                seen_as = told_apart(store.facts.structures)[1]
                path = out / f"{file_name(name)}-samples.png"
                save_samples(test, made, edited, seen_as, path, store.facts.modalities)
    return {
        "modalities": list(store.facts.modalities),
        "steps": asked.steps,
        "test cases": len(test),
        "dice": {name: over_scans(rows) for name, rows in sets.items()},
    }


def as_markdown(result: Mapping[str, Any]) -> str:
    """A table for each modality."""
    first = next(iter(result["dice"].values()))
    lines = [
        f"{result['test cases']} test cases, one segmenter for each modality, "
        f"{result['steps']} steps on real cases.",
        "",
    ]
    for modality in result["modalities"]:
        names = [key.removeprefix(f"{modality}, ") for key in first if _is_of(key, modality)]
        rows = [
            [name, *(cell(found[f"{modality}, {structure}"]) for structure in names)]
            for name, found in result["dice"].items()
        ]
        lines += [f"**Dice in {modality}**", "", *table(["", *names], rows), ""]
    return "\n".join(lines)


def save_samples(
    test: Sequence[Case],
    remade: Sequence[Case],
    edited: Sequence[Case],
    seen_as: np.ndarray,
    path: Path,
    modalities: Sequence[str],
) -> None:
    """Labels, real, made; then edited labels and what was made of them, as MM-GAN's Figs. 5, 6.

    Of a case in slices, the one with most labelled pixels is shown.
    """

    def panel(cases: Sequence[Case]) -> tuple[torch.Tensor, torch.Tensor]:
        places = [int(np.argmax([(seen_as[one] > 0).sum() for one in c.labels])) for c in cases]
        images = [case.image[n] for case, n in zip(cases, places, strict=True)]
        labels = [seen_as[case.labels[n]] for case, n in zip(cases, places, strict=True)]
        return torch.from_numpy(np.stack(images)), torch.from_numpy(
            np.stack(labels).astype(np.int64)
        )

    real, labels = panel(test[:MOST_SAMPLES])
    made, maps = panel(edited)
    panels = {"labels": labels, "real": real, "made": panel(remade[:MOST_SAMPLES])[0]}
    save_grid({**panels, "edited labels": maps, "made of these": made}, path, modalities)


def _is_of(key: str, modality: str) -> bool:
    return key.startswith(f"{modality}, ")
