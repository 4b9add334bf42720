"""The lesion bank: shapes of real lesions, cut from label maps, from which new ones are made."""

from __future__ import annotations

import math
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations, product
from pathlib import Path

import numpy as np
from scipy import ndimage

from scansmith.scan import DataError

FEW_VOXELS = 12
"""A shape of fewer voxels identifies nobody: too many patients share it, and no reshaping of it
could be told from another's. Such a lesion gives its volume and structure, not its shape."""

_FORMAT = "scansmith lesion bank 1"
_LARGEST_BYTES = 4 << 30  # more than any bank: what a crafted file claims is not unpacked


@dataclass(frozen=True)
class Lesion:
    """One lesion in its box.

    Attributes:
        labels: uint8 structure indices, (*S) with d = 2 or 3 axes; 0 is not lesion.
        spacing_mm: d steps.
        case: where it was cut from.
    """

    labels: np.ndarray
    spacing_mm: tuple[float, ...]
    case: str

    @cached_property
    def voxels(self) -> int:
        """How many voxels it has."""
        return int(np.count_nonzero(self.labels))

    @property
    def volume_mm3(self) -> float:
        """Its volume; in 2D its area in mm2 (as if 1 mm thick)."""
        return self.voxels * float(np.prod(self.spacing_mm))


def cropped(labels: np.ndarray) -> np.ndarray:
    """The box of what is not 0; an empty array if there is nothing."""
    found = np.nonzero(labels)
    if not found[0].size:
        return labels[tuple(slice(0, 0) for _ in labels.shape)]
    return labels[tuple(slice(int(along.min()), int(along.max()) + 1) for along in found)]


def cut_lesions(
    labels: np.ndarray,
    lesion_indices: Sequence[int],
    spacing_mm: Sequence[float],
    case: str,
    *,
    whole_only: bool = False,
) -> list[Lesion]:
    """The lesions of a label map: connected parts (corners connect) of the union of structures.

    Args:
        labels: structure indices (*S).
        whole_only: leave out lesions that touch the end of the grid, which may be cut off there.
    """
    wanted = np.where(np.isin(labels, lesion_indices), labels, 0).astype(np.uint8)
    wanted[labels == 0] = 0
    parts, _ = ndimage.label(wanted, structure=np.ones([3] * labels.ndim))
    lesions = []
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        at_end = any(b.start == 0 or b.stop == n for b, n in zip(box, labels.shape, strict=True))
        if not (whole_only and at_end):
            one = np.where(parts[box] == number, wanted[box], 0).astype(np.uint8)
            lesions.append(Lesion(one, tuple(float(s) for s in spacing_mm), case))
    return lesions


