"""Does adding synthetic scans help? One word for each arm, and what it rests on.

An arm with synthetic samples may win because they teach something, or because it trained longer,
or because what stands beside it is weak. So it is compared with all that learned from real scans
alone: the reference, classical augmentation and, where these trained more briefly, a twin that
trained as long. It *helps* if it is better than each of these and one of them trained as long; it
*harms* if it is worse than any of them; else there is *no evidence*. Neither rests on few patients
or on seeds of which some failed, and nothing helps that raises more false alarms.

At equal steps synthetic samples take the place of real ones, which are seen less often. An arm of
real scans that trained more briefly and saw each as often is told besides, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scansmith.evaluate.overlap import MEAN
from scansmith.studies.downstream_report import (
    MARGIN,
    Found,
    failed_seeds,
    over,
    paired,
    seeds_disagree,
    verdict,
    withheld,
)
from scansmith.studies.spec import AS_LONG, BASELINES, Spec
from scansmith.studies.tables import signed

Comparison = dict[str, Any]
DECIDING = ("reference", "classical", "twin")
"""Roles of the arms that a verdict rests on."""


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


def _alike(spec: Spec, name: str) -> list[str]:
    """Arms that learn from what an arm has beside its synthetic samples.

    Of an arm without real samples: from as many as the reference has.
    """
    arm = spec.arms[name]
    real = arm.real or spec.arms[spec.reference].real
    return [
        other
        for other, told in spec.arms.items()
        if not told.synthetic
        and (told.real, told.enhanced, told.augment, told.showing)
        == (real, arm.enhanced, arm.augment, arm.showing)
    ]


def help_of(spec: Spec, found: Found, name: str, seeds: Sequence[int]) -> dict[str, Any]:
    """The verdict on one arm.

    Args:
        found: every arm's test scores under each of the seeds.
    Returns:
        word ("helps", "harms", "no evidence" or None), why, question ("added" to the real scans, or
        "instead" of some), steps, and comparisons: against, role (one of `DECIDING`, "as often" or
        "baseline"), steps, verdict, withheld (why it says nothing), above, each_seed, failed
        (seeds), false_alarms (patients in whom this arm alone raises one, and the other alone).
    """
    steps = spec.relative_steps
    others = _others(spec, name)
    if often := as_often(spec, name):
        others.append(("as often", often))
    others += [("baseline", other) for other in _baselines(spec, name)]
    rows = [_compared(found, name, other, role, steps[other], seeds) for role, other in others]
    word, why = judge([row for row in rows if row["role"] in DECIDING], steps[name])
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
        longer training), "longer" (nothing trained as long), "classical" (augmentation does as
        well), "chance", or "failed".
    """
    words = {row["verdict"] for row in comparisons}
    if None in words:
        return None, "failed"
    if "harms" in words:
        return "harms", "harmed"
    if any(row["withheld"] for row in comparisons):
        return "no evidence", "withheld"
    as_long = any(row["steps"] >= AS_LONG * steps for row in comparisons)
    if words == {"helps"}:
        return ("helps", "beaten") if as_long else ("no evidence", "longer")
    equal = {row["role"] for row in comparisons if row["verdict"] != "helps"}
    if equal == {"twin"}:
        return "no evidence", "explained"
    return "no evidence", "chance" if "reference" in equal else "classical"


