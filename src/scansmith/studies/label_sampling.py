"""Images drawn from label maps without any learning: what a label-to-image method has to beat.

Each structure of each modality gets a random mean and spread, then the image is blurred, gets a
smooth bias field, and is brought to the range of the real images. A segmenter that learns from it
sees every contrast and none in particular.

Source: SynthSeg (Billot et al., MIDL 2020, arXiv 2003.01995; Medical Image Analysis 2023), by
TorchIO's `RandomLabelsToImage`, `RandomBlur` and `RandomBiasField`. Left out: SynthSeg's low
resolution, since all cases of a study have one grid, its gamma, and its bending of the maps, which
is done where they are edited and by the augmentation in training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch

from scansmith.scan import DataError, SettingsError
from scansmith.settings import Section, number
from scansmith.studies.counterparts import Case

Draw = Callable[[Any], Any]
"""A subject of TorchIO with labels -> the same with an image."""


class SamplingNumbers(Section):
    """How far contrasts differ, in shares of the real images' range (1 to 99 percentile)."""

    mean: tuple[float, float] = number((0.0, 1.0), "mean of a structure", "SynthSeg: 0 to 255")
    sd: tuple[float, float] = number(
        (0.0, 0.14), "spread in a structure", "SynthSeg: 0 to 35 of 255"
    )
    blur: float = number(1.0, "largest sd of the blur, in pixels", ge=0)
    bias: float = number(
        0.2, "largest coefficient of the bias field", "ours: TorchIO's 0.5 drowns the rest", ge=0
    )


@dataclass(frozen=True, eq=False)
class LabelSampling:
    """Drawing of label maps with random contrast, in the range of real images.

    Attributes:
        low, high: the range of each modality, (C,), network range.
    """

    low: np.ndarray
    high: np.ndarray
    numbers: SamplingNumbers

    @staticmethod
    def of(cases: Sequence[Case], numbers: SamplingNumbers | None = None) -> LabelSampling:
        """In the range of these cases.

        Raises:
            SettingsError: TorchIO is not installed.
            DataError: there is no case.
        """
        _torchio()
        if not cases:
            raise DataError("label sampling: found no case, expected one to take the range from.")
        channels = range(cases[0].image.shape[1])
        ends = [
            np.percentile(np.concatenate([case.image[:, c].ravel() for case in cases]), (1, 99))
            for c in channels
        ]
        low, high = np.array(ends, np.float32).T
        return LabelSampling(low, high, numbers or SamplingNumbers())

    def painted(self, case: Case, rng: np.random.Generator) -> Case:
        """A case's label map with random contrast, each sample and modality with its own."""
        draw = self._transform()
        images = []
        with torch.random.fork_rng(devices=[]):
            for labels in case.labels:
                torch.manual_seed(int(rng.integers(2**63)))
                drawn = np.stack([_drawn(labels, draw) for _ in self.low])
                images.append(drawn)
        shape = (len(self.low), *[1] * (case.labels.ndim - 1))
        low, high = self.low.reshape(shape), self.high.reshape(shape)
        image = (low + (high - low) * np.stack(images)).astype(np.float32)
        return Case(case.case, case.patient, image, case.labels, case.numbers)

    def _transform(self) -> Draw:
        tio = _torchio()
        steps = [
            tio.RandomLabelsToImage(
                label_key="labels",
                image_key="image",
                default_mean=self.numbers.mean,
                default_std=self.numbers.sd,
            ),
            tio.RandomBlur(std=(0, self.numbers.blur)),
            tio.RandomBiasField(coefficients=self.numbers.bias),
        ]
        return tio.Compose(steps)


def _drawn(labels: np.ndarray, draw: Draw) -> np.ndarray:
    """A label map (*S) as an image whose 1 and 99 percentiles are 0 and 1."""
    tio = _torchio()
    volume = torch.from_numpy(labels[None] if labels.ndim == 3 else labels[None, ..., None])
    subject = draw(tio.Subject(labels=tio.LabelMap(tensor=volume)))
    image = subject["image"].numpy().reshape(labels.shape)
    low, high = np.percentile(image, (1, 99))
    return (image - low) / (high - low if high > low else 1)


def _torchio() -> ModuleType:
    try:
        import torchio
    except ImportError as error:
        raise SettingsError(
            "label sampling: TorchIO is not installed, expected it for SynthSeg-style images. "
            "Install the extra: pip install 'scansmith[bench]'."
        ) from error
    return torchio
