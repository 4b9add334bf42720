"""The store: prepared samples on disk, with all that a method or a writer must know of them.

STORE/store.json                 recipe, facts, label table, cases with split and codecs
STORE/cases/CASE/image.npy       int16 (N, C, *S): network range in 65535 levels
STORE/cases/CASE/labels.npy      uint8 (N, *S): structure indices
STORE/cases/CASE/counts.npy      int64 (N, K): pixels of each structure
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from scansmith.data.arrays import ArrayFile, unreadable
from scansmith.data.resample import from_standard
from scansmith.data.split import SPLITS
from scansmith.io.atomic import write_bytes, write_file
from scansmith.labels.table import LabelTable
from scansmith.recipe import Codec, Facts, Recipe
from scansmith.scan import DataError, Scan

FORMAT = 1
#: int16 that stands for the codec's background value, exactly.
BACKGROUND = np.int16(-32768)
#: Levels -32767..32767 carry the other values: rounding is below 1/131000 of their range.
_STEPS = 65534


@dataclass(frozen=True)
class Levels:
    """What int16 numbers of one modality of a case mean: `low` + (number + 32767) * `step`."""

    low: float
    step: float

    @staticmethod
    def of(network: np.ndarray, codec: Codec) -> Levels:
        """Levels from the codec's limits, or from the values where it has none."""
        low = float(network.min()) if codec.low is None else codec.low
        high = float(network.max()) if codec.high is None else codec.high
        return Levels(low, (high - low) / _STEPS if high > low else 1.0)

    def pack(self, network: np.ndarray) -> np.ndarray:
        """Network values to int16."""
        level = np.rint((network.astype(np.float64) - self.low) / self.step)
        return (np.clip(level, 0, _STEPS) - 32767).astype(np.int16)

    def unpack(self, packed: np.ndarray, background: float | None) -> np.ndarray:
        """int16 to network values, float32; never outside the range that was packed."""
        network = packed.astype(np.float32)
        network += 32767
        network *= np.float32(self.step)
        network += np.float32(self.low)
        np.minimum(network, np.float32(self.low + _STEPS * self.step), out=network)
        if background is not None:
            network[packed == BACKGROUND] = background
        return network


@dataclass(frozen=True, eq=False)
class StoredCase:
    """One prepared case.

    Attributes:
        samples: N; slices from feet to head for 2D methods, 1 volume for 3D ones.
        left_out: sample numbers that training never draws (too little in them). They stay in the
            store so that the case is whole.
        grid_mm: one step along D, H, W.
        affine: (4, 4), index (W, H, D) of the prepared grid to millimetres, RAS+.
        scanned: first and end along each of *S of what the source scan covers; round it the grid is
            padded. (): the whole grid.
        axis_codes: orientation of the source file, for example "RAS".
        codecs, levels: one for each modality.
        labelled: False if the source has no labels, or nothing is labelled in it.
        labels_kept: share of the labelled volume that lies on the grid, 0 to 1; None: not known.
        sha256: of image and labels.
    """

    case: str
    patient: str
    split: str
    samples: int
    left_out: tuple[int, ...]
    grid_mm: tuple[float, float, float]
    affine: np.ndarray
    scanned: tuple[tuple[int, int], ...]
    axis_codes: str
    codecs: tuple[Codec, ...]
    levels: tuple[Levels, ...]
    labelled: bool
    dims: int
    sha256: str
    labels_kept: float | None = None

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Millimetres of one step along *S: (H, W) or (D, H, W)."""
        return self.grid_mm[3 - self.dims :]

    def cut(self, array: np.ndarray) -> np.ndarray:
        """An array (..., *S) without the grid's padding round the scan."""
        box: tuple[Any, ...] = (..., *(slice(first, end) for first, end in self.scanned))
        return array[box]

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return vars(self) | {
            "affine": self.affine.tolist(),
            "codecs": [codec.model_dump() for codec in self.codecs],
            "levels": [vars(levels) for levels in self.levels],
        }

    @staticmethod
    def from_dict(plain: Mapping[str, Any]) -> StoredCase:
        """The way back from JSON."""
        return StoredCase(
            **dict(plain)
            | {
                "left_out": tuple(plain["left_out"]),
                "grid_mm": tuple(plain["grid_mm"]),
                "affine": np.array(plain["affine"], dtype=np.float64),
                "scanned": tuple((first, end) for first, end in plain.get("scanned", ())),
                "codecs": tuple(Codec(**codec) for codec in plain["codecs"]),
                "levels": tuple(Levels(**levels) for levels in plain["levels"]),
            }
        )


