"""How well are slices healed? ANT-GAN runs and its ablations on held-out scans, against each other.

    python -m scansmith.studies.abnormal_to_normal --out DIR NAME=RUN[,RUN...] ...

Every test slice with lesion of a run's own store is healed, and every one without. Runs given
together under one name differ by their seed. Each scan counts once; the name given first is
compared with each other one, scan by scan. Intensities are of 0..1, so that the data range of PSNR
and SSIM is 1.

outside   pixels without lesion: PSNR (Table IV) and SSIM; inside the body alone as well, since air
          is easy for PSNR, and for SSIM the slightest noise in it is the end
inside    how much the lesion was changed, and, with --twins, how near it comes to the same patient
          without the lesion, whom phantoms have
Dice      of the lesion with |x - A2N(x)| above 0.1: all of it, and cleaned as labels are; and
          cleaned above the threshold that is best on the training slices
healthy   slices without lesion: how much is changed that should not be

"unchanged" hands slices back. "mean fill" knows the lesion and fills it with the mean of the body
around it: what a healer that knows no anatomy can reach.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import binary_erosion

from scansmith.labels.change import difference_map
from scansmith.methods.ant_gan import AntGan
from scansmith.scan import DataError
from scansmith.studies.command import command
from scansmith.studies.feature_maps import feature_sheet, joint_tsne, save_map
from scansmith.studies.healing import Ground, Slices, drawn, healer, mean_fill, unchanged, unit
from scansmith.studies.named import named_folders
from scansmith.studies.tables import cell, over_scans, save_study, table
from scansmith.studies.tumour_painting import differences, of_one_seed
from scansmith.workflow import load_run

TABLES = {
    "outside the lesion": (
        "psnr outside", "psnr outside, body", "ssim outside", "ssim outside, body",
        "change outside",
    ),
    "inside the lesion": ("change inside", "dice raw", "dice", "dice best"),
    "inside the lesion, against the twin": (
        "psnr inside, twin", "mae inside, twin", "bias inside, twin",
    ),
    "slices without lesion": ("psnr healthy", "change healthy", "found healthy"),
}  # fmt: skip
BASELINES = {"unchanged": unchanged, "mean fill": mean_fill}
LESION, FOUND = (213, 94, 0), (86, 180, 233)  # outlines, told apart with any colour vision
SIDE, GAP = 128, 2


def study(runs: dict[str, list[Path]], twins: Path | None = None) -> dict[str, Any]:
    """All measures of the baselines and the runs; see the head of this file."""
    methods = {run: trained(run) for folders in runs.values() for run in folders}
    grounds = {path: Ground.of(path, twins) for _, path in methods.values()}
    gathered: dict[str, list[dict[str, Any]]] = {}
    made: dict[str, list[dict[str, float]]] = {}
    # Stores prepared with other settings may hold the same test scans: baselines see them once.
    tested = {ground.store.names("test"): ground for ground in grounds.values()}
    for ground in tested.values():
        some = next(m for m, path in methods.values() if grounds[path] is ground)
        for name, baseline in BASELINES.items():
            gathered.setdefault(name, []).append(ground.score(baseline, some))
    for name, folders in runs.items():
        for method, path in (methods[folder] for folder in folders):
            gathered.setdefault(name, []).append(grounds[path].score(healer(method), method))
            made.setdefault(name, []).append(drawn(grounds[path].normal, method))
    first = next(iter(runs))
    return {
        "reference": first,
        "stores": [ground.store.facts.fingerprint for ground in tested.values()],
        "data_range": 1.0,
        "test slices": [
            {"abnormal": len(g.abnormal.places), "normal": len(g.normal.places)}
            for g in tested.values()
        ],
        "test scans": [sorted({s.case for s in g.abnormal.places}) for g in tested.values()],
        "lesion pixels": [float(g.abnormal.lesion.sum((1, 2)).mean()) for g in tested.values()],
        "healed": {name: _means(found) for name, found in gathered.items()},
        "best threshold": {
            n: [f["best threshold"] for f in found] for n, found in gathered.items()
        },
        "by scan": gathered,
        "better than": {
            other: _better(*of_one_seed(runs, gathered, first, other))
            for other in runs
            if other != first
        },
        "drawn": made,
    }


def _means(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return over_scans([f["abnormal"] for f in found]) | over_scans([f["healthy"] for f in found])


def _better(first: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of slices with a lesion and without; nothing of those that were not of the same scans."""
    told: dict[str, Any] = {}
    for kind in ("abnormal", "healthy"):
        told |= differences([f[kind] for f in first], [f[kind] for f in other]) or {}
    return told


