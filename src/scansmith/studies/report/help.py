"""Does adding synthetic scans help? One word for each arm, and what it rests on.

An arm with synthetic samples may win because they teach something, or because it trained longer,
or because what stands beside it is weak. So it is compared with all that learned from real scans
alone: the reference, classical augmentation and, where these trained more briefly, a twin that
trained as long. It *helps* if it is better than each of these and one of them trained as long; it
*harms* if it is worse than any of them; else there is *no evidence*. Neither rests on few patients
or on seeds of which some failed, and nothing helps whose further false alarms undo the gain. A twin
that trained longer than the arm, where none trained as long, may be beaten; to be worse is no harm.

The same real scans may be used in another way (copies of them, those with a lesion alone, without
augmentation, more briefly). Each such arm of no more steps has to be beaten as well, or nothing
helps; being worse than one of them is no harm that synthetic samples did. One that trained longer
is told if it is better still, and decides nothing.

At equal steps synthetic samples take the place of real ones, which are seen less often. An arm of
real scans that trained more briefly and saw each as often is named among those to be beaten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scansmith.evaluate.overlap import MEAN
from scansmith.studies.downstream_report import Found, verdict, withheld
from scansmith.studies.paired_scores import paired
from scansmith.studies.spec import AS_LONG, BASELINES, Spec

Comparison = dict[str, Any]
DECIDING = ("reference", "classical", "twin")
"""Roles of the arms that a verdict rests on."""
BESIDE = ("as often", "alone")
"""Roles of the other arms of the same real scans, in no more steps: to be beaten as well."""


def judged_arms(spec: Spec) -> list[str]:
    """Arms with samples of a generator or of a set on disk: those that the study is about."""
    return [
        name
        for name, arm in spec.arms.items()
        if arm.synthetic and arm.by not in BASELINES and name != spec.reference
    ]


def twins_of(spec: Spec, name: str) -> list[str]:
    """Arms that learn from the same real samples alone and trained as long, besides the references.

    Returns:
        The shortest of those that trained as long: several if their steps are equal, [] if there
        is none.
    """
    steps = spec.relative_steps
    found = [
        other
        for other in _alike(spec, name)
        if steps[other] >= AS_LONG * steps[name] and other not in (spec.reference, spec.classical)
    ]
    least = min((steps[other] for other in found), default=0)
    return [other for other in found if AS_LONG * steps[other] <= least]


def as_often(spec: Spec, name: str) -> str | None:
    """The arm of real samples alone that saw each of them as often, if it is none of the others."""
    seen = spec.relative_exposure
    if not seen[name]:
        return None
    compared = [other for _, other in _others(spec, name)]
    found = [
        other
        for other in _alike(spec, name)
        if AS_LONG <= seen[other] / seen[name] <= 1 / AS_LONG and other not in compared
    ]
    return found[0] if found else None


def _alone(spec: Spec, name: str) -> list[str]:
    """Arms of as many real samples alone, however they are used and however long."""
    real = spec.arms[name].real or spec.arms[spec.reference].real
    return [other for other, told in spec.arms.items() if not told.synthetic and told.real == real]


def _alike(spec: Spec, name: str) -> list[str]:
    """Arms that learn from what an arm has beside its synthetic samples.

    Of an arm without real samples: from as many as the reference has.
    """
    arm = spec.arms[name]
    ways = {other: spec.arms[other] for other in _alone(spec, name)}
    return [
        other
        for other, told in ways.items()
        if (told.enhanced, told.augment, told.showing) == (arm.enhanced, arm.augment, arm.showing)
    ]


def help_of(spec: Spec, found: Found, name: str, seeds: Sequence[int]) -> dict[str, Any]:
    """The verdict on one arm.

    Args:
        found: every arm's test scores under each of the seeds.
    Returns:
        word ("helps", "harms", "no evidence" or None), why, question ("added" to the real scans, or
        "instead" of some), steps, and comparisons: against, role (one of `DECIDING` or `BESIDE`,
        "longer" or "baseline"), steps, verdict, withheld (why it says nothing), above, each_seed,
        failed (seeds), false_alarms (patients in whom this arm alone raises one, and the other
        alone).
    """
    steps = spec.relative_steps
    others = _others(spec, name)
    others += _beside(spec, name, [other for _, other in others])
    others += [("baseline", other) for other in _baselines(spec, name)]
    rows = [_compared(spec, found, name, other, role, seeds) for role, other in others]
    word, why = judge(rows, steps[name])
    instead = spec.arms[name].real < spec.arms[spec.reference].real
    return {
        "arm": name,
        "by": spec.arms[name].by,
        "word": word,
        "why": why,
        "question": "instead" if instead else "added",
        "steps": steps[name],
        "comparisons": rows,
    }


def judge(comparisons: Sequence[Comparison], steps: float) -> tuple[str | None, str]:
    """One word for the comparisons with arms of real scans alone, and why it is this one.

    Args:
        comparisons: with role, verdict (None: a cell failed), withheld and steps.
        steps: of the arm that is judged.
    Returns:
        The word, and "beaten", "harmed", "withheld" (an interval may not decide), "explained" (by
        longer training), "longer" (nothing trained as long), "outlasted" (a twin that trained
        longer still does as well), "classical" (augmentation does as well), "alone" (another use of
        the real scans does as well), "chance", or "failed".
    """
    word, why = _by_deciding([row for row in comparisons if row["role"] in DECIDING], steps)
    beside = [row for row in comparisons if row["role"] in BESIDE]
    if word != "helps":
        return word, why
    if any(row["verdict"] is None for row in beside):
        return None, "failed"
    if any(row["verdict"] != "helps" and not row["withheld"] for row in beside):
        return "no evidence", "alone"
    if any(row["withheld"] for row in beside):
        return "no evidence", "withheld"
    return word, why


def _by_deciding(comparisons: Sequence[Comparison], steps: float) -> tuple[str | None, str]:
    """The word by the arms that it rests on, whatever stands beside them."""
    words = {row["verdict"] for row in comparisons}
    if None in words:
        return None, "failed"
    longer = [
        row for row in comparisons if row["role"] == "twin" and AS_LONG * row["steps"] > steps
    ]
    if any(row["verdict"] == "harms" for row in comparisons if row not in longer):
        return "harms", "harmed"
    if any(row["withheld"] for row in comparisons):
        return "no evidence", "withheld"
    as_long = any(row["steps"] >= AS_LONG * steps for row in comparisons)
    if words == {"helps"}:
        return ("helps", "beaten") if as_long else ("no evidence", "longer")
    equal = {row["role"] for row in comparisons if row["verdict"] != "helps"}
    if equal == {"twin"}:
        return "no evidence", "outlasted" if longer else "explained"
    return "no evidence", "chance" if "reference" in equal else "classical"


def overall(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """One word for a study: of the arms that add to the real scans, else of those instead of them.

    Returns:
        "helps", "harms", "mixed" (some arms help, some harm), "no evidence"; None: none could be
        judged.
    """
    words = {row["word"] for row in asked(rows) if row["word"]}
    if {"helps", "harms"} <= words:
        return "mixed"
    return next((word for word in ("helps", "harms", "no evidence") if word in words), None)


def asked(rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The arms that add to the real scans, else those instead of them."""
    return [row for row in rows if row["question"] == "added"] or rows


