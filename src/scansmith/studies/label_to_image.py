"""How like the real slice is what a label map becomes? Runs of a label-to-image method, tested.

    python -m scansmith.studies.label_to_image STORE --out DIR NAME=RUN[,RUN...] ...

Every labelled test slice is made anew from its label map; each scan counts once. A control without
a network fills each structure with its mean of the training split and adds its spread as noise.

Frechet distances are of radiomics-like features. That of all made and all real test slices compares
the rows of the table with each other, and with nothing else: few samples lie further apart than
many. Whether made slices are as near to real ones as real patients are to each other is seen from
halves of the patients, each against the other half's real slices or what was made of them, of
equally many patients and slices (see `evaluate.spread.compare`).

The study is of slices of one modality, whose intensities have limits: without them neither PSNR nor
SSIM has a data range.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from scansmith.data.store import Store
from scansmith.evaluate import fidelity
from scansmith.evaluate.distance import frechet_distance, standardised
from scansmith.evaluate.features import case_features
from scansmith.evaluate.spread import compare
from scansmith.scan import Batch, DataError, Problem
from scansmith.studies.command import command
from scansmith.studies.counterparts import Maker
from scansmith.studies.named import named_folders
from scansmith.studies.tables import (
    Slice,
    by_scan,
    cell,
    over_scans,
    save_study,
    slices_of,
    table,
)

CONTROL = "class means + noise"


def network_range(store: Store) -> tuple[float, float]:
    """The least and the greatest network value of the one modality that is made.

    Raises:
        DataError: the store is of volumes, of several modalities or without limits; all is named.
    """
    where, facts = str(store.path), store.facts
    low, high = facts.codecs[0].low, facts.codecs[0].high
    problems = []
    if facts.dims != 2:
        found = f"found volumes (dims {facts.dims}), expected slices (dims 2)"
        problems.append(Problem(where, "dimensions", found, "Study a method that makes slices"))
    if len(facts.modalities) != 1:
        found = f"found {len(facts.modalities)} modalities ({', '.join(facts.modalities)})"
        remedy = "Prepare a store of one (data.modality)"
        problems.append(Problem(where, "modality", f"{found}, expected 1", remedy))
    if low is None or high is None:
        found = f"intensities from {low} to {high}, expected two limits, which PSNR and SSIM need"
        remedy = "Prepare a store with limits (data.intensity: window or minmax)"
        problems.append(Problem(where, "intensity", found, remedy))
    if problems or low is None or high is None:
        raise DataError(problems)
    return low, high


def labelled_slices(store: Store, split: str) -> list[Slice]:
    """Slices with something labelled (regions apart), in network range, which all scans share."""
    named = len(store.table.written.values)
    return slices_of(store, split, lambda m: bool(((m > 0) & (m < named)).any()), raw=False)


def class_means(training: Sequence[Slice], structures: int) -> Callable[[Slice], np.ndarray]:
    """The control: each structure's mean and spread over the training slices, as noise."""
    values = [np.concatenate([s.image[s.labels == k] for s in training]) for k in range(structures)]
    mean = np.array([v.mean() if v.size else 0.0 for v in values])
    spread = np.array([v.std() if v.size else 0.0 for v in values])

    def fill(one: Slice) -> np.ndarray:
        noise = np.random.default_rng([*one.case.encode()]).normal(size=one.image.shape)
        return (mean[one.labels] + spread[one.labels] * noise).astype(np.float32)

    return fill


def maker(name: str, run: Path, store: Store) -> Callable[[Slice], np.ndarray]:
    """A trained run as a function: slice -> what its label map becomes, network range.

    Raises:
        DataError: it learned from patients whom the store tests on, or from other samples.
    """
    learners = sorted({store.cases[case].patient for case in store.names("train")})
    method = Maker.of(name, run, store, learners).loaded.method

    def make(one: Slice) -> np.ndarray:
        image = torch.from_numpy(np.ascontiguousarray(one.image))[None, None]
        labels = torch.from_numpy(one.labels.astype(np.int64))[None]
        with torch.no_grad():
            return method.make(Batch(image, labels), torch.Generator().manual_seed(0))[0, 0].numpy()

    return make


def features(
    slices: Sequence[Slice], images: Sequence[np.ndarray], window: tuple[float, float]
) -> dict[str, np.ndarray]:
    """Radiomics-like features of the labelled region, patient -> (n, d)."""
    found: dict[str, list[np.ndarray]] = {}
    for one, image in zip(slices, images, strict=True):
        region = {"structures": (one.inside)[None]}
        rows = case_features(image[None], region, window)["structures"]
        if len(rows):
            found.setdefault(one.patient, []).append(rows)
    return {patient: np.concatenate(rows) for patient, rows in found.items()}


def distance(real: dict[str, np.ndarray], made: dict[str, np.ndarray]) -> dict[str, Any]:
    """Frechet distance of z-scored features, with the real-against-real scale."""

    def frechet(a: np.ndarray, b: np.ndarray) -> float:
        a, b, _ = standardised(a, b)
        return frechet_distance(a, b)

    return compare(real, made, frechet, np.random.default_rng(0))