def trained(run: Path) -> tuple[AntGan, Path]:
    """The method and the store of a run."""
    loaded = load_run(run)
    if not isinstance(loaded.method, AntGan):
        raise DataError(f"{run}: a {loaded.record['method']} run. Give runs of ant-gan.")
    return loaded.method, loaded.store


def as_markdown(result: dict[str, Any]) -> str:
    """The study as the tables of docs/results.md."""
    scans = "; ".join(", ".join(names) for names in result["test scans"])
    counts = "; ".join(
        f"{n['abnormal']} with lesion, {n['normal']} without" for n in result["test slices"]
    )
    lines = [f"Test scans (each counts once): {scans}. Slices: {counts}. Data range 1.", ""]
    for title, measures in TABLES.items():
        rows = [
            [name, *(cell(found[measure]) for measure in measures)]
            for name, found in result["healed"].items()
            if measures[0] in found
        ]
        if rows:
            lines += [f"**{title}**", "", *table(["", *measures], rows), ""]
    for title, measures in TABLES.items():
        rows = [
            [other, *(cell(found[measure]) for measure in measures)]
            for other, found in result["better than"].items()
            if measures[0] in found
        ]
        if rows:
            lines += [f"**{title}, {result['reference']} minus the other, paired by scan**", ""]
            lines += [*table(["", *measures], rows), ""]
    rows = [
        [
            name,
            ", ".join(f"{t:g}" for t in result["best threshold"][name]),
            f"{np.mean([f['share'] for f in found]):.0%}",
            f"{np.mean([f['pixels'] for f in found]):.0f}",
        ]
        for name, found in result["drawn"].items()
    ]
    pixels = ", ".join(f"{p:.0f}" for p in result["lesion pixels"])
    head = ["", "best threshold (training slices)", "healthy slices given a lesion", "its pixels"]
    lines += [f"**lesions drawn by N2A** (a real one has {pixels} pixels)", "", *table(head, rows)]
    return "\n".join(lines) + "\n"


def picture(runs: dict[str, list[Path]], count: int = 6) -> np.ndarray:
    """Test slices of the first store, uint8 (rows, columns, 3); the largest lesion of each scan.

    The slice; of the first run of each name A2N of it and the difference, white where 0.5 of 0..1;
    the slice with the outline of the lesion (red) and of what the first run finds (blue).
    """
    chosen = [trained(folders[0]) for folders in runs.values()]
    home = chosen[0][1]
    methods = [method for method, path in chosen if path == home]
    slices = Ground.of(home, None).abnormal
    largest: dict[str, int] = {}
    for k in np.argsort(slices.lesion.sum((1, 2)), kind="stable"):
        largest[slices.places[k].case] = int(k)
    rows = []
    for k in [*largest.values()][:count]:
        x = slices.images[k : k + 1]
        tiles = [_grey(unit(x[0, 0]))]
        for method in methods:
            y = healer(method)(x, slices.lesion[k : k + 1])
            change = difference_map(torch.from_numpy(x), torch.from_numpy(y))
            tiles += [_grey(unit(y[0, 0])), _grey(2 * change[0].numpy())]
        with torch.no_grad():
            found = methods[0].segment(torch.from_numpy(x))[0].numpy()
        tiles.append(_outlined(tiles[0], {FOUND: found, LESION: slices.lesion[k]}))
        rows.append(
            np.concatenate([np.pad(tile, ((0, GAP), (0, GAP), (0, 0))) for tile in tiles], 1)
        )
    return np.concatenate(rows)


