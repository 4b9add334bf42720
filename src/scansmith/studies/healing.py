"""How well a slice was healed: measures of ANT-GAN's A2N on one store's held-out scans.

Images are (n, C, H, W) in network range -1..1; measures are taken on intensities of 0..1, so that
the data range of PSNR and SSIM is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scansmith.data.batches import Batches
from scansmith.data.layouts import find_layout
from scansmith.data.prepare_case import Task, to_grid
from scansmith.data.store import Store
from scansmith.evaluate import fidelity
from scansmith.io import read_scan
from scansmith.labels.change import body, difference_map
from scansmith.methods.ant_gan import AntGan, lesion_indices
from scansmith.scan import Batch, CaseFiles, DataError
from scansmith.studies.tables import Slice, by_scan

PAPER_THRESHOLD = 0.1  # Fig. 9
THRESHOLDS = tuple(float(t) for t in np.round(np.arange(0.02, 0.41, 0.02), 2))
MOST_TRAINING = 200  # slices that the best threshold is chosen on
CHUNK = 16
SAME_PATIENT = 0.05  # of 0..1: a twin differs by less where the body has no lesion

#: Slices (n, C, H, W) and their lesion masks (n, H, W) -> the slices healed.
Healer = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Slices:
    """Slices of one kind: who they are of, (n, C, H, W) in network range, lesion, body."""

    places: list[Slice]
    images: np.ndarray
    lesion: np.ndarray
    body: np.ndarray

    @staticmethod
    def of(store: Store, split: str, draw: str, lesion: Sequence[int]) -> Slices:
        """All that a draw may take of a split. Raises DataError if that is nothing."""
        places, masks = [], []
        for case, sample in Batches(store, split, 1, 0).samples(draw):
            image, labels = store.sample(case, sample)
            places.append(Slice(case, store.cases[case].patient, image, labels))
            masks.append(np.isin(labels, lesion))
        images = np.stack([place.image for place in places])
        return Slices(places, images, np.stack(masks), body(torch.from_numpy(images)).numpy())

    def thinned(self, most: int) -> Slices:
        """At most so many, evenly spread."""
        kept = np.linspace(0, len(self.places) - 1, min(most, len(self.places))).astype(int)
        places = [self.places[k] for k in kept]
        return Slices(places, self.images[kept], self.lesion[kept], self.body[kept])


@dataclass(frozen=True)
class Ground:
    """One store to be tested on."""

    store: Store
    abnormal: Slices
    normal: Slices
    training: Slices
    twins: np.ndarray | None

    @staticmethod
    def of(path: Path, twins: Path | None) -> Ground:
        """Read it all."""
        store = Store.open(path)
        data = store.recipe.settings
        organ = store.table.index(data["organ"]) if data["organ"] else 0
        lesion = lesion_indices(store.table.structures, data["lesion"], organ)
        abnormal = Slices.of(store, "test", "abnormal", lesion)
        where = Batches(store, "test", 1, 0).samples("abnormal")
        return Ground(
            store,
            abnormal,
            Slices.of(store, "test", "normal", lesion),
            Slices.of(store, "train", "abnormal", lesion).thinned(MOST_TRAINING),
            None if twins is None else twin_slices(store, twins, abnormal, where),
        )

    def score(self, heal: Healer, method: AntGan) -> dict[str, Any]:
        """Mean scores of each test scan on slices with lesion and without, best threshold."""
        best = best_threshold(self.training, heal, method)
        slices, healed = self.abnormal, heal(self.abnormal.images, self.abnormal.lesion)
        rows = [
            of_abnormal(
                unit(slices.images[k]), unit(healed[k]), slices.lesion[k], slices.body[k],
                None if self.twins is None else unit(self.twins[k]),
            )
            for k in range(len(healed))
        ]  # fmt: skip
        change = difference_map(torch.from_numpy(slices.images), torch.from_numpy(healed))
        inside = torch.from_numpy(slices.body)
        found = {
            "dice raw": (change > PAPER_THRESHOLD).numpy(),
            "dice": method.lesion_of(change, inside, PAPER_THRESHOLD).numpy(),
            "dice best": method.lesion_of(change, inside, best).numpy(),
        }
        for name, masks in found.items():
            for row, mask, lesion in zip(rows, masks, slices.lesion, strict=True):
                row[name] = dice(mask, lesion)
        return {
            "abnormal": by_scan(slices.places, rows),
            "healthy": by_scan(self.normal.places, self.healthy(heal, method)),
            "best threshold": best,
        }

    def healthy(self, heal: Healer, method: AntGan) -> list[dict[str, float]]:
        """What was changed in slices without lesion; "found" is the share of the body."""
        slices, healed = self.normal, heal(self.normal.images, self.normal.lesion)
        change = difference_map(torch.from_numpy(slices.images), torch.from_numpy(healed))
        found = method.lesion_of(change, torch.from_numpy(slices.body), PAPER_THRESHOLD).numpy()
        rows = []
        for k, inside in enumerate(slices.body):
            x, y = unit(slices.images[k]), unit(healed[k])
            rows.append(
                {
                    "psnr healthy": fidelity.psnr(x, y, 1.0),
                    "change healthy": fidelity.mae(x, y),
                    "found healthy": float(found[k].sum() / max(inside.sum(), 1)),
                }
            )
        return rows


def healer(method: AntGan) -> Healer:
    """A trained ANT-GAN as a function; it does not look at the lesion masks."""

    def heal(images: np.ndarray, lesion: np.ndarray) -> np.ndarray:
        parts = torch.from_numpy(images).split(CHUNK)
        with torch.no_grad():
            return torch.cat([method.heal(part) for part in parts]).numpy()

    return heal


def unchanged(images: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """The slices as they are."""
    return images


def mean_fill(images: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """Lesions filled with the mean of the body around them, modality by modality."""
    filled = images.copy()
    around = body(torch.from_numpy(images)).numpy() & ~lesion
    for image, mask, rest in zip(filled, lesion, around, strict=True):
        for channel in image:
            channel[mask] = channel[rest].mean() if rest.any() else channel.mean()
    return filled


def of_abnormal(
    x: np.ndarray, y: np.ndarray, lesion: np.ndarray, inside: np.ndarray, twin: np.ndarray | None
) -> dict[str, float]:
    """Scores of one healed slice (C, H, W), 0..1; masks are (H, W)."""
    masks = {
        name: np.broadcast_to(mask, x.shape)
        for name, mask in (("out", ~lesion), ("body", inside & ~lesion), ("in", lesion))
    }
    found = {
        "psnr outside": fidelity.psnr(x, y, 1.0, masks["out"]),
        "ssim outside": fidelity.ssim(x, y, 1.0, masks["out"]),
        "change outside": fidelity.mae(x, y, masks["out"]),
        "change inside": fidelity.mae(x, y, masks["in"]),
    }
    rest = masks["body"]
    if rest.any():
        found["psnr outside, body"] = fidelity.psnr(x, y, 1.0, rest)
        found["ssim outside, body"] = fidelity.ssim(x, y, 1.0, rest)
    else:  # no more of the body than the lesion
        found["psnr outside, body"] = found["ssim outside, body"] = float("nan")
    if twin is not None:
        found["psnr inside, twin"] = fidelity.psnr(twin, y, 1.0, masks["in"])
        found["mae inside, twin"] = fidelity.mae(twin, y, masks["in"])
        found["bias inside, twin"] = fidelity.bias(twin, y, masks["in"])
    return found


def best_threshold(slices: Slices, heal: Healer, method: AntGan) -> float:
    """The threshold with the best mean Dice over scans; the lowest of equals."""
    change = difference_map(
        torch.from_numpy(slices.images), torch.from_numpy(heal(slices.images, slices.lesion))
    )
    inside, means = torch.from_numpy(slices.body), []
    for threshold in THRESHOLDS:
        masks = method.lesion_of(change, inside, threshold).numpy()
        rows = [{"dice": dice(m, t)} for m, t in zip(masks, slices.lesion, strict=True)]
        means.append(np.mean([row["dice"] for row in by_scan(slices.places, rows).values()]))
    return THRESHOLDS[int(np.argmax(means))]


def dice(found: np.ndarray, lesion: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|); nan if both are empty."""
    total = int(found.sum() + lesion.sum())
    return 2 * int((found & lesion).sum()) / total if total else float("nan")


