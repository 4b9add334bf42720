"""What is asked of a synthesis, checked before anything is made."""

from __future__ import annotations

from dataclasses import dataclass

from scansmith.data.write import LAYOUT_WRITERS
from scansmith.scan import SettingsError


@dataclass(frozen=True)
class Order:
    """What is asked for.

    Attributes:
        cases: numbers 0..cases-1; None: every source case once.
        edit: change the labels; False: reconstruct each source case under its own name.
        task, split, lesions, from_healthy: as for `Sources`.
        shard: (i, n), make the numbers with number % n == i - 1.
    """

    cases: int | None
    seed: int
    layout: str = "nnunet"
    task: str = ""
    edit: bool = True
    split: str = "train"
    lesions: tuple[int, int] = (1, 3)
    from_healthy: bool = True
    shard: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing, all at once."""
        (low, high), (i, n) = self.lesions, self.shard
        mistakes = []
        if self.cases is not None and self.cases < 1:
            mistakes.append(f"cases: found {self.cases}, expected 1 or more.")
        if self.seed < 0:
            mistakes.append(f"seed: found {self.seed}, expected 0 or more.")
        if self.layout not in LAYOUT_WRITERS:
            choices = ", ".join(LAYOUT_WRITERS)
            mistakes.append(f"layout: {self.layout!r} cannot be written. Choose one of {choices}.")
        if not 1 <= low <= high:
            mistakes.append(f"lesions: found {low} to {high}, expected 1 <= fewest <= most.")
        if not 1 <= i <= n:
            mistakes.append(f"shard: found {i}/{n}, expected 1/{n} to {n}/{n}.")
        if mistakes:
            raise SettingsError("\n".join(mistakes))
