"""Whether synthetic scans help, in sentences: the verdict on an arm, and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scansmith.studies.downstream_report import MARGIN, failed_seeds, over, seeds_disagree
from scansmith.studies.report.help import BESIDE, DECIDING, Comparison, asked, overall
from scansmith.studies.spec import AS_LONG
from scansmith.studies.tables import signed


def deciding(rows: Sequence[Mapping[str, Any]]) -> str:
    """The difference that `overall` rests on, in words; "" where it is no single one.

    An arm rests on the comparison with real scans alone that speaks least for it, a study on the
    arm of its word that this speaks most for; on the one it speaks least for, if the word is harms.
    """
    word = overall(rows)
    if word is None:
        return ""
    arms = []
    for told in asked(rows):
        roles = DECIDING if word == "harms" else (*DECIDING, *BESIDE)
        there = [row for row in told["comparisons"] if row["role"] in roles and _bound(row)]
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
    beside = [row for row in told["comparisons"] if row["role"] in BESIDE]
    name = f"“{told['arm']}”" + (", instead of real scans" * (told["question"] == "instead"))
    if told["word"] is None:
        return f"{name}: no verdict, because a cell that it is compared by was not done."
    lead = {
        "beaten": "better than learning from real scans alone, in each of these comparisons",
        "harmed": "worse than learning from real scans alone",
        "explained": "a gain, but no more than from training as long on real scans alone: longer "
        "training explains it",
        "outlasted": "a gain, but not shown to be more than from training longer still on real "
        "scans alone, and nothing of these trained just as long",
        "longer": f"a gain, but it trained {told['steps']:g} times as long as the study's steps, "
        "and no arm of the same real scans alone, used as here, trained as long: longer training "
        "may explain it",
        "classical": "better than the reference, but not than classical augmentation",
        "alone": f"a gain, but {_unbeaten(beside)}",
        "chance": _chance(rows),
        "withheld": f"no evidence: {'; '.join(_reasons([*rows, *beside]))}",
    }[told["why"]]
    named = [row for row in beside if _is_named(row, told["why"])]
    text = f"{name}: {lead} ({'; '.join(_against(row) for row in [*rows, *named])})."
    failed = {seed for row in [*rows, *named] for seed in row["failed"]}
    text += failed_seeds(sorted(failed))
    text += "".join(
        f" With each real sample seen as often, {_against(row)}."
        for row in beside
        if row["role"] == "as often" and row["above"] and row not in named
    )
    text += "".join(
        f" Trained longer on real scans alone, “{row['against']}” is better still: {_against(row)}."
        for row in told["comparisons"]
        if row["role"] == "longer" and row["verdict"] == "harms"
    )
    if told["word"] == "helps":
        text += _beside_baselines(told)
    return text


def _is_named(row: Comparison, why: str) -> bool:
    """Whether an arm beside those that decide stands in the sentence with them.

    All do that were beaten or may not have been; of an arm that does not help for other reasons
    those alone that are better than it.
    """
    if row["role"] == "as often":
        return why in ("alone", "withheld") and row["verdict"] != "helps"
    return why in ("beaten", "alone", "withheld") or row["verdict"] == "harms"


def _unbeaten(beside: Sequence[Comparison]) -> str:
    """The arms of real scans alone that an arm does not beat, and how they stand to it."""
    words = []
    for better, text in ((True, "is better"), (False, "may do as well")):
        names = [
            f"“{row['against']}”"
            for row in beside
            if row["verdict"] != "helps" and (row["verdict"] == "harms") == better
        ]
        words += [f"{name} {text}" for name in names]
    return f"of real scans alone, in no more steps, {' and '.join(words)}"


def _against(row: Comparison) -> str:
    return f"against “{row['against']}” {difference(row)}"


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
