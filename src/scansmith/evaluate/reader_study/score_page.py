"""The score of a reader study as a page and a plot."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from scansmith.evaluate.plots import REAL, SYNTHETIC
from scansmith.evaluate.reader_study.cases import SIDES

_INK = "#333333"


def page_of(found: dict[str, Any]) -> str:
    """score.md, from what score.json holds."""
    cases = found["cases"]
    lines = [
        "# Reader study" + (f" {found['study']}" if found["study"] else ""),
        "",
        f"**{found['verdict']}**",
        "",
        f"{cases['real']} real and {cases['synthetic']} synthetic cases, {len(found['readers'])} "
        f"readers. {found['intended_use']}",
        "",
        *[line for note in found["notes"] for line in (f"> {note}", "")],
        "| reader | shown | judged real | judged synthetic | correct |",
        "|---|---|---|---|---|",
    ]
    for name, row in found["readers"].items():
        for side, share in (("real", "specificity"), ("synthetic", "sensitivity")):
            real, made = (row["table"][f"{side}_as_{called}"] for called in SIDES)
            right = percent(row[share]["value"])
            lines.append(f"| {_cell(name)} | {side} | {real} | {made} | {right} |")
    lines += [
        "",
        f"| reader | accuracy | sensitivity | specificity | p ({found['p_by']}) "
        "| p, all readers (Holm) "
        "| p of accuracy 1/2 (binomial) |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in found["readers"].items():
        shares = " | ".join(
            f"{percent(row[what]['value'])} ({span(row[what]['interval'])})"
            for what in ("accuracy", "sensitivity", "specificity")
        )
        chances = " | ".join(p_value(row[what]) for what in ("p", "p_holm", "p_binomial"))
        lines.append(f"| {_cell(name)} | {shares} | {chances} |")
    lines += [
        "",
        "Sensitivity: synthetic cases called synthetic. Specificity: real cases called real. In "
        "brackets: exact 95 % intervals (Clopper-Pearson).",
        "",
        *_shared_chance(len(found["readers"])),
        *[line for n, row in found["readers"].items() for line in (f"- {n}: {row['verdict']}",)],
        "",
        *_agreement_lines(found["agreement"]),
        "![Accuracy, sensitivity and specificity of each reader](score.png)",
        "",
    ]
    return "\n".join(lines)


def _shared_chance(readers: int) -> list[str]:
    """By which p several readers are judged."""
    if readers == 1:
        return []
    text = (
        "Several readers are several tries for chance, so every verdict goes by p after Holm's "
        "correction for all of them."
    )
    return [text, ""]


def _agreement_lines(found: dict[str, Any]) -> list[str]:
    if not found["cohen"]:
        return []
    lines = ["| readers | same answer | Cohen's kappa |", "|---|---|---|"]
    for row in found["cohen"]:
        kappa = row.get("reason") if row["kappa"] is None else f"{row['kappa']:.2f}"
        if row["interval"]:
            kappa = f"{kappa} ({row['interval'][0]:.2f} to {row['interval'][1]:.2f})"
        both = " and ".join(_cell(name) for name in row["readers"])
        lines.append(f"| {both} | {percent(row['agreed'])} | {kappa} |")
    if found["fleiss"] is not None:
        lines += ["", f"All readers together: Fleiss' kappa {found['fleiss']:.2f}."]
    return [
        *lines,
        "",
        "Kappa is 0 where readers agree as often as chance would have it, 1 where they always do. "
        "It says nothing about who is right.",
        "",
    ]


def plot_of(found: dict[str, Any]) -> bytes:
    """score.png: each reader's three shares with their intervals, beside chance."""
    readers = found["readers"]
    tall = 1.3 + 0.75 * len(readers)
    figure = Figure(figsize=(8, tall), dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.2, 0.75 / tall, 0.77, 1 - 1.25 / tall))
    looks = (
        ("accuracy", _INK, "o", "accuracy"),
        ("sensitivity", SYNTHETIC, "s", "synthetic called synthetic"),
        ("specificity", REAL, "D", "real called real"),
    )
    for place, row in enumerate(readers.values()):
        for n, (what, colour, mark, text) in enumerate(looks):
            low, high = (100 * end for end in row[what]["interval"])
            at = place + 0.24 * (n - 1)
            axes.plot([low, high], [at, at], color=colour, linewidth=1.8)
            axes.plot(
                100 * row[what]["value"],
                at,
                mark,
                color=colour,
                label=text if not place else None,
                clip_on=False,  # 0 and 100 % are on the frame
            )
    axes.axvline(50, color="#777777", linewidth=1, linestyle="--", zorder=0)
    if found["detectable_accuracy"] is not None:
        axes.axvspan(100 * found["detectable_accuracy"], 100, color=_INK, alpha=0.07, linewidth=0)
    axes.set_xlim(0, 100)
    axes.set_ylim(len(readers) - 0.5, -0.5)
    axes.set_yticks(range(len(readers)), [name[:24] for name in readers])
    axes.set_xlabel(
        "% of cases, with exact 95 % intervals; dashed: chance; grey: accuracies that this study "
        "can find out",
        fontsize=8,
    )
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="upper center", ncols=3, frameon=False, fontsize=9)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def percent(share: float) -> str:
    """For people: 0.69 as 69 %."""
    return f"{100 * share:.0f} %"


def span(ends: Sequence[float]) -> str:
    """Both ends of an interval."""
    return f"{100 * ends[0]:.0f} to {100 * ends[1]:.0f} %"


def p_value(value: float) -> str:
    """Two digits, as many as a p-value deserves."""
    return "< 0.0001" if value < 0.0001 else f"{value:.2g}"


def p_words(value: float) -> str:
    """A p-value in a sentence."""
    shown = p_value(value)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
