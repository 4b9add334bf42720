"""The audit's verdict: pass, leak or inconclusive, with reasons, and how many cases would do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from scipy.stats import norm

from scansmith.evaluate.privacy.lines import ALPHA, LEAST_FOR_COPIES

#: A pass is given only where a set that leans as much as this as a whole would not have passed.
NOTICED = {"share": 0.85, "auc": 0.75}
#: p below this, but not below ALPHA, is neither a leak nor a pass.
DOUBT = 0.05
#: With fewer patients of a side, or synthetic cases, nothing is passed.
LEAST = 20
#: Lines whose gaps decide on single copies. Features agree by chance too often for that: among real
#: patients divided by chance they called some a copy. They speak in the test of the whole set.
DECIDING = frozenset({"whole", "lesion", "inside"})
#: What the lines are called.
WORDS = {
    "whole": "whole image",
    "lesion": "lesion",
    "inside": "lesion's inside",
    "features": "features",
}
#: And where nothing is named like a lesion, so that every label counts.
ANY_LABEL = {"lesion": "labelled structures", "inside": "inside of labelled structures"}
_NAMED = 3  # files, in a reason
_POWER = float(norm.ppf(0.9))  # noticed nine times in ten

NO_GUARANTEE = (
    "A pass is no guarantee and no proof of anonymity: it says that the searches named here found "
    "no synthetic case too near to a training patient. It is not differential privacy, which only "
    "the way of training can give. It says nothing about other attacks (with access to the "
    "generator, or with facts about a patient), about other cases made by the same generator, "
    "about small parts of an image, one modality of several, or copies that are turned, "
    "warped, scaled, inverted or blended beyond what is searched.",
    "A leak says that synthetic cases are nearer to training patients than they should be; the "
    "pictures show the nearest pairs. Look at them before you decide.",
)

Found = dict[str, Any]


def words_of(settings: Found) -> dict[str, str]:
    """What an audit's lines are called on its page."""
    return WORDS | (ANY_LABEL if settings["lesion_by"] == "any label" else {})


