"""Are the modalities of synthetic cases registered? Measured, beside real cases and shifted ones.

    python -m scansmith.studies.registration --out DIR STORE NAME=SYNTHETIC_DATASET ...

For every pair of modalities of a slice: how far their structure maps agree (Dice and IoU of
Algorithm 1) and how much one tells of the other (mutual information in the brain). The same is
measured in real cases of the store's held-out patients, and in these with one modality moved by
1, 2 and 4 pixels: registered synthetic cases should stand with the real ones and not with the
shifted ones. Modalities that are copies of each other agree best of all, so their mean absolute
difference in the brain is told as well. 0 to 1 is the range of a volume: that of the scan that a
synthetic case was drawn from, where its set says which. Each patient counts once, a synthetic case
as that scan's patient, in all sets of a name together (as one of its own, where nobody is known).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from scansmith.data.intensity import fit_codec, measure
from scansmith.data.layouts import find_layout
from scansmith.data.store import Store
from scansmith.evaluate.information import information
from scansmith.evaluate.pairs import origins
from scansmith.evaluate.registration import agreement, edges, moved_apart
from scansmith.evaluate.view import oriented
from scansmith.io.scans import read_scan
from scansmith.labels.table import LabelTable
from scansmith.nets.structure_map import background_mask
from scansmith.scan import DataError, Scan
from scansmith.studies.command import command
from scansmith.studies.named import named_folders
from scansmith.studies.tables import cell, save_study, summary, table

SHIFTS = (0, 1, 2, 4)
MEASURES = ("dice", "iou", "mi", "nmi", "difference")


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        slices: at most so many of each case, evenly spread over those that show enough brain.
        least_brain: share of a slice.
        beta, smooth: of Algorithm 1.
    """

    slices: int = 8
    least_brain: float = 0.1
    beta: float = 0.12
    smooth: float = 0.0


@dataclass(frozen=True)
class Shown:
    """One slice in all modalities.

    Attributes:
        images: float32 (M, H, W), 0..1.
        labels: (H, W), structure indices of the store; all 0 without labels.
    """

    patient: str
    images: np.ndarray
    labels: np.ndarray

    @property
    def brain(self) -> np.ndarray:
        """Where any modality is not black."""
        return np.asarray((self.images > 0).any(axis=0))


def real_slices(store: Store, split: str, options: Options, lesion: int = 0) -> list[Shown]:
    """Slices of a split of a store; `lesion`: with at least so many pixels of one."""
    found = []
    for name in store.names(split):
        images, labels = store.volume(name)
        left_out = store.cases[name].left_out
        ill = (labels > 0).reshape(len(labels), -1).sum(axis=1) >= lesion
        kept = [n for n in range(len(images)) if n not in left_out and ill[n]]
        patient = store.cases[name].patient
        found += _spread([Shown(patient, images[n], labels[n]) for n in kept], options)
    return found


def synthetic_slices(root: Path, store: Store, options: Options, lesion: int = 0) -> list[Shown]:
    """Slices of a data set on disk, brought to 0..1 as the store's scans are.

    A case whose `provenance.jsonl` names a source in the store has that scan's range: by its own, a
    slice would come out brighter than the same slice of a volume. Other cases have their own.

    Args:
        lesion: pixels of one that a slice shows at least.

    Raises:
        DataError: a modality of the store is not in the set.
    """
    dataset = find_layout(root)
    missing = [m for m in store.facts.modalities if m not in dataset.modalities]
    if missing or dataset.problems:
        raise DataError(
            f"{root}: no modality {', '.join(missing) or '(unreadable)'}, expected "
            f"{', '.join(store.facts.modalities)}. Give a set made by a run of this store."
        )
    found, said = [], origins(root, dataset.cases)
    for files in dataset.cases:
        scan = oriented(read_scan(files))
        source = said[files.case].source if files.case in said else ""
        shown = _slices_of(scan, store, dataset.table or store.table, source, root)
        ill = [one for one in shown if (one.labels > 0).sum() >= lesion]
        found += _spread(ill, options)
    return found


def _slices_of(
    scan: Scan, store: Store, table: LabelTable, source: str, root: Path
) -> Iterator[Shown]:
    """The slices of a scan; its labels are values of `table`, which may number them anew."""
    if source in store.cases:
        patient = store.cases[source].patient
    else:
        patient = f"{root}/{scan.patient or scan.case}"  # two sets may share case names
    encoded, intensity = [], store.recipe.intensity
    for number, modality in enumerate(store.facts.modalities):
        raw = scan.image[scan.modalities.index(modality)].T
        if source in store.cases:
            codec = store.codec(source, number)
        elif intensity.scope == "case":
            codec = fit_codec(intensity, measure(raw, intensity), scan.case)
        else:
            codec = store.facts.codecs[number]
        encoded.append(codec.encode(raw))
    images = np.stack(encoded, axis=1)
    if scan.labels is None:
        labels = np.zeros(images[:, 0].shape, dtype=np.uint8)
    else:
        indices = np.array([store.table.index(name) for name in table.structures], dtype=np.uint8)
        labels = indices[table.encode(scan.labels.T)]
    for image, label in zip(images, labels, strict=True):
        yield Shown(patient, image, label)