def unit(network: np.ndarray) -> np.ndarray:
    """-1..1 to 0..1."""
    return (network + 1) / 2


def drawn(slices: Slices, method: AntGan) -> dict[str, float]:
    """What N2A does to slices without lesion: how many get a label, of how many pixels."""
    pixels: list[int] = []
    for start in range(0, len(slices.places), CHUNK):
        part = slice(start, start + CHUNK)
        labels = np.stack([place.labels for place in slices.places[part]]).astype(np.int64)
        source = Batch(torch.from_numpy(slices.images[part]), torch.from_numpy(labels))
        with torch.no_grad():
            made = method.sample(source, torch.Generator().manual_seed(0))
        pixels += [int(note["lesion_pixels"]) for note in made.notes]
    some = [p for p in pixels if p]
    return {"share": len(some) / len(pixels), "pixels": float(np.mean(some)) if some else 0.0}


def twin_slices(
    store: Store, twins: Path, slices: Slices, where: Sequence[tuple[str, int]]
) -> np.ndarray:
    """The same patients' slices without the lesion, (n, C, H, W) in network range.

    Args:
        twins: data set with the store's cases, as `scansmith data phantom` writes it.
        where: case and sample number of each of the slices.
    Raises:
        DataError: a case is not there, has another grid, or is of another patient.
    """
    dataset = find_layout(twins)
    files = {each.case: each for each in dataset.cases}
    volumes: dict[str, np.ndarray] = {}
    for case in dict.fromkeys(case for case, _ in where):
        if case not in files:
            raise DataError(f"{twins}: no twin of {case}. Give the twins of the store's data set.")
        modalities = store.facts.modalities
        images = {name: files[case].images[name] for name in modalities}
        scan = read_scan(CaseFiles(case, images), table=dataset.table)
        task = Task(files[case], "", modalities, store.recipe, dataset.table, store.table, None, "")
        raw = to_grid(scan, task).image
        encoded = [store.codec(case, c).encode(raw[:, c]) for c in range(len(modalities))]
        volumes[case] = np.stack(encoded, axis=1)
        if len(raw) != store.cases[case].samples:
            raise DataError(
                f"{twins}: the twin of {case} has {len(raw)} slices, expected "
                f"{store.cases[case].samples}. Give the twins of the store's data set."
            )
    found = np.stack([volumes[case][sample] for case, sample in where])
    for (case, _), x, y, lesion, inside in zip(
        where, slices.images, found, slices.lesion, slices.body, strict=True
    ):
        rest = np.broadcast_to(inside & ~lesion, x.shape)
        if rest.any() and np.median(np.abs(x - y)[rest]) / 2 > SAME_PATIENT:
            raise DataError(
                f"{twins}: {case} differs from its twin where there is no lesion. Give the twins "
                "that were written with the store's data set."
            )
    return found
