"""One case, from its files to a `Scan` and back; every problem of the case is found at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from scansmith.io.nifti import read_nifti, write_nifti
from scansmith.io.png import read_png, read_png_labels
from scansmith.scan import CaseFiles, DataError, Problem, Scan

Reader = Callable[[Path], tuple[np.ndarray, np.ndarray]]

#: File name ending -> what reads an image: (array, affine). To add a format, add a line.
READERS: dict[str, Reader] = {".nii.gz": read_nifti, ".nii": read_nifti, ".png": read_png}
#: The same for label maps.
LABEL_READERS: dict[str, Reader] = READERS | {".png": read_png_labels}


class Coding(Protocol):
    """Which label values may occur; a `LabelTable` is one."""

    @property
    def values(self) -> tuple[int, ...]:
        """The values that are written."""

    @property
    def known(self) -> frozenset[int]:
        """The values that may be read."""


# Two grids are the same if no corner is further apart than this share of a voxel: single-precision
# headers and quaternions round by less, a true shift is at least half a voxel.
_CORNER_TOLERANCE = 0.05


def suffix_of(path: Path, known: Mapping[str, Reader] = READERS) -> str:
    """The ending of a file name as `READERS` has it; "" if nothing here reads it."""
    name = Path(path).name.lower()
    return next((ending for ending in known if name.endswith(ending)), "")


def read_scan(
    files: CaseFiles | Path | str,
    labels: Path | str | None = None,
    table: Coding | None = None,
) -> Scan:
    """Read one case whole.

    Args:
        files: the files of a case, or the path of one image. One path for several modalities is a
            4D file with the modalities last.
        labels: path of the label map when `files` is a path.
        table: label values that may occur; None: any whole number.
    Returns:
        Image (C, i, j, k) in the file's units (HU for CT), labels (i, j, k) in its own values.
    Raises:
        DataError: with every problem of the case.
    """
    if not isinstance(files, CaseFiles):
        path = Path(files)
        name = path.name[: len(path.name) - len(suffix_of(path))]
        files = CaseFiles(name, {"image": path}, Path(labels) if labels else None)
    problems: list[Problem] = []
    images = _read_images(files, problems)
    label_map = _read_labels(files, table, problems)
    found = [*images, *([label_map] if label_map else [])]
    for name, array, affine in found[1:]:
        problems += compare_grids(files.case, found[0], (name, array, affine))
    if problems:
        raise DataError(problems)
    if not found:
        raise DataError(Problem(files.case, "missing", "the case has no files", "Leave it out"))
    _, first, affine = found[0]
    stack = _stack([array for _, array, _ in images]) if images else np.empty((0, *first.shape))
    return Scan(
        case=files.case,
        image=stack,
        affine=affine,
        modalities=tuple(files.images),
        labels=label_map[1] if label_map else None,
        patient=files.patient,
    )


def read_labels(path: Path | str) -> np.ndarray:
    """A label map alone, (i, j, k), whole numbers. Raises DataError."""
    problems: list[Problem] = []
    found = _read_labels(CaseFiles(Path(path).name, {}, Path(path)), None, problems)
    if problems or found is None:
        raise DataError(problems)
    return found[1]


def write_scan(
    scan: Scan, image: Path | Mapping[str, Path], labels: Path | None = None
) -> list[Path]:
    """Write a scan as NIfTI; `scan.notes["description"]` goes into the headers.

    Args:
        image: one path (4D with the modalities last if there are several), or one a modality.
        labels: where the labels go; None leaves them out.
    Returns:
        The files, images first.
    Raises:
        DataError: a modality has no path, or the description is longer than 79 bytes.
        RunError: a file cannot be written.
    """
    pathless = [m for m in scan.modalities if isinstance(image, Mapping) and m not in image]
    if pathless:
        raise DataError(
            f"{scan.case}: no path for {', '.join(pathless)}, expected one for each of "
            f"{', '.join(scan.modalities)}. Name them all."
        )
    description = str(scan.notes.get("description", ""))
    if isinstance(image, Mapping):
        stacks = [(image[name], scan.image[c]) for c, name in enumerate(scan.modalities)]
    else:
        whole = scan.image[0] if len(scan.image) == 1 else np.moveaxis(scan.image, 0, -1)
        stacks = [(image, whole)]
    written = [write_nifti(path, array, scan.affine, description) for path, array in stacks]
    if labels is not None and scan.labels is not None:
        written.append(write_nifti(labels, scan.labels, scan.affine, description))
    return written


def _stack(arrays: list[np.ndarray]) -> np.ndarray:
    """(C, i, j, k) with i quickest in memory, as files have it: no transposition while copying."""
    i, j, k = arrays[0].shape
    stack = np.empty((len(arrays), k, j, i), dtype=np.result_type(*arrays)).transpose(0, 3, 2, 1)
    for c, array in enumerate(arrays):
        stack[c] = array
    return stack


Named = tuple[str, np.ndarray, np.ndarray]


class _Place(NamedTuple):
    """Where a problem is: the case, and the file (or modality) of it."""

    case: str
    part: str

    def problem(self, kind: str, found: str, remedy: str) -> Problem:
        return Problem(self.case, kind, f"{self.part}: {found}", remedy)


def compare_grids(case: str, one: Named, other: Named) -> list[Problem]:
    """What differs between the grids of two named arrays with affines: shape, place, or nothing."""
    (name, array, affine), (other_name, other_array, other_affine) = one, other
    if array.shape != other_array.shape:
        found = f"{name} grid {array.shape} and {other_name} grid {other_array.shape} differ"
        remedy = f"Resample {other_name} onto {name} (labels: nearest neighbour)"
        return [Problem(case, "grid", found, remedy)]
    apart = corners_apart_mm(array.shape, affine, other_affine)
    step = np.linalg.norm(affine[:3, :3], axis=0).min()
    if apart <= _CORNER_TOLERANCE * step:
        return []
    found = f"the affines of {name} and {other_name} differ, by up to {apart:.3g} mm at a corner"
    remedy = "Resample one onto the other, or correct the header that is wrong"
    return [Problem(case, "affine", found, remedy)]


def corners_apart_mm(shape: tuple[int, ...], affine: np.ndarray, other: np.ndarray) -> float:
    """Largest distance between where two affines put a corner voxel of one grid."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape[:3]])).reshape(3, -1)
    corners = np.vstack([corners, np.ones(corners.shape[1])])
    return float(np.linalg.norm(((affine - other) @ corners)[:3], axis=0).max())


