"""Had the segmenters converged? What longer training brings those of real scans alone."""

from __future__ import annotations

from typing import Any

from scansmith.evaluate.overlap import MEAN
from scansmith.studies.downstream_report import Found, seeds_disagree, withheld
from scansmith.studies.paired_scores import paired
from scansmith.studies.report.wording import difference
from scansmith.studies.spec import Spec

_LONGER = 1.5
"""An arm is longer than another if it took so many times its steps, or more (our convention)."""


def convergence_of(spec: Spec, found: Found) -> dict[str, Any] | None:
    """The two longest of the arms of real scans that differ in nothing but their steps.

    Returns:
        longer, shorter, steps of both, above (longer minus shorter), each_seed and withheld (why
        the difference tells nothing); None: there are no two such arms, or a cell of one failed.
    """
    steps, strongest = spec.relative_steps, spec.arms[spec.classical or spec.reference]
    alike = strongest.model_dump(exclude={"times"})
    names = sorted(
        (
            name
            for name, arm in spec.arms.items()
            if arm.model_dump(exclude={"times"}) == alike and any(found[name])
        ),
        key=lambda name: steps[name],
    )
    if not names:
        return None
    longer = names[-1]
    shorter = [name for name in names if steps[longer] >= _LONGER * steps[name]]
    if strongest.synthetic or not shorter:
        return None
    told = paired(found[longer], found[shorter[-1]], longer, spec.decided_by)
    if told is None:
        return None
    above, each = told["above"][MEAN], told["each seed"]
    reasons = withheld(told)
    if not reasons and seeds_disagree(above, each):
        reasons = ["its seeds disagree on its sign"]
    return {
        "longer": longer,
        "shorter": shorter[-1],
        "steps": [steps[longer], steps[shorter[-1]]],
        "above": above,
        "each_seed": each,
        "withheld": reasons,
    }


def convergence_note(told: dict[str, Any] | None) -> str:
    """The same for people: a difference that shorter training shows may not be there in longer."""
    if told is None:
        return (
            "Nothing here says whether the segmenters had converged, and longer training may "
            "change every verdict. An arm such as “half as long: {times: 0.5}” would tell."
        )
    compared = f"“{told['longer']}” against “{told['shorter']}”: {difference(told)}"
    if told["withheld"]:
        return (
            f"Whether the segmenters had converged cannot be told ({compared}): "
            f"{'; '.join(told['withheld'])}. Longer training may change every verdict."
        )
    low, high = told["above"]["interval"]
    if high < 0:
        return (
            f"Longer training made segmenters of real scans alone worse ({compared}): all that it "
            "gave was learned before, and arms of more steps may be held back by these alone."
        )
    if low > 0:
        return (
            f"The segmenters had not converged when the shorter of these ended ({compared}). "
            "Longer training may change every verdict: give more steps (--set steps=N)."
        )
    return f"More steps brought real scans alone nothing that can be told from chance ({compared})."
