"""Which slices count as abnormal: the rule that makes classes of label maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scansmith.evaluate.segmentation import Labelled
from scansmith.evaluate.view import lesion_indices
from scansmith.scan import SettingsError

NORMAL, ABNORMAL, UNCLEAR = 0, 1, -1
CLASSES = ("normal", "abnormal")


@dataclass(frozen=True)
class LesionRule:
    """A sample is abnormal if lesion covers `least_pixels` of it, normal if there is none at all.

    What has less is unclear and taken for neither: a speck at a lesion's edge shows nothing that
    could be learned. ANT-GAN (section IV) counts every slice with a lesion as abnormal: 1 pixel.

    Attributes:
        lesion: indices of structures.
    """

    lesion: tuple[int, ...]
    least_pixels: int = 1

    def __post_init__(self) -> None:
        if not self.lesion or min(self.lesion) < 1 or self.least_pixels < 1:
            raise SettingsError(
                f"lesion rule: found structures {self.lesion} and {self.least_pixels} pixels, "
                "expected structures from 1 on and 1 pixel or more. Name the lesion."
            )

    @staticmethod
    def of(
        structures: Sequence[str], lesion: Sequence[str] | None = None, least_pixels: int = 1
    ) -> LesionRule:
        """The rule for named structures.

        Args:
            structures: K names, the background first.
            lesion: names; None: those named like a lesion, else any structure.
        Raises:
            DataError: a name that is not among the structures.
            SettingsError: there is no structure but the background.
        """
        return LesionRule(lesion_indices(structures, lesion), least_pixels)

    def classes(self, labels: Tensor) -> Tensor:
        """NORMAL, ABNORMAL or UNCLEAR, int64 (B,), of structure indices (B, *S)."""
        wanted = torch.tensor(self.lesion, device=labels.device)
        pixels = torch.isin(labels, wanted).flatten(1).sum(dim=1)
        found = torch.full_like(pixels, UNCLEAR)
        found[pixels >= self.least_pixels] = ABNORMAL
        found[pixels == 0] = NORMAL
        return found

    def of_samples(self, data: Labelled) -> np.ndarray:
        """The class of each sample, int (N,)."""
        found = [self.classes(torch.from_numpy(np.asarray(one)[None])) for one in data.labels]
        return torch.cat(found).numpy() if found else np.empty(0, int)

    def clear(self, data: Labelled) -> Labelled:
        """The samples that are normal or abnormal."""
        return self._where(data, self.of_samples(data) != UNCLEAR)

    def side(self, data: Labelled, wanted: int) -> Labelled:
        """The samples of one class."""
        return self._where(data, self.of_samples(data) == wanted)

    def _where(self, data: Labelled, chosen: np.ndarray) -> Labelled:
        numbers = np.flatnonzero(chosen).tolist()
        return Labelled(_Chosen(data.images, numbers), _Chosen(data.labels, numbers))


@dataclass(frozen=True, eq=False)
class _Chosen(Sequence[np.ndarray]):
    """Some of a sequence that may be too large for memory: read when they are asked for."""

    all: Sequence[np.ndarray]
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, number: Any) -> Any:
        return self.all[self.numbers[number]]
