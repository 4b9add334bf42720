"""Measures of generators against the one setting that they differ in (ANT-GAN's Fig. 12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from scansmith.scan import SettingsError
from scansmith.settings import leaves
from scansmith.workflow import read_record

BLUE = "#0072B2"
Points = list[tuple[float, Mapping[str, Any]]]


def points_of(
    runs: Mapping[str, Sequence[Path]], setting: str, rows: Mapping[str, Mapping[str, Any]]
) -> Points:
    """The value of a setting in each name's runs, with the name's row, in rising order.

    Args:
        setting: a number, by its dotted name.
        rows: name -> measure -> mean and interval.
    Raises:
        SettingsError: the runs have no such number.
    """
    found = [
        (value_of(name, read_record(folders[0])["settings"], setting), rows[name])
        for name, folders in runs.items()
    ]
    return sorted(found, key=lambda point: point[0])


def value_of(name: str, settings: Mapping[str, Any], setting: str) -> float:
    """The number that a generator's settings have under a dotted name.

    Raises:
        SettingsError: there is none.
    """
    value = dict(leaves(settings)).get(setting)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(
            f"against: found {setting}, which is {value!r} in {name}, expected the name of a "
            "number. For example method.lambda_am."
        )
    return float(value)


def save_sweep(
    runs: Mapping[str, Sequence[Path]],
    setting: str,
    rows: Mapping[str, Mapping[str, Any]],
    measures: Sequence[str],
    path: Path,
) -> None:
    """A panel for each measure: means with their intervals over the setting's values."""
    points = points_of(runs, setting, rows)
    figure = Figure(figsize=(4.0 * len(measures), 3.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for number, measure in enumerate(measures, 1):
        axes = figure.add_subplot(1, len(measures), number)
        there = [(x, row[measure]) for x, row in points if row[measure]["mean"] is not None]
        axes.plot([x for x, _ in there], [found["mean"] for _, found in there], "o-", color=BLUE)
        for x, found in there:
            if found.get("interval"):
                axes.plot([x, x], found["interval"], color=BLUE, linewidth=1)
        if all(x > 0 for x, _ in points):
            axes.set_xscale("log")
        axes.set_xlabel(setting)
        axes.set_title(measure, fontsize=10)
        axes.grid(alpha=0.2)
    figure.savefig(path)
