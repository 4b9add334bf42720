"""What analyses do: each takes runs that were trained on one store, and tells what it found.

Most is in study modules that can be run by themselves (`python -m scansmith.studies.NAME`); here
they are given a study's runs, and their numbers are put in rows, so that a paper's numbers can
stand beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scansmith.data.store import Store
from scansmith.evaluate.segmentation import SegmenterNumbers
from scansmith.scan import DataError
from scansmith.settings import Section, number
from scansmith.studies import abnormal_to_normal as a2n
from scansmith.studies import (
    blinded,
    contrast,
    label_to_image,
    lesion_guidance,
    modality_quality,
    registration,
    sweep,
    training_course,
    translation,
    tumour_pictures,
)
from scansmith.studies import tumour_painting as tumours
from scansmith.studies.cells import attempt, file_name
from scansmith.studies.registration import Options, Shown, real_slices, synthetic_slices
from scansmith.synthesize.make import synthesize
from scansmith.workflow import SHOWN, seed_of

Rows = dict[str, dict[str, Any]]
"""Name -> measure -> mean and interval, as `tables.summary` has them."""
PAINTED = tuple(f"{region} {measure}" for region in tumours.REGIONS for measure in tumours.MEASURES)
HEALED = tuple(measure for measures in a2n.TABLES.values() for measure in measures)
FILLS = contrast.FILLS
UNTRAINED = tuple(a2n.BASELINES)
LIKENESS = ("psnr", "ssim", "ssim inside", "mae", "mae inside", "mse")
MEANS = (label_to_image.CONTROL,)


@dataclass(frozen=True)
class Job:
    """What an analysis has.

    Attributes:
        runs: generator -> its runs, all trained on `store`: one for each seed that did not fail.
        data: the data set that the store was prepared from.
        out: the folder for pictures, and for what is kept.
        options: of the analysis' kind.
    """

    runs: dict[str, list[Path]]
    store: Store
    data: Path
    out: Path
    options: Any

    @property
    def by_seed(self) -> dict[str, dict[int, Path]]:
        """generator -> seed -> its run, as the runs themselves say: a seed that failed has none."""
        return {name: {seed_of(run): run for run in runs} for name, runs in self.runs.items()}


@dataclass(frozen=True)
class Told:
    """What an analysis found: for results.json, for results.md, and the rows of its tables.

    Attributes:
        pictures: file name -> what it shows.
        problems: of generators that could not be looked at, and parts that could not be done.
    """

    numbers: dict[str, Any]
    text: str
    rows: Rows
    pictures: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


class PaintingOptions(Section):
    """MAGAN: painted tumours of held-out patients."""

    least_pixels: int = number(8, "a test slice shows so many pixels of tumour", gt=0)


def painting(job: Job) -> Told:
    """Measures of painted tumours beside fills, and pictures of them.

    Where no tumour can be painted into slices without any, that part alone is left out.
    """
    least = job.options.least_pixels
    found = tumours.study(job.runs, least)
    _save(tumour_pictures.picture(job.runs, least), job.out / "painted.png")
    problems = [*found["problems"]]
    draw = partial(tumour_pictures.inserted_picture, job.runs, least)
    inserted = None if problems else attempt("inserted.png", draw, problems)
    names = ", ".join(job.runs)
    shown = {
        "painted.png": f"test slices, whitened; of {names} the output, the tumour set into the "
        "real slice and the error, white at a quarter of the range; the real slice",
    }
    if inserted is not None:
        _save(inserted, job.out / "inserted.png")
        words = "slices without tumour, whitened where it shall be, painted by"
        shown["inserted.png"] = f"{words} {names}"
    return Told(found, tumours.as_markdown(found), found["painted"], shown, tuple(problems))


class HealingOptions(Section):
    """ANT-GAN: healed slices of held-out patients."""

    layers: tuple[str, ...] = number(
        ("conv3", "block1", "deconv1"), "of the feature maps", min_length=1
    )
    tsne: int = number(100, "slices of each of the four sets in the t-SNE map", "Fig. 2", ge=1)
    twins: Path | None = number(None, "the same scans without lesions, which phantoms have")
    against: str = number("", "a generators' setting to draw the measures against")


def healing(job: Job) -> Told:
    """Measures of healed slices, lesions drawn on healthy ones, feature maps, t-SNE."""
    told = job.options
    found = a2n.study(job.runs, told.twins)
    a2n.save_pictures(job.runs, job.out, told.layers, told.tsne)
    first, names = next(iter(job.runs)), ", ".join(job.runs)
    shown = {
        "study.png": f"test slices with lesion; of {names} the healed slice and the change, white "
        f"at 0.5; the slice with the lesion's outline (red) and that of what {first} finds (blue)",
        "drawn.png": f"slices without lesion, what N2A of {first} makes of them, and the change",
        "tsne.png": f"normal and abnormal slices and what {first} makes of them, one joint t-SNE",
        "features.png": f"a slice and maps of A2N of {first}, rows: {', '.join(told.layers)}",
    }
    if told.against:
        measures = ("psnr outside", "change inside", "change outside")
        shown["sweep.png"] = f"{', '.join(measures)} over {told.against}"
        sweep.save_sweep(job.runs, told.against, found["healed"], measures, job.out / "sweep.png")
    return Told(found, a2n.as_markdown(found), found["healed"], shown)


def likeness(job: Job) -> Told:
    """What test label maps become, beside the real slices."""
    found = label_to_image.study(job.store, job.runs)
    _save(label_to_image.picture(job.store, job.runs), job.out / "made.png")
    shown = {"made.png": f"test slices: labels, made by {', '.join(job.runs)}, real"}
    return Told(found, label_to_image.as_markdown(found), found["made"], shown)


class CourseOptions(Section):
    """Any method: how the training went."""

    row: int = number(0, "which of the samples in the sample grids", ge=0, lt=SHOWN)


def training(job: Job) -> Told:
    """Losses, critics' accuracy and samples over the steps."""
    found = training_course.study(job.runs)
    shown = training_course.save_pictures(job.runs, job.out, job.options.row)
    return Told(found, training_course.as_markdown(found), {}, shown)


