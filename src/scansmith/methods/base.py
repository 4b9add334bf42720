"""What every method is: a game that can be trained, and a maker of scans."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from scansmith.game import Game
from scansmith.recipe import Facts, Recipe
from scansmith.scan import Batch, SettingsError
from scansmith.settings import Settings


@dataclass(frozen=True)
class Made:
    """Made samples.

    Attributes:
        image: (B, C, *S), network range.
        labels: int64 (B, *S), structure indices of what the image shows.
        notes: what is to be recorded of each sample, JSON-able; empty or B of them.
    """

    image: Tensor
    labels: Tensor
    notes: tuple[Mapping[str, Any], ...] = ()


class Method(Game):
    """A published system. One file each; see `scansmith.methods.METHODS`.

    Class attributes say what a user should know before choosing it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    needs: ClassVar[str]
    settings_type: ClassVar[type[Settings]]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}}

    def __init__(self, settings: Settings, facts: Facts):
        super().__init__()
        self.settings = settings
        self.facts = facts

    @classmethod
    @abstractmethod
    def recipe(cls, settings: Settings) -> Recipe:
        """The data this method eats, under these settings."""

    def learned_from(self, batch: Mapping[str, Batch]) -> Mapping[str, Batch]:
        """What a step learns from, of what was drawn, under names that `play` knows.

        Asked before augmentation: the place for what only a scan as it is can tell.
        """
        return batch

    @abstractmethod
    def make(self, source: Batch, chance: torch.Generator) -> Tensor:
        """Make images for the (edited) labels of `source`.

        Args:
            source: labels (B, *S) to be drawn; image (B, C, *S) of the source case, for methods
                that paint into a scan.
            chance: noise, for methods that use it. What is made depends on nothing else random.
        Returns:
            (B, C, *S) in network range. Call it in evaluation mode, without gradients.
        """

    def sample(self, source: Batch, chance: torch.Generator, task: str = "") -> Made:
        """Make images and say what they show: the labels of `source`, unless a method makes both.

        Args:
            source, chance: as for `make`.
            task: one of the recipe's `tasks`; "": what its `edits` are for.
        """
        return Made(self.make(source, chance), source.labels)

    def heal(self, image: Tensor) -> Tensor:
        """Images without their lesions: (B, C, *S), network range, in and out."""
        raise SettingsError(f"{self.name}: cannot heal scans. Use a run of ant-gan.")

    def translate(self, image: Tensor, source: int, target: int) -> Tensor:
        """One modality drawn from another: (B, C, *S) -> (B, 1, *S); `source`, `target` in 0..C-1.

        Of `image` only the modality `source` is looked at.
        """
        raise SettingsError(
            f"{self.name}: cannot translate modalities. Use a run of registered-multimodal."
        )

    def panels(self, source: Batch, chance: torch.Generator) -> dict[str, Tensor]:
        """Pictures for sample grids: title -> (B, C, *S) in network range or labels (B, *S)."""
        return {
            "labels": source.labels,
            "made": self.make(source, chance),
            "real": source.image,
        }

    def gallery(self, draws: Mapping[str, Batch], chance: torch.Generator) -> dict[str, Tensor]:
        """The pictures of a sample grid, from samples of every draw; the first's `panels` alone."""
        return self.panels(next(iter(draws.values())), chance)

    def validate(self, source: Batch, chance: torch.Generator) -> dict[str, float]:
        """Measures on held-out samples, lower is better; the first decides which run is best."""
        return {"mae": float((self.make(source, chance) - source.image).abs().mean())}
