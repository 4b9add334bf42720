"""A segmenter for each modality, whose measures are averaged.

So the registered multimodal paper judges: four segmenters, one for each modality, trained on the
same labels; MSE and Dice are means over the four (2.6; published code, its segmentation model). A
synthetic set has to be right in every modality then; one segmenter of all modalities may lean on
the best of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scansmith.evaluate.segmentation import Measure, Samples, Segmenter, train_segmenter
from scansmith.scan import Batch


@dataclass(frozen=True, eq=False)
class ModalitySegmenters:
    """Trained segmenters, one for each modality in the order of the channels."""

    each: tuple[Segmenter, ...]

    def predict(self, images: np.ndarray) -> np.ndarray:
        """What each finds, uint8 (C, N, *S), in images (N, C, *S)."""
        return np.stack([one.predict(images[:, c : c + 1]) for c, one in enumerate(self.each)])

    def scores(self, images: np.ndarray, labels: np.ndarray, measure: Measure) -> dict[str, float]:
        """Means of a measure over the modalities that have it; nan where none has.

        Of a structure that a case lacks, a modality has no Dice, or 0 if its segmenter finds the
        structure all the same: one such false alarm is enough for the mean to be 0.

        Args:
            images: (N, C, *S).
            labels: (N, *S), structure indices.
        """
        rows = [measure(labels, found) for found in self.predict(images)]
        return {name: _mean([row[name] for row in rows]) for name in rows[0]}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def train_modality_segmenters(
    samples: Samples,
    *,
    modalities: Sequence[str],
    run: Path | None = None,
    record: Mapping[str, Any] | None = None,
    **options: Any,
) -> ModalitySegmenters:
    """Train a segmenter on each modality of the same samples, all from one seed.

    Args:
        modalities: names of the C channels.
        run: a folder with a training for each modality in it; None: nothing is kept.
        options: as `train_segmenter`'s, `channels` left out.
    """
    return ModalitySegmenters(
        tuple(
            train_segmenter(
                of_modality(samples, c),
                channels=1,
                run=None if run is None else run / name,
                record={**(record or {}), "modality": name},
                **options,
            )
            for c, name in enumerate(modalities)
        )
    )


def of_modality(samples: Samples, channel: int) -> Samples:
    """The same samples with one modality alone."""

    def draw(step: int) -> Batch:
        batch = samples(step)
        return Batch(
            batch.image[:, channel : channel + 1], batch.labels, batch.cases, batch.samples
        )

    return draw
