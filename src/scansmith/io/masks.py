"""Masks of a DICOM series: a PNG for each slice, a NIfTI file, or a DICOM segmentation."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import numpy as np

from scansmith.io.dicom import Series, is_dicom
from scansmith.io.nifti import read_nifti
from scansmith.io.png import read_png_labels
from scansmith.io.scans import read_labels
from scansmith.scan import DataError, Problem

#: "In", in most programs' black and white pictures. A 1-bit picture is read as 0 and 1 anyway.
_WHITE = 255


def read_masks(
    path: Path | str, series: Series, named: Collection[int] = ()
) -> tuple[np.ndarray, dict[int, str]]:
    """Labels (i, j, k) on the series' grid, and the names of their values as far as they are known.

    Args:
        path: a folder with one PNG a slice (numbered like the slices), or with one NIfTI or
            DICOM-SEG file, or such a file. PNGs in black and white alone (0 and 255) become 0
            and 1; any other values are codes and stay as they are.
        named: values that are known to be codes: 255 stays 255 if it is one of them.
    Raises:
        DataError: masks and slices do not belong together.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder. Give the masks of the series.")
    files = sorted(p for p in path.iterdir() if p.name[0] != ".") if path.is_dir() else [path]
    pictures = [p for p in files if p.suffix.lower() == ".png"]
    if pictures:
        labels = _from_pictures(path, pictures, series)
        return (labels if _WHITE in named else _white_as_one(labels)), {}
    volumes = [p for p in files if p.name.lower().endswith((".nii", ".nii.gz"))]
    segmentations = [p for p in files if p.is_file() and p not in volumes and is_dicom(p)]
    if len(volumes) + len(segmentations) != 1:
        found = f"{len(volumes)} NIfTI and {len(segmentations)} DICOM files, expected one, or PNGs"
        raise DataError(Problem(path.name, "labels", found, "Give one file of masks"))
    if volumes:
        labels, (_, affine) = read_labels(volumes[0]), read_nifti(volumes[0])
        return _onto(volumes[0].name, labels, affine, series), {}
    return _from_segmentation(segmentations[0], series)


def _from_pictures(folder: Path, pictures: list[Path], series: Series) -> np.ndarray:
    slices = _matched(folder, pictures, series)
    shape = series.scan.image.shape[1:]
    labels = np.zeros(shape, dtype=np.uint8)
    problems = []
    for picture, k in zip(pictures, slices, strict=True):
        values, _ = read_png_labels(picture)
        if values.shape[:2] != shape[:2]:
            found = f"{picture.name} has {values.shape[:2]} pixels, its slice {shape[:2]}"
            problems.append(Problem(folder.name, "grid", found, "Export masks at the slices' size"))
        elif values.max() > 255:
            found = f"{picture.name} holds the value {values.max()}, expected at most 255"
            problems.append(
                Problem(folder.name, "labels", found, "Save the masks as 8-bit pictures")
            )
        else:
            labels[:, :, k] = values[:, :, 0]
    if problems:
        raise DataError(problems)
    return labels


def _white_as_one(labels: np.ndarray) -> np.ndarray:
    """White means "in" where it is the only value; any other value that is alone is a code."""
    white = labels == _WHITE
    return white.astype(np.uint8) if white.any() and not labels[~white].any() else labels


def _matched(folder: Path, pictures: list[Path], series: Series) -> list[int]:
    """The slice k of each picture, by a number that both names share or by InstanceNumber."""
    if len(pictures) != len(series.files):
        found = f"{len(pictures)} masks for {len(series.files)} slices, expected one each"
        remedy = "Add black masks for slices without structures"
        raise DataError(Problem(folder.name, "labels", found, remedy))
    slice_numbers = [_numbers(name) for name in series.files]
    fewest = min(len(numbers) for numbers in slice_numbers)
    keys: list[list[int | None]] = [[n[g] for n in slice_numbers] for g in range(fewest)]
    masks = [_numbers(picture.stem) for picture in pictures]
    for key in [*keys, list(series.instances)]:
        for group in range(min(len(numbers) for numbers in masks)):
            wanted = [numbers[group] for numbers in masks]
            if len(set(wanted)) == len(wanted) and set(wanted) == set(key):
                return [key.index(number) for number in wanted]
    found = "the numbers in the masks' names fit neither the slices' names nor InstanceNumber"
    remedy = f"Number the masks like the slices ({pictures[0].name}, {series.files[0]})"
    raise DataError(Problem(folder.name, "labels", found, remedy))


def _numbers(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]


def _onto(name: str, labels: np.ndarray, affine: np.ndarray, series: Series) -> np.ndarray:
    """Carry labels onto the series' grid, where they lie on it but for flipped or swapped axes.

    Raises:
        DataError: voxels lie between or outside those of the series.
    """
    scan = series.scan
    to_series = np.linalg.inv(scan.affine) @ affine
    turn = np.rint(to_series[:3, :3])
    straight = np.abs(turn).sum(axis=0).tolist() == [1, 1, 1] == np.abs(turn).sum(axis=1).tolist()
    last = np.array(labels.shape) - 1
    corners = np.array([np.zeros(3), last])
    exact = corners @ to_series[:3, :3].T + to_series[:3, 3]
    nearest = np.rint(exact)
    if not straight or np.abs(exact - nearest).max() > 0.1:
        found = f"the grid of {name} is not that of the series"
        remedy = "Resample the masks onto the series (nearest neighbour)"
        raise DataError(Problem(name, "affine", found, remedy))
    voxels = np.argwhere(labels)
    places = np.rint(voxels @ turn.T).astype(int) + nearest[0].astype(int)
    shape = scan.image.shape[1:]
    if ((places < 0) | (places >= shape)).any():
        found = f"labelled voxels of {name} lie outside the series"
        raise DataError(Problem(name, "grid", found, "Give the masks of this very series"))
    carried = np.zeros(shape, dtype=labels.dtype)
    carried[tuple(places.T)] = labels[tuple(voxels.T)]
    return carried


def _from_segmentation(path: Path, series: Series) -> tuple[np.ndarray, dict[int, str]]:
    import highdicom

    try:
        segmentation = highdicom.seg.segread(path)
        volume = segmentation.get_volume(combine_segments=True)
    except (ValueError, RuntimeError, TypeError, AttributeError, KeyError, OSError) as error:
        found = f"not a DICOM segmentation that stacks into a volume ({error})"
        remedy = "Export one DICOM-SEG without overlaps, or masks as NIfTI"
        raise DataError(Problem(path.name, "labels", found, remedy)) from error
    frame = series.slices[0].get("FrameOfReferenceUID")
    if segmentation.get("FrameOfReferenceUID") != frame:
        found = "the segmentation has another frame of reference than the series"
        raise DataError(Problem(path.name, "affine", found, "Give the masks of this very series"))
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    labels = _onto(path.name, np.asarray(volume.array), affine, series)
    return labels, {
        number: _coded_name(segmentation.get_segment_description(number), number)
        for number in segmentation.segment_numbers
    }


def _coded_name(description: object, number: int) -> str:
    """What the standard terminology calls a segment; free text may name a person, so it is left."""
    from pydicom.sr.codedict import codes

    code = description.segmented_property_type  # type: ignore[attr-defined]
    scheme = "SCT" if code.scheme_designator in ("SCT", "SRT") else code.scheme_designator
    terms = getattr(codes, scheme, None) if scheme in ("SCT", "DCM") else None
    for term in terms.concepts.values() if terms is not None else ():
        if term.value == code.value:
            return str(term.meaning)
    return f"label {number}"
