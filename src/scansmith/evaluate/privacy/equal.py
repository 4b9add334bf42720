"""As many cases of each real patient on both sides: with more a patient is nearer to anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from scansmith.evaluate.view import spread_cases
from scansmith.scan import CaseFiles

T = TypeVar("T")


def thinned(
    cases: tuple[Sequence[CaseFiles], ...], limit: int | None
) -> tuple[tuple[CaseFiles, ...], ...]:
    """At most `limit` cases of each set (synthetic, training, hold-out), evenly spread.

    Real patients of both sets keep the same number of cases at most, and all patients stay while
    each can keep one: a patient who keeps fewer looks farther from everything for that alone.
    """
    if limit is None:
        return tuple(tuple(own) for own in cases)
    people: list[dict[str, list[CaseFiles]]] = [{}, {}]
    for whose, own in zip(people, cases[1:], strict=True):
        for files in own:
            whose.setdefault(files.patient, []).append(files)

    each = max(len(own) for whose in people for own in whose.values())
    while each > 1 and any(
        sum(min(len(own), each) for own in whose.values()) > limit for whose in people
    ):
        each -= 1
    real = [[files for own in whose.values() for files in _amid(own, each)] for whose in people]
    return tuple(spread_cases(own, limit) for own in (cases[0], *real))


def evened(first: Mapping[str, Sequence[T]], second: Mapping[str, Sequence[T]]) -> list[T]:
    """Cases of the patients of two sides, thinned until both sides have equally many of each.

    Who has the most of a side keeps no more than who has the most of the other, and so on down to
    those with the fewest, so that it is not the greatest number alone that is the same. Of sides of
    unequal size those are compared who stand at the same share of their side.

    Args:
        first, second: patient -> cases, in order.
    """
    sides = [sorted(side.values(), key=len, reverse=True) for side in (first, second)]
    kept: list[T] = []
    for own, other in (sides, sides[::-1]):
        for n, cases in enumerate(own):
            alike = other[int((n + 0.5) * len(other) / len(own))]
            kept += _amid(cases, len(alike))
    return kept


def _amid(cases: Sequence[T], count: int) -> list[T]:
    """The middle one of each of `count` equal stretches: one slice of many is none at an end."""
    if len(cases) <= count:
        return list(cases)
    return [cases[int((n + 0.5) * len(cases) / count)] for n in range(count)]
