"""Preparing one case: files -> grid of the recipe -> int16 arrays in the store.

Where the intensity codec follows from the case alone, a case is read and packed in one go. Where
it takes all training cases, the resampled image waits as raw.npy until they have been read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scansmith.data.draws import count_pixels, qualifying
from scansmith.data.intensity import Statistics, fit_codecs, measure, unseen
from scansmith.data.regions import add_regions, region_names
from scansmith.data.resample import (
    axis_codes,
    box_round,
    fit_axes,
    moved_affine,
    resample_image,
    resample_nearest,
    standard_affine,
    surroundings,
    to_standard,
)
from scansmith.data.store import BACKGROUND, Levels, StoredCase, write_array, write_json
from scansmith.io import read_scan
from scansmith.labels.table import LabelTable
from scansmith.recipe import Codec, Recipe
from scansmith.scan import CaseFiles, DataError, Problem, Scan


@dataclass(frozen=True)
class Task:
    """One case to prepare.

    Attributes:
        modalities: to take, in this order.
        table, kept: label tables of the data set and of the store.
        folder: where the arrays go; None: only look for problems.
        key: changes when the source files or the recipe do.
    """

    files: CaseFiles
    split: str
    modalities: tuple[str, ...]
    recipe: Recipe
    table: LabelTable
    kept: LabelTable
    folder: Path | None
    key: str


@dataclass(frozen=True)
class Finding:
    """What reading a case gave: what goes into the store's index, or problems.

    `counts` (N, K) and `statistics` (one a modality) are of the prepared samples, `digest` is of
    the image as it was read.
    """

    problems: tuple[Problem, ...] = ()
    plain: Mapping[str, Any] | None = None
    counts: np.ndarray | None = None
    statistics: tuple[Statistics, ...] = ()
    digest: str = ""

    @property
    def samples(self) -> int:
        """N; 0 for a case without any sample for the recipe."""
        return len(self.counts) if self.counts is not None else 0


@dataclass(frozen=True)
class Prepared:
    """A case on the recipe's grid: raw image float32 (N, C, *S), labels uint8 (N, *S).

    `scanned` and what follows it are as in `StoredCase`.
    """

    image: np.ndarray
    labels: np.ndarray
    left_out: tuple[int, ...]
    affine: np.ndarray
    scanned: tuple[tuple[int, int], ...]
    axis_codes: str
    labelled: bool
    labels_kept: float | None


def read_case(task: Task) -> Finding:
    """Read, check and resample a case; take over what an interrupted run had finished."""
    known = _finished(task)
    if known is not None:
        return known
    try:
        scan = _read(task)
        if problems := unseen(scan, task.modalities, task.kept.known, task.recipe.intensity):
            raise DataError(problems)
        digest = digest_of(scan)
        prepared = to_grid(scan, task)
        counts = count_pixels(prepared.labels, len(task.kept.values))
        statistics = _measure(prepared, counts, task)
        codecs = None
        if alone(task.recipe) and len(counts):
            codecs = fit_codecs(task.recipe.intensity, statistics, task.files.case)
    except DataError as error:
        return Finding(problems=_problems(task.files.case, error))
    plain = _describe(prepared, task)
    if task.folder is not None:
        write_array(task.folder / "labels.npy", prepared.labels)
        write_array(task.folder / "counts.npy", counts)
        if codecs is None:
            write_array(task.folder / "raw.npy", prepared.image)
        else:
            plain |= _pack(prepared.image, prepared.labels, codecs, task.folder)
        _note(task, plain, statistics, digest)
    return Finding((), plain, counts, statistics, digest)


def pack_case(task: Task, finding: Finding, codecs: tuple[Codec, ...]) -> StoredCase:
    """Bring a case that was read to network range, unless that is done.

    Raises:
        DataError: the case has to be read again and cannot be.
    """
    folder = task.folder
    if folder is None or finding.plain is None:
        raise ValueError(f"{task.files.case} was only checked")
    wanted = [codec.model_dump() for codec in codecs]
    plain = dict(finding.plain)
    if not alone(task.recipe) and plain.get("codecs") != wanted:
        if not (folder / "raw.npy").exists():
            (folder / "case.json").unlink(missing_ok=True)
            again = read_case(task)
            if again.problems:
                raise DataError(again.problems)
        raw = np.load(folder / "raw.npy", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        plain |= _pack(raw, labels, codecs, folder)
        _note(task, plain, finding.statistics, finding.digest)
    (folder / "raw.npy").unlink(missing_ok=True)
    return StoredCase.from_dict(plain | {"split": task.split})


def alone(recipe: Recipe) -> bool:
    """Whether the intensity codec follows from a case alone."""
    return recipe.intensity.kind == "window" or recipe.intensity.scope == "case"


def to_grid(scan: Scan, task: Task) -> Prepared:
    """A scan on its recipe's grid, in raw units; empty slices at both ends are gone.

    Raises:
        DataError: nothing is labelled to which the scan is to be cut.
    """
    recipe = task.recipe
    image = to_standard(np.asarray(scan.image), scan.affine)
    indices = np.zeros(image.shape[1:], dtype=np.uint8)
    if scan.labels is not None:
        indices = _kept_indices(to_standard(scan.labels, scan.affine), task)
    labelled = int(np.count_nonzero(indices))
    affine = standard_affine(scan.affine, scan.image.shape[1:])
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
    if recipe.around:
        box = box_round(_wanted(scan.case, indices, task), spacing_mm.tolist(), recipe)
        image, indices = image[:, *box], indices[box]
        affine = affine.copy()
        affine[:3, 3] += affine[:3, :3] @ [side.start for side in reversed(box)]
    axes = fit_axes(image.shape[1:], spacing_mm.tolist(), recipe)
    left = np.count_nonzero(indices[tuple(axis.seen for axis in axes)])
    kept = round(left / labelled, 4) if labelled else None
    zero_means_nothing = recipe.intensity.foreground_only or recipe.intensity.background is not None
    outside = np.zeros(len(image)) if zero_means_nothing else surroundings(image)
    moved = resample_image(image, axes, outside)
    if zero_means_nothing:
        moved[resample_nearest(image == 0, axes, pad=1)] = 0
    labels = resample_nearest(indices, axes)
    if recipe.regions is not None:
        air = moved[0] == 0 if zero_means_nothing else ~_apart(moved, outside)[0]
        if recipe.regions.kind == "kmeans" and not zero_means_nothing:
            air = np.zeros_like(air)  # dark tissue may look like air: leave it to the clusters
        first_region = len(task.kept.structures) - len(region_names(recipe.regions))
        grid_mm = np.linalg.norm(moved_affine(affine, axes)[:3, :3], axis=0)[::-1].tolist()
        labels = add_regions(moved[0], labels, air, recipe.regions, first_region, grid_mm)
    first, last, left_out = _enough(moved, outside, recipe)
    if recipe.dims == 2:
        moved, labels = moved[:, first:last].transpose(1, 0, 2, 3), labels[first:last]
    else:
        moved, labels = moved[None][first:last], labels[None][first:last]
    affine = moved_affine(affine, axes)
    if recipe.dims == 2:
        affine[:3, 3] += affine[:3, 2] * first
    return Prepared(
        np.ascontiguousarray(moved),
        np.ascontiguousarray(labels),
        left_out,
        affine,
        tuple(axis.covered for axis in axes[3 - recipe.dims :]),
        axis_codes(scan.affine),
        scan.labels is not None and bool(scan.labels.any()),
        kept,
    )


def _read(task: Task) -> Scan:
    """The scan with the recipe's modalities, in its order."""
    images = task.files.images
    stacked = len(images) > 1 and len(set(images.values())) == 1
    wanted = dict(images) if stacked else {name: images[name] for name in task.modalities}
    files = CaseFiles(task.files.case, wanted, task.files.labels, task.files.patient)
    scan = read_scan(files, table=task.table)
    order = [scan.modalities.index(name) for name in task.modalities]
    image = scan.image if order == list(range(len(scan.image))) else scan.image[order]
    return Scan(scan.case, image, scan.affine, task.modalities, scan.labels, scan.patient)


