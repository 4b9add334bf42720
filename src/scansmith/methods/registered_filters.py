"""How the registered multimodal method makes a sample, and what it refuses to hand on.

A structure map of noise passes Algorithm 3: at once if its critic's mean score is 0.85 or more,
else if MASK and the filled contours differ by 0.048 at most, else another is drawn; after 50 the
one with the best score is taken. It has to hold the label: no lesion in the background. Of the
images made from it, those pass in which judges, trained on real slices alone, find the label.
Every loop ends: with a sample, or with an error that says what was found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from scansmith.methods.registered_settings import RegisteredNumbers
from scansmith.methods.registered_structure import StructureStage
from scansmith.methods.registered_synthesis import SynthesisStage
from scansmith.nets.structure_map import contour_error
from scansmith.scan import DataError, UnfitLabels

AT_ONCE = 8  # structure maps decoded together


@dataclass(frozen=True)
class Structure:
    """A generated structure map.

    Attributes:
        f, mask: (1, 1, H, W), zeros and ones; mask 1 is background.
        record: how it was found, JSON-able.
    """

    f: Tensor
    mask: Tensor
    record: dict[str, Any]

    def outside(self, label: Tensor) -> int:
        """Pixels of a lesion label (1, H, W) that lie in the background."""
        return int(((label > 0) & (self.mask[:, 0] > 0)).sum())


def drawn(stage: StructureStage, chance: torch.Generator) -> Iterator[tuple[Tensor, ...]]:
    """Structure maps of noise without end: f, mask, D's mean score, Algorithm 3's MAE."""
    device = next(stage.parameters()).device
    while True:
        z = torch.randn(AT_ONCE, stage.numbers.latent, generator=chance).to(device)
        f, mask, score = stage.drawn(z)
        error = contour_error(f, mask)
        for n in range(AT_ONCE):
            yield f[n : n + 1], mask[n : n + 1], score[n], error[n]


def passing(candidates: Iterator[tuple[Tensor, ...]], numbers: RegisteredNumbers) -> Structure:
    """Algorithm 3: the first structure map that is good enough, else the best by its critic."""
    best: tuple[Tensor, ...] | None = None
    for tries, candidate in enumerate(candidates, start=1):
        f, mask, score, error = candidate
        by = ""
        if not numbers.structure_filter:
            by = "unfiltered"
        elif score >= numbers.structure_score:
            by = "critic"
        elif error <= numbers.structure_mae:
            by = "contour"
        elif best is None or score > best[2]:
            best = candidate
        if by:
            return Structure(f, mask, _record(tries, by, score, error))
        if tries >= numbers.structure_tries:
            break
    assert best is not None
    f, mask, score, error = best
    return Structure(f, mask, _record(numbers.structure_tries, "best", score, error))


def _record(tries: int, by: str, score: Tensor, error: Tensor) -> dict[str, Any]:
    return {
        "structure_tries": tries,
        "structure_by": by,
        "structure_score": round(float(score), 4),
        "structure_mae": round(float(error), 4),
    }


def holding(
    candidates: Iterator[tuple[Tensor, ...]], label: Tensor, numbers: RegisteredNumbers
) -> Structure:
    """A structure map that passes and whose brain holds the label (1, H, W).

    Raises:
        UnfitLabels: none of `label_tries` does.
    """
    least: int | None = None
    for tries in range(1, numbers.label_tries + 1):
        one = passing(candidates, numbers)
        outside = one.outside(label)
        if outside == 0:
            one.record["label_tries"] = tries
            return one
        least = outside if least is None else min(least, outside)
    raise UnfitLabels(
        f"synthesis: a lesion of {int((label > 0).sum())} pixels lies inside none of "
        f"{numbers.label_tries} generated brains; the nearest leaves {least} pixels outside. "
        "Train longer, take labels with smaller lesions, or train with a higher --set "
        "method.label_tries."
    )


def nearest(candidates: Iterator[tuple[Tensor, ...]], label: Tensor) -> Structure:
    """Of a few structure maps the one that leaves the least of the label outside; then by error."""
    tried = [
        (Structure(f, mask, _record(AT_ONCE, "nearest", score, error)), float(error))
        for f, mask, score, error in islice(candidates, AT_ONCE)
    ]
    return min(tried, key=lambda pair: (pair[0].outside(label), pair[1]))[0]


@dataclass
class Sampler:
    """Makes samples one after another and keeps count of what was refused.

    Attributes:
        strict: False takes the nearest of a few structure maps instead of refusing.
        filtered: judges decide on the images, if `strict` and the settings say so too.
    """

    structure: StructureStage
    synthesis: SynthesisStage
    chance: torch.Generator
    strict: bool = True
    filtered: bool = True
    images: int = 0
    accepted: int = 0

    def __post_init__(self) -> None:
        self.numbers = self.structure.numbers
        self.candidates = drawn(self.structure, self.chance)

    def make(self, label: Tensor) -> tuple[Tensor, Structure]:
        """All modalities (1, M, H, W) for a label (1, H, W), and the structure map beneath.

        Raises:
            DataError: no brain holds the label, or the judges accept no image.
        """
        filtered = self.strict and self.filtered and self.numbers.image_filter
        best = 0.0
        for tries in range(1, self.numbers.tries + 1):
            one = (
                holding(self.candidates, label, self.numbers)
                if self.strict
                else nearest(self.candidates, label)
            )
            _, x_g = self.synthesis.synthesised(one.f, label)
            x_g = x_g * (1 - one.mask)
            dice = float(self.synthesis.found_by_judges(x_g, label))
            best = max(best, dice)
            self.images += 1
            if not filtered or dice >= self.numbers.filter_dice:
                self.accepted += 1
                one.record.update(image_tries=tries, judges_dice=round(dice, 4))
                return x_g.squeeze(2).transpose(0, 1), one
        raise DataError(
            f"synthesis: the judges found the label again in none of {self.numbers.tries} images "
            f"(best Dice {best:.3f}, expected {self.numbers.filter_dice:g}); of this and the "
            f"samples made with it, {self.accepted} of {self.images} images passed "
            f"({self.accepted / self.images:.1%}). Train longer, synthesize the task "
            "'unfiltered', or train with a lower --set method.filter_dice."
        )