def overall(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """One word for a study: of the arms that add to the real scans, else of those instead of them.

    Returns:
        "helps", "harms", "mixed" (some arms help, some harm), "no evidence"; None: none could be
        judged.
    """
    words = {row["word"] for row in _asked(rows) if row["word"]}
    if {"helps", "harms"} <= words:
        return "mixed"
    return next((word for word in ("helps", "harms", "no evidence") if word in words), None)


def deciding(rows: Sequence[Mapping[str, Any]]) -> str:
    """The difference that `overall` rests on, in words; "" where it is no single one.

    An arm rests on the comparison with real scans alone that speaks least for it, a study on the
    arm of its word that this speaks most for; on the one it speaks least for, if the word is harms.
    """
    word = overall(rows)
    arms = []
    for told in _asked(rows):
        there = [row for row in told["comparisons"] if row["role"] in DECIDING and _bound(row)]
        if told["word"] == word and there:
            arms.append((told["arm"], min(there, key=lambda row: row["above"]["interval"][0])))
    if not arms:
        return ""
    choose = min if word == "harms" else max
    arm, row = choose(arms, key=lambda one: one[1]["above"]["interval"][0])
    return f"“{arm}” against “{row['against']}”: {difference(row)}"


def _bound(row: Comparison) -> bool:
    """Whether a comparison has an interval."""
    return bool(row["above"] and row["above"].get("interval"))


def _asked(rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The arms that add to the real scans, else those instead of them."""
    return [row for row in rows if row["question"] == "added"] or rows


def _others(spec: Spec, name: str) -> list[tuple[str, str]]:
    """Role and arm, of all that learned from real scans alone."""
    steps, strongest = spec.relative_steps, spec.reference
    found = [("reference", spec.reference)]
    if spec.classical and spec.classical not in (spec.reference, name):
        strongest = spec.classical
        found.append(("classical", strongest))
    if steps[strongest] < AS_LONG * steps[name]:
        found += [("twin", twin) for twin in twins_of(spec, name)]
    return found


def _baselines(spec: Spec, name: str) -> list[str]:
    """Arms of makers that need no training, mixed alike; any of them if none is."""
    arm = spec.arms[name]
    by = [n for n, other in spec.arms.items() if other.synthetic and other.by in BASELINES]
    alike = [n for n in by if spec.arms[n].real == arm.real]
    same = [n for n in alike if spec.arms[n].synthetic == arm.synthetic]
    return same or alike


def _compared(
    found: Found, name: str, other: str, role: str, steps: float, seeds: Sequence[int]
) -> Comparison:
    row: Comparison = {"against": other, "role": role, "steps": steps}
    told = paired(found[name], found[other], name)
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


def difference(row: Comparison) -> str:
    """A paired difference with its interval, in words."""
    above = row["above"]
    if above is None or above["mean"] is None:
        return "not known"
    if above.get("interval") is None:
        return f"{signed(above['mean'])} Dice (no interval: one patient)"
    low, high = (signed(value) for value in above["interval"])
    return f"{signed(above['mean'])} Dice{over(above)} (95 % interval {low} to {high})"


def sentence(told: Mapping[str, Any]) -> str:
    """The verdict on an arm, for people."""
    rows = [row for row in told["comparisons"] if row["role"] in DECIDING]
    name = f"“{told['arm']}”" + (", instead of real scans" * (told["question"] == "instead"))
    if told["word"] is None:
        return f"{name}: no verdict, because a cell that it is compared by was not done."
    parts = [f"against “{row['against']}” {difference(row)}" for row in rows]
    lead = {
        "beaten": "better than everything that learned from real scans alone",
        "harmed": "worse than learning from real scans alone",
        "explained": "a gain, but no more than from training as long on real scans alone: longer "
        "training explains it",
        "longer": f"a gain, but it trained {told['steps']:g} times as long as the study's steps, "
        "and no arm of real scans alone trained as long: longer training may explain it",
        "classical": "better than the reference, but not than classical augmentation",
        "chance": _chance(rows),
        "withheld": f"no evidence: {'; '.join(_reasons(rows))}",
    }[told["why"]]
    text = f"{name}: {lead} ({'; '.join(parts)})."
    text += failed_seeds(sorted({seed for row in rows for seed in row["failed"]}))
    text += "".join(
        f" With each real sample seen as often, against “{row['against']}”: {difference(row)}."
        for row in told["comparisons"]
        if row["role"] == "as often" and row["above"]
    )
    if told["word"] == "helps":
        text += _beside_baselines(told)
    return text


def _reasons(rows: Sequence[Comparison]) -> list[str]:
    """Why comparisons decide nothing, each reason once, with the arms that it stands beside."""
    against: dict[str, list[str]] = {}
    for row in rows:
        for reason in row["withheld"]:
            against.setdefault(reason, []).append(f"“{row['against']}”")
    return [
        reason if len(names) == len(rows) else f"against {' and '.join(names)}, {reason}"
        for reason, names in against.items()
    ]


def _chance(rows: Sequence[Comparison]) -> str:
    if any(seeds_disagree(row["above"], row["each_seed"]) for row in rows):
        return "no difference that every seed shows"
    if all(row["verdict"] in ("no worse", "helps") for row in rows):
        return f"not shown to be better; worse by {MARGIN:g} at most"
    return "no difference beyond chance: there is none, or there are too few patients or seeds"


def _beside_baselines(told: Mapping[str, Any]) -> str:
    rows = [row for row in told["comparisons"] if row["role"] == "baseline"]
    if not rows:
        return " Nothing simpler than a trained generator stood beside it."
    equal = [row for row in rows if row["verdict"] != "helps"]
    if equal:
        names = ", ".join(f"“{row['against']}” ({difference(row)})" for row in equal)
        return f" But not shown to be better than what needs no generator: {names}."
    shorter = [row["against"] for row in rows if row["steps"] < AS_LONG * told["steps"]]
    note = f" ({', '.join(shorter)} trained more briefly)" if shorter else ""
    return f" It is better than what needs no generator too{note}."