def _read_images(files: CaseFiles, problems: list[Problem]) -> list[Named]:
    paths, names = list(files.images.values()), list(files.images)
    stacked = len(paths) > 1 and len(set(paths)) == 1
    found: list[Named] = []
    for path in paths[:1] if stacked else paths:
        where = _Place(files.case, path.name)
        array, affine = _read(path, where, READERS, problems)
        if array is None or affine is None:
            continue
        if stacked:
            parts = _split_modalities(where, array, names, problems)
        else:
            name = next(key for key, value in files.images.items() if value == path)
            parts = [(name, volume) for volume in _volume(where, array, problems)]
        for name, volume in parts:
            problems += _bad_values(_Place(files.case, name) if stacked else where, volume)
            found.append((f"{name} image" if name != "image" else "image", volume, affine))
    return found


def _read_labels(files: CaseFiles, table: Coding | None, problems: list[Problem]) -> Named | None:
    if files.labels is None:
        return None
    where = _Place(files.case, files.labels.name)
    array, affine = _read(files.labels, where, LABEL_READERS, problems)
    volumes = _volume(where, array, problems) if array is not None else []
    if not volumes or affine is None:
        return None
    wrong, labels = _whole_numbers(where, volumes[0])
    if not wrong and table is not None:
        wrong = _unknown_values(where, labels, table)
    problems += wrong
    return "labels", labels, affine


