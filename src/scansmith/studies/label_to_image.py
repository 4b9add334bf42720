"""How like the real slice is what a label map becomes? Runs of a label-to-image method, tested.

    python -m scansmith.studies.label_to_image STORE --out DIR NAME=RUN[,RUN...] ...

Every labelled test slice is made anew from its label map; each scan counts once. A control without
a network fills each structure with its mean of the training split and adds its spread as noise. The
Frechet distance is that of radiomics-like features between the made and the real test slices, set
beside the distance between two halves of the real patients.
"""

from __future__ import annotations

import argparse
import json
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
from scansmith.scan import Batch, DataError
from scansmith.studies.named import named_folders
from scansmith.studies.tables import Slice, by_scan, cell, over_scans, slices_of, table
from scansmith.workflow import load_run

CONTROL = "class means + noise"


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


def maker(run: Path) -> Callable[[Slice], np.ndarray]:
    """A trained run as a function: slice -> what its label map becomes, network range."""
    method = load_run(run).method

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


def study(store: Store, runs: dict[str, list[Path]]) -> dict[str, Any]:
    """All measures of the control and the runs; see the head of this file."""
    training, test = labelled_slices(store, "train"), labelled_slices(store, "test")
    if not training or not test:
        raise DataError(
            f"{store.path}: {len(training)} labelled slices to learn from and {len(test)} to be "
            "tested on, expected some of both. Choose other structures or another split."
        )
    codec = store.facts.codecs[0]
    window = (codec.low or 0.0, codec.high or 1.0)
    data_range = window[1] - window[0]
    real_features = features(test, [one.image for one in test], window)
    makers = {CONTROL: [class_means(training, len(store.facts.structures))]}
    makers |= {name: [maker(folder) for folder in folders] for name, folders in runs.items()}
    result: dict[str, Any] = {
        "store": store.facts.fingerprint,
        "data_range": data_range,
        "slices": {"train": len(training), "test": len(test)},
        "test patients": sorted({one.patient for one in test}),
        "made": {},
    }
    for name, seeds in makers.items():
        scans = []
        distances = []
        for make in seeds:
            images = [make(one) for one in test]
            rows = [
                {
                    "psnr": fidelity.psnr(one.image, image, data_range),
                    "ssim": fidelity.ssim(one.image, image, data_range),
                    "ssim inside": fidelity.ssim(one.image, image, data_range, one.inside),
                    "mae": fidelity.mae(one.image, image),
                    "mae inside": fidelity.mae(one.image, image, one.inside),
                    "mse": fidelity.mse(one.image, image),
                }
                for one, image in zip(test, images, strict=True)
            ]
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
        rows.append([name, *(cell(found[measure]) for measure in names), far])
    scale = result["made"][CONTROL]["frechet"][0].get("real_vs_real")
    beside = f" Real against real: {scale['median']:.1f}." if scale else ""
    head = [
        "",
        "PSNR, dB",
        "SSIM",
        "SSIM in structures",
        "MAE",
        "MAE in structures",
        "MSE",
        "Frechet",
    ]
    text = (
        f"{result['slices']['test']} test slices of {len(result['test patients'])} patients, "
        f"intensities over a range of {result['data_range']:g}.{beside}"
    )
    return "\n".join([text, "", *table(head, rows)]) + "\n"


def picture(store: Store, runs: dict[str, list[Path]], count: int = 8) -> np.ndarray:
    """Test slices side by side, uint8: labels, each run, real."""
    test = labelled_slices(store, "test")
    chosen = [test[i] for i in np.linspace(0, len(test) - 1, min(count, len(test))).astype(int)]
    makers = [maker(folders[0]) for folders in runs.values()]
    structures = len(store.facts.structures)
    rows = [
        np.concatenate(
            [one.labels / (structures - 1), *(make(one) for make in makers), one.image], 1
        )
        for one in chosen
    ]
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
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "study.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    (given.out / "study.md").write_text(as_markdown(result), encoding="utf-8")
    Image.fromarray(picture(store, runs)).save(given.out / "study.png")
    print(as_markdown(result))


if __name__ == "__main__":
    main()
