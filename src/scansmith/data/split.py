"""Splits by patient: whose scans are learned from, and whose are kept to measure on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from scansmith.scan import DataError, Problem, SettingsError

SPLITS = ("train", "validation", "test")
UNUSED = "unused"
"""What training patients beyond those asked for are: neither learned from nor measured on."""


def split_patients(
    patients: Iterable[str], shares: Sequence[float], seed: int, most: int = 0
) -> dict[str, str]:
    """Deal patients out to training, validation and test.

    The result depends on the set of names, the shares and the seed alone. Numbers are rounded by
    largest remainder; a share above zero gets at least one patient.

    Args:
        patients: names; each may come several times.
        shares: of training, validation and test; they add up to 1.
        most: patients to learn from; 0: all. Fewer are among more, and test patients stay the same.
    Returns:
        patient -> "train", "validation", "test" or "unused".
    Raises:
        SettingsError: the shares are no shares.
        DataError: fewer patients than shares above zero, or than `most` to learn from.
    """
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6 or shares[0] == 0:
        raise SettingsError(
            f"split: found {tuple(shares)}, expected three shares for training, validation and "
            "test that add up to 1, with training above 0. For example data.split=0.8,0,0.2 in the "
            "data's settings."
        )
    names = sorted(set(patients))
    wanted = [name for name, share in zip(SPLITS, shares, strict=True) if share > 0]
    if len(names) < len(wanted):
        raise DataError(
            Problem(
                "split",
                "patients",
                f"{len(names)} patient(s) for {', '.join(wanted)}; each part needs its own",
                "Add patients, or set shares to 0 (data.split=1,0,0 in the data's settings)",
            )
        )
    order = np.random.default_rng(seed).permutation(len(names))
    parts = np.repeat(SPLITS, _numbers(len(names), shares))
    learning = [names[i] for i, part in zip(order, parts, strict=True) if part == "train"]
    if most > len(learning):
        raise DataError(
            Problem(
                "split",
                "patients",
                f"{len(learning)} training patient(s), expected {most} or more",
                "Ask for fewer (data.patients; --patients of a study), or raise the training share "
                "of data.split",
            )
        )
    found = {names[i]: str(part) for i, part in sorted(zip(order, parts, strict=True))}
    return found | dict.fromkeys(learning[most:] if most else [], UNUSED)


def _numbers(total: int, shares: Sequence[float]) -> list[int]:
    """How many of `total` go to each share: largest remainder, then one for whoever has none."""
    exact = [total * share for share in shares]
    numbers = [int(value + 1e-9) for value in exact]
    by_remainder = sorted(range(3), key=lambda part: numbers[part] - exact[part])
    for part in by_remainder[: total - sum(numbers)]:
        numbers[part] += 1
    for part in range(3):
        if shares[part] > 0 and numbers[part] == 0:
            numbers[int(np.argmax(numbers))] -= 1
            numbers[part] = 1
    return numbers
