"""Which synthetic case was to be which real one, and how near it came."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
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

    `paired` is None where the row does not say: then the case's name decides.
    """

    source: str
    paired: bool | None


def origins(root: Path) -> dict[str, Origin]:
    """What the provenance.jsonl of a synthetic set says about its cases, {} if there is none.

    Raises:
        DataError: the file is there and holds something else.
    """
    path = root / _ROWS_FILE
    if not path.is_file():
        return {}
    if path.stat().st_size > _MOST_BYTES:
        raise DataError(f"{path.name}: larger than 64 MiB. It does not describe this data set.")
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            case, source = str(row["case"]), str(row.get("source_case", ""))
            paired = row.get("paired")
            found[case] = Origin(source, paired if isinstance(paired, bool) else None)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            text = f"line {number} is not a row of a provenance file ({error!r:.60})"
            raise DataError(Problem(path.name, "json", text, "Correct or remove it")) from error
    return found


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
