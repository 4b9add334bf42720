"""What a downstream study found: numbers, verdicts in words, tables, a CSV file and a plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from scansmith.evaluate.overlap import MEAN, by_patient
from scansmith.io.atomic import write_bytes
from scansmith.studies.cells import Scores
from scansmith.studies.paired_scores import mean_of, over_seeds, paired, percent, summary_of
from scansmith.studies.spec import AS_LONG, Spec
from scansmith.studies.tables import cell, data_line, published, signed, table

Found = Mapping[str, Sequence[Scores | None]]
"""Arm -> its test cases' Dice under each seed; None: the cell failed."""
MARGIN = 0.005
"""Dice by which an arm may be worse and still count as no worse."""
LEAST_PATIENTS = 6
"""Test patients without whom a comparison is no evidence: intervals of fewer are far too narrow.
Where the true difference is 0, that of two patients lies above 0 in 25 % of all draws, of four in
10 %, of six still in 7 %; 2.5 % should (normal differences, measured). Six are the fewest who can
be significant by their signs alone: all alike, two-sided p = 2 / 2**6 = 0.03; of five 0.06."""
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#777777"  # Okabe and Ito; in grey told apart too


def summarise(spec: Spec, found: Found) -> dict[str, Any]:
    """Each arm's Dice, and its difference from the reference and from classical augmentation.

    Differences are paired by seed and patient; intervals are over patients, each counted once.
    """
    others = {"reference": spec.reference, "classical": spec.classical or spec.reference}
    arms = {}
    for name, seeds in found.items():
        there = [scores for scores in seeds if scores]
        if not there:
            arms[name] = {"dice": None, "failed": len(seeds)}
            continue
        each = [mean_of(by_patient(s)) if s else None for s in seeds]
        told: dict[str, Any] = {
            "dice": summary_of(over_seeds(there)),
            "each seed": each,
            "sd over seeds": sd_over_seeds(each),
            "failed": sum(not s for s in seeds),
            "published": spec.published.arms.get(name, {}),
        }
        for role, other in others.items():
            told[role] = (
                paired(seeds, found[other], name, spec.decided_by) if name != other else None
            )
        arms[name] = told
    return {"arms": arms, "against": others, "verdicts": _verdicts(spec, arms, others)}


def sd_over_seeds(each: Sequence[float | None]) -> float | None:
    """Sample standard deviation of the seeds' means; None of fewer than two."""
    known = [value for value in each if value is not None]
    return float(np.std(known, ddof=1)) if len(known) > 1 else None


def verdict(told: Mapping[str, Any]) -> str:
    """helps, harms, no worse or no evidence, of a comparison (see `paired`).

    The interval of the difference in Dice decides, where nothing keeps it from that (`withheld`).
    It is over patients and knows nothing of seeds, so that helps and harms need each seed on their
    side as well.
    """
    above = told["above"][MEAN]
    if withheld(told) or seeds_disagree(above, told["each seed"]):
        return "no evidence"
    return _word(above["interval"])


def _word(interval: Sequence[float] | None) -> str:
    """What an interval says by itself."""
    if not interval:
        return "no evidence"
    low, high = interval
    if low > 0:
        return "helps"
    if high < 0:
        return "harms"
    return "no worse" if low > -MARGIN else "no evidence"


def withheld(told: Mapping[str, Any]) -> list[str]:
    """Why a comparison is no evidence, whatever its interval says; [] if the interval decides."""
    above, reasons = told["above"][MEAN], []
    if told["failed"]:  # a training that diverges fails, so that those left are no fair choice
        asked = len(told["each seed"])
        reasons.append(
            f"of {asked} seeds {len(told['failed'])} failed, and those left may be the lucky ones"
        )
    patients = above.get("patients", 0)
    if patients < LEAST_PATIENTS:
        reasons.append(f"{patients} test patient(s), {LEAST_PATIENTS} are needed")
    mine, theirs = told["false alarms"]
    word, counted = (_word(one.get("interval")) for one in (above, told["counting alarms"]))
    if mine > theirs and word not in ("harms", counted):
        reasons.append(alarms(told["false alarms"]))
    return reasons


def alarms(counts: Sequence[float]) -> str:
    """False alarms of a comparison in words; "" if neither raised one alone."""
    mine, theirs = counts
    if not mine and not theirs:
        return ""
    return (
        f"false alarms: it alone finds what is not there in {mine:.3g} test patient(s), the "
        f"other alone in {theirs:.3g}"
    )


def over(above: Mapping[str, Any]) -> str:
    """ " over" how many patients a difference is, where some have none; else ""."""
    there, left = above.get("patients", 0), above["left_out"]
    return f" over {there} of {there + left} patients" if left else ""


def failed_seeds(names: Sequence[int]) -> str:
    """A sentence on the seeds that failed; "" if none did."""
    return f" Failed: seed {', '.join(map(str, names))}." if names else ""


def seeds_disagree(above: Mapping[str, Any], each: Sequence[float | None]) -> bool:
    """Whether a difference whose interval leaves out 0 is not on its side of 0 in every seed."""
    if not above.get("interval"):
        return False
    low, high = above["interval"]
    known = [value for value in each if value is not None]
    return (low > 0 and min(known) <= 0) or (high < 0 and max(known) >= 0)


