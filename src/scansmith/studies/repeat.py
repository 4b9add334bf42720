"""The command that repeats a study, without the paths of the machine that it was done on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from scansmith.studies.judge import Judging
from scansmith.studies.place import Place
from scansmith.studies.spec import Spec


def command_of(
    study: str | Spec,
    place: Place[Spec],
    seeds: Sequence[int],
    judging: Judging | None,
    segmenter_sets: Sequence[str],
) -> str:
    """The command line of a study; "" if none can say it.

    A specification that was handed over in Python has no name, and the command line counts seeds
    from 0.
    """
    if isinstance(study, Spec) or list(seeds) != list(range(len(seeds))):
        return ""
    words = ["scansmith", "study", _named(study), "--data", _named(str(place.data))]
    words += ["--out", _named(str(place.out)), "--seeds", str(len(seeds))]
    words += ["--patients", str(place.patients)] if place.patients else []
    words += [word for each in place.extra for word in ("--data-set", each)]
    words += [word for each in segmenter_sets for word in ("--set", each)]
    if judging is None:
        return shlex.join([*words, "--no-judge"])
    words += ["--judge-cases", str(judging.cases)] if judging.cases else []
    words += ["--judge-seeds", str(judging.seeds)] if judging.seeds != 1 else []
    default = Judging().steps
    words += ["--judge-steps", str(judging.steps)] if judging.steps != default else []
    return shlex.join(words)


def _named(word: str) -> str:
    """A relative path as it was given, an absolute one by its last part."""
    path = Path(word)
    return path.name if path.is_absolute() else word