@dataclass(frozen=True, eq=False)
class Store:
    """A finished store. Reading never decodes anything, and leaves no file open.

    Attributes:
        path: its folder; it may be moved, and be read-only.
        table: the structures kept, with the values of the source data set.
        cases: by name, in the order of names.
        left_out: cases without a sample for this recipe.
        source: layout and file signatures of the data set it was made from.
    """

    path: Path
    recipe: Recipe
    facts: Facts
    table: LabelTable
    cases: Mapping[str, StoredCase]
    left_out: tuple[str, ...]
    source: Mapping[str, Any]

    @staticmethod
    def open(path: Path | str) -> Store:
        """Open a store.

        Raises:
            DataError: there is none, it is not finished, or parts are gone.
        """
        path = Path(path)
        try:
            plain = json.loads((path / "store.json").read_text(encoding="utf-8"))
            if plain["format"] != FORMAT:
                raise DataError(
                    f"{path}: found store format {plain['format']}, expected {FORMAT}. Prepare the "
                    "data set again into a new folder with this version of scansmith."
                )
            cases = {each["case"]: StoredCase.from_dict(each) for each in plain["cases"]}
            store = Store(
                path=path,
                recipe=Recipe(**plain["recipe"]),
                facts=Facts(**plain["facts"]),
                table=LabelTable({int(v): name for v, name in plain["table"].items()}),
                cases=cases,
                left_out=tuple(plain["left_out"]),
                source=plain["source"],
            )
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(
                f"{path}: no finished store here (store.json is missing). Run `scansmith data "
                "prepare` with this folder; if it was interrupted it goes on."
            ) from None
        except OSError as error:
            raise unreadable(path / "store.json", error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path / 'store.json'}: cannot be read as a store ({error}). Delete the folder "
                "and run `scansmith data prepare` again."
            ) from error
        store._find_arrays()
        return store

    def names(self, split: str) -> tuple[str, ...]:
        """Cases of "train", "validation" or "test", or of "all"."""
        if split not in (*SPLITS, "all"):
            raise DataError(f"split: found {split!r}. Choose one of {', '.join(SPLITS)} or all.")
        return tuple(n for n, case in self.cases.items() if split in (case.split, "all"))

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Millimetres of one step along *S, the median over the cases."""
        steps = np.median([case.spacing_mm for case in self.cases.values()], axis=0)
        return tuple(float(step) for step in steps)

    @property
    def cut_labels(self) -> dict[str, float]:
        """Cases of which the grid leaves less than 95 % of the labelled volume -> that share."""
        kept = {name: case.labels_kept for name, case in self.cases.items()}
        return {name: share for name, share in kept.items() if share is not None and share < 0.95}

    @property
    def cut_note(self) -> str:
        """That the grid cuts labels away, and what helps; "" if it does not."""
        if not self.cut_labels:
            return ""
        worst, share = min(self.cut_labels.items(), key=lambda item: item[1])
        return (
            f"The grid cuts labels away in {len(self.cut_labels)} case(s): of {worst} it keeps "
            f"{100 * share:.0f} % of what is labelled. Where that matters, prepare again on a "
            "larger grid (data.size)."
        )

    def codec(self, case: str, modality: int = 0) -> Codec:
        """The intensity codec of one modality of one case."""
        return self._case(case).codecs[modality]

    def sample(self, case: str, sample: int) -> tuple[np.ndarray, np.ndarray]:
        """One sample: image float32 (C, *S) in network range, labels uint8 (*S). Copies."""
        images, labels = self._arrays(case)
        if not 0 <= sample < len(images):
            raise DataError(
                f"{case}: no sample {sample}; it has 0 to {len(images) - 1}. Choose one."
            )
        return self._unpack(case, images.part(sample), axis=0), labels.part(sample)

    def volume(self, case: str) -> tuple[np.ndarray, np.ndarray]:
        """All samples: image float32 (N, C, *S) in network range, labels uint8 (N, *S). Copies."""
        images, labels = self._arrays(case)
        return self._unpack(case, images.whole(), axis=1), labels.whole()

    def lowest(self, case: str) -> np.ndarray:
        """The lowest raw value of each modality anywhere in a case: float32 (C,)."""
        if case not in self._lows:
            image, codecs = self.volume(case)[0], self._case(case).codecs
            lows = [codec.decode(image[:, c]).min() for c, codec in enumerate(codecs)]
            self._lows[case] = np.array(lows, np.float32)
        return self._lows[case]

    def counts(self, case: str) -> np.ndarray:
        """Pixels of each structure in each sample: int64 (N, K)."""
        self._case(case)
        return ArrayFile.find(self.path / "cases" / case / "counts.npy").whole()

    def scan(
        self,
        case: str,
        image: np.ndarray,
        labels: np.ndarray | None,
        name: str | None = None,
        first: int | None = None,
    ) -> Scan:
        """A scan from samples on this case's grid: raw units, the source's orientation and values.

        The grid's padding round what the source scan covers is cut away. Regions that preparing
        added to the labels are background in it. Nothing is darker than the case is anywhere: MR
        has no values below its air.

        Args:
            image: (N, C, *S) in network range.
            labels: (N, *S) structure indices; None for an image without labels.
            name: of the new scan; the case's own if None.
            first: sample number of the first of some samples that follow each other; None: the
                arrays hold all of the case.
        Raises:
            DataError: the arrays are not on the case's grid.
        """
        stored = self._case(case)
        self._same_grid(case, image, labels, first)
        image = stored.cut(image)
        raw = np.stack(
            [
                np.maximum(codec.decode(image[:, c]), low)
                for c, (codec, low) in enumerate(zip(stored.codecs, self.lowest(case), strict=True))
            ]
        )
        starts = [begin for begin, _ in stored.scanned] or [0] * stored.dims
        start = stored.affine.copy()
        start[:3, 3] += start[:3, :3] @ [first or 0, *starts][:-4:-1]
        turned, affine = from_standard(self._as_volume(raw), start, stored.axis_codes)
        values = None
        if labels is not None:
            labels = stored.cut(labels)
            named = np.where(labels < len(self.table.written.values), labels, 0)
            decoded = self._as_volume(self.table.written.decode(named)[None])[0]
            values, _ = from_standard(decoded, start, stored.axis_codes)
        new = case if name is None else name
        return Scan(new, turned, affine, self.facts.modalities, values, stored.patient)

    def _as_volume(self, array: np.ndarray) -> np.ndarray:
        """(C, N, *S) to (C, D, H, W)."""
        return array if self.recipe.dims == 2 else array[:, 0]

    def _same_grid(
        self, case: str, image: np.ndarray, labels: np.ndarray | None, first: int | None
    ) -> None:
        left = self._case(case).samples - (first or 0)
        grid = (left if first is None else min(len(image), left), *self.recipe.size)
        wanted = (grid[0], len(self.facts.modalities), *grid[1:])
        if image.shape != wanted or (labels is not None and labels.shape != grid):
            found = "none" if labels is None else labels.shape
            raise DataError(
                f"{case}: image {image.shape} and labels {found}, expected {wanted} and {grid}. "
                "Hand in all samples of the case, on its prepared grid."
            )

    def _case(self, case: str) -> StoredCase:
        if case not in self.cases:
            raise DataError(f"{self.path}: no case {case!r}. It has {_some(self.cases)}.")
        return self.cases[case]

    def _unpack(self, case: str, packed: np.ndarray, axis: int) -> np.ndarray:
        stored = self._case(case)
        network = np.empty(packed.shape, dtype=np.float32)
        for c, (levels, codec) in enumerate(zip(stored.levels, stored.codecs, strict=True)):
            one = (slice(None),) * axis + (c,)
            network[one] = levels.unpack(packed[one], codec.background)
        return network

    @cached_property
    def _lows(self) -> dict[str, np.ndarray]:
        return {}

    @cached_property
    def _array_files(self) -> dict[str, tuple[ArrayFile, ArrayFile]]:
        return {}

    def _arrays(self, case: str) -> tuple[ArrayFile, ArrayFile]:
        """Images and labels of a case; where they lie is looked up once."""
        if case not in self._array_files:
            self._case(case)
            folder = self.path / "cases" / case
            images = ArrayFile.find(folder / "image.npy")
            self._array_files[case] = images, ArrayFile.find(folder / "labels.npy")
        return self._array_files[case]

    def _find_arrays(self) -> None:
        files = ("image.npy", "labels.npy", "counts.npy")
        gone = [
            f"cases/{case}/{file}"
            for case in self.cases
            for file in files
            if not (self.path / "cases" / case / file).is_file()
        ]
        if gone:
            raise DataError(
                f"{self.path}: {len(gone)} file(s) of the store are gone, the first is {gone[0]}. "
                "Copy the store again, or delete it and prepare it again."
            )


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array as .npy, whole or not at all."""
    write_file(path, lambda file: np.save(file, array, allow_pickle=False))


def write_json(path: Path, plain: Mapping[str, Any]) -> None:
    """Write plain data as JSON, whole or not at all."""
    text = json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode())


def _some(names: Mapping[str, Any]) -> str:
    first = ", ".join(list(names)[:5])
    return first if len(names) <= 5 else f"{first} and {len(names) - 5} more"
