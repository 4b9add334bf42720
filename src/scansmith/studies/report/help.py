"""Does adding synthetic scans help? One word for each arm, and what it rests on.

An arm with synthetic samples may win because they teach something, or because it trained longer,
or because what stands beside it is weak. So it is compared with all that learned from real scans
alone: the reference, classical augmentation and, where these trained more briefly, a twin that
trained as long. It *helps* if it is better than each of these and one of them trained as long; it
*harms* if it is worse than any of them; else there is *no evidence*.

At equal steps synthetic samples take the place of real ones, which are seen less often. An arm of
real scans that trained more briefly and saw each as often is told besides, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scansmith.evaluate.overlap import MEAN
from scansmith.studies.downstream_report import MARGIN, Found, paired, seeds_disagree, verdict
from scansmith.studies.spec import AS_LONG, BASELINES, Arm, Spec
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


def twin_of(spec: Spec, name: str) -> str | None:
    """The arm without synthetic samples that trained as long, where nothing else of its kind did.

    Returns:
        The shortest of those that trained as long; None if there is none.
    """
    steps, arm = spec.relative_steps, spec.arms[name]
    found = [
        (steps[other], other)
        for other, told in spec.arms.items()
        if not told.synthetic
        and steps[other] >= AS_LONG * steps[name]
        and (told.real, told.augment) == (_real_beside(spec, arm), arm.augment)
        and other not in (spec.reference, spec.classical)
    ]
    return min(found)[1] if found else None


def as_often(spec: Spec, name: str) -> str | None:
    """The arm of real samples alone that saw each of them as often, if it is none of the others."""
    seen, arm = spec.relative_exposure, spec.arms[name]
    if not seen[name]:
        return None
    alike = (arm.real, arm.enhanced, arm.augment, arm.showing)
    compared = _others(spec, name).values()
    found = [
        other
        for other, told in spec.arms.items()
        if not told.synthetic
        and (told.real, told.enhanced, told.augment, told.showing) == alike
        and AS_LONG <= seen[other] / seen[name] <= 1 / AS_LONG
        and other not in compared
    ]
    return found[0] if found else None


def help_of(spec: Spec, found: Found, name: str) -> dict[str, Any]:
    """The verdict on one arm.

    Args:
        found: every arm's test scores under each seed.
    Returns:
        word ("helps", "harms", "no evidence" or None), why, question ("added" to the real scans, or
        "instead" of some), steps, and comparisons: against, role (one of `DECIDING`, "as often" or
        "baseline"), above, each_seed, verdict, steps.
    """
    steps = spec.relative_steps
    rows = [
        _compared(found, name, other, role, steps[other])
        for role, other in _others(spec, name).items()
    ]
    if other := as_often(spec, name):
        rows.append(_compared(found, name, other, "as often", steps[other]))
    rows += [
        _compared(found, name, other, "baseline", steps[other]) for other in _baselines(spec, name)
    ]
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
        comparisons: with role, verdict (None: a cell failed) and steps.
        steps: of the arm that is judged.
    Returns:
        The word, and "beaten", "harmed", "explained" (by longer training), "longer" (nothing
        trained as long), "classical" (augmentation does as well), "chance", or "failed".
    """
    there = {row["role"]: row for row in comparisons if row["verdict"] is not None}
    if "reference" not in there or len(there) < len(comparisons):
        return None, "failed"
    words = {role: row["verdict"] for role, row in there.items()}
    if "harms" in words.values():
        return "harms", "harmed"
    better = {role for role, word in words.items() if word == "helps"}
    as_long = any(row["steps"] >= AS_LONG * steps for row in there.values())
    if better == words.keys():
        return ("helps", "beaten") if as_long else ("no evidence", "longer")
    if better == words.keys() - {"twin"}:
        return "no evidence", "explained"
    return "no evidence", "classical" if "reference" in better else "chance"


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


def _others(spec: Spec, name: str) -> dict[str, str]:
    """Role -> arm, of all that learned from real scans alone."""
    steps = spec.relative_steps
    found = {"reference": spec.reference}
    if spec.classical and spec.classical not in (spec.reference, name):
        found["classical"] = spec.classical
    strongest = found.get("classical", spec.reference)
    if steps[strongest] < AS_LONG * steps[name] and (twin := twin_of(spec, name)):
        found["twin"] = twin
    return found


def _baselines(spec: Spec, name: str) -> list[str]:
    """Arms of makers that need no training, mixed alike; any of them if none is."""
    arm = spec.arms[name]
    by = [n for n, other in spec.arms.items() if other.synthetic and other.by in BASELINES]
    alike = [n for n in by if spec.arms[n].real == arm.real]
    same = [n for n in alike if spec.arms[n].synthetic == arm.synthetic]
    return same or alike


def _real_beside(spec: Spec, arm: Arm) -> float:
    """The real share that a twin has: the arm's; the reference's for an arm without any."""
    return arm.real or spec.arms[spec.reference].real


def _compared(found: Found, name: str, other: str, role: str, steps: float) -> Comparison:
    row: Comparison = {"against": other, "role": role, "steps": steps}
    told = paired(found[name], found[other], name)
    if told is None:
        return {**row, "verdict": None, "above": None, "each_seed": [], "structures": {}}
    structures = {measure: entry for measure, entry in told["above"].items() if measure != MEAN}
    return {
        **row,
        "verdict": verdict(told),
        "above": told["above"][MEAN],
        "each_seed": told["each seed"],
        "structures": structures,
    }


def difference(row: Comparison) -> str:
    """A paired difference with its interval, in words."""
    above = row["above"]
    if above is None or above["mean"] is None:
        return "not known"
    if above.get("interval") is None:
        return f"{signed(above['mean'])} Dice (no interval: one patient)"
    low, high = above["interval"]
    return f"{signed(above['mean'])} Dice (95 % interval {signed(low)} to {signed(high)})"


def sentence(told: Mapping[str, Any]) -> str:
    """The verdict on an arm, for people."""
    rows = {row["role"]: row for row in told["comparisons"] if row["role"] in DECIDING}
    name = f"“{told['arm']}”" + (", instead of real scans" * (told["question"] == "instead"))
    if told["word"] is None:
        return f"{name}: no verdict, because a cell that it is compared by was not done."
    parts = [f"against “{row['against']}” {difference(row)}" for row in rows.values()]
    lead = {
        "beaten": "better than everything that learned from real scans alone",
        "harmed": "worse than learning from real scans alone",
        "explained": "a gain, but no more than from training as long on real scans alone: longer "
        "training explains it",
        "longer": f"a gain, but it trained {told['steps']:g} times as long as the study's steps, "
        "and no arm of real scans alone trained as long: longer training may explain it",
        "classical": "better than the reference, but not than classical augmentation",
        "chance": _chance(list(rows.values())),
    }[told["why"]]
    text = f"{name}: {lead} ({'; '.join(parts)})."
    text += "".join(
        f" With each real sample seen as often, against “{row['against']}”: {difference(row)}."
        for row in told["comparisons"]
        if row["role"] == "as often" and row["above"]
    )
    if told["word"] == "helps":
        text += _beside_baselines(told)
    return text


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