def drawn_picture(slices: Slices, method: AntGan, count: int = 6) -> np.ndarray:
    """Fig. 13: slices without lesion, what N2A makes of them, and the difference, white at 0.5.

    Returns:
        uint8 (rows, columns, 3).
    """
    x = torch.from_numpy(slices.thinned(count).images)
    with torch.no_grad():
        y = method.n2a(x)
    shown = zip(unit(x[:, 0].numpy()), unit(y[:, 0].numpy()), difference_map(x, y), strict=True)
    rows = [
        np.concatenate([_grey(before), _grey(after), _grey(2 * change.numpy())], axis=1)
        for before, after, change in shown
    ]
    return np.concatenate(rows)


def _grey(values: np.ndarray) -> np.ndarray:
    """0..1 (H, W) as uint8 (h, w, 3), a small slice enlarged."""
    times = max(1, round(SIDE / max(values.shape)))
    large = np.kron(np.uint8(255 * values.clip(0, 1) + 0.5), np.ones((times, times), np.uint8))
    return np.repeat(large[..., None], 3, axis=-1)


def _outlined(tile: np.ndarray, masks: dict[tuple[int, int, int], np.ndarray]) -> np.ndarray:
    """A tile with the outer pixels of each mask in its colour."""
    result = tile.copy()
    for colour, mask in masks.items():
        times = len(tile) // len(mask)
        large = np.kron(mask, np.ones((times, times), bool))
        result[large & ~binary_erosion(large)] = colour
    return result


def four_sets(slices: Slices, normal: Slices, method: AntGan, most: int) -> dict[str, np.ndarray]:
    """Fig. 2: normal and abnormal slices and what the generators make of them."""
    abnormal, normal = slices.thinned(most), normal.thinned(most)
    with torch.no_grad():
        made = [method.n2a(part) for part in torch.from_numpy(normal.images).split(16)]
    return {
        "normal": normal.images,
        "abnormal": abnormal.images,
        "A2N(abnormal)": healer(method)(abnormal.images, abnormal.lesion),
        "N2A(normal)": torch.cat(made).numpy(),
    }


def save_pictures(runs: dict[str, list[Path]], out: Path, layers: Sequence[str], tsne: int) -> None:
    """study.png; of the first run features.png (Fig. 6), tsne.png (Fig. 2) and drawn.png (Fig. 13).

    Args:
        layers: of the feature maps.
        tsne: slices of each of the four sets.
    """
    out.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(runs)).save(out / "study.png")
    method, store = trained(next(iter(runs.values()))[0])
    ground = Ground.of(store, None)
    shown = int(np.argmax(ground.abnormal.lesion.sum((1, 2))))
    maps = feature_sheet(method, ground.abnormal.images[shown], layers)
    Image.fromarray(maps).save(out / "features.png")
    save_map(joint_tsne(four_sets(ground.abnormal, ground.normal, method, tsne)), out / "tsne.png")
    Image.fromarray(drawn_picture(ground.normal, method)).save(out / "drawn.png")


def main(words: Sequence[str] | None = None) -> None:
    """Command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="+", help="NAME=RUN[,RUN...]")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--twins", type=Path, help="the same scans without lesions (phantoms)")
    parser.add_argument("--layers", default="conv3,block1,deconv1", help="of the feature maps")
    parser.add_argument("--tsne", type=int, default=100, help="slices of each of the four sets")
    given = parser.parse_args(words)
    runs = named_folders(given.runs)
    result = study(runs, given.twins)
    save_study(given.out, result, as_markdown(result))
    save_pictures(runs, given.out, given.layers.split(","), given.tsne)
    print(as_markdown(result))


if __name__ == "__main__":
    command(main)
