"""The one training loop, for all methods: play the scene once, then each player has its turn.

All chance of step t comes from (seed, t), and a checkpoint holds everything else that training
depends on. So a run that is killed at any moment and resumed ends, on a CPU with the same number
of threads, bit for bit as one that was never interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scansmith.game import Game
from scansmith.scan import Batch, SettingsError
from scansmith.settings import TrainSettings
from scansmith.train import checkpoint
from scansmith.train.allocator import keep_freed_memory
from scansmith.train.arena import Arena
from scansmith.train.checkpoint import Best, Progress
from scansmith.train.conditions import Interrupt, training_conditions
from scansmith.train.folder import held, open_run
from scansmith.train.monitor import Log, draw_curves
from scansmith.train.pictures import save_grid

Batches = Callable[[int], Mapping[str, Batch]]
Validate = Callable[[Game], Mapping[str, float]]
Panels = Callable[[Game], Mapping[str, Tensor]]
Report = Callable[[int, int, str], None]

TRAINING, VALIDATION, PICTURES = range(3)


def fit(
    game: Game,
    batches: Batches,
    run: Path,
    settings: TrainSettings,
    *,
    record: Mapping[str, Any],
    spacing_mm: Sequence[float] = (),
    resume: bool = False,
    validate: Validate | None = None,
    panels: Panels | None = None,
    modalities: Sequence[str] = (),
    progress: Report | None = None,
) -> None:
    """Train `game` for `settings.steps` steps; everything that comes of it lies in `run`.

    Args:
        batches: the samples of a step (1, 2, ...); a function of the step alone.
        record: what the run is made from, for run.json; resuming compares it.
        spacing_mm: one step along each axis of the samples, so that turning them in training
            keeps shapes; (): all alike.
        resume: go on from the last checkpoint; a fresh folder starts from nothing.
        validate: metrics of the game; the first decides what is best, lower is better.
        panels: pictures for sample grids, title -> (B, C, *S) images or (B, *S) labels.
        modalities: what the channels of images are called there.
        progress: told (steps done, steps in all, a line about the losses) after each step.
    Raises:
        RunError: the folder holds another run, a checkpoint is damaged, a term is not finite or
            the disk is full. The last checkpoint is whole in each case.
        KeyboardInterrupt: after Ctrl-C or SIGTERM; the step was finished and saved first.
    """
    run = Path(run)
    keep_freed_memory()
    device = choose_device(settings.device)
    with held(run), training_conditions(device, settings.threads) as threads:
        start = open_run(run, record, settings, threads, resume, game.players())
        arena = Arena(game, settings, device, spacing_mm)
        if start is None:
            start = arena.progress(Progress(step=0, threads=threads))
            checkpoint.save(run, "step", arena.tensors(), start)
        else:
            tensors, start = checkpoint.load(run, "step", start.step)
            arena.restore(tensors, start, str(run))
        start = _with_its_best(run, start)
        with Log(run, start.step) as log, Interrupt() as interrupt:
            if start.threads != threads and start.step > 0:
                log.note(
                    start.step,
                    f"resumed with {threads} threads after {start.threads}: from here on the "
                    "last digits may differ from those of an uninterrupted run",
                )
            diary = _Diary(run, settings, arena, log, start, threads)
            for step in range(start.step + 1, settings.steps + 1):
                torch.manual_seed(chance_seed(settings.seed, step, TRAINING))
                values = arena.step(step, batches(step), str(run))
                diary.count(step, values)
                if _due(step, settings.validate_every or settings.checkpoint_every, settings):
                    diary.validate(step, validate)
                if _pictured(step, settings):
                    diary.picture(step, panels, modalities)
                if interrupt.asked or _due(step, settings.checkpoint_every, settings):
                    diary.save(step)
                if progress is not None:
                    progress(step, settings.steps, diary.line)
                if interrupt.asked:
                    raise KeyboardInterrupt(
                        f"{run}: stopped after step {step} of {settings.steps} and saved. "
                        "Go on with resume."
                    )
        arena.rest()


def choose_device(name: str) -> torch.device:
    """The device that a setting names; "auto" is cuda where there is one.

    Raises:
        SettingsError: no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(
            f"train.device: found {name!r}, expected cpu, cuda, cuda:1, ... or auto."
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"train.device: found {name!r}, but PyTorch sees {torch.cuda.device_count()} CUDA "
            "devices. Use auto, or install a PyTorch build for this machine's GPU."
        )
    return device