class SetOptions(Section):
    """Registered multimodal: synthetic sets, and which slices of them are looked at."""

    cases: int = number(100, "synthetic cases of each run", gt=0)
    slices: int = number(8, "of a case, at most", gt=0)
    least_brain: float = number(0.1, "share of a slice", ge=0, le=1)


class GuidanceOptions(SetOptions):
    """The same, with segmenters that judge."""

    least_lesion: int = number(6, "pixels of a slice", gt=0)
    steps: int = number(500, "of the training of each modality's segmenter", gt=0)
    batch: int = number(8, "samples in a step", gt=0)
    seed: int = number(0, "of the segmenters", ge=0)
    numbers: SegmenterNumbers = SegmenterNumbers()


def guidance(job: Job) -> Told:
    """Are lesions where the label says? One real-trained segmenter for each modality judges."""
    told = job.options
    asked = lesion_guidance.Asked(
        told.steps, told.batch, told.seed, told.slices, told.least_lesion, told.numbers
    )
    sets, problems = _shown(job, told.least_lesion)
    judges = lesion_guidance.segmenters(job.store, asked, job.out)
    found = lesion_guidance.study(sets, judges, job.store, asked)
    text = lesion_guidance.as_markdown(found)
    return Told(found, text, found["sets"], problems=problems)


class RegistrationOptions(SetOptions):
    """The same, with the numbers of Algorithm 1."""

    beta: float = number(0.12, "threshold of structure maps", "code", gt=0)
    smooth: float = number(0.0, "sd in pixels of a blur before they are taken", ge=0)


def registered(job: Job) -> Told:
    """Do the modalities of a synthetic case lie on each other?"""
    told = job.options
    options = Options(told.slices, told.least_brain, told.beta, told.smooth)
    sets, problems = _shown(job)
    found = registration.study(sets, options)
    _save(registration.picture(sets, options), job.out / "registered.png")
    shown = {"registered.png": "structure map, mask, label and modalities; real, then each name's"}
    return Told(found, registration.as_markdown(found), found["sets"], shown, problems)


class TranslationOptions(Section):
    """Registered multimodal: one modality to another."""

    slices: int = number(8, "of a patient, at most", gt=0)


def translated(job: Job) -> Told:
    """How like the real modality is what another is translated to?"""
    found = translation.study(job.runs, job.options.slices)
    return Told(found, translation.as_markdown(found), found["sets"])


class QualityOptions(Section):
    """MM-GAN: segmenters of each modality."""

    steps: int = number(500, "of the training of each modality's segmenter", gt=0)
    batch: int = number(2, "samples in a step", gt=0)
    seed: int = number(0, "of the segmenters", ge=0)
    numbers: SegmenterNumbers = SegmenterNumbers()


def quality(job: Job) -> Told:
    """Do segmenters of real volumes find the labels that synthetic ones were made from?"""
    told = job.options
    asked = modality_quality.Asked(told.steps, told.batch, told.seed, told.numbers)
    found = modality_quality.study(job.store, job.runs, job.out, asked)
    words = "labels, real, made; edited labels, made of these: "
    shown = {f"{file_name(name)}-samples.png": words + name for name in job.runs}
    return Told(found, modality_quality.as_markdown(found), found["dice"], shown)


def readers(job: Job) -> Told:
    """Blinded pictures of synthetic cases and of held-out patients; readers are needed to go on."""
    found, problems = {}, []
    for name, runs in job.by_seed.items():
        folder = job.out / "readers" / file_name(name)
        ((seed, run),) = runs.items()
        try:
            made = blinded.make(run, job.store, job.data, folder, job.options)
            found[name] = {"seed": seed, **made}
        except DataError as error:
            problems.append(f"{name}: {error}")
    return Told(found, blinded.as_markdown(found), {}, problems=tuple(problems))


def _shown(job: Job, lesion: int = 0) -> tuple[dict[str, list[Shown]], tuple[str, ...]]:
    """Slices of the held-out patients and of each name's synthetic sets, made without a filter.

    Args:
        lesion: pixels of one that a slice shows at least.
    Returns:
        Name -> slices; and why there are none of a name.
    """
    told = job.options
    options = Options(slices=told.slices, least_brain=told.least_brain)
    found = {lesion_guidance.REAL: real_slices(job.store, "test", options, lesion=lesion)}
    problems: list[str] = []

    def slices_of(runs: Sequence[Path]) -> list[Shown]:
        return [
            one
            for run in runs
            for one in synthetic_slices(_made(job, run), job.store, options, lesion)
        ]

    for name, runs in job.runs.items():
        slices = attempt(name, partial(slices_of, runs), problems)
        if slices:
            found[name] = slices
        elif slices is not None:
            problems.append(f"{name}: no synthetic slice shows enough brain and lesion.")
    return found, tuple(problems)


def _made(job: Job, run: Path) -> Path:
    """A run's synthetic set without a filter; an unfinished one goes on."""
    out = job.out / "synthetic" / run.name
    begun = out.is_dir() and any(out.iterdir())
    cases = job.options.cases
    return synthesize(run, out, cases=cases, seed=0, task="unfiltered", resume=begun)


def _save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