def judge(
    lines: dict[str, Found],
    tests: Found,
    metadata: Found,
    doubts: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Found:
    """Verdict, reasons, and what is needed where there is too little.

    Args:
        lines: name -> what `lines.measure` returned.
        tests: what `exchange.exchange_tests` returned.
        metadata: what `metadata.scan_folder` returned.
        doubts: sentences that each keep the set from a pass.
        notes: sentences that are told with the reasons.
    """
    leaks = [*_copies(lines), *_nearer(lines, tests), *_named(metadata)]
    if leaks:
        return {"verdict": "leak", "reasons": leaks, "needed": None}
    too_few, needed = _doubts(lines, tests)
    doubts, notes = [*too_few, *_unread(metadata), *doubts], [*notes, *_of_unknown_kind(metadata)]
    if doubts:
        return {"verdict": "inconclusive", "reasons": [*doubts, *notes], "needed": needed}
    whole, weakest = lines["whole"], noticed(lines["whole"], tests)
    reason = (
        "No synthetic case is too near to one training patient, and the set as a whole is no "
        f"nearer to them than to hold-out patients ({_leaning(whole)}; in brackets what exchanged "
        "patients show). A leaning of the whole set would have been noticed, nine times in ten, "
        f"from a share of {weakest['share']:.2f} or an AUC of {weakest['auc']:.2f} on."
    )
    return {"verdict": "pass", "reasons": [reason, *notes], "needed": None}


def unlike(tests: Found) -> bool:
    """Whether training and hold-out patients differ as groups, so that nothing follows."""
    return bool(tests["p_train_unlike_holdout"] < ALPHA)


def may_differ(tests: Found) -> bool:
    """Whether the same cannot be ruled out, so that a leaning of the whole set proves nothing.

    Many synthetic cases notice a difference of the groups sooner than the groups themselves do.
    """
    return bool(tests["p_train_unlike_holdout"] < DOUBT)


def _copies(lines: dict[str, Found]) -> list[str]:
    return [
        f"{counted} are nearer to one training patient than strangers ever are ({WORDS[name]})."
        for name, counted in _too_near(lines, "train").items()
    ]


def _too_near(lines: dict[str, Found], side: str) -> dict[str, str]:
    """Line -> how many are called copies of one of a side's patients, where any are. A case may
    be one by several lines, so that numbers of lines do not add up.
    """
    found = {}
    for name in sorted(DECIDING & lines.keys(), reverse=True):
        line = lines[name]
        things = "cases" if line["compared"] == line["cases"] else "lesions"
        if line["copies"][side]:
            found[name] = f"{line['copies'][side]} of {line['compared']} synthetic {things}"
    return found


def _nearer(lines: dict[str, Found], tests: Found) -> list[str]:
    if tests["p"] >= ALPHA or may_differ(tests):
        return []
    shares = ", ".join(f"{WORDS[name]}: {_leaning(line)}" for name, line in lines.items())
    return [
        "As a set, the synthetic cases are nearer to training than to hold-out patients (p = "
        f"{tests['p']:.2g} against exchanged patients; {shares}; in brackets what these show)."
    ]


def _leaning(line: Found) -> str:
    share, auc, usual = line["nearer_to_train"], line["membership"], line["mean_of_chance"]
    return (
        f"share {share['share']:.2f} ({usual['share']:.2f}), "
        f"AUC {auc['auc']:.2f} ({usual['auc']:.2f})"
    )


def _named(metadata: Found) -> list[str]:
    count = metadata["identifying"]
    if not count:
        return []
    return [f"{count} entries in the synthetic set's files name a patient or a date of one."]


def _unread(metadata: Found) -> list[str]:
    files = [one["file"] for one in metadata["unread"]]
    if not files:
        return []
    return [
        f"{_files(files)} of the synthetic set could not be read as what the name says, or not to "
        "the end, so that nobody knows what is in there. Mend them, or take them out of the set."
    ]


def _of_unknown_kind(metadata: Found) -> list[str]:
    if not metadata["unknown"]:
        return []
    return [
        f"{_files(metadata['unknown'])} of the synthetic set, of kinds that are not known here, "
        "could only be searched as text. Look at them."
    ]


def _files(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
    return f"{len(names)} {'file' if len(names) == 1 else 'files'} ({shown})"


def noticed(whole: Found, tests: Found) -> dict[str, float]:
    """Share and AUC (whole image) of the weakest leaning of a whole set that would not pass, nine
    times in ten: as far above what exchanged patients show as the test's critical value and its
    chance demand.
    """
    away, usual = tests["critical"] + _POWER, whole["mean_of_chance"]
    return {what: min(usual[what] + away * whole["sd_of_chance"][what], 1.0) for what in NOTICED}


def _doubts(lines: dict[str, Found], tests: Found) -> tuple[list[str], Found | None]:
    whole = lines["whole"]
    doubts, more = [], 0.0
    if unlike(tests):
        doubts.append(
            "Training and hold-out patients differ as groups (p = "
            f"{tests['p_train_unlike_holdout']:.2g}): nearer to one of them says nothing about "
            "training. Divide the same patients by chance."
        )
    if tests["p"] < DOUBT and may_differ(tests):
        doubts.append(
            f"The synthetic cases lean towards the training patients (p = {tests['p']:.2g}). As "
            "these may differ from the hold-out patients as a group (p = "
            f"{tests['p_train_unlike_holdout']:.2g}), that may come from the groups and not from "
            "training: it is taken neither for a leak nor for a pass."
        )
    elif tests["p"] < DOUBT:
        more = 2.0
        doubts.append(
            f"The synthetic cases lean towards the training patients (p = {tests['p']:.2g}), which "
            "is too little for a leak and too much for a pass."
        )
    weakest = noticed(whole, tests)
    blind = {what: high for what, high in weakest.items() if high > NOTICED[what]}
    if blind or min(whole["cases"], *whole["patients"].values()) < LEAST:
        more = max([more, 1.0, *(_ratio(what, whole, tests) for what in blind)])
        doubts.append(
            f"{whole['patients']['train']} training patients, {whole['patients']['holdout']} "
            f"hold-out patients and {whole['cases']} synthetic cases are too few to tell: a "
            "leaning of the whole set would be noticed, nine times in ten, from a share of "
            f"{weakest['share']:.2f} or an AUC of {weakest['auc']:.2f} on; wanted are "
            f"{NOTICED['share']} and {NOTICED['auc']}, and {LEAST} of each."
        )
    if sum(whole["patients"].values()) < LEAST_FOR_COPIES:
        doubts.append(
            "No single case was called a copy: what is usual between strangers takes "
            f"{LEAST_FOR_COPIES} real patients to tell."
        )
    held_out = [f"{n} ({WORDS[name]})" for name, n in _too_near(lines, "holdout").items()]
    if held_out:
        *others, last = held_out
        counted = f"{', '.join(others)} and {last}" if others else last
        doubts.append(
            f"{counted} are nearer to one hold-out patient than strangers ever are: either these "
            "patients were trained on too, or somebody is in the sets twice."
        )
    return doubts, needed(whole, more) if more else None


def _ratio(what: str, whole: Found, tests: Found) -> float:
    """How many times as many cases bring the standard deviation down to what is wanted; 1 where
    exchanged patients show as much as is wanted, so that no number would do.
    """
    room = NOTICED[what] - whole["mean_of_chance"][what]
    if room <= 0:
        return 1.0
    wanted = room / (tests["critical"] + _POWER)
    return float((whole["sd_of_chance"][what] / wanted) ** 2)


def needed(whole: Found, times: float) -> dict[str, int]:
    """So many times as many as there are; of both kinds of patients as many as of the fewer, for
    it is these that chance hangs on.
    """
    fewer = min(whole["patients"].values())
    patients = max(math.ceil(times * fewer), LEAST)
    return {
        "train_patients": patients,
        "holdout_patients": patients,
        "synthetic_cases": max(math.ceil(times * whole["cases"]), LEAST),
    }
