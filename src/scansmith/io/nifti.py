"""NIfTI files: an array and where it lies in the patient."""

from __future__ import annotations

import io
import math
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
from isal import igzip, isal_zlib
from nibabel.spatialimages import HeaderDataError

from scansmith.io.atomic import write_bytes
from scansmith.scan import DataError, Problem

_MALFORMED = (ValueError, KeyError, OverflowError, MemoryError, HeaderDataError)
_UNREADABLE: Any = (OSError, zlib.error, isal_zlib.error, *_MALFORMED)
_DEFLATE_RATIO = 1032  # deflate shrinks no further (zlib's technical notes)
# The header keeps b, c, d in single precision: closer to 1 than this, and a reader's a is rounding.
_HALF_TURN = 3e-7
_DESCRIPTION_BYTES = 79  # NIfTI-1 `descrip` is 80 bytes, the last one zero


def read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels as stored, on-disk axes, and the affine (4, 4) to millimetres, RAS+.

    Whole-number files stay whole numbers; a header's slope and intercept are applied.

    Raises:
        DataError: truncated, not a NIfTI file, coloured or complex voxels, no voxels at all.
    """
    path = Path(path)
    try:
        with _open(path) as file:
            header = _read_header(file)
            voxels = _read_voxels(file, header, path)
        affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    except FileNotFoundError as error:
        raise DataError(_problem(path, "missing", "there is no such file", "Add it")) from error
    except EOFError as error:
        raise DataError(_truncated(path)) from error
    except _UNREADABLE as error:
        found = f"not a readable NIfTI file ({error})"
        remedy = "Replace it by a NIfTI image, or copy it again from its source"
        raise DataError(_problem(path, "unreadable", found, remedy)) from error
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        found = "the affine in the header is not finite or has no volume"
        raise DataError(_problem(path, "geometry", found, "Mend the header's sform or qform"))
    return voxels, affine


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray, description: str = "") -> Path:
    """Write an array (3D, or 4D with modalities last) as NIfTI-1; `.gz` by its name.

    The same content always gives the same bytes. The file appears when it is complete.

    Args:
        array: whole numbers are stored in the smallest fitting of uint8, int16, int32 that loses
            nothing; other numbers as float32.
        affine: (4, 4), RAS+.
        description: at most 79 bytes, for the header's `descrip`.
    Raises:
        DataError: the description is too long.
        RunError: the file cannot be written.
    """
    path = Path(path)
    text = description.encode()
    if len(text) > _DESCRIPTION_BYTES:
        raise DataError(
            f"{path.name}: the description has {len(text)} bytes, a NIfTI header holds "
            f"{_DESCRIPTION_BYTES}. Shorten it."
        )
    image = nib.Nifti1Image(storable(array), affine)
    image.header["descrip"] = text
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    _settle_quaternion(image.header)
    image.header.set_xyzt_units("mm")
    content = image.to_bytes()
    if path.name.endswith(".gz"):
        content = igzip.compress(content, 2, mtime=0)
    return write_bytes(path, content)


def _settle_quaternion(header: nib.Nifti1Header) -> None:
    """Write a half turn's quaternion with one sign, and without the noise of rounding.

    Of such a turn, which LPS axes are, the last bit of an eigenvector decides between q and -q, and
    so does the linear algebra at hand. Both mean the same turn.
    """
    names = ("quatern_b", "quatern_c", "quatern_d")
    vector = np.round([float(header[name]) for name in names], 7) + 0.0
    if abs(vector @ vector - 1) < _HALF_TURN and vector[np.flatnonzero(vector)[0]] < 0:
        vector = -vector + 0.0
    for name, value in zip(names, vector, strict=True):
        header[name] = value


def storable(array: np.ndarray) -> np.ndarray:
    """The array in a type that every NIfTI reader takes, with nothing lost but double precision."""
    array = np.asarray(array)
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    if array.dtype in (np.uint8, np.int16, np.int32):
        return array
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    for dtype in (np.uint8, np.int16, np.int32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return array.astype(dtype)
    raise DataError(f"array: values {low} to {high} do not fit 32 bits. Scale them first.")


def _open(path: Path) -> BinaryIO:
    return igzip.open(path, "rb") if path.name.lower().endswith(".gz") else open(path, "rb")


def _read_header(file: BinaryIO) -> Any:
    start = file.read(540)
    if len(start) < 348:
        raise EOFError if start else ValueError("the file is empty")
    sizes = {int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")}
    if not sizes & {348, 540}:
        raise ValueError("it does not start with a NIfTI header")
    kind = nib.Nifti1Header if 348 in sizes else nib.Nifti2Header
    return kind.from_fileobj(io.BytesIO(start[: 348 if 348 in sizes else 540]), check=True)


def _read_voxels(file: BinaryIO, header: Any, path: Path) -> np.ndarray:
    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    if dtype.kind not in "iuf":
        found = f"voxels are of type {dtype}, expected one number each"
        remedy = "Convert colour or complex images to one grey value a voxel"
        raise DataError(_problem(path, "channels", found, remedy))
    if not shape or min(shape) < 1:
        found = f"the image has no voxels, its shape is {shape}"
        raise DataError(_problem(path, "empty", found, "Leave the case out or export it again"))
    offset, count = int(header["vox_offset"]), math.prod(map(int, shape))
    if count * dtype.itemsize > _DEFLATE_RATIO * path.stat().st_size:
        raise EOFError  # before a header that lies makes us ask for terabytes
    file.seek(offset)
    content = file.read(count * dtype.itemsize)
    if len(content) < count * dtype.itemsize:
        raise EOFError
    file.read(1)  # at the end of a gzip file this compares its checksum
    voxels = np.frombuffer(content, dtype).reshape(shape, order="F")
    if not dtype.isnative:
        voxels = voxels.astype(dtype.newbyteorder("="))
    slope, intercept = header.get_slope_inter()
    if (slope or 1, intercept or 0) == (1, 0):
        return voxels
    wide = np.float32 if dtype.itemsize <= 2 else np.float64
    return voxels * wide(slope or 1) + wide(intercept or 0)


def _truncated(path: Path) -> Problem:
    return _problem(
        path, "truncated", "the file ends before its data do", "Copy it again from its source"
    )


def _problem(path: Path, kind: str, found: str, remedy: str) -> Problem:
    return Problem(path.name, kind, found, remedy)
