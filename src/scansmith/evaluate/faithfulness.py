"""Label faithfulness: do synthetic images show what their labels say?

A segmenter that learned from real cases alone is shown the synthetic images. Where it finds what
the synthetic labels say, image and label agree as they do in real cases. Beside it stands what it
finds in real cases of patients whom it never saw. Slices are learned and tested, not volumes.

High Dice is no proof of quality: it is highest on images that are plainer than real ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scansmith.data.resample import Axis, resample_image, resample_nearest
from scansmith.evaluate.cases import CaseMeasures, Plan
from scansmith.evaluate.facts import Options
from scansmith.evaluate.features import spread_slices
from scansmith.evaluate.overlap import MEAN, dice
from scansmith.evaluate.pictures import Picture, upright
from scansmith.evaluate.segmentation import (
    Labelled,
    Segmenter,
    SegmenterNumbers,
    shuffled,
    train_segmenter,
)
from scansmith.evaluate.spread import difference_of_patients, generator, mean_of_patients
from scansmith.evaluate.view import View
from scansmith.evaluate.windows import Window
from scansmith.settings import Augmentation

BATCH = 8
#: Slices of a case: so many with labels, and so many without, evenly spread.
LABELLED_SLICES, EMPTY_SLICES = 24, 8
MOST_PIXELS = 128
#: Shares of a case's own values that become -1 and 1 where the units are arbitrary, as in MR.
OWN_SHARES = (0.005, 0.995)
#: Fewer labelled real patients cannot be divided into those learned from and those tested on.
LEAST_PATIENTS = 4
HELD_OUT = 1 / 3
#: A segmenter that finds less than this in real cases cannot judge synthetic ones.
LEAST_DICE = 0.5
#: A mean that lies so little below the real one is close, however narrow the interval.
MARGIN = 0.02
SHOWN = 3

Progress = Callable[[int, int, str], None]
Views = Callable[[], Iterable[View]]


@dataclass(frozen=True)
class Grid:
    """The pixels that all slices are brought to: square ones, centred on the slice.

    Attributes:
        size: rows and columns.
    """

    pixel_mm: float
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Slices:
    """What is learned from or tested on of a case: images (N, C, h, w) in -1..1, labels (N, h, w).

    Attributes:
        numbers: of the slices, from 0, of `depth`.
        axes: see `View`.
    """

    case: str
    patient: str
    images: np.ndarray
    labels: np.ndarray
    numbers: tuple[int, ...]
    depth: int
    axes: tuple[str, ...]


#: Set, and a slice twice: with its labels, and with what was found.
Example = tuple[str, Picture, Picture]


def faithfulness(
    real: Views,
    synthetic: Views,
    measured: tuple[Sequence[CaseMeasures], Sequence[CaseMeasures]],
    plan: Plan,
    options: Options,
    run: Path,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], list[Example]]:
    """Train on real patients; Dice on held-out real ones and on synthetic cases.

    Args:
        real, synthetic: the cases, read anew each time they are asked for.
        measured: what is known of them already: sizes, patients, whether they are labelled.
        options: steps and seed.
        run: folder of the training; an interrupted one goes on there.
    Returns:
        facts, structures ({name: {real, synthetic, difference, verdict}}) and cases, or a `reason`
        why there is nothing; and some slices to look at.
    Raises:
        RunError: the folder holds another training, or a loss is not finite.
    """
    patients = sorted({case.patient for case in measured[0] if case.labelled})
    reason = _impossible(patients, measured[1], plan)
    if reason:
        return {"reason": reason}, []
    grid = grid_of([*measured[0], *measured[1]])

    def sliced(views: Views, side: Sequence[CaseMeasures]) -> Iterator[Slices]:
        patient_of = {case.case: case.patient for case in side}
        for one in views():
            if one.labels is not None:
                yield _slices(one, patient_of[one.case], plan.windows, grid)

    tested = held_out(patients, options.seed)
    known = list(sliced(real, measured[0]))
    learned = [one for one in known if one.patient not in tested]
    unknown = [one for one in known if one.patient in tested]
    segmenter = _trained(learned, plan, grid, options, run, progress)
    rows, examples = _scored(segmenter, unknown, "real", plan.shared.lesion)
    made = sliced(synthetic, measured[1])
    made_rows, made_examples = _scored(segmenter, made, "synthetic", plan.shared.lesion)
    sources = {one.patient for one in learned}
    unseen = [row for row in made_rows if row["patient"] not in sources]
    found = {
        "facts": _facts(learned, grid, options, len(made_rows), len(unseen)),
        "structures": _summary(rows, unseen or made_rows, options.seed),
        "cases": [*rows, *made_rows],
    }
    return found, [*examples, *made_examples]


def _facts(
    learned: Sequence[Slices], grid: Grid, options: Options, made: int, unseen: int
) -> dict[str, Any]:
    return {
        "steps": options.steps,
        "patients_learned_from": len({one.patient for one in learned}),
        "slices_learned_from": sum(len(one.labels) for one in learned),
        "pixel_mm": grid.pixel_mm,
        "size": list(grid.size),
        "synthetic_cases_of_patients_learned_from": made - unseen,
        "synthetic_cases_left_out": made - unseen if unseen else 0,
    }


def protocol_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the numbers beside the data, from the `facts` of a result."""
    return {
        "steps": facts["steps"],
        "pixel_mm": facts["pixel_mm"],
        "size": facts["size"],
        "batch": BATCH,
        "own_shares": OWN_SHARES,
        "slices": (LABELLED_SLICES, EMPTY_SLICES),
        "held_out": HELD_OUT,
        "limits": (LEAST_DICE, MARGIN),
        "numbers": SegmenterNumbers().model_dump(mode="json", exclude={"device", "threads"}),
        "augmentation": Augmentation().model_dump(mode="json"),
    }


