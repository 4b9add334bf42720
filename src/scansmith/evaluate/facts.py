"""What was compared, and how: the facts that head metrics.json, and what to be wary of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from scansmith.data.layouts import DataSet
from scansmith.evaluate.cases import CaseMeasures, Plan
from scansmith.evaluate.pictures import Picture
from scansmith.evaluate.summary import PairRow
from scansmith.scan import CaseFiles, Problem

_SAME_VIEW = 1.05
_MUCH_CLIPPED = 0.05


@dataclass(frozen=True)
class Options:
    """What the user asked for; see `scansmith.evaluate.evaluate`."""

    lesion: tuple[str, ...] | None = None
    window: tuple[float, float] | None = None
    data_range: float | None = None
    features: Path | None = None
    pairs: Literal["auto", "none"] = "auto"
    limit: int | None = None
    seed: int = 0
    faithfulness: bool = False
    steps: int = 1000


@dataclass(frozen=True)
class Sides:
    """The two data sets, the cases taken of each, and who was to be whom."""

    real: DataSet
    synthetic: DataSet
    real_cases: tuple[CaseFiles, ...]
    synthetic_cases: tuple[CaseFiles, ...]
    partners: dict[str, CaseFiles]
    patients: dict[str, str]


@dataclass
class Outcome:
    """What the pass over the cases left."""

    real: list[CaseMeasures]
    synthetic: list[CaseMeasures]
    rows: list[PairRow]
    unpaired: list[Problem]
    pictures: list[tuple[Picture, Picture]]
    examples: list[tuple[str, Picture, Picture]] = field(default_factory=list)


def facts(sides: Sides, plan: Plan, options: Options, outcome: Outcome) -> dict[str, Any]:
    """What was compared and how: the head of metrics.json."""
    shared = plan.shared
    return {
        "real": _set_facts(sides.real, outcome.real),
        "synthetic": _set_facts(sides.synthetic, outcome.synthetic),
        "settings": {
            "modalities": list(shared.modalities),
            "structures": list(shared.structures[1:]),
            "lesion": [shared.structures[i] for i in shared.lesion],
            "lesion_by": shared.lesion_by,
            "pairs": options.pairs,
            "limit": options.limit,
            "seed": options.seed,
            "faithfulness": options.faithfulness,
        },
        "windows": {
            name: window.as_dict()
            for name, window in zip(shared.modalities, plan.windows, strict=True)
        },
        "notes": [
            *shared.notes,
            *_copy_note(outcome),
            *_resampled_note(outcome),
            *_scales_note(outcome),
            *_spacing_note(outcome),
            *_view_note(outcome),
            *_window_notes(outcome, plan),
        ],
    }


def _copy_note(outcome: Outcome) -> list[str]:
    """A copy of the real set is close in everything, and worthless."""
    same = 0
    for row in outcome.rows:
        same += all(regions["whole"]["mse"] == 0 for regions in row["values"].values())
    if not same:
        return []
    return [
        f"{same} of {len(outcome.rows)} pairs are the same image within the window, voxel by "
        "voxel: these cases are copies of real ones."
    ]


def _resampled_note(outcome: Outcome) -> list[str]:
    """A pair on a coarser grid is not the comparison that a pair on the scanner's is."""
    moved = sum(row["resampled"] for row in outcome.rows)
    if not moved:
        return []
    return [
        f"{moved} of {len(outcome.rows)} pairs lie on different grids: the real image was "
        "resampled to the synthetic grid for the comparison voxel by voxel (linear, without "
        "skipping voxels; labels: nearest). Detail finer than that grid is not judged, and the "
        "numbers of these pairs hold for it alone."
    ]


def _scales_note(outcome: Outcome) -> list[str]:
    """MS-SSIM of fewer scales is a number of another kind."""
    scales = sorted({row["scales"] for row in outcome.rows if row["scales"]})
    if len(scales) < 2:
        return []
    return [
        f"Pairs differ in size: MS-SSIM has {scales[0]} to {scales[-1]} scales, and its mean is "
        "over numbers of different kinds. Read those of the cases."
    ]


def _set_facts(found: DataSet, cases: Sequence[CaseMeasures]) -> dict[str, Any]:
    steps = np.array([case.spacing_mm for case in cases])
    return {
        "name": found.root.resolve().name,
        "layout": found.layout,
        "cases": len(found.cases),
        "cases_measured": len(cases),
        "patients_measured": len({case.patient for case in cases}),
        "slices_measured": sum(case.shape[0] for case in cases),
        "spacing_mm_median": [float(step) for step in np.median(steps, axis=0)],
        "structures": list(found.table.structures[1:]),
    }


def _spacing_note(outcome: Outcome) -> list[str]:
    steps = [
        np.median([c.spacing_mm for c in side], axis=0)
        for side in (outcome.real, outcome.synthetic)
    ]
    ratio = steps[1] / steps[0]
    alike = (ratio > 0.9) & (ratio < 1.1)
    notes = []
    if not alike[1:].all():
        shown = [" x ".join(f"{step:.3g}" for step in own[1:]) for own in steps]
        notes.append(
            f"The sets differ in pixel size ({shown[0]} and {shown[1]} mm): features are measured "
            "in pixels, so part of their distance is the grid's."
        )
    if not alike[0]:
        notes.append(
            f"The sets differ in the distance of slices ({steps[0][0]:.3g} and {steps[1][0]:.3g} "
            "mm): slices further apart are less alike, so part of the difference in how slices "
            "go on is the grid's."
        )
    return notes


def _view_note(outcome: Outcome) -> list[str]:
    """A set made on a method's grid has a frame that the scans, which vary in size, have not."""
    views = [
        np.median([np.multiply(c.shape, c.spacing_mm) for c in side], axis=0)
        for side in (outcome.real, outcome.synthetic)
    ]
    ratio = views[1][1:] / views[0][1:]
    if ((ratio > 1 / _SAME_VIEW) & (ratio < _SAME_VIEW)).all():
        return []
    shown = [" x ".join(f"{side:.0f}" for side in own[1:]) for own in views]
    return [
        f"The sets differ in their field of view ({shown[0]} and {shown[1]} mm, median): measures "
        "of whole images see that, for example as a frame of nothing round what was scanned. Read "
        "those of the labelled region, or compare with the real scans on the same grid."
    ]


def _window_notes(outcome: Outcome, plan: Plan) -> list[str]:
    """Where the window hides a good part of what is labelled."""
    notes = []
    for modality, window in zip(plan.shared.modalities, plan.windows, strict=True):
        for region in plan.regions[1:]:
            shares = [
                c.clipped[modality, region] for c in outcome.real if (modality, region) in c.clipped
            ]
            if shares and np.mean(shares) > _MUCH_CLIPPED:
                blind = "PSNR, SSIM, features" if window.clip else "features"
                notes.append(
                    f"{100 * np.mean(shares):.0f} % of the real {modality} values in the region "
                    f"'{region}' lie outside the window: {blind} and pictures do not see them. "
                    "Declare a wider window."
                )
    return notes
