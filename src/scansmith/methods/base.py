"""What every method is: a game that can be trained, and a maker of scans."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from scansmith.game import Game
from scansmith.recipe import Facts, Recipe
from scansmith.scan import Batch
from scansmith.settings import Settings


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

    def panels(self, source: Batch, chance: torch.Generator) -> dict[str, Tensor]:
        """Pictures for sample grids: title -> (B, C, *S) in network range or labels (B, *S)."""
        return {
            "labels": source.labels,
            "made": self.make(source, chance),
            "real": source.image,
        }

    def validate(self, source: Batch, chance: torch.Generator) -> dict[str, float]:
        """Measures on held-out samples, lower is better; the first decides which run is best."""
        return {"mae": float((self.make(source, chance) - source.image).abs().mean())}
