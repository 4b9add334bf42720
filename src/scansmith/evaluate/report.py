"""The report: one HTML page that needs nothing else, with the numbers of metrics.json."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from scansmith.evaluate import neighbours, pictures, plots
from scansmith.evaluate.cases import Plan
from scansmith.evaluate.facts import Outcome
from scansmith.evaluate.pairs import MEASURES
from scansmith.evaluate.pictures import Picture
from scansmith.evaluate.statistics import SHELL_MM
from scansmith.evaluate.view import AXES, Shared
from scansmith.io.atomic import write_bytes
from scansmith.labels.table import LabelTable

PICTURES = "pictures.json"
_MOST_ROWS = 16
_HEADS = {
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "mae": "MAE",
    "mse": "MSE",
    "mi": "mutual information, nats",
    "nmi": "the same, 0 to 1",
    "bias": "bias of mean",
    "sd_ratio": "sd ratio",
}
_REGION_WORDS = {
    "whole": "whole image",
    "structures": "labelled structures",
    "lesion": "lesion",
    "lesion_box": "box of lesion",
    "outside": "outside lesion",
}


def write_report(path: Path, metrics: dict[str, Any], outcome: Outcome, plan: Plan) -> Path:
    """Write the page, and beside it `pictures.json` with its pictures for pages that tell more.

    Args:
        metrics: as in metrics.json; every number of the page is from there.
        outcome: for the pictures and plots.
    """
    rows, legend = _picture_rows(outcome, plan), _legend(plan.shared)
    shown = {"metrics": digest(metrics), "legend": legend, "rows": rows}
    write_bytes(path.parent / PICTURES, (json.dumps(shown) + "\n").encode())
    page = environment().get_template("report.html.j2")
    text = page.render(
        m=metrics,
        counts=_counts(metrics["verdicts"]),
        heads=_HEADS,
        measures=MEASURES,
        axes=AXES,
        region_words=_region_words(plan.shared),
        lesion_word="lesion" if plan.shared.lesion_by != "any label" else "labelled region",
        rows=rows,
        legend=legend,
        difference_share=round(100 * pictures.DIFFERENCE),
        intensity_plot=plots.histograms(outcome.real, outcome.synthetic, _titles(plan)),
        lesion_plot=plots.lesion_plots(outcome.real, outcome.synthetic, plan.shared.modalities)
        if plan.shared.lesion
        else "",
        continuity_plot=plots.continuity_plots(
            outcome.real, outcome.synthetic, plan.shared.modalities
        )
        if metrics["continuity"]
        else "",
        neighbours=neighbours.NEIGHBOURS,
        neighbour_measures=neighbours.MEASURES,
        shell_mm=SHELL_MM,
        colours={"real": plots.REAL, "synthetic": plots.SYNTHETIC},
    )
    return write_bytes(path, text.encode())


def digest(metrics: Mapping[str, Any]) -> str:
    """What ties pictures to the metrics that they were drawn with."""
    text = json.dumps(metrics, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def environment(*rooms: str) -> Environment:
    """Everything is escaped: names of cases and structures come from other people's files.

    Args:
        rooms: other rooms that have templates; they may include this one's.
    """
    found = Environment(
        loader=ChoiceLoader([PackageLoader("scansmith", room) for room in (*rooms, "evaluate")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"number": _number, "interval": _interval, "gauge": _gauge}
    return found


def _number(value: float | None, digits: int = 3) -> str:
    """Three significant digits; a dash for what is not known."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if value and (abs(value) >= 10**7 or abs(value) < 10**-3):
        return f"{value:.{digits - 1}e}"
    places = max(digits - 1 - math.floor(math.log10(abs(value))), 0) if value else 0
    return f"{value:,.{places}f}"


def _interval(ends: Sequence[float] | None) -> str:
    return "" if not ends else f"{_number(ends[0])} to {_number(ends[1])}"


def _gauge(row: dict[str, Any]) -> dict[str, float] | None:
    """Where real_vs_real and real_vs_synthetic lie on a line of 100: square roots, so that ten
    times the distance still fits beside one.
    """
    among, across = row.get("real_vs_real"), row.get("real_vs_synthetic")
    if not among or not across:
        return None
    top = max(3 * among["interval"][1], 1.1 * across["median"], 1e-12)

    def place(value: float) -> float:
        return round(100 * math.sqrt(min(max(value, 0.0) / top, 1.0)), 1)

    low, high = (place(end) for end in among["interval"])
    return {"low": low, "width": max(high - low, 0.8), "at": place(across["median"])}


def _counts(verdicts: Sequence[dict[str, Any]]) -> dict[str, int]:
    words = ("close", "differs", "far", "none")
    found = dict.fromkeys(words, 0)
    for row in verdicts:
        found[row["verdict"] or "none"] += 1
    return found


def _titles(plan: Plan) -> dict[tuple[str, str], str]:
    """Title of each (modality, region)."""
    words = _region_words(plan.shared)
    return {(m, r): f"{m}, {words[r]}" for m in plan.shared.modalities for r in plan.regions}


def _region_words(shared: Shared) -> dict[str, str]:
    if shared.lesion_by == "any label":
        return _REGION_WORDS | {
            "lesion": "labelled structures",
            "lesion_box": "box of labelled structures",
            "outside": "outside labelled structures",
        }
    return _REGION_WORDS


def _colours(shared: Shared) -> LabelTable:
    return LabelTable(dict(enumerate(shared.structures)))


def _legend(shared: Shared) -> list[dict[str, str]]:
    colours = _colours(shared).colours
    return [
        {"name": name, "colour": "#" + "".join(f"{round(255 * c):02x}" for c in colours[i])}
        for i, name in enumerate(shared.structures)
        if i
    ]


def _picture_rows(outcome: Outcome, plan: Plan) -> dict[str, list[dict[str, Any]]]:
    """Rows of pairs (real, label, synthetic, difference), or else rows of each set by itself."""
    colours = _colours(plan.shared).colours
    named = list(enumerate(plan.shared.modalities))
    paired = [
        {
            "case": made.case,
            "modality": name,
            "slice": made.number,
            "real": pictures.grey(real, c),
            "label": pictures.labelled(made, c, colours),
            "synthetic": pictures.grey(made, c),
            "difference": pictures.difference(real, made, c),
        }
        for real, made in outcome.pictures
        for c, name in named
    ]
    examples = [
        {
            "side": side,
            "case": true.case,
            "slice": true.number,
            "image": pictures.grey(true, 0),
            "label": pictures.labelled(true, 0, colours),
            "found": pictures.labelled(found, 0, colours),
        }
        for side, true, found in outcome.examples
    ]
    if paired:
        shown = paired[:_MOST_ROWS]
        return {"paired": shown, "real": [], "synthetic": [], "examples": examples}

    def own(found: Picture) -> dict[str, Any]:
        return {
            "case": found.case,
            "slice": found.number,
            "label": pictures.labelled(found, 0, colours),
            "images": [pictures.grey(found, c) for c, _ in named],
        }

    sides = {"real": outcome.real, "synthetic": outcome.synthetic}
    rows = {side: [own(c.picture) for c in cases if c.picture] for side, cases in sides.items()}
    return {"paired": [], "examples": examples, **rows}