def measured(one: Slice, made: np.ndarray, window: tuple[float, float]) -> dict[str, float]:
    """How near one made slice comes to the real one, both in network range, `window`."""
    black, data_range = window[0], window[1] - window[0]
    similarity = fidelity.ssim_map(one.image, made, data_range, black=black)
    return {
        "psnr": fidelity.psnr(one.image, made, data_range),
        "ssim": fidelity.mean_of_map(similarity),
        "ssim inside": fidelity.mean_of_map(similarity, one.inside),
        "mae": fidelity.mae(one.image, made),
        "mae inside": fidelity.mae(one.image, made, one.inside),
        "mse": fidelity.mse(one.image, made),
    }


def study(store: Store, runs: dict[str, list[Path]]) -> dict[str, Any]:
    """All measures of the control and the runs; see the head of this file.

    Raises:
        DataError: not a store of slices that this can measure, or too few of them.
    """
    window = network_range(store)
    training, test = labelled_slices(store, "train"), labelled_slices(store, "test")
    if not training or not test:
        raise DataError(
            f"{store.path}: {len(training)} labelled slices to learn from and {len(test)} to be "
            "tested on, expected some of both. Choose other structures or another split."
        )
    real_features = features(test, [one.image for one in test], window)
    makers = {CONTROL: [class_means(training, len(store.facts.structures))]}
    makers |= {
        name: [maker(name, folder, store) for folder in folders] for name, folders in runs.items()
    }
    result: dict[str, Any] = {
        "store": store.facts.fingerprint,
        "data_range": window[1] - window[0],
        "slices": {"train": len(training), "test": len(test)},
        "test patients": sorted({one.patient for one in test}),
        "made": {},
    }
    for name, seeds in makers.items():
        scans = []
        distances = []
        for make in seeds:
            images = [make(one) for one in test]
            rows = [measured(one, image, window) for one, image in zip(test, images, strict=True)]
            scans.append(by_scan(test, rows))
            distances.append(distance(real_features, features(test, images, window)))
        result["made"][name] = over_scans(scans) | {"frechet": distances}
    return result


def as_markdown(result: dict[str, Any]) -> str:
    """The study as the table of docs/results.md."""
    names = ("psnr", "ssim", "ssim inside", "mae", "mae inside", "mse")
    rows = []
    for name, found in result["made"].items():
        values = [d["value"] for d in found["frechet"]]
        far = "-" if None in values else f"{np.mean(values):.1f}"
        rows.append([name, *(cell(found[m]) for m in names), far, matched(found["frechet"])])
    head = [
        "",
        "PSNR, dB",
        "SSIM",
        "SSIM in structures",
        "MAE",
        "MAE in structures",
        "MSE",
        "Frechet, all slices",
        "Frechet, halves",
    ]
    text = (
        f"{result['slices']['test']} test slices of {len(result['test patients'])} patients, "
        f"intensities over a range of {result['data_range']:g}. "
        f"{scale_words(result['made'][CONTROL]['frechet'][0])}"
    )
    return "\n".join([text, "", *table(head, rows)]) + "\n"


def matched(distances: Sequence[dict[str, Any]]) -> str:
    """Real against made halves, mean over the seeds, with the verdicts: what may stand beside real
    against real. "-" if there is none."""
    found = [d["real_vs_synthetic"] for d in distances]
    if None in found:
        return "-"
    words = ", ".join(dict.fromkeys(d["verdict"] or "no verdict" for d in distances))
    return f"{np.mean([d['median'] for d in found]):.1f} ({words})"


def scale_words(distance: dict[str, Any]) -> str:
    """What "Frechet, halves" has to be set beside, or why there is nothing."""
    scale = distance["real_vs_real"]
    if scale is None:
        return f"No scale for the Frechet distances: {distance['reason']}."
    low, high = scale["interval"]
    return (
        f"Halves of the patients, real against real: {scale['median']:.1f} ({low:.1f} to "
        f"{high:.1f}); only the last column can be set beside it."
    )


def picture(store: Store, runs: dict[str, list[Path]], count: int = 8) -> np.ndarray:
    """Test slices side by side, uint8: labels, each run, real; black and white are the limits of
    the intensities.

    Raises:
        DataError: see `network_range`.
    """
    low, high = network_range(store)
    test = labelled_slices(store, "test")
    chosen = [test[i] for i in np.linspace(0, len(test) - 1, min(count, len(test))).astype(int)]
    makers = [maker(name, folders[0], store) for name, folders in runs.items()]
    structures = len(store.facts.structures)
    rows = []
    for one in chosen:
        tiles = [(image - low) / (high - low) for image in (*(m(one) for m in makers), one.image)]
        rows.append(np.concatenate([one.labels / (structures - 1), *tiles], 1))
    return np.uint8(255 * np.concatenate(rows).clip(0, 1))  # type: ignore[return-value]


def main(words: Sequence[str] | None = None) -> None:
    """Command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("store", type=Path)
    parser.add_argument("runs", nargs="+", help="NAME=RUN[,RUN...]")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(words)
    runs = named_folders(given.runs)
    store = Store.open(given.store)
    result = study(store, runs)
    save_study(given.out, result, as_markdown(result))
    Image.fromarray(picture(store, runs)).save(given.out / "study.png")
    print(as_markdown(result))


if __name__ == "__main__":
    command(main)
