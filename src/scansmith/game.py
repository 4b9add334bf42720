"""Adversarial training as a game: players who take turns in a scene that is played once.

A step is one `play` (every generator runs forward once) and one turn for each player, in the
paper's order. A player's turn changes the player's own networks and nothing else. The loop that
drives it is `scansmith.train.loop`; a method only says what happens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scansmith.scan import Batch

Scene = dict[str, Tensor]
"""What a step shows: real and made tensors, under the names that the losses use."""

Terms = dict[str, Tensor]
"""The paper's names of loss terms -> weighted scalars; their sum is descended."""


@dataclass(frozen=True)
class Player:
    """One side of the game.

    Attributes:
        moves: networks that this player alone moves.
        loss: what it descends, as named terms.
        critic: a critic is shown the scene detached from the generators, through the pools.
        rate: factor of the learning rate at a step (1, 2, ...); None: always 1.
    """

    name: str
    moves: tuple[nn.Module, ...]
    loss: Callable[[Scene], Terms]
    critic: bool = False
    learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    rate: Callable[[int], float] | None = None


class Game(nn.Module, ABC):
    """What a method is to the training loop.

    `pools` names groups of scene tensors of which critics see old ones too: group -> pool size.
    The tensors of a group stay together (an image with its label map).
    """

    pools: Mapping[tuple[str, ...], int] = {}

    @abstractmethod
    def play(self, batch: Mapping[str, Batch]) -> Scene:
        """Run every generator forward once on the drawn samples (draw name -> Batch)."""

    @abstractmethod
    def players(self) -> list[Player]:
        """The players in the order of their turns."""

    def watch(self, scene: Scene) -> dict[str, float]:
        """Numbers to log that nobody descends, such as a critic's accuracy.

        Called now and then, without gradients, on the scene that critics see.
        """
        return {}


class ImagePool:
    """Old made images, so that a critic does not forget them.

    Until it is full a sample is stored and returned. Then, with probability one half, a random
    stored sample is returned and replaced by the new one; else the new one is returned.
    Source: Shrivastava et al. 2017 (SimGAN) 2.3; pool rule of CycleGAN (Zhu et al. 2017).
    """

    def __init__(self, size: int):
        self.size = size
        self.slots: list[tuple[Tensor, ...]] = []

    def query(self, tensors: tuple[Tensor, ...], chance: torch.Generator) -> tuple[Tensor, ...]:
        """Exchange a batch: a group of tensors (B, ...) each; returns the same shapes, detached."""
        if self.size == 0:
            return tensors
        shown: list[tuple[Tensor, ...]] = []
        for sample in zip(*tensors, strict=True):
            fresh = tuple(t.detach().clone() for t in sample)
            if len(self.slots) < self.size:
                self.slots.append(fresh)
                shown.append(fresh)
            elif torch.rand((), generator=chance) < 0.5:
                slot = int(torch.randint(self.size, (), generator=chance))
                shown.append(self.slots[slot])
                self.slots[slot] = fresh
            else:
                shown.append(fresh)
        return tuple(torch.stack(column) for column in zip(*shown, strict=True))