def grid_of(cases: Sequence[CaseMeasures]) -> Grid:
    """A grid that holds every slice: the median pixel, coarser if 128 of them are not enough."""
    steps = np.array([case.spacing_mm[1:] for case in cases])
    extents = np.array([case.shape[1:] for case in cases]) * steps
    pixel_mm = max(float(np.median(steps)), float(extents.max()) / MOST_PIXELS)
    rows, columns = (max(8 * int(np.ceil(e / pixel_mm / 8 - 1e-6)), 16) for e in extents.max(0))
    return Grid(pixel_mm, (rows, columns))


def held_out(patients: Sequence[str], seed: int) -> set[str]:
    """A third of the patients, two at least, drawn under the seed."""
    order = generator(seed, "faithfulness", "held out").permutation(len(patients))
    count = max(2, round(HELD_OUT * len(patients)))
    return {patients[i] for i in order[:count]}


def judged(
    real: float | None, synthetic: float | None, interval: Sequence[float] | None
) -> dict[str, Any]:
    """close, differs or far; else no verdict and the reason.

    Args:
        real, synthetic: mean Dice of one structure; None: no case has it.
        interval: of synthetic minus real.
    """
    if real is None or synthetic is None:
        return {"verdict": None, "reason": "not in both the held-out real and the synthetic slices"}
    if real < LEAST_DICE:
        reason = f"found too little in held-out real cases (Dice {real:.2f}): learn for more steps"
        return {"verdict": None, "reason": reason}
    if synthetic >= real - MARGIN:
        return {"verdict": "close"}
    if interval is None or interval[1] >= 0:
        return {"verdict": None, "reason": "lower than in real cases, by chance or not: few cases"}
    return {"verdict": "differs" if synthetic >= real / 2 else "far"}


def _impossible(patients: Sequence[str], synthetic: Sequence[CaseMeasures], plan: Plan) -> str:
    if len(plan.shared.structures) < 2:
        return "the sets share no labelled structure"
    if len(patients) < LEAST_PATIENTS:
        return f"{len(patients)} labelled real patients; {LEAST_PATIENTS} are needed"
    if not any(case.labelled for case in synthetic):
        return "no synthetic case has labels"
    return ""


def _slices(case: View, patient: str, windows: Sequence[Window], grid: Grid) -> Slices:
    """Some slices of a case on the grid; what lies outside of it is the window's low end."""
    assert case.labels is not None
    labelled = case.labels > 0
    numbers = spread_slices(labelled, LABELLED_SLICES, 1)
    empty = np.flatnonzero(~labelled.any(axis=(1, 2)))
    if len(empty):
        some = np.linspace(0, len(empty) - 1, min(EMPTY_SLICES, len(empty)))
        numbers = sorted({*numbers, *(int(empty[i]) for i in some.round().astype(int))})
    axes = [
        _centred(old, new, grid.pixel_mm / step)
        for old, new, step in zip(
            case.labels.shape[1:], grid.size, case.spacing_mm[1:], strict=True
        )
    ]
    channels = []
    for image, window in zip(case.image, windows, strict=True):
        low, high = _scale(image, window)
        scaled = (image[numbers].astype(np.float32) - low) / (high - low)
        scaled = 2 * np.clip(scaled, 0, 1) - 1
        channels.append(resample_image(scaled, axes, np.full(len(numbers), -1.0)))
    labels = resample_nearest(case.labels[numbers], axes)
    return Slices(
        case.case,
        patient,
        np.stack(channels, 1),
        labels,
        tuple(numbers),
        len(case.labels),
        case.axes,
    )


