"""The report's verdicts, in words for whoever asked for the study, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scansmith.evaluate.faithfulness import LEAST_DICE
from scansmith.studies.report.convergence import convergence_note
from scansmith.studies.report.help import BESIDE, DECIDING, overall
from scansmith.studies.report.wording import deciding, sentence

HELPS = {
    "helps": "Yes, on these patients",
    "harms": "No: it harms",
    "mixed": "Some mixtures help, others harm",
    "no evidence": "No evidence that it helps",
    None: "Not known",
}
FAITHFUL = {
    "faithful": "Yes, as far as a segmenter can tell",
    "partly": "Only in part",
    "not faithful": "No",
    None: "Not known",
}
LEAKS = {
    "leak": "Yes: it gives training patients away",
    "inconclusive": "Not settled",
    "pass": "No sign of it was found",
    None: "Not known",
}
FEW = 10
"""Test patients of whom a bootstrap interval is too narrow as a rule (our convention)."""
_WORST_LEAK = ("leak", "inconclusive", "pass")
_FAITHFUL_BY = {"far": "not faithful", "differs": "partly", "close": "faithful"}
_LABELS = {
    "far": "images and labels hardly belong together (Dice of a segmenter of real scans)",
    "differs": "shown less well than in real scans (Dice of a segmenter of real scans)",
    "close": "shown as well as in real scans (Dice of a segmenter of real scans)",
}


def faithful_word(found: Mapping[str, Any] | None) -> str | None:
    """One word for an evaluation's faithfulness: its worst structure's.

    Args:
        found: `faithfulness` of metrics.json; None: it was not asked.
    Returns:
        "not faithful" (a structure is far off), "partly" (one differs, or one has no verdict),
        "faithful" (all are close), None (no structure has a verdict).
    """
    words = [entry["verdict"] for entry in (found or {}).get("structures", {}).values()]
    for word in ("far", "differs"):
        if word in words:
            return _FAITHFUL_BY[word]
    if "close" not in words:
        return None
    return "faithful" if all(words) else "partly"


def verdicts(found: Mapping[str, Any]) -> dict[str, Any]:
    """The three verdicts and what readers said, and a sentence on each part that is missing.

    Args:
        found: the report's study, evaluations, audits and reader_study.
    """
    told: dict[str, Any] = {
        "helps": _helps(found["study"]),
        "faithful": _faithful(found["evaluations"]),
        "leaks": _leaks(found["audits"]),
    }
    score = found["reader_study"]
    _cap(told, found["study"])
    told["readers"] = None if score is None else {"sentences": [score["verdict"]]}
    return {"verdicts": told, "missing": _missing(found)}


def _cap(told: Mapping[str, dict[str, Any]], study: Mapping[str, Any] | None) -> None:
    """Say of good news that it is not of all generators of the study, where some were left out."""
    good = {"faithful": ("faithful", "evaluate"), "leaks": ("pass", "audit")}
    for name, (word, what) in good.items():
        left = [] if study is None else study["not_judged"].get(what, [])
        if left and told[name]["word"] == word:
            told[name]["headline"] += f" (the study itself did not look at {', '.join(left)})"


def _helps(study: Mapping[str, Any] | None) -> dict[str, Any]:
    if study is None:
        return _verdict(None, HELPS, ["No study is there."])
    rows = study["help"]
    if not rows:
        text = "No arm of the study learns from samples of a generator or of a synthetic set."
        return _verdict(None, HELPS, [text])
    sentences = [sentence(row) for row in rows]
    more = {"notes": _cautions(study, rows), "rests_on": deciding(rows)}
    return _verdict(overall(rows), HELPS, sentences) | more


def _cautions(study: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    there = [
        row
        for told in rows
        for row in told["comparisons"]
        if row["role"] in (*DECIDING, *BESIDE) and row["above"]
    ]
    seeds = [len(study["seeds"]) - len(row["failed"]) for row in there]
    patients = [row["above"].get("patients", 0) for row in there]
    notes = []
    if 1 in seeds:
        notes.append(
            "One seed alone: another training of the same networks may come out otherwise, and the "
            "interval does not say how far."
        )
    won = [row for row in rows if row["word"] == "helps"]
    if won and len(rows) > 1:
        notes.append(
            f"{len(rows)} arms were compared, and nothing was corrected for that: the more arms, "
            "the likelier one of them wins by chance."
        )
    notes.append(convergence_note(study["convergence"]))
    reference = study["arms"][study["reference"]]["dice"]
    mean = reference[study["measure"]]["mean"] if reference else None
    if mean is not None and mean < LEAST_DICE:
        notes.append(
            f"The reference finds little (Dice {mean:.2f}). If its segmenters had not learned yet, "
            "the differences say nothing: train for more steps, until more change nothing."
        )
    if patients and min(patients) < FEW:
        notes.append(
            f"Compared in {min(patients)} of {study['test_patients']} test patients: intervals "
            "from so few are too narrow as a rule."
        )
    return notes


def _faithful(evaluations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if not evaluations:
        return _verdict(None, FAITHFUL, ["No evaluation is there."])
    words = [one["faithful"]["word"] for one in evaluations]
    worst = next((w for w in ("not faithful", "partly", "faithful") if w in words), None)
    if worst == "faithful" and None in words:
        worst = "partly"
    return _verdict(worst, FAITHFUL, [line for one in evaluations for line in _of_labels(one)])


def _of_labels(one: Mapping[str, Any]) -> list[str]:
    """A line for each verdict, with the structures that have it."""
    structures = one["faithful"]["structures"]
    if not structures:
        return [f"{one['name']}: no verdict ({one['faithful']['reason']})."]
    lines = []
    for word, text in _LABELS.items():
        found = [
            f"{name} ({entry['synthetic']['mean']:.2f}, in real scans {entry['real']['mean']:.2f})"
            for name, entry in structures.items()
            if entry["verdict"] == word
        ]
        if found:
            lines.append(f"{one['name']}, {text}: {', '.join(found)}.")
    untold = [name for name, entry in structures.items() if entry["verdict"] is None]
    if untold:
        lines.append(f"{one['name']}, no verdict (the table says why): {', '.join(untold)}.")
    return lines


def _leaks(audits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if not audits:
        return _verdict(None, LEAKS, ["No audit is there."])
    words = {one["verdict"] for one in audits}
    word = next((w for w in _WORST_LEAK if w in words), None)
    sentences = [f"{one['name']}: {one['verdict']}. {' '.join(one['reasons'])}" for one in audits]
    return _verdict(word, LEAKS, sentences)


def _verdict(
    word: str | None, headlines: Mapping[str | None, str], sentences: Sequence[str]
) -> dict[str, Any]:
    return {
        "word": word or "not known",
        "headline": headlines[word],
        "rests_on": "",
        "sentences": list(sentences),
        "notes": [],
    }


def _missing(found: Mapping[str, Any]) -> list[str]:
    """Every part that is not there, so that nobody takes silence for good news."""
    study, told = found["study"], []
    if study is None:
        told.append("No study: whether training with these scans helps is not known.")
    if not found["evaluations"]:
        told.append("No evaluation: whether images show what their labels say is not known.")
    if not found["audits"]:
        told.append("No audit: whether training patients are given away is not known.")
    if found["reader_study"] is None:
        told.append("No reader study: whether experts can tell these scans from real ones is open.")
    if study is not None:
        parts = {"evaluate": found["evaluations"], "audit": found["audits"]}
        for what, names in study["not_judged"].items():
            if names and parts[what]:
                done = {"evaluate": "evaluated", "audit": "audited"}[what]
                told.append(f"By the study itself not {done}: {', '.join(names)}.")
    return told