def _others(spec: Spec, name: str) -> list[tuple[str, str]]:
    """Role and arm, of those that a verdict rests on."""
    steps, strongest = spec.relative_steps, spec.reference
    found = [("reference", spec.reference)]
    if spec.classical and spec.classical not in (spec.reference, name):
        strongest = spec.classical
        found.append(("classical", strongest))
    if steps[strongest] < AS_LONG * steps[name]:
        found += [("twin", twin) for twin in twins_of(spec, name)]
    return found


def _beside(spec: Spec, name: str, compared: Sequence[str]) -> list[tuple[str, str]]:
    """Role and arm, of the other arms of the same real scans alone."""
    steps, often = spec.relative_steps, as_often(spec, name)
    rest = [o for o in _alone(spec, name) if o not in (*compared, often)]
    longer = [other for other in rest if AS_LONG * steps[other] > steps[name]]
    found = [("as often", often)] if often else []
    found += [("alone", other) for other in rest if other not in longer]
    return found + [("longer", other) for other in longer]


def _baselines(spec: Spec, name: str) -> list[str]:
    """Arms of makers that need no training, mixed alike; any of them if none is."""
    arm = spec.arms[name]
    by = [n for n, other in spec.arms.items() if other.synthetic and other.by in BASELINES]
    alike = [n for n in by if spec.arms[n].real == arm.real]
    same = [n for n in alike if spec.arms[n].synthetic == arm.synthetic]
    return same or alike


def _compared(
    spec: Spec, found: Found, name: str, other: str, role: str, seeds: Sequence[int]
) -> Comparison:
    row: Comparison = {"against": other, "role": role, "steps": spec.relative_steps[other]}
    told = paired(found[name], found[other], name, spec.decided_by)
    if told is None:
        nothing: Comparison = {"verdict": None, "withheld": [], "above": None, "each_seed": []}
        return {**row, **nothing, "failed": list(seeds), "false_alarms": None, "structures": {}}
    structures = {measure: entry for measure, entry in told["above"].items() if measure != MEAN}
    return {
        **row,
        "verdict": verdict(told),
        "withheld": withheld(told),
        "above": told["above"][MEAN],
        "each_seed": told["each seed"],
        "failed": [seeds[n] for n in told["failed"]],
        "false_alarms": told["false alarms"],
        "structures": structures,
    }