def _verdicts(
    spec: Spec, arms: Mapping[str, Any], others: Mapping[str, str]
) -> list[dict[str, Any]]:
    found, steps = [], spec.relative_steps
    for role, other in others.items():
        if role == "classical" and other == others["reference"]:
            continue
        for name, told in arms.items():
            against = told.get(role)
            if not against:
                continue
            above = against["above"][MEAN]
            word = verdict(against)
            sentence = {
                "helps": "better, beyond chance",
                "harms": "worse, beyond chance",
                "no worse": f"neither better nor more than {MARGIN:g} worse",
                "no evidence": "not told apart: too few patients or seeds, or no difference",
            }[word]
            if reasons := withheld(against):
                sentence = f"not told apart: {'; '.join(reasons)}"
            elif seeds_disagree(above, against["each seed"]):
                each = [value for value in against["each seed"] if value is not None]
                sentence = f"not told apart: seeds disagree ({', '.join(map(signed, each))})"
            heard = alarms(against["false alarms"])
            if heard and heard not in sentence:
                sentence += f"; {heard}"
            longer = steps[name] / steps[other]
            if not AS_LONG <= longer <= 1 / AS_LONG:
                sentence += f"; it trained {longer:g} times as long"
            text = f"{name} against {other}: {cell(above)} Dice{over(above)}: {sentence}."
            one = {"arm": name, "against": other, "verdict": word, "sentence": text}
            found.append({**one, "failed": against["failed"]})
    return found


def as_markdown(result: Mapping[str, Any]) -> str:
    """The study as a page of text."""
    arms = result["arms"]
    whole = {name: told for name, told in arms.items() if told["dice"]}
    measures = list(next(iter(whole.values()))["dice"]) if whole else []
    others = dict.fromkeys(result["against"].values())
    roles = {other: role for role, other in reversed(result["against"].items())}
    names = result["spec"]["decided_by"]
    decided = f" The mean, by which arms are compared, is of {' and '.join(names)}." * bool(names)
    lines = [f"# {result['title']}", "", result["about"], ""] if result.get("title") else []
    lines += [
        data_line(result["data"]),
        "",
        f"{result['test patients']} test patients, {result['train patients']} to learn from, seeds "
        f"{', '.join(map(str, result['seeds']))}. Mean Dice over test patients with 95 % bootstrap "
        f"intervals over patients; differences are paired by patient and seed.{decided}",
        "",
        *(
            f"* {one['sentence']}{failed_seeds([result['seeds'][n] for n in one['failed']])}"
            for one in result["verdicts"]
        ),
        "",
    ]
    rows = []
    for name, told in whole.items():
        each = ", ".join("–" if v is None else f"{v:.3f}" for v in told["each seed"])
        sd = "" if told["sd over seeds"] is None else f"{told['sd over seeds']:.3f}"
        row = [name, *(cell(told["dice"][m]) for m in measures), each, sd]
        for other in others:
            against = told[roles[other]]
            above = against["above"][MEAN] if against else None
            row += [cell(above) + over(above), percent(against["share"])] if above else ["", ""]
        rows.append(row)
    head = ["learned from", *measures, "each seed", "sd over seeds"]
    for other in others:
        head += [f"minus {other}", f"% of {other}"]
    lines += table(head, rows)
    told = {name: arm["published"] for name, arm in whole.items() if arm["published"]}
    if told:
        paper = {"item": result["item"], **result["published"], "arms": told}
        lines += ["", *published(paper, {name: arm["dice"] for name, arm in whole.items()})]
    if result["problems"]:
        lines += ["", "Not done:", "", *(f"* {problem}" for problem in result["problems"])]
    return "\n".join(lines) + "\n"


def rows_csv(seeds: Sequence[int], found: Found) -> str:
    """Every score: a line for each arm, seed and test case."""
    first = next((scores for rows in found.values() for scores in rows if scores), {})
    measures = list(next(iter(first.values()), {}))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arm", "seed", "patient", "case", *measures])
    for arm, rows in found.items():
        for seed, scores in zip(seeds, rows, strict=True):
            for key, row in (scores or {}).items():
                patient, _, case = key.rpartition("/")
                values = ["" if np.isnan(row[m]) else f"{row[m]:.5f}" for m in measures]
                writer.writerow([arm, seed, patient, case, *values])
    return text.getvalue()


def save_plot(result: Mapping[str, Any], path: Path) -> None:
    """Each arm's mean Dice with its interval and its seeds, over a line at the reference."""
    whole = {
        name: told
        for name, told in result["arms"].items()
        if told["dice"] and told["dice"][MEAN]["mean"] is not None
    }
    figure = Figure(figsize=(7.5, 1.2 + 0.42 * len(whole)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    reference = result["against"]["reference"]
    for place, (name, told) in enumerate(whole.items()):
        mean = told["dice"][MEAN]
        colour = GREY if name == reference else BLUE
        low, high = mean.get("interval") or (mean["mean"], mean["mean"])
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
        axes.plot(mean["mean"], place, "o", color=colour)
        seeds = [value for value in told["each seed"] if value is not None]
        axes.plot(seeds, [place] * len(seeds), "|", color=VERMILION, markersize=9)
    if reference in whole:
        axes.axvline(whole[reference]["dice"][MEAN]["mean"], color=GREY, linestyle=":")
    axes.set_yticks(range(len(whole)), list(whole))
    axes.invert_yaxis()
    axes.set_xlabel("mean Dice on real test patients (bar: 95 % interval; ticks: seeds)")
    axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_bytes(path, buffer.getvalue())
