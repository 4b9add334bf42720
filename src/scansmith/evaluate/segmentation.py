"""Segmenters: how much a data set teaches is what a network that learned from it can find.

A segmenter is a game of one player on the training loop, so that it resumes, repeats under its
seed and refuses what is not finite as every method does.

x    image, augmented      (B, C, *S)
y    labels                (B, *S)
p    softmax of the network's values

L = mean -log p_y + 1 - mean over structures of (2 sum p y + 1) / (sum p + sum y + 1)

Sums run over the batch and space; the background has no Dice term. Source: cross-entropy plus soft
Dice over the batch, as in nnU-Net (Isensee et al. 2021), whose learning rate falls as here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from scansmith import losses
from scansmith.augment import augmented, refuse_swapped_sides
from scansmith.evaluate.learning import Samples, learn, lone_player, loop_settings
from scansmith.evaluate.segmenter_networks import SegmenterNumbers, network_of, values_of
from scansmith.game import Game, Player, Scene, Terms
from scansmith.scan import Batch, DataError
from scansmith.settings import Augmentation

CHUNK = 2**21  # pixels predicted at a time; 100 channels of them in float32 are 0.8 GB


Measure = Callable[[np.ndarray, np.ndarray], Mapping[str, float]]
"""Structure indices (N, *S), true and found -> values by name."""


@dataclass(frozen=True, eq=False)
class Segmenter:
    """A trained segmenter.

    Attributes:
        structures: K names in index order.
    """

    network: nn.Module
    structures: tuple[str, ...]

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Structure indices, uint8 (N, *S), of images (N, C, *S)."""
        device = next(self.network.parameters()).device
        at_once = max(1, CHUNK // int(np.prod(images.shape[2:])))
        found = []
        with torch.inference_mode():
            for start in range(0, len(images), at_once):
                part = torch.from_numpy(np.ascontiguousarray(images[start : start + at_once]))
                values = self.network(part.float().to(device))
                found.append(values.argmax(dim=1).to(torch.uint8).cpu().numpy())
        return np.concatenate(found)

    def scores(self, images: np.ndarray, labels: np.ndarray, measure: Measure) -> dict[str, float]:
        """A measure of what it finds in images (N, C, *S) whose labels (N, *S) are indices."""
        return dict(measure(labels, self.predict(images)))


class Segmentation(Game):
    """The game: one network names structures, on augmented images."""

    def __init__(
        self,
        network: nn.Module,
        numbers: SegmenterNumbers,
        steps: int,
        augmentation: Augmentation | None,
        spacing_mm: Sequence[float] = (),
    ):
        super().__init__()
        self.network, self.numbers, self.steps = network, numbers, steps
        self.augmentation, self.spacing_mm = augmentation, spacing_mm

    def play(self, batch: Mapping[str, Batch]) -> Scene:
        """Augment what was drawn and segment it."""
        (drawn,) = batch.values()
        image, labels = drawn.image, drawn.labels
        if self.augmentation is not None:
            image, labels = augmented(image, labels, self.augmentation, self.spacing_mm)
        return {"values": values_of(self.network, image, labels), "labels": labels}

    def players(self) -> list[Player]:
        """The network alone."""
        return [lone_player("segmenter", self.network, self.loss, self.numbers, self.steps)]

    def loss(self, scene: Scene) -> Terms:
        """Cross-entropy and soft Dice."""
        return {
            "cross entropy": F.cross_entropy(scene["values"], scene["labels"]),
            "dice": losses.soft_dice(scene["labels"], scene["values"].softmax(dim=1)),
        }


def train_segmenter(
    samples: Samples,
    *,
    dims: int,
    structures: Sequence[str],
    channels: int,
    steps: int,
    seed: int,
    augment: bool | Augmentation = True,
    spacing_mm: Sequence[float] = (),
    numbers: SegmenterNumbers | None = None,
    run: Path | None = None,
    record: Mapping[str, Any] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Segmenter:
    """Train a segmenter.

    Args:
        samples: what a step learns from; labels are indices of `structures`.
        structures: K names, the background first. Context is nothing to find: see `told_apart`.
        augment: True: the default `Augmentation`; False: none.
        spacing_mm: one step along each axis, for rotations that keep shapes.
        run: a folder to train in and to go on in; None: nothing is kept.
        record: what `samples` are, for the run folder: going on with others is refused.
    Raises:
        RunError: the folder holds another training, or a loss is not finite.
        SettingsError: the network of the numbers has no such form, or structures that name a side
            are to be mirrored left to right.
    """
    numbers = numbers or SegmenterNumbers()
    augmentation = Augmentation() if augment is True else augment or None
    if augmentation is not None:
        refuse_swapped_sides(augmentation, structures, dims)
    torch.manual_seed(seed)
    network = network_of(numbers, dims, channels, structures)
    game = Segmentation(network, numbers, steps, augmentation, spacing_mm)
    facts = {
        "segmenter": {"dims": dims, "channels": channels, "structures": list(structures)},
        "numbers": numbers.facts(),
        "augmentation": augmentation and augmentation.model_dump(mode="json"),
        "training": {"steps": steps, "seed": seed, "spacing_mm": list(spacing_mm)},
        "samples": dict(record or {}),
    }
    learn(game, samples, loop_settings(numbers, steps, seed), facts, run, progress)
    return Segmenter(network.eval(), tuple(structures))


@dataclass(frozen=True, eq=False)
class Labelled:
    """Samples with labels in memory.

    Attributes:
        images: (C, *S) each, network range, float32.
        labels: (*S) each, structure indices, uint8.
    """

    images: Sequence[np.ndarray]
    labels: Sequence[np.ndarray]

    def __len__(self) -> int:
        return len(self.images)


def shuffled(data: Labelled, batch: int, seed: int) -> Samples:
    """Every sample once in each epoch, in a new order each time.

    Raises:
        DataError: there is no sample.
    """
    if not len(data):
        raise DataError("segmenter: no sample to learn from, expected one at least. Add cases.")

    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng([seed, epoch]).permutation(len(data))

    def draw(step: int) -> Batch:
        turns = range((step - 1) * batch, step * batch)
        chosen = [int(order(turn // len(data))[turn % len(data)]) for turn in turns]
        return Batch(
            torch.from_numpy(np.stack([data.images[n] for n in chosen])).float(),
            torch.from_numpy(np.stack([data.labels[n] for n in chosen]).astype(np.int64)),
            samples=tuple(chosen),
        )

    return draw


def together(*sources: Samples) -> Samples:
    """The batches of all sources in one, so that each is seen as often as it would be alone."""

    def draw(step: int) -> Batch:
        parts = [source(step) for source in sources]
        return Batch(
            torch.cat([part.image for part in parts]), torch.cat([part.labels for part in parts])
        )

    return draw
