"""How like the real modality is what another is translated to?

    python -m scansmith.studies.translation --out DIR NAME=RUN[,RUN...] ...

Every test slice of a run's own store is translated from every modality to every other. "Unchanged"
hands the source back, and "grey values" maps the source's grey values to the target's by matching
histograms of the training slices: what can be had without knowing where anything is. Intensities
are of 0..1, so that the data range is 1; each patient counts once. Registered pairs are needed to
measure, not to train.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scansmith.data.store import Store
from scansmith.evaluate import fidelity
from scansmith.scan import DataError
from scansmith.studies.command import command
from scansmith.studies.named import named_folders
from scansmith.studies.tables import cell, save_study, summary, table
from scansmith.workflow import load_run

Translate = Callable[[np.ndarray, int, int], np.ndarray]
"""A slice (M, H, W), the source's and the target's number -> (H, W)."""
LEVELS = 256


def slices_of_split(store: Store, split: str) -> Iterator[tuple[str, np.ndarray]]:
    """Patient and image (M, H, W) of every slice that training would draw."""
    for name in store.names(split):
        images, _ = store.volume(name)
        for n, image in enumerate(images):
            if n not in store.cases[name].left_out:
                yield store.cases[name].patient, image


def unchanged(image: np.ndarray, source: int, target: int) -> np.ndarray:
    """The source."""
    return image[source]


def by_grey_values(store: Store) -> Translate:
    """Match the source's histogram to the target's, both of the training slices' bodies."""
    levels = np.linspace(0, 1, LEVELS + 1)
    bodies = [image[:, (image > 0).any(axis=0)] for _, image in slices_of_split(store, "train")]
    values = np.concatenate(bodies, axis=1)
    quantiles = [np.quantile(one, levels) for one in values]

    def translate(image: np.ndarray, source: int, target: int) -> np.ndarray:
        rank = np.interp(image[source], quantiles[source], levels)
        matched = np.interp(rank, levels, quantiles[target])
        return np.where(image[source] > 0, matched, 0).astype(np.float32)

    return translate


def by_run(run: Path) -> tuple[Translate, Store]:
    """What a run translates to, and its store.

    Raises:
        DataError: the store is not the one that it was trained on.
    """
    loaded = load_run(run)
    store = Store.open(loaded.store)
    if store.facts.fingerprint != loaded.method.facts.fingerprint:
        raise DataError(
            f"{store.path}: is not the store that {run} was trained on any more. Put it back, or "
            "train again."
        )

    def translate(image: np.ndarray, source: int, target: int) -> np.ndarray:
        with torch.no_grad():
            whole = torch.from_numpy(np.ascontiguousarray(image))[None]
            return loaded.method.translate(whole, source, target)[0, 0].numpy()

    return translate, store


def scores(image: np.ndarray, translate: Translate) -> dict[str, float]:
    """Means over all ways of one slice: error and PSNR of the body, SSIM of the slice."""
    body = (image > 0).any(axis=0)
    rows = []
    for source, target in permutations(range(len(image)), 2):
        made, real = translate(image, source, target), image[target]
        found = {
            "mae": fidelity.mae(real[body], made[body]),
            "psnr": fidelity.psnr(real[body], made[body], 1.0),
            "ssim": fidelity.ssim(real, made, 1.0),
        }
        rows.append(found)
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def study(runs: dict[str, list[Path]], most: int = 8) -> dict[str, Any]:
    """Every name's measures with intervals over patients, seeds averaged.

    Args:
        most: slices of a patient, evenly spread.
    """
    opened = {name: [by_run(run) for run in folders] for name, folders in runs.items()}
    store = next(iter(opened.values()))[0][1]
    if {s.facts.fingerprint for found in opened.values() for _, s in found} != {
        store.facts.fingerprint
    }:
        raise DataError(
            "translation: found runs of different stores, expected one. Train all on one store."
        )
    ways: dict[str, list[Translate]] = {
        "unchanged": [unchanged],
        "grey values": [by_grey_values(store)],
        **{name: [translate for translate, _ in found] for name, found in opened.items()},
    }
    patients: dict[str, list[np.ndarray]] = {}
    for patient, image in slices_of_split(store, "test"):
        patients.setdefault(patient, []).append(image)
    told: dict[str, Any] = {}
    for name, translates in ways.items():
        means = []
        for images in patients.values():
            places = np.linspace(0, len(images) - 1, min(most, len(images))).astype(int)
            rows = [scores(images[n], translate) for translate in translates for n in places]
            means.append({key: float(np.mean([row[key] for row in rows])) for key in rows[0]})
        told[name] = summary(means, list(patients))
    return {"patients": len(patients), "modalities": list(store.facts.modalities), "sets": told}


def as_markdown(result: dict[str, Any]) -> str:
    """The study as the table of docs/results.md."""
    rows = [
        [name, *(cell(found[key]) for key in ("mae", "psnr", "ssim"))]
        for name, found in result["sets"].items()
    ]
    return "\n".join(table(["", "MAE in the body", "PSNR in the body, dB", "SSIM"], rows)) + "\n"


def main(words: Sequence[str] | None = None) -> None:
    """Command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="+", help="NAME=RUN[,RUN...]")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--slices", type=int, default=8, help="of a patient, at most")
    given = parser.parse_args(words)
    runs = named_folders(given.runs)
    result = study(runs, given.slices)
    save_study(given.out, result, as_markdown(result))
    print(as_markdown(result))


if __name__ == "__main__":
    command(main)
