"""Classifiers: can a network that learned from a data set tell abnormal slices from normal ones?

A classifier is a game of one player, as a segmenter is, and learns from the same samples: images
with label maps, of which a `LesionRule` makes classes. So whatever mixes samples for segmenters
mixes them for classifiers.

x    image, augmented                        (B, C, H, W)
y    its class by the rule, 0 or 1           (B,)
z    the network's values                    (B, 2)

L = mean -log softmax(z)_y over the samples that are clear

Source: ANT-GAN (arXiv:1810.10850), Tables VI and VII: VGG and AlexNet, precision, recall, F1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from scansmith.augment import augmented
from scansmith.evaluate.learning import Learning, Samples, learn, lone_player, loop_settings
from scansmith.evaluate.lesion_rule import ABNORMAL, CLASSES, NORMAL, UNCLEAR, LesionRule
from scansmith.evaluate.segmentation import Labelled, shuffled, together
from scansmith.game import Game, Player, Scene, Terms
from scansmith.nets.classifier import CLASSIFIERS, Classifier
from scansmith.scan import Batch, DataError, SettingsError
from scansmith.settings import Augmentation, number

#: Pixels judged at a time; 64 channels of them in float32 are 0.5 GB.
CHUNK = 2**21


class ClassifierNumbers(Learning):
    """The network and its training."""

    network: Literal["vgg16", "alexnet"] = number("vgg16", "layers", "ANT-GAN, Tables VI and VII")
    width: float = number(1.0, "share of the paper's channels and hidden units", gt=0)
    dropout: float = number(0.5, "share of hidden units left out in training", ge=0, lt=1)
    learning_rate: float = number(1e-4, "Adam, at the start", gt=0)


def check_network(network: str, size: Sequence[int], setting: str) -> None:
    """Refuse slices that are too small for a network, before any of them is made.

    Args:
        size: H, W of the slices.
        setting: what names the network.
    Raises:
        SettingsError: they are.
    """
    least = CLASSIFIERS[network].least
    if min(size) < least:
        raise SettingsError(
            f"{setting}: found {network} for slices of {' x '.join(map(str, size))} pixels, "
            f"expected {least} a side or more. Prepare larger ones, or choose another network."
        )


@dataclass(frozen=True, eq=False)
class Judge:
    """A trained classifier."""

    network: nn.Module
    rule: LesionRule

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probability of being abnormal, float64 (N,), of images (N, C, H, W)."""
        device = next(self.network.parameters()).device
        at_once = max(1, CHUNK // int(np.prod(images.shape[2:])))
        found = [np.empty(0)]
        with torch.inference_mode():
            for start in range(0, len(images), at_once):
                part = torch.from_numpy(np.ascontiguousarray(images[start : start + at_once]))
                values = self.network(part.float().to(device)).double()
                found.append(values.softmax(dim=1)[:, ABNORMAL].cpu().numpy())
        return np.concatenate(found)


class Classification(Game):
    """The game: one network says which slices are abnormal, on augmented images."""

    def __init__(
        self,
        network: Classifier,
        rule: LesionRule,
        numbers: ClassifierNumbers,
        steps: int,
        augmentation: Augmentation | None,
        spacing_mm: Sequence[float] = (),
    ):
        super().__init__()
        self.network, self.rule, self.numbers, self.steps = network, rule, numbers, steps
        self.augmentation, self.spacing_mm = augmentation, spacing_mm

    def play(self, batch: Mapping[str, Batch]) -> Scene:
        """Augment what was drawn and classify it. The class is that of the map as it was drawn."""
        (drawn,) = batch.values()
        image, classes = drawn.image, self.rule.classes(drawn.labels)
        if image.ndim != 4 or min(image.shape[2:]) < self.network.least:
            raise DataError(
                f"classifier: found samples of {' x '.join(map(str, image.shape[2:]))}, expected "
                f"slices of {self.network.least} pixels a side or more. Prepare larger ones, or "
                "choose another network."
            )
        if self.augmentation is not None:
            image, _ = augmented(image, drawn.labels, self.augmentation, self.spacing_mm)
        return {"values": self.network(image), "classes": classes}

    def players(self) -> list[Player]:
        """The network alone."""
        return [lone_player("classifier", self.network, self.loss, self.numbers, self.steps)]

    def loss(self, scene: Scene) -> Terms:
        """Cross-entropy; 0 where no sample of the batch is clear."""
        clear = (scene["classes"] != UNCLEAR).sum().clamp(min=1)
        total = F.cross_entropy(
            scene["values"], scene["classes"], ignore_index=UNCLEAR, reduction="sum"
        )
        return {"cross entropy": total / clear}


def train_classifier(
    samples: Samples,
    rule: LesionRule,
    *,
    channels: int,
    steps: int,
    seed: int,
    augment: bool | Augmentation = True,
    spacing_mm: Sequence[float] = (),
    numbers: ClassifierNumbers | None = None,
    run: Path | None = None,
    record: Mapping[str, Any] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Judge:
    """Train a classifier.

    Args:
        samples: what a step learns from, for example `balanced`.
        rule: which label maps are abnormal.
        augment: True: the default `Augmentation`; False: none.
        spacing_mm: one step along H and W, for rotations that keep shapes.
        run: a folder to train in and to go on in; None: nothing is kept.
        record: what `samples` are, for the run folder: going on with others is refused.
    Raises:
        DataError: samples are no slices, or too small for the network.
        RunError: the folder holds another training, or a loss is not finite.
    """
    numbers = numbers or ClassifierNumbers()
    augmentation = Augmentation() if augment is True else augment or None
    torch.manual_seed(seed)
    kind = CLASSIFIERS[numbers.network]
    network = kind(channels, len(CLASSES), width=numbers.width, dropout=numbers.dropout)
    game = Classification(network, rule, numbers, steps, augmentation, spacing_mm)
    facts = {
        "classifier": {"channels": channels, "classes": list(CLASSES)},
        "rule": {"lesion": list(rule.lesion), "least_pixels": rule.least_pixels},
        "numbers": numbers.model_dump(mode="json", exclude={"device", "threads"}),
        "augmentation": augmentation and augmentation.model_dump(mode="json"),
        "training": {"steps": steps, "seed": seed, "spacing_mm": list(spacing_mm)},
        "samples": dict(record or {}),
    }
    learn(game, samples, loop_settings(numbers, steps, seed), facts, run, progress)
    return Judge(network.eval(), rule)


def balanced(data: Labelled, rule: LesionRule, batch: int, seed: int) -> Samples:
    """Batches that are half normal and half abnormal, however rare either is.

    Raises:
        SettingsError: a batch of an odd number.
        DataError: a class has no sample.
    """
    if batch < 2 or batch % 2:
        raise SettingsError(
            f"batch: found {batch}, expected an even number, half of it abnormal. Change it."
        )
    sides = {
        name: rule.side(data, side) for name, side in zip(CLASSES, (NORMAL, ABNORMAL), strict=True)
    }
    empty = [name for name, side in sides.items() if not len(side)]
    if empty:
        raise DataError(
            f"classifier: found no {' and no '.join(empty)} sample of {len(data)}, expected some "
            "of each class. Add cases, or name another lesion."
        )
    return together(*(shuffled(side, batch // 2, seed) for side in sides.values()))