def _kept_indices(values: np.ndarray, task: Task) -> np.ndarray:
    """Label values to structure indices of the store; what is not kept is background."""
    to_kept = np.zeros(len(task.table.values), dtype=np.uint8)
    for index, value in enumerate(task.table.values):
        if value in task.kept.values:
            to_kept[index] = task.kept.values.index(value)
    return to_kept[task.table.encode(values)]


def _wanted(case: str, indices: np.ndarray, task: Task) -> np.ndarray:
    """Where the structures lie that the scan is cut to. Raises DataError if nowhere."""
    around = task.recipe.around
    where = np.isin(indices, [task.kept.index(name) for name in around])
    if not where.any():
        found = f"nothing labelled as {' or '.join(around)}, to which scans are to be cut"
        raise DataError(Problem(case, "structure", found, "Label it, or leave the case out"))
    return where


def _enough(
    image: np.ndarray, outside: np.ndarray, recipe: Recipe
) -> tuple[int, int, tuple[int, ...]]:
    """Samples with enough in them: first, end, and those between that have too little."""
    above = _apart(image, outside).any(axis=0)
    shares = above.mean(axis=(1, 2)) if recipe.dims == 2 else above.mean(keepdims=True).ravel()
    enough = np.flatnonzero(shares >= recipe.min_foreground)
    if not len(enough):
        return 0, 0, ()
    first, end = int(enough[0]), int(enough[-1]) + 1
    missing = sorted(set(range(first, end)) - set(enough.tolist()))
    return first, end, tuple(sample - first for sample in missing)