def _scale(image: np.ndarray, window: Window) -> tuple[float, float]:
    """What becomes -1 and 1: the window where values mean the same in all cases, else the case's.

    A scale of its own for every case is what segmenters of MR are given, whose units are arbitrary.
    """
    if window.alike:
        return window.low, window.high
    low, high = (float(q) for q in np.quantile(image, OWN_SHARES))
    return (low, high) if high > low else (low, low + 1.0)


def _centred(old: int, new: int, step: float) -> Axis:
    return Axis(old, new, step, (old - 1) / 2 - step * (new - 1) / 2)


def _trained(
    learned: Sequence[Slices],
    plan: Plan,
    grid: Grid,
    options: Options,
    run: Path,
    progress: Progress | None,
) -> Segmenter:
    images = [image for one in learned for image in one.images]
    labels = [labels for one in learned for labels in one.labels]
    content = hashlib.sha256()
    for one in learned:
        content.update(repr((one.case, one.images.shape)).encode())
        content.update(np.ascontiguousarray(one.images).tobytes())
        content.update(np.ascontiguousarray(one.labels).tobytes())
    return train_segmenter(
        shuffled(Labelled(images, labels), BATCH, options.seed),
        dims=2,
        structures=plan.shared.structures,
        channels=len(plan.shared.modalities),
        steps=options.steps,
        seed=options.seed,
        spacing_mm=(grid.pixel_mm, grid.pixel_mm),
        run=run,
        record={"content": content.hexdigest(), "batch": BATCH},
        progress=progress,
    )


def _scored(
    segmenter: Segmenter, cases: Iterable[Slices], side: str, lesion: Sequence[int]
) -> tuple[list[dict[str, Any]], list[Example]]:
    """Dice of each case, all its slices together; examples from the first cases."""
    rows: list[dict[str, Any]] = []
    examples: list[Example] = []
    for one in cases:
        found = segmenter.predict(one.images)
        scores = dice(one.labels, found, segmenter.structures)
        rows.append({"set": side, "case": one.case, "patient": one.patient, "dice": scores})
        if len(examples) < SHOWN:
            lesions = np.isin(one.labels, lesion)
            telling = lesions if lesions.any() else one.labels > 0
            n = int(np.argmax(telling.sum(axis=(1, 2))))
            image = upright((one.images[n] + 1) / 2, one.axes)
            place = one.numbers[n] + 1, one.depth
            shown = [
                Picture(one.case, image, upright(labels, one.axes), (1.0, 1.0), place)
                for labels in (one.labels[n], found[n])
            ]
            examples.append((side, shown[0], shown[1]))
    return rows, examples


def _summary(
    rows: Sequence[dict[str, Any]], made: Sequence[dict[str, Any]], seed: int
) -> dict[str, Any]:
    """Each structure by itself: a mean over structures would rank cases by which ones they have."""
    result: dict[str, Any] = {}
    for name in rows[0]["dice"]:
        if name == MEAN:
            continue
        sides = [
            ([row["dice"][name] for row in side], [row["patient"] for row in side])
            for side in (rows, made)
        ]
        entry: dict[str, Any] = {
            side: mean_of_patients(*values, generator(seed, "faithfulness", side, name))
            for side, values in zip(("real", "synthetic"), sides, strict=True)
        }
        rng = generator(seed, "faithfulness", "difference", name)
        entry["difference"] = found = difference_of_patients(sides[0], sides[1], rng)
        if found["interval"] is not None:  # no Dice is beyond 0 or 1
            found["interval"] = np.clip(found["interval"], -1, 1).tolist()
        means = entry["real"]["mean"], entry["synthetic"]["mean"]
        result[name] = entry | judged(*means, entry["difference"]["interval"])
    return result