def same_shape(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two masks are one shape under a translation, mirroring or exchange of axes.

    That is: whether their Dice can be brought to 1 by those (8 in 2D, 48 in 3D).
    """
    a, b = cropped(first != 0), cropped(second != 0)
    if sorted(a.shape) != sorted(b.shape) or a.sum() != b.sum():
        return False
    for order in permutations(range(a.ndim)):
        turned = b.transpose(order)
        if turned.shape != a.shape:
            continue
        for flips in product((1, -1), repeat=a.ndim):
            if np.array_equal(a, turned[tuple(slice(None, None, f) for f in flips)]):
                return True
    return False


class LesionBank:
    """Lesions to draw from.

    Args:
        lesions: all of one dimension.
        structures: names of the structure indices, so that a saved bank says what they mean.
    """

    def __init__(self, lesions: Sequence[Lesion], structures: Sequence[str] = ()):
        self.lesions = tuple(lesions)
        self.structures = tuple(structures)
        dims = {lesion.labels.ndim for lesion in self.lesions}
        if len(dims) > 1:
            raise DataError(
                "lesion bank: lesions of 2 and of 3 dimensions are mixed, expected one kind. "
                "Make a bank for each."
            )
        empty = [lesion.case for lesion in self.lesions if lesion.voxels == 0]
        if empty:
            raise DataError(
                f"lesion bank: {len(empty)} lesions without a voxel, the first from {empty[0]}. "
                "Leave them out."
            )
        self._voxels = np.array([lesion.voxels for lesion in self.lesions])

    def __len__(self) -> int:
        return len(self.lesions)

    def __iter__(self) -> Iterator[Lesion]:
        return iter(self.lesions)

    @cached_property
    def volumes_mm3(self) -> np.ndarray:
        """The volume of each lesion, in order."""
        return np.array([lesion.volume_mm3 for lesion in self.lesions])

    @cached_property
    def indices(self) -> frozenset[int]:
        """The structure indices that its lesions have."""
        counts = sum(np.bincount(lesion.labels.ravel(), minlength=256) for lesion in self)
        return frozenset(int(i) for i in np.flatnonzero(counts)) - {0}

    def of_size(self, min_mm3: float = 0.0, max_mm3: float = np.inf) -> np.ndarray:
        """Indices of the lesions of this size. Raises DataError if there is none."""
        fits = np.flatnonzero((self.volumes_mm3 >= min_mm3) & (self.volumes_mm3 <= max_mm3))
        if not fits.size:
            raise DataError(
                f"lesion bank: none of {len(self)} lesions has {min_mm3:g} to {max_mm3:g} mm3. "
                "Take another range, or cut the bank from more cases."
            )
        return fits

    def sample(
        self, rng: np.random.Generator, min_mm3: float = 0.0, max_mm3: float = np.inf
    ) -> Lesion:
        """A random lesion of this size, all alike. Raises DataError if there is none."""
        return self.lesions[int(rng.choice(self.of_size(min_mm3, max_mm3)))]

    def holds(self, shape: np.ndarray) -> bool:
        """Whether a mask is one of the bank's shapes (translated, mirrored, axes exchanged)."""
        voxels = np.count_nonzero(shape)
        return any(
            same_shape(shape, self.lesions[i].labels)
            for i in np.flatnonzero(self._voxels == voxels)
        )

    def save(self, path: Path | str) -> Path:
        """Write it as .npz; nothing in the file needs pickle."""
        path = Path(path)
        arrays = {
            "format": np.array(_FORMAT),
            "structures": np.array(self.structures, dtype=np.str_),
            "cases": np.array([lesion.case for lesion in self.lesions], dtype=np.str_),
            "shapes": np.array([lesion.labels.shape for lesion in self.lesions], dtype=np.int64),
            "spacing_mm": np.array([lesion.spacing_mm for lesion in self.lesions], dtype=float),
            "labels": np.concatenate(
                [np.zeros(0, np.uint8), *(lesion.labels.ravel() for lesion in self.lesions)]
            ),
        }
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return path

    @classmethod
    def load(cls, path: Path | str) -> LesionBank:
        """Read what `save` wrote. Raises DataError on any other file."""
        try:
            with zipfile.ZipFile(path) as archive:
                if sum(member.file_size for member in archive.infolist()) > _LARGEST_BYTES:
                    raise ValueError("it unpacks to more than 4 GiB")
            with np.load(path, allow_pickle=False) as file:
                return cls(*_unpack({name: file[name] for name in file.files}))
        except FileNotFoundError:
            raise DataError(f"{path}: no such file. Save a bank there first.") from None
        except (
            *(OSError, EOFError, KeyError, ValueError, MemoryError, NotImplementedError),
            *(RuntimeError, SyntaxError, zipfile.BadZipFile, zlib.error),
        ) as error:
            raise DataError(
                f"{path}: not a lesion bank ({error}). Cut the bank again and save it."
            ) from error


def _unpack(arrays: dict[str, np.ndarray]) -> tuple[list[Lesion], tuple[str, ...]]:
    """Lesions and structure names from a file's arrays; ValueError if they don't agree."""
    kinds = {"format": "U", "structures": "U", "cases": "U", "shapes": "i", "spacing_mm": "f"}
    for name, kind in (kinds | {"labels": "u"}).items():
        if not isinstance(arrays.get(name), np.ndarray):
            raise ValueError(f"it has no array {name}")
        if arrays[name].dtype.kind != kind:
            raise ValueError(f"{name} is of type {arrays[name].dtype}")
    if arrays["format"].shape != () or str(arrays["format"]) != _FORMAT:
        raise ValueError("it is of another format")
    cases, shapes, steps = arrays["cases"], arrays["shapes"], arrays["spacing_mm"]
    flat = arrays["labels"]
    if flat.dtype != np.uint8 or flat.ndim != 1 or cases.ndim != 1:
        raise ValueError("its labels or cases have the wrong form")
    if not len(cases):
        if flat.size or shapes.size:
            raise ValueError("it has shapes without cases")
        return [], tuple(map(str, arrays["structures"].ravel()))
    if shapes.shape not in ((len(cases), 2), (len(cases), 3)) or steps.shape != shapes.shape:
        raise ValueError("its shapes, spacings and cases differ in number")
    if (shapes < 1).any() or (shapes > 1 << 20).any():
        raise ValueError("a box has no size, or too much")
    if not (np.isfinite(steps).all() and (steps > 0).all()):
        raise ValueError("a spacing is not a positive length")
    sizes = [math.prod(map(int, shape)) for shape in shapes]
    if sum(sizes) != flat.size:
        raise ValueError("its boxes and labels differ in size")
    lesions, start = [], 0
    for case, shape, step, size in zip(cases, shapes, steps, sizes, strict=True):
        box = flat[start : start + size].reshape(shape)
        lesions.append(Lesion(box, tuple(map(float, step)), str(case)))
        start += size
    return lesions, tuple(map(str, arrays["structures"].ravel()))
