"""What `scansmith classify` found, as a page of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scansmith.evaluate.classification_scores import MEASURES
from scansmith.studies.tables import cell, table

REAL, COPIES = "real", "copies"
WHAT = {"slices": "Slices", "whole_patients": "Patients, abnormal if one of their slices is"}


def as_markdown(result: Mapping[str, Any]) -> str:
    """The study as tables."""
    arms = result["arms"]
    patients = next(iter(arms.values()))["patients"]
    counts = [sum(row[name] for row in patients.values()) for name in ("slices", "abnormal")]
    lines = [
        f"{len(patients)} test patients with {counts[0]} slices, {counts[1]} of them abnormal "
        f"(lesion: {', '.join(result['lesion'])}, {result['least pixels']} pixels); "
        f"{result['train patients']} patients to learn from; seeds "
        f"{', '.join(map(str, result['seeds']))}, their probabilities averaged. Intervals hold "
        "95 % of resamplings of patients.",
    ]
    if left_out := result["without labels"]:
        lines += ["", f"Left out, without a label file: {', '.join(left_out)}."]
    for name, left_out in result["sets without labels"].items():
        if left_out:
            told = f"{len(left_out)} case(s) without a label file, {left_out[0]} among them"
            lines += ["", f"Left out of {name}: {told}."]
    copied = f"{REAL} + {COPIES}"
    if result["sets without labels"] and copied not in arms:
        lines += ["", f"{copied} is missing: no lesion fits another training patient's slice."]
    for name, title in WHAT.items():
        rows = [
            [arm, *(cell(_named(told[name][measure])) for measure in MEASURES)]
            for arm, told in arms.items()
        ]
        lines += ["", f"**{title}**", "", *table(["learned from", *MEASURES], rows)]
    if unclear := next(iter(arms.values()))["unclear_patients"]:
        lines += [
            "",
            f"{unclear} test patients have lesions of fewer pixels alone: they count neither as "
            "normal nor as abnormal patients.",
        ]
    if result["above"]:
        lines += _above(result)
    return "\n".join(lines) + "\n"


def _above(result: Mapping[str, Any]) -> list[str]:
    """What arms have above the first; nothing where one of the two has nothing above either."""
    arms = result["arms"]
    first = next(iter(arms.values()))
    rows = [
        [arm, *(cell(_both(measure, told, first, arms[arm])) for measure in MEASURES)]
        for arm, told in result["above"].items()
    ]
    lines = ["", "**Slices, above real, paired by patient and seed**", ""]
    if len(result["seeds"]) > 1:
        lines += [
            "These differences are taken seed by seed, each seed's probabilities by themselves, "
            "and then averaged: they need not be those of the numbers above, which are of the "
            "probabilities averaged over seeds.",
            "",
        ]
    return lines + table(["learned from", *MEASURES], rows)


def _both(measure: str, told: Mapping[str, Any], *arms: Mapping[str, Any]) -> Any:
    """A difference, or what stands for none where an arm's own number is missing."""
    there = all(arm["slices"][measure]["value"] is not None for arm in arms)
    return told[measure] if there else {"mean": None, "interval": None}


def _named(found: Mapping[str, Any]) -> dict[str, Any]:
    return {"mean": found["value"], "interval": found["interval"]}
