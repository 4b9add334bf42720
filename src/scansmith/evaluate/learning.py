"""Networks that learn from data sets to judge them: games of one player on the training loop.

So they resume, repeat under their seed and refuse what is not finite, as every method does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from torch import nn

from scansmith.game import Game, Player, Scene, Terms
from scansmith.scan import Batch
from scansmith.settings import Section, TrainSettings, number
from scansmith.train.checkpoint import load_weights
from scansmith.train.loop import choose_device, fit

Samples = Callable[[int], Batch]
"""Step (1, 2, ...) -> the batch that is learned from in it, a function of the step alone."""


class Learning(Section):
    """How one player learns."""

    learning_rate: float = number(2e-3, "Adam, at the start", gt=0)
    fall: float = number(0.9, "power by which the rate falls to 0", "nnU-Net", ge=0)
    ema: float = number(
        0.99, "decay of the averaged weights that are used; 0: the last", ge=0, lt=1
    )
    precision: Literal["fp32", "bf16"] = number(
        "fp32", "bf16: autocast; slow on CPUs that lack its instructions"
    )
    device: str = number("auto", "cpu, cuda, ...; auto: cuda when there is one")
    threads: int = number(0, "CPU threads; 0 leaves PyTorch's choice", ge=0)


def learn(
    game: Game,
    samples: Samples,
    settings: TrainSettings,
    facts: Mapping[str, Any],
    run: Path | None,
    progress: Callable[[int, int, str], None] | None = None,
) -> None:
    """Train a game of one player in a folder, or go on there, and give it the weights to use.

    Args:
        facts: what it is trained from, for run.json: going on with others is refused.
        run: None: in a folder that is gone afterwards.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = run or Path(scratch)
        fit(
            game,
            lambda step: {"labelled": samples(step)},
            folder,
            settings,
            record=facts,
            resume=True,
            progress=progress,
        )
        weights = load_weights(folder, ema=settings.ema > 0)
    game.load_state_dict(weights)


def lone_player(
    name: str,
    network: nn.Module,
    loss: Callable[[Scene], Terms],
    numbers: Learning,
    steps: int,
) -> Player:
    """The one player: Adam, whose rate falls to 0 by a power."""
    return Player(
        name,
        (network,),
        loss,
        learning_rate=numbers.learning_rate,
        betas=(0.9, 0.999),
        rate=lambda step: (1 - (step - 1) / steps) ** numbers.fall,
    )


def loop_settings(numbers: Learning, steps: int, seed: int) -> TrainSettings:
    """What the loop has to know of a player's numbers."""
    return TrainSettings(
        steps=steps,
        seed=seed,
        ema=numbers.ema,
        precision=numbers.precision,
        device=str(choose_device(numbers.device)),
        threads=numbers.threads,
        checkpoint_every=500,
        keep=1,
        log_every=50,
        sample_at=(),
    )
