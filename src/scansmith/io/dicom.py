"""A DICOM series of single-frame CT or MR slices: one volume in raw units, and where it lies.

Geometry: DICOM counts millimetres to the patient's left, back and head (LPS), NIfTI to the right,
front and head (RAS). array[i, j, k] is column i, row j, slice k; slices are ordered along the
normal (row direction x column direction) by ImagePositionPatient, and their distance is taken from
there, not from SliceThickness, which differs where slices overlap or have gaps.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError

from scansmith.scan import DataError, Problem, Scan

_ENDINGS = (".dcm", ".dicom", ".ima")
_NO_IMAGE = ("SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "SR", "PR", "KO", "REG")
_NEEDED = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
_NUMBERS = {
    "ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2, "Rows": 1,
    "Columns": 1, "RescaleSlope": 1, "RescaleIntercept": 1, "NumberOfFrames": 1,
    "InstanceNumber": 1, "SpacingBetweenSlices": 1, "SliceThickness": 1,
}  # fmt: skip
_WORDS = (
    "Modality", "PhotometricInterpretation", "BurnedInAnnotation", "SeriesInstanceUID",
    "FrameOfReferenceUID",
)  # fmt: skip
_BROKEN = (ValueError, TypeError, KeyError, AttributeError, OverflowError, struct.error)
_UNREADABLE = (OSError, EOFError, RuntimeError, InvalidDicomError, BytesLengthException, *_BROKEN)
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Series:
    """A series as a scan, with what is needed to find the masks of its slices.

    Attributes:
        scan: case "series"; nothing in it tells who the patient is.
        files, instances: names and InstanceNumbers of the slices, in the order of k.
        slices: their headers, without pixels.
    """

    scan: Scan
    files: tuple[str, ...]
    instances: tuple[int | None, ...]
    slices: tuple[pydicom.Dataset, ...]


def read_series(folder: Path | str) -> Scan:
    """The one series in a folder as a scan; CT in HU.

    Raises:
        DataError: with every problem: no or several series, missing or doubled slices, colour,
            inverted grey, burnt-in text, slices that do not stack into a straight volume.
    """
    return open_series(folder).scan


def open_series(folder: Path | str) -> Series:
    """Like `read_series`, with the headers of the slices."""
    folder = Path(folder)
    slices = _read_slices(folder)
    _refuse(_unusable(folder, slices))
    _refuse(_differing(folder, slices))
    slices, heights = _in_order(slices)
    _refuse(_badly_stacked(folder, slices, heights))
    modality = str(slices[0].Modality).lower()
    volume = np.stack([_pixels(folder, one) for one in slices], axis=-1)
    if (volume == np.rint(volume)).all() and np.abs(volume).max() < 2**15:
        volume = volume.astype(np.int16)
    scan = Scan("series", volume[None], _affine(slices, heights), (modality,))
    for one in slices:
        if "PixelData" in one:
            del one.PixelData
    names = tuple(Path(str(one.filename)).name for one in slices)
    numbers = tuple(int(n) if (n := one.get("InstanceNumber")) else None for one in slices)
    return Series(scan, names, numbers, tuple(slices))


def is_dicom(path: Path) -> bool:
    """Whether a file has DICOM's mark after its preamble."""
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def looks_like_dicom(path: Path) -> bool:
    """Whether a file has DICOM's mark, or is named as if it had: old files have none."""
    return path.name.lower().endswith(_ENDINGS) or is_dicom(path)


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise DataError(problems)


def _read_slices(folder: Path) -> list[pydicom.Dataset]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder. Give the folder of one DICOM series.")
    slices: list[pydicom.Dataset] = []
    problems: list[Problem] = []
    for path in sorted(p for p in folder.iterdir() if p.is_file() and p.name[0] != "."):
        if not looks_like_dicom(path):
            continue
        try:
            one = pydicom.dcmread(path)
            _parse(one)
        except _UNREADABLE as error:
            found = f"{path.name} is not a readable DICOM file ({error})"
            problems.append(Problem(folder.name, "unreadable", found, "Copy it again"))
            continue
        if "Rows" in one and str(one.get("Modality", "")) not in _NO_IMAGE:
            slices.append(one)
    _refuse(problems)
    if not slices:
        found = "no DICOM images are in this folder"
        raise DataError(Problem(folder.name, "empty", found, "Give the folder of one series"))
    return slices


