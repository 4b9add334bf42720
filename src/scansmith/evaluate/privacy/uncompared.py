"""What an audit could not compare: modalities, lesions that training patients have, and cases of
patients who have more than those of the other side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scansmith.evaluate.privacy.lines import LEAST, Line, Sides
from scansmith.evaluate.view import Shared, lesion_indices, listed

_REMEDY = "Name structures alike in the labels.json beside each set, or choose with --lesion."


def modalities_uncompared(names: Sequence[Sequence[str]], shared: Shared) -> list[str]:
    """A sentence that keeps a set from a pass, if it has modalities that were not compared.

    Args:
        names: modalities of the synthetic, training and hold-out set.
    """
    made, train, held_out = names
    left = [name for name in made if name not in shared.modalities]
    if not left:
        return []
    return [
        f"The synthetic set has {', '.join(left)} besides, which not both real sets have (training "
        f"set: {', '.join(train)}; hold-out set: {', '.join(held_out)}): what of these was copied "
        "cannot be told. Give real sets that have all of its modalities."
    ]


def cases_uncompared(training: Mapping[str, Any], holdout: Mapping[str, Any]) -> list[str]:
    """A sentence that is told where patients of one real set have more cases than of the other.

    Args:
        training, holdout: facts of the sets, as in audit.json.
    """
    left = [own["cases_measured"] - own["cases_compared"] for own in (training, holdout)]
    if not any(left):
        return []
    return [
        "Patients of the two real sets have unequal numbers of cases, and with more a patient is "
        f"nearer to anything: {left[0]} of {training['cases_measured']} training cases and "
        f"{left[1]} of {holdout['cases_measured']} hold-out cases were left out where the two are "
        "compared. Copies were looked for among all."
    ]


def lesions_uncompared(
    names: Sequence[Sequence[str]], shared: Shared, sides: Sides, lines: Sequence[Line]
) -> tuple[list[str], list[str]]:
    """Sentences that keep a set from a pass, and sentences that are only told.

    Args:
        names: structures of the synthetic, training and hold-out set, background first, by the
            names that `shared.structures` are chosen from.
    """
    made, train, held_out = (tuple(each[1:]) for each in names)
    own = {names[1][index] for index in lesion_indices(tuple(names[1]), None)}
    compared = {shared.structures[index] for index in shared.lesion}
    if shared.lesion_by != "names given" and own and not own & compared:
        if not made:
            return [], [
                "The synthetic set has no labels: whole images alone were compared, no lesions."
            ]
        sets = f"synthetic set {listed(made)}, hold-out set {listed(held_out)}"
        return [
            f"The training set labels {listed(train)}, but not all sets do ({sets}): what of a "
            f"lesion was copied cannot be told. {_REMEDY}"
        ], []
    if not compared or "lesion" in {line.name for line in lines}:
        return [], []
    shown: tuple[set[str], set[str]] = set(), set()  # of training, of hold-out patients
    for case, trained in zip(sides.real, sides.trained, strict=True):
        if "lesion" in case.coarse:
            shown[0 if trained else 1].add(case.patient)
    there = sum("lesion" in case.coarse for case in sides.synthetic)
    if not there:
        return [], ["No synthetic case shows a lesion: whole images alone were compared."]
    if not shown[0]:
        return [], ["No training patient has a lesion: whole images alone were compared."]
    return [
        f"Lesions were not compared: {len(shown[0])} training patients, {len(shown[1])} hold-out "
        f"patients and {there} synthetic cases show one, and {LEAST} of each are needed."
    ], []