def _read(
    path: Path, where: _Place, readers: Mapping[str, Reader], problems: list[Problem]
) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    suffix = suffix_of(path, readers)
    try:
        if suffix:
            return readers[suffix](path)
        found = f"no reader for this kind of file, expected {', '.join(readers)}"
        problems.append(where.problem("unreadable", found, "Convert it to NIfTI"))
    except DataError as error:
        problems += [where.problem(p.kind, p.found, p.remedy) for p in error.problems]
    return None, None


def _volume(where: _Place, array: np.ndarray, problems: list[Problem]) -> list[np.ndarray]:
    """The array as one (i, j, k) volume, or nothing and a problem."""
    shape = array.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    shape = (*shape, 1) if len(shape) == 2 else shape
    if len(shape) == 3:
        return [array.reshape(shape, order="A")]
    found = f"the file is {len(shape)}D, {shape}, expected one volume (i, j, k)"
    remedy = "Split it into one file a modality, or name its channels in dataset.json"
    problems.append(where.problem("dimensions", found, remedy))
    return []


def _split_modalities(
    where: _Place, array: np.ndarray, names: list[str], problems: list[Problem]
) -> list[tuple[str, np.ndarray]]:
    if array.ndim == 5 and array.shape[3] == 1:  # NIfTI's own place for vectors is the fifth axis
        array = array[:, :, :, 0]
    if array.ndim == 4 and array.shape[3] == len(names):
        return [(name, array[..., c]) for c, name in enumerate(names)]
    found = (
        f"the file has shape {array.shape}, expected 4D with {len(names)} channels last "
        f"({', '.join(names)})"
    )
    problems.append(where.problem("channels", found, "Correct the file or dataset.json"))
    return []


def _bad_values(where: _Place, volume: np.ndarray) -> list[Problem]:
    if volume.dtype.kind == "f" and not np.isfinite(volume).all():
        bad = int((~np.isfinite(volume)).sum())
        found = f"{bad} voxels of {volume.size} are NaN or infinite, expected finite numbers"
        remedy = "Replace them by the background value if they lie outside the body"
        return [where.problem("nonfinite", found, remedy)]
    if volume.size and volume.min() == volume.max():
        found = f"the image is constant, every voxel is {volume.flat[0]:g}"
        return [where.problem("constant", found, "Export it again or leave the case out")]
    return []


def _whole_numbers(where: _Place, labels: np.ndarray) -> tuple[list[Problem], np.ndarray]:
    """Labels in the smallest whole-number type; files that hold them as floats are fine."""
    if labels.dtype == np.uint8:
        return [], labels
    broken = labels[~np.isfinite(labels) | (labels != np.rint(labels))]
    if broken.size:
        found = f"label value {broken[0]:g} is not a whole number"
        remedy = "Resample labels with nearest neighbour"
        return [where.problem("labels", found, remedy)], labels
    low, high = labels.min(), labels.max()
    for dtype in (np.uint8, np.int16, np.int32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return [], labels.astype(dtype)
    found = f"label values {low:g} to {high:g} are no label codes"
    return [where.problem("labels", found, "Check that this file is a label map")], labels


def _unknown_values(where: _Place, labels: np.ndarray, table: Coding) -> list[Problem]:
    unknown = sorted(set(values_of(labels)) - table.known)
    if not unknown:
        return []
    shown = ", ".join(map(str, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
    found = f"unknown label value {shown}, expected {', '.join(map(str, table.values))}"
    remedy = "Name it in labels.json beside the data, or correct the file"
    return [where.problem("label-value", found, remedy)]


def values_of(labels: np.ndarray) -> list[int]:
    """The values that occur in whole-number labels, ascending."""
    if labels.dtype == np.uint8:  # counting is far quicker than sorting, in parts that fit a cache
        flat, occurs = labels.ravel(order="K"), np.zeros(256, dtype=bool)
        for start in range(0, flat.size, 1 << 16):
            occurs |= np.bincount(flat[start : start + (1 << 16)], minlength=256) > 0
        return np.flatnonzero(occurs).tolist()
    return np.unique(labels).tolist()