def _parse(one: pydicom.Dataset) -> None:
    """Have every element that is used decoded now, where the file's name is at hand."""
    for name in (*_NUMBERS, *_WORDS):
        value = one.get(name)
        if name in _NUMBERS and value is not None:
            numbers = np.atleast_1d(np.asarray(value, dtype=float))
            if numbers.shape != (_NUMBERS[name],) or not np.isfinite(numbers).all():
                raise ValueError(f"{name} is {value}")


def _unusable(folder: Path, slices: Sequence[pydicom.Dataset]) -> list[Problem]:
    """What rules out single slices, each kind told once with the first file it concerns."""
    found: dict[str, list[str]] = {}
    for one in slices:
        for what in _faults(one):
            found.setdefault(what, []).append(Path(str(one.filename)).name)
    series = {str(one.get("SeriesInstanceUID", "")) for one in slices}
    problems = [
        Problem(folder.name, "dicom", f"{what} ({len(names)} files, first {names[0]})", remedy)
        for (what, names) in found.items()
        for remedy in ["Export the original axial slices again, or leave the series out"]
    ]
    if len(series) > 1:
        remedy = "Put each series into a folder of its own"
        what = f"{len(series)} series are in this folder, expected one"
        problems.append(Problem(folder.name, "series", what, remedy))
    return problems


def _faults(one: pydicom.Dataset) -> list[str]:
    missing = [name for name in _NEEDED if one.get(name) is None]
    faults = [f"{', '.join(missing)} missing in the header"] if missing else []
    if one.get("Modality") not in ("CT", "MR"):
        faults.append("modality is neither CT nor MR")
    if one.get("Modality") == "CT" and one.get("RescaleIntercept") is None:
        faults.append("CT without RescaleIntercept, so that values are no HU")
    photometric = one.get("PhotometricInterpretation", "MONOCHROME2")
    if photometric != "MONOCHROME2":
        # MONOCHROME1 is a picture made for a light box; as a measurement its values are doubtful.
        faults.append(f"photometric interpretation is {photometric}, expected MONOCHROME2")
    if int(one.get("NumberOfFrames") or 1) > 1:
        faults.append("several frames in one file, expected one slice a file")
    if one.get("BurnedInAnnotation") == "YES":
        faults.append("text is burnt into the pixels (BurnedInAnnotation), which may name a person")
    if "PixelData" not in one:
        faults.append("no pixel data")
    return faults


def _differing(folder: Path, slices: Sequence[pydicom.Dataset]) -> list[Problem]:
    """Slices of another size or direction than the first."""
    problems = []
    for name in ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "Modality"):
        first = slices[0].get(name)
        other = [one for one in slices if not _alike(one.get(name), first)]
        if other:
            names = f"{Path(str(other[0].filename)).name} and {len(other) - 1} others"
            found = f"{name} differs between slices: {other[0].get(name)} in {names}, else {first}"
            remedy = "Take localisers and other directions out of the folder"
            problems.append(Problem(folder.name, "series", found, remedy))
    return problems


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return bool(one == other)
    return np.allclose(np.asarray(one, float), np.asarray(other, float), atol=1e-3)


def _in_order(slices: list[pydicom.Dataset]) -> tuple[list[pydicom.Dataset], np.ndarray]:
    """Slices along their normal, and how far along it each lies, in millimetres."""
    heights = np.array([float(np.dot(_position(one), _normal(one))) for one in slices])
    order = np.argsort(heights, kind="stable")
    return [slices[n] for n in order], heights[order]


