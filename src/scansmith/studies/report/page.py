"""The report as one HTML page that needs nothing else, with the numbers of report.json."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from scansmith.evaluate.overlap import MEAN
from scansmith.evaluate.pictures import encoded
from scansmith.evaluate.plots import REAL, SYNTHETIC
from scansmith.evaluate.privacy.pairs import pose_words
from scansmith.evaluate.privacy.verdict import words_of
from scansmith.evaluate.report import PICTURES, digest, environment
from scansmith.io.atomic import write_bytes
from scansmith.studies.downstream_report import GREY, LEAST_PATIENTS, MARGIN, alarms, over
from scansmith.studies.spec import LABEL_VALUES
from scansmith.studies.tables import signed

_MOST_ROWS = 3
_MOST_PAIRS = 3  # of each line of evidence
_CHIPS = {
    "helps": "close", "faithful": "close", "pass": "close", "close": "close",
    "no evidence": "differs", "mixed": "differs", "partly": "differs", "no worse": "differs",
    "inconclusive": "differs", "differs": "differs",
    "harms": "far", "not faithful": "far", "leak": "far", "far": "far",
}  # fmt: skip
ROLES = {
    "reference": "the reference",
    "classical": "classical augmentation",
    "twin": "real scans, trained as long or longer",
    "as often": "real scans, each seen as often",
    "alone": "real scans, used in another way",
    "longer": "real scans, trained longer",
    "baseline": "needs no generator",
}


def write_page(path: Path, found: dict[str, Any], folders: Mapping[str, Path]) -> Path:
    """Write the page.

    Args:
        found: as in report.json; every number of the page is from there.
        folders: of the parts, for their pictures.
    """
    found = json.loads(json.dumps(found))
    page = environment("studies/report").get_template("study.html.j2")
    text = page.render(
        r=found,
        chip_of=_CHIPS,
        roles=ROLES,
        line_word=lambda line, audit: words_of(audit["settings"])[line],
        mean=MEAN,
        margin=MARGIN,
        label_values=LABEL_VALUES,
        least_patients=LEAST_PATIENTS,
        signed=signed,
        over=over,
        alarms=alarms,
        plot=plot_of(found["study"]),
        samples={
            one["name"]: samples_of(folders[f"evaluation {one['name']}"])
            for one in found["evaluations"]
        },
        pairs={
            one["name"]: pairs_of(one, folders[f"audit {one['name']}"]) for one in found["audits"]
        },
        readers_plot=_embedded(folders.get("reader study"), "score.png"),
        colours={"real": REAL, "synthetic": SYNTHETIC},
    )
    return write_bytes(path, text.encode())


def samples_of(folder: Path) -> dict[str, Any] | None:
    """Rows of an evaluation's pictures, as it kept them; None if they are not those of its numbers.

    Returns:
        legend; paired (case, modality, slice, real, label, synthetic), or else real and synthetic
        rows (case, slice, image, label) of different patients.
    """
    try:
        kept = json.loads((folder / PICTURES).read_text(encoding="utf-8"))
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if kept["metrics"] != digest(metrics):
        return None
    rows = kept["rows"]
    return {
        "legend": kept["legend"],
        "paired": [_safe(row) for row in rows["paired"][:_MOST_ROWS]],
        **{side: [_own(row) for row in rows[side][:_MOST_ROWS]] for side in ("real", "synthetic")},
    }


def _own(row: Mapping[str, Any]) -> dict[str, Any]:
    return _safe({**row, "image": row["images"][0]})


def _safe(row: Mapping[str, Any]) -> dict[str, Any]:
    """Pictures as data alone: a page loads nothing, whoever wrote the folder."""
    return {
        key: value if not isinstance(value, str) or _is_data(key, value) else ""
        for key, value in row.items()
    }


def _is_data(key: str, value: str) -> bool:
    named = key in ("real", "label", "synthetic", "difference", "image")
    return not named or value.startswith("data:image/png;base64,")


def pairs_of(audit: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """The audit's worst pairs that have a picture, some of each line, worst first."""
    found: list[dict[str, Any]] = []
    for number, row in enumerate(audit["pairs"], 1):
        picture = _embedded(folder / "pairs", f"{number:02d}_{row['line']}.png")
        if picture and sum(one["line"] == row["line"] for one in found) < _MOST_PAIRS:
            found.append({**row, "picture": picture, "turned": pose_words(row["poses"][0])})
    return found


def _embedded(folder: Path | None, name: str) -> str:
    if folder is None or not (folder / name).is_file():
        return ""
    return encoded((folder / name).read_bytes())


def plot_of(study: Mapping[str, Any] | None) -> str:
    """Each judged arm minus each arm that it is compared with, with intervals; "" if there is none.

    A mark above the line at 0 is for the synthetic scans; a bar that crosses it tells nothing.
    """
    rows = [
        (told["arm"], row)
        for told in (study or {"help": ()})["help"]
        for row in told["comparisons"]
        if row["above"] is not None and row["above"]["mean"] is not None
    ]
    if not rows:
        return ""
    tall = 1.1 + 0.36 * len(rows)
    figure = Figure(figsize=(10.5, tall), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.axvline(0, color="#1b1f24", linewidth=1)
    axes.axvspan(-MARGIN, 0, color=GREY, alpha=0.12, linewidth=0)
    for place, (_, row) in enumerate(rows):
        _mark(axes, place, row)
    names = [f"{arm}  −  {row['against']}  ({ROLES[row['role']]})" for arm, row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(
        f"difference in Dice (bar: 95 % interval; ticks: seeds; grey: worse by {MARGIN:g} at most)",
        fontsize=9,
    )
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return encoded(file.getvalue())


def _mark(axes: Any, place: int, row: Mapping[str, Any]) -> None:
    """Filled where the interval leaves 0 out; blue for better, vermilion for worse."""
    colour = {"helps": REAL, "harms": SYNTHETIC}.get(row["verdict"], GREY)
    mean, interval = row["above"]["mean"], row["above"].get("interval")
    if interval:
        axes.plot(interval, [place, place], color=colour, linewidth=2.2)
    filled = colour if row["verdict"] in ("helps", "harms") else "white"
    axes.plot(mean, place, "o", color=colour, markerfacecolor=filled, markersize=7)
    seeds: Sequence[float] = [value for value in row["each_seed"] if value is not None]
    axes.plot(seeds, [place + 0.22] * len(seeds), "|", color="#1b1f24", markersize=6)