def chance_seed(seed: int, step: int, use: int) -> int:
    """One seed for each use of chance in each step."""
    return int(np.random.SeedSequence((seed, step, use)).generate_state(1, np.uint64)[0] >> 1)


class _Diary:
    """What is written down of a training: running means, validation, pictures, checkpoints."""

    def __init__(
        self,
        run: Path,
        settings: TrainSettings,
        arena: Arena,
        log: Log,
        start: Progress,
        threads: int,
    ):
        self.run, self.settings, self.arena, self.log = run, settings, arena, log
        self.threads, self.best = threads, start.best
        self.saved_best = _step_of(start.best)  # a kill takes training back to it
        self.running: dict[str, tuple[float, float]] = dict(start.running)
        self.began = time.monotonic() - start.seconds
        self.line = ""

    def count(self, step: int, values: Mapping[str, float]) -> None:
        """Add the values of a step to their running means; log them when it is time."""
        for name, value in values.items():
            total, weight = self.running.get(name, (0.0, 0.0))
            self.running[name] = (0.99 * total + value, 0.99 * weight + 1.0)
        if step == 1 or _due(step, self.settings.log_every, self.settings):
            running = {name: self.running[name][0] / self.running[name][1] for name in values}
            row: dict[str, Any] = {"step": step, "seconds": self.seconds, **values}
            self.log.write({**row, "running": running, "watch": self.arena.watch()})
            self.line = "  ".join(
                f"{player.name} {running[player.name]:.4g}" for player in self.arena.players
            )

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.began, 3)

    def validate(self, step: int, validate: Validate | None) -> None:
        """Log the metrics; keep the weights if the first of them was never lower."""
        if validate is None:
            return
        torch.manual_seed(chance_seed(self.settings.seed, step, VALIDATION))
        with self.arena.showing() as game:
            metrics = {name: float(value) for name, value in validate(game).items()}
        self.log.write({"step": step, "seconds": self.seconds, "validation": metrics})
        if not metrics:
            return
        metric, value = next(iter(metrics.items()))
        if np.isfinite(value) and (self.best is None or value < self.best.value):
            self.best = Best(metric=metric, value=value, step=step)
            tensors = self.arena.tensors(only_weights=True)
            checkpoint.save(self.run, "best", tensors, self._progress(step))
            checkpoint.keep_only(self.run, "best", {step, *self.saved_best})

    def picture(self, step: int, panels: Panels | None, modalities: Sequence[str]) -> None:
        """Save the sample grid and the loss curves of this step."""
        if panels is not None:
            torch.manual_seed(chance_seed(self.settings.seed, step, PICTURES))
            with self.arena.showing() as game:
                shown = panels(game)
            save_grid(shown, self.run / "samples" / f"step_{step:06d}.png", modalities)
        draw_curves(self.run)

    def save(self, step: int) -> None:
        """Write the checkpoint of this step, if the weights deserve it."""
        self.arena.refuse_broken_weights(step, str(self.run))
        self.log.sync()
        checkpoint.save(self.run, "step", self.arena.tensors(), self._progress(step))
        checkpoint.prune(self.run, "step", self.settings.keep)
        self.saved_best = _step_of(self.best)
        checkpoint.keep_only(self.run, "best", self.saved_best)

    def _progress(self, step: int) -> Progress:
        return self.arena.progress(
            Progress(
                step=step,
                seconds=self.seconds,
                running=self.running,
                best=self.best,
                threads=self.threads,
            )
        )


def _with_its_best(run: Path, start: Progress) -> Progress:
    """Where training starts, with the best checkpoint of its own past and no other in the folder.

    Later ones are of steps that were lost and are done again, perhaps otherwise. Where the best of
    its past is gone, the next validation is the best there is.
    """
    checkpoint.keep_only(run, "best", _step_of(start.best))
    if checkpoint.steps(run, "best"):
        return start
    return start.model_copy(update={"best": None})


def _step_of(best: Best | None) -> set[int]:
    return set() if best is None else {best.step}


def _due(step: int, every: int, settings: TrainSettings) -> bool:
    return step % every == 0 or step == settings.steps


def _pictured(step: int, settings: TrainSettings) -> bool:
    every = settings.sample_every
    asked = step in settings.sample_at or bool(every and step % every == 0)
    return asked or step == settings.steps