def _badly_stacked(
    folder: Path, slices: Sequence[pydicom.Dataset], heights: np.ndarray
) -> list[Problem]:
    """Doubled, missing, unevenly spaced or sheared slices."""
    steps = np.diff(heights)
    names = [Path(str(one.filename)).name for one in slices]
    pairs = list(zip(names, names[1:], steps, strict=False))
    doubled = [pair for pair in pairs if pair[2] < 1e-3]
    step = float(np.median(steps[steps >= 1e-3])) if (steps >= 1e-3).any() else 0.0
    missing = [pair for pair in pairs if pair[2] > 1.5 * step and step]
    # Headers round positions to 0.1 mm or so; more than a tenth of a step is another distance.
    uneven = [p for p in pairs if 1e-3 <= p[2] <= 1.5 * step and abs(p[2] - step) > 0.1 * step]
    apart = "lie {0:.3g} mm apart, others {1:.3g} mm"
    told = [
        (doubled, "duplicate slice", "lie at one position", "Remove the copy"),
        (missing, "missing slice", apart, "Add what is missing"),
        (uneven, "uneven slices", apart, "Resample the series first"),
    ]
    problems = []
    for pairs, kind, text, remedy in told:
        for one, other, gap in pairs:
            found = f"{kind}: {one} and {other} {text.format(gap, step)}"
            problems.append(Problem(folder.name, kind.replace(" ", "-"), found, remedy))
    normal, start = _normal(slices[0]), _position(slices[0])
    drift = [
        _position(one) - start - normal * (height - heights[0])
        for one, height in zip(slices, heights, strict=True)
    ]
    if np.linalg.norm(drift, axis=1).max() > 0.5 * min(_spacing(slices[0])):
        found = (
            "the stack of slices is sheared (gantry tilt), expected each straight above the last"
        )
        problems.append(Problem(folder.name, "tilt", found, "Resample it to a straight grid first"))
    return problems


def _pixels(folder: Path, one: pydicom.Dataset) -> np.ndarray:
    """One slice (columns, rows) in raw units, float32."""
    try:
        stored = one.pixel_array
    except _UNREADABLE as error:
        found = f"the pixels of {Path(str(one.filename)).name} cannot be decoded ({error})"
        remedy = "Copy the file again, or export the series uncompressed"
        raise DataError(Problem(folder.name, "unreadable", found, remedy)) from error
    slope, intercept = one.get("RescaleSlope"), one.get("RescaleIntercept")
    slope = 1.0 if slope is None else float(slope)
    return (stored.T * slope + float(intercept or 0)).astype(np.float32)


def _affine(slices: Sequence[pydicom.Dataset], heights: np.ndarray) -> np.ndarray:
    """(4, 4), RAS+, of array[column, row, slice]."""
    first, count = slices[0], len(slices)
    if count > 1:
        step = (heights[-1] - heights[0]) / (count - 1)
    else:
        step = float(first.get("SpacingBetweenSlices") or first.get("SliceThickness") or 1.0)
    along_row, along_column = _directions(first)
    row_mm, column_mm = _spacing(first)
    affine = np.eye(4)
    affine[:3, 0] = along_row * column_mm
    affine[:3, 1] = along_column * row_mm
    affine[:3, 2] = _normal(first) * step
    affine[:3, 3] = _position(first)
    return _LPS_TO_RAS @ affine


def _directions(one: pydicom.Dataset) -> np.ndarray:
    """Unit vectors (2, 3), LPS: along a row (to the next column), along a column."""
    return np.asarray(one.ImageOrientationPatient, dtype=float).reshape(2, 3)


def _normal(one: pydicom.Dataset) -> np.ndarray:
    return np.cross(*_directions(one))


def _position(one: pydicom.Dataset) -> np.ndarray:
    return np.asarray(one.ImagePositionPatient, dtype=float)


def _spacing(one: pydicom.Dataset) -> tuple[float, float]:
    """Millimetres from row to row, from column to column."""
    row_mm, column_mm = one.PixelSpacing
    return float(row_mm), float(column_mm)
