"""What everything here is about: a scan, a batch of samples, their axes, and what can go wrong.

Axis letters, the same everywhere:

    B   samples in a batch
    C   modalities (T1, FLAIR, CT, ...)
    K   structures of a label table, background included
    N   samples (slices, or one whole volume) of a case
    *S  space. On disk and in `Scan`: (i, j, k), as the file has it, k = 1 for a 2D picture.
        Prepared and in networks: (H, W) or (D, H, W), where D runs from feet to head, H from
        front to back and W from the patient's right to left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


class ScansmithError(Exception):
    """Anything that the user can mend. The command line prints it and exits with 2."""


class DataError(ScansmithError):
    """A file or an array is not what it has to be. `problems` lists every one found."""

    def __init__(self, problems: Problem | Iterable[Problem] | str):
        if isinstance(problems, str):
            self.problems: tuple[Problem, ...] = ()
            super().__init__(problems)
            return
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UnfitLabels(DataError):
    """No image can be made for these labels; for others it may."""


class SettingsError(ScansmithError):
    """A number or a choice that the user gave cannot be used."""


class RunError(ScansmithError):
    """A run folder, a checkpoint or a running training is not in a state to go on."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with one case: where, what was found, what to do.

    `kind` is a short stable word for machines, for example "grid" or "truncated".
    """

    where: str
    kind: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.found}. {self.remedy}."


@dataclass(frozen=True)
class CaseFiles:
    """Where the files of one case lie: an image for each modality, and its labels if it has any."""

    case: str
    images: Mapping[str, Path]
    labels: Path | None = None
    patient: str = ""

    def __post_init__(self) -> None:
        if not self.patient:
            object.__setattr__(self, "patient", self.case)


@dataclass(frozen=True)
class Scan:
    """An image with its labels on one grid.

    Attributes:
        case: the name of the case; unique in its data set.
        image: (C, i, j, k), in the file's units (HU for CT).
        affine: (4, 4), voxel index to millimetres, RAS+ (NIfTI's convention).
        modalities: C names.
        labels: (i, j, k), whole numbers, in the data set's own coding; None if there are none.
        patient: who it is of; two cases of one patient never cross a split.
    """

    case: str
    image: np.ndarray
    affine: np.ndarray
    modalities: tuple[str, ...]
    labels: np.ndarray | None = None
    patient: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Millimetres of one step along i, j, k."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)


@dataclass(frozen=True)
class Batch:
    """Samples as networks take them.

    Attributes:
        image: float32 (B, C, *S), in network range.
        labels: int64 (B, *S), structure indices 0..K-1 of the store's label table.
        cases: B names.
        samples: B sample numbers within their cases (the slice, for 2D methods).
    """

    image: torch.Tensor
    labels: torch.Tensor
    cases: tuple[str, ...] = ()
    samples: tuple[int, ...] = ()

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(
            self.image.to(device, non_blocking=True),
            self.labels.to(device, non_blocking=True),
            self.cases,
            self.samples,
        )