def _apart(image: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Where an image (C, D, H, W) is not what surrounds it, beyond rounding."""
    apart = np.abs(image - outside.astype(np.float32).reshape(-1, 1, 1, 1))
    rounding = 1e-5 * np.abs(image).max(axis=(1, 2, 3), keepdims=True)
    return apart > rounding


def _measure(prepared: Prepared, counts: np.ndarray, task: Task) -> tuple[Statistics, ...]:
    """Statistics over the samples that count.

    For a data set's statistics these are the ones that any draw with `has` may take (METHODS.md
    1.1: all pixels of the training slices); for a case's, all that are not left out.
    """
    if task.recipe.intensity.kind == "window":
        return (Statistics(0),) * len(task.modalities)
    chosen = np.ones(len(counts), dtype=bool)
    asking = [draw for draw in task.recipe.draws if draw.has]
    if asking and not alone(task.recipe):
        chosen = np.any([qualifying(draw, counts, task.kept) for draw in asking], axis=0)
    chosen[list(prepared.left_out)] = False
    image = prepared.image if chosen.all() else prepared.image[chosen]
    return tuple(measure(image[:, c], task.recipe.intensity) for c in range(image.shape[1]))


def _describe(prepared: Prepared, task: Task) -> dict[str, Any]:
    width, height, depth = np.linalg.norm(prepared.affine[:3, :3], axis=0)
    return {
        "case": task.files.case,
        "patient": task.files.patient,
        "samples": len(prepared.labels),
        "left_out": list(prepared.left_out),
        "grid_mm": [float(depth), float(height), float(width)],
        "affine": prepared.affine.tolist(),
        "scanned": [list(each) for each in prepared.scanned],
        "axis_codes": prepared.axis_codes,
        "labelled": prepared.labelled,
        "labels_kept": prepared.labels_kept,
        "dims": task.recipe.dims,
    }


def _pack(
    raw: np.ndarray, labels: np.ndarray, codecs: tuple[Codec, ...], folder: Path
) -> dict[str, Any]:
    """Write image.npy; returns what the index has to know of it."""
    packed = np.empty(raw.shape, dtype=np.int16)
    levels = []
    for c, codec in enumerate(codecs):
        network = codec.encode(raw[:, c])
        levels.append(Levels.of(network, codec))
        packed[:, c] = levels[-1].pack(network)
        if codec.background is not None:
            packed[:, c][raw[:, c] == 0] = BACKGROUND
    write_array(folder / "image.npy", packed)
    digest = hashlib.sha256(packed.data)
    digest.update(np.ascontiguousarray(labels).data)
    return {
        "codecs": [codec.model_dump() for codec in codecs],
        "levels": [vars(each) for each in levels],
        "sha256": digest.hexdigest(),
    }


def digest_of(scan: Scan) -> str:
    """Hash of an image's shape and voxels, whatever order they have in memory; "" without any."""
    if not len(scan.image):
        return ""
    digest = hashlib.blake2b(repr(scan.image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(scan.image.transpose(0, 3, 2, 1)).data)
    return digest.hexdigest()


def _note(
    task: Task, plain: Mapping[str, Any], statistics: tuple[Statistics, ...], digest: str
) -> None:
    """Say that the case is done so far, after its arrays are written."""
    assert task.folder is not None
    note = {
        "key": task.key,
        "plain": dict(plain),
        "statistics": [each.as_dict() for each in statistics],
        "digest": digest,
    }
    write_json(task.folder / "case.json", note)


def _finished(task: Task) -> Finding | None:
    """What an earlier, interrupted run found in the same files for the same recipe."""
    if task.folder is None:
        return None
    try:
        note = json.loads((task.folder / "case.json").read_text(encoding="utf-8"))
        if note["key"] != task.key:
            return None
        counts = np.load(task.folder / "counts.npy", allow_pickle=False)
        plain, digest = note["plain"], note["digest"]
        statistics = tuple(Statistics(**each) for each in note["statistics"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    packed = (task.folder / "image.npy").exists() and "codecs" in plain
    if not packed and not (task.folder / "raw.npy").exists():
        return None
    return Finding((), plain, counts, statistics, digest)


def _problems(case: str, error: DataError) -> tuple[Problem, ...]:
    if error.problems:
        return error.problems
    return (Problem(case, "unreadable", str(error).rstrip("."), "Replace the file"),)
