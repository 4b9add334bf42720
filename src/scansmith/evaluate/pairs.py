"""Which synthetic case was to be which real one, and how near it came."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scansmith.evaluate import fidelity
from scansmith.evaluate.information import LEAST_VOXELS, information
from scansmith.evaluate.view import View
from scansmith.evaluate.windows import Window
from scansmith.scan import CaseFiles, DataError, Problem

#: What is measured of a pair, in the report's order; and the regions it is measured in.
MEASURES = ("psnr", "ssim", "ms_ssim", "mae", "mse", "mi", "nmi", "bias", "sd_ratio")
REGIONS = ("whole", "lesion", "lesion_box", "outside")
_ROWS_FILE = "provenance.jsonl"
_MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class Origin:
    """Where a synthetic case comes from: the real case named, and whether it shows the same.

    `paired` is None where the row does not say: then the case's name decides. `part`: the row is of
    a volume that was written slice by slice, and this case is one of the slices.
    """

    source: str
    paired: bool | None
    part: bool = False


def origins(root: Path, cases: Sequence[CaseFiles]) -> dict[str, Origin]:
    """What the provenance.jsonl of a synthetic set says about its cases.

    A case is known by its files, since some layouts call it otherwise than its row does; else by
    its name, or by its patient's.

    Args:
        root: the folder where the provenance.jsonl is, if there is one.
        cases: as a reader of the set finds them.
    Returns:
        {} without a provenance.jsonl. Cases that it says nothing about are left out.

    Raises:
        DataError: the file is there and holds something else.
    """
    by_name, by_file = _read(root / _ROWS_FILE)
    rows = {files.case: by_file.get(_first_file(files, root)) for files in cases}
    shared = Counter(row for row in rows.values() if row is not None)
    found = {}
    for files in cases:
        row = rows[files.case] or by_name.get(files.case)
        part = row is None or shared[row] > 1
        row = row or by_name.get(files.patient)
        if row is not None:
            paired = None if part and row.paired else row.paired
            found[files.case] = Origin(row.source, paired, part)
    return found


@dataclass(frozen=True)
class _Row:
    case: str
    source: str
    paired: bool | None


def _read(path: Path) -> tuple[dict[str, _Row], dict[str, _Row]]:
    """The rows of a provenance file by the name of their case, and by the files that they list."""
    if not path.is_file():
        return {}, {}
    if path.stat().st_size > _MOST_BYTES:
        raise DataError(f"{path.name}: larger than 64 MiB. It does not describe this data set.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        found = f"is not UTF-8 text (byte {error.start})"
        raise DataError(
            Problem(path.name, "encoding", found, "Save it as UTF-8, or remove it")
        ) from error
    by_name, by_file = dict[str, _Row](), dict[str, _Row]()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            paired = row.get("paired")
            told = paired if isinstance(paired, bool) else None
            one = _Row(str(row["case"]), str(row.get("source_case", "")), told)
            by_name[one.case] = one
            by_file |= dict.fromkeys(row.get("files", ()), one)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            found = f"line {number} is not a row of a provenance file ({error!r:.60})"
            raise DataError(Problem(path.name, "json", found, "Correct or remove it")) from error
    return by_name, by_file


def _first_file(files: CaseFiles, root: Path) -> str:
    """The path of a case's first image in its data set; "": it has none there."""
    first = next(iter(files.images.values()), None)
    if first is None or not first.is_relative_to(root):
        return ""
    return first.relative_to(root).as_posix()


def match(
    real: tuple[CaseFiles, ...],
    synthetic: tuple[CaseFiles, ...],
    said: Mapping[str, Origin],
) -> dict[str, CaseFiles]:
    """Synthetic case name -> the real case that it was to be.

    A row of provenance.jsonl decides where there is one; else a real case of the same name.
    """
    by_name = {files.case: files for files in real}
    found = {}
    for files in synthetic:
        origin = said.get(files.case)
        if origin is not None and origin.paired is False:
            continue
        source = origin.source if origin is not None and origin.paired else files.case
        if source in by_name:
            found[files.case] = by_name[source]
    return found


def fidelity_of(
    real: View, synthetic: View, lesion: tuple[int, ...], windows: tuple[Window, ...]
) -> dict[str, dict[str, dict[str, float]]]:
    """Every measure of one pair in every region, for each of the C modalities.

    Regions: whole; lesion (labelled so in either of the two), its box slice by slice, and all
    that is outside of it. A region that is empty is left out; nan where a measure has no value.

    Returns:
        {modality number as text: {region: {measure: value}}}.
    """
    mask = lesion_mask(real, lesion) | lesion_mask(synthetic, lesion)
    regions: dict[str, np.ndarray | None] = {"whole": None}
    if mask.any():
        regions |= {"lesion": mask, "lesion_box": fidelity.box_of(mask), "outside": ~mask}
    result = {}
    for channel, window in enumerate(windows):
        x, y = window.applied(real.image[channel]), window.applied(synthetic.image[channel])
        black = window.low
        similar = None
        if min(x.shape[-2:]) >= 2 * fidelity.SSIM_RADIUS + 1:
            similar = fidelity.ssim_map(x, y, window.data_range, black=black)
        result[str(channel)] = {
            name: _measured(x, y, window, region, similar)
            for name, region in regions.items()
            if region is None or region.any()
        }
        scales = fidelity.ms_ssim_scales(x.shape)
        if scales:
            value = fidelity.ms_ssim(x, y, window.data_range, black=black)
            result[str(channel)]["whole"]["ms_ssim"] = value
    return result


def lesion_mask(case: View, lesion: tuple[int, ...]) -> np.ndarray:
    """Where a case is labelled with one of these structures, bool (D, H, W)."""
    if case.labels is None or not lesion:
        return np.zeros(case.image.shape[1:], bool)
    return np.isin(case.labels, lesion)


def _measured(
    real: np.ndarray,
    made: np.ndarray,
    window: Window,
    region: np.ndarray | None,
    similar: np.ndarray | None,
) -> dict[str, float]:
    found: dict[str, Any] = {
        "psnr": fidelity.psnr(real, made, window.data_range, region),
        "ssim": math.nan,
        "mae": fidelity.mae(real, made, region),
        "mse": fidelity.mse(real, made, region),
        "mi": math.nan,
        "nmi": math.nan,
        "bias": fidelity.bias(real, made, region),
        "sd_ratio": fidelity.sd_ratio(real, made, region),
    }
    if similar is not None:
        found["ssim"] = fidelity.mean_of_map(similar, region)
    where = np.ones(real.shape, bool) if region is None else region
    if where.sum() >= LEAST_VOXELS:
        width = window.high - window.low
        found |= information((real - window.low) / width, (made - window.low) / width, where)
    return found
