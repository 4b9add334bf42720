"""A tiny adversarial game with all that a resume can lose, and a process that dies on time.

python tiny_run.py FOLDER MOMENT...   for each moment: train in FOLDER/MOMENT and die there
python tiny_run.py FOLDER --slow      train in FOLDER, slowly, until somebody kills it
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from scansmith.game import Game, Player, Scene, Terms
from scansmith.losses import accuracy
from scansmith.scan import Batch
from scansmith.settings import Augmentation, TrainSettings
from scansmith.train import checkpoint, monitor
from scansmith.train.loop import fit

SETTINGS = TrainSettings(
    steps=23,
    batch=2,
    seed=5,
    device="cpu",
    threads=1,
    ema=0.9,
    clip_norm=5.0,
    augment=Augmentation(moved=0.5, flips=(1,)),
    checkpoint_every=4,
    validate_every=3,
    log_every=2,
    sample_at=(),
)
MOMENTS = (
    "run.json",
    "step 10",
    "log 14",
    "tensors 12",
    "half 12",
    "whole 12",
    "best 9",
    "prune 16",
)


class TinyGan(Game):
    """Labels to image, with dropout, batch norm, spectral norm and a pool."""

    pools: Mapping[tuple[str, ...], int] = {("made", "map"): 3}

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Conv2d(6, 1, 3, padding=1),
            nn.Tanh(),
        )
        self.critic = nn.Sequential(
            nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 6, 4, 2, 1)),
            nn.BatchNorm2d(6),
            nn.LeakyReLU(0.2),
            nn.Conv2d(6, 1, 3, padding=1),
        )

    def play(self, batch: dict[str, Batch]) -> Scene:
        real = batch["real"]
        labels = one_hot(real.labels, 3).movedim(-1, 1).float()
        return {"real": real.image, "map": labels, "made": self.generator(labels)}

    def players(self) -> list[Player]:
        return [
            Player("critic", (self.critic,), self.critic_loss, critic=True),
            Player("generator", (self.generator,), self.generator_loss, rate=lambda t: 0.97**t),
        ]

    def judge(self, scene: Scene, image: str) -> Tensor:
        return self.critic(torch.cat([scene["map"], scene[image]], dim=1))

    def critic_loss(self, scene: Scene) -> Terms:
        real, fake = self.judge(scene, "real"), self.judge(scene, "made")
        return {"real": ((real - 1) ** 2).mean(), "fake": (fake**2).mean()}

    def generator_loss(self, scene: Scene) -> Terms:
        fool = ((self.judge(scene, "made") - 1) ** 2).mean()
        return {"fool": fool, "l1": 10 * (scene["made"] - scene["real"]).abs().mean()}

    def watch(self, scene: Scene) -> dict[str, float]:
        real, fake = self.judge(scene, "real"), self.judge(scene, "made")
        return {"accuracy": float(accuracy(real, fake, threshold=0.5)[0])}


def tiny_gan() -> TinyGan:
    torch.manual_seed(1)
    return TinyGan()


def batches(step: int) -> dict[str, Batch]:
    """Noisy stripes; a function of the step alone."""
    chance = torch.Generator().manual_seed(1000 + step)
    labels = torch.randint(3, (2, 6, 10), generator=chance).repeat_interleave(2, dim=1)
    noise = 0.1 * torch.randn(2, 1, 12, 10, generator=chance)
    return {"real": Batch((labels[:, None] - 1) * 0.7 + noise, labels)}


def distance(game: Game) -> dict[str, float]:
    scene = game.play(batches(0))
    return {"mae": float((scene["made"] - scene["real"]).abs().mean())}


def train(run: Path, settings: TrainSettings = SETTINGS, **options: Any) -> TinyGan:
    """Train the tiny game as all tests of resuming do."""
    game = tiny_gan()
    record = options.pop("record", {"method": "tiny", "settings": {"train": settings.model_dump()}})
    given = {"batches": batches, "validate": distance, **options}
    fit(game, run=run, settings=settings, record=record, **given)
    return game


def die(*_: object) -> None:
    """Kill this process as a power cut would: no handler runs."""
    os.kill(os.getpid(), signal.SIGKILL)


def arrange_death(moment: str) -> Callable[[int], dict[str, Batch]]:
    """Make this process die at a moment of MOMENTS; returns the batches to train on."""
    what, _, number = moment.partition(" ")
    step = int(number or 0)
    if what == "step":
        return lambda now: (die() if now == step else None, batches(now))[1]  # type: ignore[func-returns-value]
    if what == "log":
        write = monitor.Log.write

        def half_a_line(log: monitor.Log, row: dict[str, Any]) -> None:
            if row["step"] == step:
                log.file.write(b'{"step": 14, "seco')
                die()
            write(log, row)

        monitor.Log.write = half_a_line  # type: ignore[method-assign,assignment]
    elif what == "tensors":  # half of the tensors are written
        save_file = checkpoint.save_file

        def half_a_file(tensors: dict[str, Tensor], path: Path) -> None:
            save_file(tensors, path)
            if f"step_{step:08d}" in path.name:
                os.truncate(path, path.stat().st_size // 2)
                die()

        checkpoint.save_file = half_a_file  # type: ignore[assignment]
    elif what == "prune":  # a JSON is gone, its tensors are still there
        unlink = Path.unlink

        def first_of_two(path: Path, missing_ok: bool = False) -> None:
            unlink(path, missing_ok=missing_ok)
            if path.name == f"step_{step - 8:08d}.json":
                die()

        Path.unlink = first_of_two  # type: ignore[method-assign]
    else:  # directly after a rename
        name = {
            "run.json": "run.json",
            "half": f"step_{step:08d}.safetensors",
            "whole": f"step_{step:08d}.json",
            "best": f"best_{step:08d}.json",
        }[what]
        replace = os.replace

        def replace_and_die(source: Path, target: Path) -> None:
            replace(source, target)
            if Path(target).name == name:
                die()

        os.replace = replace_and_die  # type: ignore[assignment]
    return batches


def main(where: Path, moments: list[str]) -> None:
    torch.set_num_threads(1)
    if moments == ["--slow"]:
        train(where, batches=lambda step: (time.sleep(0.03), batches(step))[1])
        return
    # What PyTorch and TensorBoard load at their first use is loaded once, before the forks.
    train(where / "first", SETTINGS.model_copy(update={"steps": 1}))
    for moment in moments:
        child = os.fork()
        if child == 0:
            train(where / moment.replace(" ", "_"), batches=arrange_death(moment))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(moment, os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
