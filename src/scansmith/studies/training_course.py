"""How trainings went: loss curves, critics' accuracy and samples at growing numbers of steps.

The papers show these as figures: MAGAN's Figs. 5 to 9 (samples), 10, 11 (losses) and 12 (their
total), the heart GAN's Figs. 2 (losses), 3 (accuracy of D on real and made slices) and 5 (samples).
An accuracy is the share of a critic's patches that are on the right side of the middle; half is
chance.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from scansmith.scan import RunError
from scansmith.studies.cells import file_name
from scansmith.studies.evolution import evolution
from scansmith.studies.tables import table
from scansmith.train.monitor import LOG, draw_curves, read_rows

TOTAL = ("G.L_L1", "D.L_D")
"""Terms whose sum is MAGAN's total (Fig. 12): 100 times the L1, as it is weighted, and D's loss."""
LAST = 0.1
"""Share of a training that its final values are means over: single steps are noise."""


def course(run: Path) -> dict[str, Any]:
    """The steps that were logged, and the means of the last tenth.

    Raises:
        RunError: nothing was logged.
    """
    rows = [row for row in read_rows(run / LOG) if isinstance(row.get("running"), dict)]
    if not rows:
        raise RunError(f"{run / LOG}: no row of losses. Give the folder that train wrote.")
    last = rows[-max(1, round(LAST * len(rows))) :]
    losses = {name: _mean([row.get(name) for row in last]) for name in rows[-1]["running"]}
    if sums := total(last):
        losses["total"] = _mean([raw for _, raw, _ in sums])
    return {
        "steps": rows[-1]["step"],
        "losses": losses,
        "accuracy": {
            name: _mean([row["watch"].get(name) for row in last])
            for name in rows[-1].get("watch", {})
        },
    }


def total(rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, float, float]]:
    """Step, sum of the terms of `TOTAL`, sum of their running means; of rows that have them all."""
    found = []
    for row in rows:
        raw, mean = (list(map(of.get, TOTAL)) for of in (row, row.get("running") or {}))
        if None not in (*raw, *mean):
            found.append((int(row["step"]), float(sum(raw)), float(sum(mean))))
    return found


def study(runs: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    """What every run came to."""
    return {name: [course(run) for run in folders] for name, folders in runs.items()}


def as_markdown(result: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """A table for each kind of value: a row for each name, its runs' values in one cell."""
    lines = []
    for title, part in (("critics' accuracy", "accuracy"), ("losses", "losses")):
        names = dict.fromkeys(n for found in result.values() for one in found for n in one[part])
        rows = [
            [name, *(", ".join(_word(one[part].get(n)) for one in found) for n in names)]
            for name, found in result.items()
        ]
        if names:
            text = f"**{title}, mean of the last tenth of the steps, each seed**"
            lines += [text, "", *table(["", *names], rows), ""]
    return "\n".join(lines)


def save_pictures(runs: Mapping[str, Sequence[Path]], out: Path, row: int = 0) -> dict[str, str]:
    """NAME-curves.png, -accuracy, -evolution and, of MAGAN, -total of each name's first run.

    Args:
        row: which of the samples that were drawn at every chosen step.
    Returns:
        File name -> what it shows.
    """
    out.mkdir(parents=True, exist_ok=True)
    shown = {}
    for name, folders in runs.items():
        run, stem = folders[0], file_name(name)
        shutil.copyfile(draw_curves(run), out / f"{stem}-curves.png")
        shown[f"{stem}-curves.png"] = f"losses, raw (pale) and running, of {name}"
        if points := total(read_rows(run / LOG)):
            save_total(points, out / f"{stem}-total.png")
            shown[f"{stem}-total.png"] = f"{' + '.join(TOTAL)}, raw (pale) and running, of {name}"
        save_accuracy(run, out / f"{stem}-accuracy.png")
        shown[f"{stem}-accuracy.png"] = f"critics' accuracy of {name}"
        evolution(run, row).save(out / f"{stem}-evolution.png")
        shown[f"{stem}-evolution.png"] = f"a sample at growing numbers of steps of {name}"
    return shown


def save_total(points: Sequence[tuple[int, float, float]], path: Path) -> None:
    """What `total` found, over the steps."""
    figure = Figure(figsize=(6.4, 3.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    steps, raw, mean = zip(*points, strict=True)
    (line,) = axes.plot(steps, mean, linewidth=1.4)
    axes.plot(steps, raw, color=line.get_color(), alpha=0.25, linewidth=0.8)
    axes.set_xlabel("step")
    axes.set_ylabel(" + ".join(TOTAL))
    axes.grid(alpha=0.2)
    figure.savefig(path)


def save_accuracy(run: Path, path: Path) -> None:
    """Each critic's accuracy over the steps."""
    rows = [row for row in read_rows(run / LOG) if isinstance(row.get("watch"), dict)]
    figure = Figure(figsize=(6.4, 3.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name in dict.fromkeys(name for row in rows for name in row["watch"]):
        points = [(row["step"], row["watch"][name]) for row in rows if name in row["watch"]]
        axes.plot(*zip(*points, strict=True), label=name, linewidth=1.2)
    axes.axhline(0.5, color="#777777", linestyle=":")
    axes.set_xlabel("step")
    axes.set_ylabel("accuracy; dotted: chance")
    axes.set_ylim(-0.02, 1.02)
    if rows:
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path)


def _mean(values: Sequence[float | None]) -> float | None:
    finite = [value for value in values if value is not None]
    return float(np.mean(finite)) if finite else None


def _word(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
