"""How well are held-out tumours painted? MAGAN runs against fills, an oracle and each other.

    python -m scansmith.studies.tumour_painting --out DIR NAME=RUN[,RUN...] ...

Every test slice with a tumour of a run's own store is whitened and painted; runs given together
under one name differ by their seed, and may differ by their split. Each scan counts once, however
many slices it has: in many data sets a single one holds most of the tumour.

The name given first is compared with each other one, scan by scan.

Measures are taken inside the tumour, in its box and over the slice, of the generator's raw output
and of the composite (tumour set into the real slice). Fills need no training; the oracle fill knows
the true mean and bounds what any constant can reach. Then tumours are painted into test slices
without any, and their contrast to the organ is set beside that of real ones. The texture of large
tumours, painted where they were, is set beside their own.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from scansmith.data.store import Store
from scansmith.evaluate import fidelity
from scansmith.labels.bank import LesionBank, cut_lesions
from scansmith.labels.place import edit_labels
from scansmith.methods.magan import Magan
from scansmith.methods.masks import feathered
from scansmith.scan import Batch, DataError
from scansmith.studies.command import command
from scansmith.studies.contrast import Contrast, contrast_of, contrasts, fills, spread, textures
from scansmith.studies.named import named_folders
from scansmith.studies.tables import (
    Slice,
    by_scan,
    cell,
    over_scans,
    save_study,
    slices_of,
    summary,
    table,
)
from scansmith.workflow import load_run, seed_of

T = TypeVar("T")

MEASURES = ("psnr", "ssim", "mae", "bias", "sd_ratio")
REGIONS = ("inside", "box", "slice raw", "slice composite")


def painter(run: Path) -> Callable[[Slice], np.ndarray]:
    """A trained MAGAN as a function: slice in raw units -> its whole output in raw units."""
    loaded = load_run(run)
    if not isinstance(loaded.method, Magan):
        raise DataError(f"{run}: a {loaded.record['method']} run. Give runs of magan.")
    method, codec = loaded.method, loaded.method.facts.codecs[0]
    chance = torch.Generator().manual_seed(0)

    def paint(one: Slice) -> np.ndarray:
        image = torch.from_numpy(codec.encode(one.image))[None, None]
        labels = torch.from_numpy(one.labels.astype(np.int64))[None]
        with torch.no_grad():
            return codec.decode(method.paint(Batch(image, labels), chance)[0, 0].numpy())

    return paint


def scores(
    one: Slice, made: np.ndarray, lesion: int, data_range: float, black: float
) -> dict[str, float]:
    """All measures of one painted slice: "region measure" -> value; `black`: for SSIM."""
    t = one.labels == lesion
    share = feathered(torch.from_numpy(t.astype(np.float32))[None, None], 1.5)[0, 0].numpy()
    composite = one.image + share * (made - one.image)
    areas = {
        "inside": (made, t),
        "box": (made, fidelity.box_of(t)),
        "slice raw": (made, np.ones_like(t)),
        "slice composite": (composite, np.ones_like(t)),
    }
    found: dict[str, float] = {}
    for area, (image, mask) in areas.items():
        found[f"{area} psnr"] = fidelity.psnr(one.image, image, data_range, mask)
        found[f"{area} ssim"] = fidelity.ssim(one.image, image, data_range, mask, black=black)
        found[f"{area} mae"] = fidelity.mae(one.image, image, mask)
        found[f"{area} bias"] = fidelity.bias(one.image, image, mask)
        found[f"{area} sd_ratio"] = fidelity.sd_ratio(one.image, image, mask)
    return found


def insertions(store: Store, organ: int, lesion: int, count: int, least_pixels: int) -> list[Slice]:
    """Test slices without tumour, with a new tumour in their labels (the image is untouched).

    A slice that holds none, however small, is passed over.

    Raises:
        DataError: no slice is left, or no training tumour has the size to start from.
    """
    sizes_mm3 = (2.5 * least_pixels, 1000.0)
    bank = LesionBank(
        [
            cut
            for one in slices_of(store, "train", lambda label: bool((label == lesion).any()))
            for cut in cut_lesions(one.labels, (lesion,), (1.0, 1.0), one.case)
        ],
        store.table.structures,
    )
    bank.of_size(*sizes_mm3)
    free = slices_of(
        store,
        "test",
        lambda label: (label == organ).sum() >= 40 * least_pixels and not (label == lesion).any(),
    )
    chosen = [free[i] for i in np.linspace(0, len(free) - 1, min(count, len(free))).astype(int)]
    why = DataError(
        f"{store.path}: no test slice without tumour shows enough of the "
        f"{store.table.structures[organ]} to paint one in. Give scans with such slices, or prepare "
        "with another split."
    )
    edited = []
    for number, one in enumerate(chosen):
        rng = np.random.default_rng([0, number])
        try:
            labels, _ = edit_labels(
                one.labels, (1.0, 1.0), kind="place", lesion=(lesion,), organ=(organ,),
                bank=bank, rng=rng, lesions=(1, 1), sizes_mm3=sizes_mm3,
            )  # fmt: skip
        except DataError as error:
            why = error
            continue
        edited.append(Slice(one.case, one.patient, one.image, labels))
    if not edited:
        raise why
    return edited


@dataclass(frozen=True)
class Ground:
    """One store to be tested on: its slices and what its tumours look like.

    Attributes:
        free: slices without tumour, with a new one in their labels; or none.
        problem: why there are none.
    """

    store: Store
    organ: int
    lesion: int
    training: list[Slice]
    test: list[Slice]
    free: list[Slice]
    contrast: Contrast
    problem: str

    @staticmethod
    def of(path: Path, least_pixels: int) -> Ground:
        """Read it all; slices with fewer tumour pixels are left out."""
        store = Store.open(path)
        edits = store.recipe.edits
        organ, lesion = store.table.index(edits.organ[0]), store.table.index(edits.lesion[0])

        def shows(label: np.ndarray) -> bool:
            return int((label == lesion).sum()) >= least_pixels

        training, test = slices_of(store, "train", shows), slices_of(store, "test", shows)
        if not test:
            raise DataError(
                f"{path}: no test slice shows {least_pixels} pixels of tumour, expected one at "
                "least. Ask for fewer (least_pixels), or prepare with another split."
            )
        contrast = contrast_of(training, organ, lesion)
        free, problem = list[Slice](), ""
        try:
            free = insertions(store, organ, lesion, 45, least_pixels)
        except DataError as error:
            problem = f"tumours painted into slices without any: {error}"
        return Ground(store, organ, lesion, training, test, free, contrast, problem)

    def score(self, paint: Callable[[Slice], np.ndarray]) -> dict[str, dict[str, float]]:
        """Mean scores of each test scan, by patient and case: a scan counts once."""
        data_range = self.store.facts.codecs[0].data_range
        black = min(float(one.image.min()) for one in self.test)
        rows = [scores(one, paint(one), self.lesion, data_range, black) for one in self.test]
        return by_scan(self.test, rows)


def study(runs: dict[str, list[Path]], least_pixels: int = 8) -> dict[str, Any]:
    """All measures of all baselines and runs; see the head of this file.

    Returns:
        "problems" among them: why no tumour was painted into slices without any, if so.
    """
    home = {run: load_run(run).store for folders in runs.values() for run in folders}
    grounds = {path: Ground.of(path, least_pixels) for path in dict.fromkeys(home.values())}
    gathered: dict[str, list[dict[str, dict[str, float]]]] = {}
    inserted: dict[str, list[float]] = {"real tumours, test": [], "real tumours, training": []}
    large: dict[str, list[dict[str, dict[str, float]]]] = {}
    # Stores prepared with other settings may hold the same test scans: baselines see them once.
    tested = {ground.store.names("test"): ground for ground in grounds.values()}
    for ground in tested.values():
        for name, fill in fills(ground.contrast, ground.organ, ground.lesion).items():
            gathered.setdefault(name, []).append(ground.score(fill))
        for split, slices in (("test", ground.test), ("training", ground.training)):
            found = contrasts(slices, None, ground.organ, ground.lesion)
            inserted[f"real tumours, {split}"] += found
            fine = textures(slices, None, ground.lesion)
            large.setdefault(f"real tumours, {split}", []).append(fine)
    for name, folders in runs.items():
        for folder in folders:
            ground, paint = grounds[home[folder]], painter(folder)
            gathered.setdefault(name, []).append(ground.score(paint))
            found = contrasts(ground.free, paint, ground.organ, ground.lesion)
            inserted.setdefault(name, []).extend(found)
            for split, slices in (("test", ground.test), ("training", ground.training)):
                fine = textures(slices, paint, ground.lesion)
                large.setdefault(f"{name}, {split}", []).append(fine)
    first = next(iter(runs))
    return {
        "reference": first,
        "stores": [ground.store.facts.fingerprint for ground in tested.values()],
        "data_range": next(iter(grounds.values())).store.facts.codecs[0].data_range,
        "test slices": [len(ground.test) for ground in tested.values()],
        "test scans": [sorted({s.case for s in ground.test}) for ground in tested.values()],
        "training contrast": [vars(ground.contrast) for ground in tested.values()],
        "painted": {name: over_scans(found) for name, found in gathered.items()},
        "by scan": gathered,
        "better than": {
            other: differences(*of_one_seed(runs, gathered, first, other))
            for other in runs
            if other != first
        },
        "inserted": {name: spread(found) for name, found in inserted.items() if found},
        "texture": {name: over_scans(found) for name, found in large.items() if any(found)},
        "problems": [ground.problem for ground in tested.values() if ground.problem],
    }


def of_one_seed(
    runs: Mapping[str, Sequence[Path]], found: Mapping[str, Sequence[T]], first: str, other: str
) -> tuple[list[T], list[T]]:
    """What was found of two generators' runs, run beside run.

    Those of one seed stand beside each other, so that one that failed shifts no other; where seeds
    do not tell runs apart, they do so in their order.
    """
    mine, theirs = ([seed_of(run) for run in runs[name]] for name in (first, other))
    shared = [seed for seed in mine if seed in theirs]
    if not shared or len({*mine}) < len(mine) or len({*theirs}) < len(theirs):
        return list(found[first]), list(found[other])
    return (
        [found[first][mine.index(seed)] for seed in shared],
        [found[other][theirs.index(seed)] for seed in shared],
    )


def differences(
    reference: list[dict[str, dict[str, float]]], other: list[dict[str, dict[str, float]]]
) -> dict[str, Any] | None:
    """Reference minus other, scan by scan, where their k-th runs were tested on the same scans."""
    found = [
        (case.rpartition("/")[0], {name: row[name] - b[case][name] for name in row})
        for a, b in zip(reference, other, strict=False)
        if set(a) == set(b)
        for case, row in a.items()
    ]
    if not found:
        return None
    return summary([row for _, row in found], [patient for patient, _ in found])


def as_markdown(result: dict[str, Any]) -> str:
    """The study as the tables of docs/results.md."""
    scans = "; ".join(", ".join(names) for names in result["test scans"])
    lines = [
        f"Test scans (each counts once): {scans}. Slices: "
        f"{', '.join(map(str, result['test slices']))}. Data range {result['data_range']:g}.",
        "",
    ]
    for region in REGIONS:
        rows = [
            [name, *(cell(found[f"{region} {measure}"]) for measure in MEASURES)]
            for name, found in result["painted"].items()
        ]
        lines += [
            f"**{region}**",
            "",
            *table(["", "PSNR, dB", "SSIM", "MAE", "bias", "sd ratio"], rows),
            "",
        ]
    rows = [
        [other, *(cell(found[f"inside {measure}"]) for measure in MEASURES)]
        for other, found in result["better than"].items()
        if found
    ]
    if rows:
        lines += [f"**inside, {result['reference']} minus the other, paired by scan**", ""]
        lines += [*table(["", "PSNR, dB", "SSIM", "MAE", "bias", "sd ratio"], rows), ""]
    rows = [
        [name, f"{f['slices']}", f"{f['mean']:.1f}", f"{f['sd']:.1f}", f"{f['above 10']:.0%}"]
        for name, f in result["inserted"].items()
    ]
    lines += ["**contrast to the liver**", ""]
    lines += table(["", "slices", "mean", "sd", "above 10"], rows)
    rows = [[name, cell(f["sd"]), cell(f["mesh"])] for name, f in result["texture"].items()]
    if rows:
        lines += ["", "**fine texture of large tumours**", "", *table(["", "sd", "mesh"], rows)]
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> None:
    """Command line; see the head of this file."""
    from PIL import Image

    from scansmith.studies.tumour_pictures import picture

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="+", help="NAME=RUN[,RUN...]")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--least-pixels", type=int, default=8, help="tumour pixels of a slice")
    given = parser.parse_args(words)
    runs = named_folders(given.runs)
    result = study(runs, given.least_pixels)
    text = as_markdown(result) + "".join(f"\nNot done: {line}\n" for line in result["problems"])
    save_study(given.out, result, text)
    pictured = picture(runs, given.least_pixels)
    Image.fromarray(pictured).save(given.out / "study.png")
    print(text)


if __name__ == "__main__":
    command(main)
