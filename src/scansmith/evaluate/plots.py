"""Plots of the report, as PNG text that a page can hold."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from scansmith.evaluate.cases import CaseMeasures
from scansmith.evaluate.continuity import IMAGE_MEASURES
from scansmith.evaluate.pictures import encoded
from scansmith.evaluate.view import AXES

# Okabe and Ito's blue and vermilion: told apart by readers with any colour vision, and in grey.
REAL, SYNTHETIC = "#0072B2", "#D55E00"
_ACROSS = 3


def histograms(
    real: Sequence[CaseMeasures],
    synthetic: Sequence[CaseMeasures],
    titles: Mapping[tuple[str, str], str],
) -> str:
    """Grey values of each (modality, region) that has a title, real and synthetic."""
    panels = []
    for key, title in titles.items():
        values = [
            np.concatenate([c.voxels[key] for c in cases if key in c.voxels] or [np.empty(0)])
            for cases in (real, synthetic)
        ]
        panels.append((title, values, "grey value", False))
    return _panels(panels)


def lesion_plots(
    real: Sequence[CaseMeasures], synthetic: Sequence[CaseMeasures], modalities: Sequence[str]
) -> str:
    """Volumes, counts, positions and contrast of lesions, real and synthetic."""
    sides = [[c for c in cases if c.labelled] for cases in (real, synthetic)]
    volumes = [[x.volume_mm3 for c in cases for x in c.lesions] for cases in sides]
    counts = [[float(len(c.lesions)) for c in cases] for cases in sides]
    panels = [
        ("volume of a lesion", [np.log10(v) for v in volumes], "log10 of mm3", False),
        ("lesions per case", [np.array(c) for c in counts], "lesions", True),
    ]
    for axis in AXES:
        places = [np.array([x.position[axis] for c in cases for x in c.lesions]) for cases in sides]
        if len(np.unique(np.concatenate(places))) < 2:
            continue  # a picture of one slice has no such axis
        panels.append((f"position, {axis}", places, "0 to 1 in the box of organ or body", False))
    for name in modalities:
        values = [
            np.array([x.contrast[name] for c in cases for x in c.lesions if name in x.contrast])
            for cases in sides
        ]
        panels.append((f"contrast, {name}", values, "lesion minus what is round it", False))
    return _panels(panels)


def continuity_plots(
    real: Sequence[CaseMeasures], synthetic: Sequence[CaseMeasures], modalities: Sequence[str]
) -> str:
    """How slices go on in each case, real and synthetic."""
    panels = []
    for name in modalities:
        for measure in IMAGE_MEASURES:
            values = [
                np.array([c.continuity.get(name, {}).get(measure, np.nan) for c in cases])
                for cases in (real, synthetic)
            ]
            finite = [own[np.isfinite(own)] for own in values]
            panels.append((f"{measure}, {name}", finite, "a value a case", False))
    overlaps = [np.array([c.label_overlap for c in cases]) for cases in (real, synthetic)]
    if all(np.isfinite(own).any() for own in overlaps):
        finite = [own[np.isfinite(own)] for own in overlaps]
        panels.append(("overlap of labels", finite, "Dice, a value a case", False))
    return _panels(panels)


def _panels(panels: Sequence[tuple[str, Sequence[np.ndarray], str, bool]]) -> str:
    rows = -(-len(panels) // _ACROSS)
    tall = 2.5 * rows
    figure = Figure(figsize=(10.5, tall), dpi=100)
    FigureCanvasAgg(figure)
    # Margins in inches; matplotlib's own layout would draw everything twice.
    figure.subplots_adjust(
        left=0.02, right=0.98, bottom=0.55 / tall, top=1 - 0.3 / tall, wspace=0.1, hspace=0.55
    )
    told = False
    for number, (title, values, unit, whole) in enumerate(panels, 1):
        axes = figure.add_subplot(rows, _ACROSS, number)
        _histogram(axes, values, whole)
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel(unit, fontsize=8)
        axes.set_yticks([])
        axes.tick_params(labelsize=8)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        if not told and any(len(own) for own in values):
            axes.legend(frameon=False, fontsize=8)
            told = True
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return encoded(file.getvalue())


def _histogram(axes, values: Sequence[np.ndarray], whole: bool) -> None:  # type: ignore[no-untyped-def]
    """Shares, so that sets of other sizes lie on one another; real filled, synthetic outlined."""
    both = np.concatenate([np.asarray(v, float) for v in values])
    if not len(both):
        axes.text(0.5, 0.5, "no case has it", ha="center", transform=axes.transAxes, fontsize=8)
        return
    low, high = np.quantile(both, (0.002, 0.998))
    if whole:
        edges = np.arange(both.min() - 0.5, both.max() + 1.0)
        edges = edges[:: max(len(edges) // 40, 1)] if len(edges) > 40 else edges
    else:
        high = high if high > low else low + 1
        edges = np.linspace(low, high, 40 if len(both) > 400 else 14)
    looks = (
        ("real", REAL, {"histtype": "stepfilled", "alpha": 0.35}),
        ("synthetic", SYNTHETIC, {"histtype": "step", "linewidth": 1.8}),
    )
    for own, (name, colour, look) in zip(values, looks, strict=True):
        if len(own):
            inside = np.clip(np.asarray(own, float), edges[0], edges[-1])
            weights = np.full(len(own), 1 / len(own))
            axes.hist(inside, edges, weights=weights, color=colour, label=name, **look)