def _spread(slices: list[Shown], options: Options) -> list[Shown]:
    enough = [one for one in slices if one.brain.mean() >= options.least_brain]
    chosen = np.linspace(0, len(enough) - 1, min(options.slices, len(enough))).astype(int)
    return [enough[n] for n in chosen]


def pair_scores(one: Shown, shift: int, options: Options) -> dict[str, float]:
    """Means over all pairs of modalities, the second moved by `shift` pixels along either axis."""
    maps = [edges(image, options.beta, options.smooth) for image in one.images]
    rows = []
    for i, j in combinations(range(len(maps)), 2):
        for axis in (0, 1) if shift else (0,):
            found = agreement(*moved_apart(maps[i], maps[j], axis, shift))
            images = moved_apart(one.images[i], one.images[j], axis, shift)
            mask = (images[0] > 0) | (images[1] > 0)
            apart = float(np.abs(images[0] - images[1])[mask].mean())
            rows.append(found | information(*images, mask) | {"difference": apart})
    return {name: float(np.nanmean([row[name] for row in rows])) for name in MEASURES}


def scored(slices: Sequence[Shown], shift: int, options: Options) -> dict[str, Any]:
    """Every measure with its interval; a patient counts once."""
    by_patient: dict[str, list[dict[str, float]]] = {}
    for one in slices:
        by_patient.setdefault(one.patient, []).append(pair_scores(one, shift, options))
    means = [
        {name: float(np.nanmean([row[name] for row in rows])) for name in MEASURES}
        for rows in by_patient.values()
    ]
    return summary(means, list(by_patient)) | {"slices": len(slices), "patients": len(means)}


def study(sets: dict[str, list[Shown]], options: Options) -> dict[str, Any]:
    """Real, real moved apart, and every synthetic set.

    Args:
        sets: name -> slices; "real" among them.
    """
    empty = [name for name, slices in sets.items() if not slices]
    if empty:
        raise DataError(
            f"{', '.join(empty)}: no slice shows {options.least_brain:.0%} brain. Lower "
            "--least-brain, or use another split."
        )
    found = {
        "real" if shift == 0 else f"real, moved by {shift} px": scored(sets["real"], shift, options)
        for shift in SHIFTS
    }
    found |= {name: scored(slices, 0, options) for name, slices in sets.items() if name != "real"}
    return {"options": vars(options), "sets": found}


def as_markdown(result: dict[str, Any]) -> str:
    """The study as the table of docs/results.md."""
    rows = [
        [name, str(found["patients"]), str(found["slices"]), *(cell(found[m]) for m in MEASURES)]
        for name, found in result["sets"].items()
    ]
    head = ["", "patients", "slices", "edges: Dice", "IoU"]
    head += ["mutual information, nats", "normalised", "difference"]
    return "\n".join(table(head, rows)) + "\n"


def picture(sets: dict[str, list[Shown]], options: Options, count: int = 4) -> np.ndarray:
    """A few slices of each set, a row each, uint8: f | mask | label | modalities."""
    rows = []
    for slices in sets.values():
        for n in np.linspace(0, len(slices) - 1, min(count, len(slices))).astype(int):
            one = slices[n]
            f = edges(one.images[0], options.beta, options.smooth)
            x = torch.from_numpy(np.ascontiguousarray(one.images[:1]))[None]
            labels = one.labels / max(1, one.labels.max())
            tiles = [f, background_mask(x)[0, 0].numpy(), labels, *one.images]
            rows.append(np.concatenate(tiles, axis=1))
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 2), (0, width - row.shape[1]))) for row in rows]
    return np.uint8(255 * np.concatenate(padded).clip(0, 1))  # type: ignore[return-value]


def main(words: Sequence[str] | None = None) -> None:
    """Command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("store", type=Path)
    parser.add_argument("sets", nargs="*", help="NAME=SYNTHETIC_DATASET")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", default="test", help="of the real cases")
    parser.add_argument("--slices", type=int, default=8, help="of a case, at most")
    parser.add_argument("--least-brain", type=float, default=0.1, help="share of a slice")
    parser.add_argument("--beta", type=float, default=0.12, help="threshold of Algorithm 1")
    parser.add_argument("--smooth", type=float, default=0.0, help="blur before it, sd in pixels")
    given = parser.parse_intermixed_args(words)
    options = Options(given.slices, given.least_brain, given.beta, given.smooth)
    store = Store.open(given.store)
    sets = {"real": real_slices(store, given.split, options)}
    for name, roots in named_folders(given.sets).items():
        sets[name] = [one for root in roots for one in synthetic_slices(root, store, options)]
    result = study(sets, options)
    save_study(given.out, result, as_markdown(result))
    Image.fromarray(picture(sets, options)).save(given.out / "study.png")
    print(as_markdown(result))


if __name__ == "__main__":
    command(main)
