"""A small CT series on disk, oblique and anisotropic on demand, full of personal data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

ROWS, COLUMNS = 5, 4
UID = "1.2.276.0.7230010.3.1.4.8323329.20031225"
SECRETS = (
    "Mustermann", "Erika", "19470815", "20031225", "142233", "PID-4711", "ACC-0815", "Charite",
    "Schiller", "8323329", "WS-0042", "Wegener",
)  # fmt: skip


def stored(k: int) -> np.ndarray:
    """Pixels (rows, columns) of slice k as the file stores them; HU is 1024 less."""
    return (1000 + 100 * k + np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)).astype(np.uint16)


def header(k: int, step_mm: float = 2.0) -> pydicom.Dataset:
    """Slice k of an axial series: 0.5 mm from row to row, 0.7 mm from column to column."""
    one = pydicom.Dataset()
    one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, f"{UID}.9.{k}"
    one.StudyInstanceUID, one.SeriesInstanceUID = f"{UID}.1", f"{UID}.2"
    one.FrameOfReferenceUID, one.InstanceNumber = f"{UID}.3", k + 1
    one.Modality, one.Manufacturer, one.KVP, one.SliceThickness = "CT", "SIEMENS", 120, 5.0
    one.PatientName, one.PatientID, one.PatientBirthDate = (
        "Mustermann^Erika",
        "PID-4711",
        "19470815",
    )
    one.PatientSex, one.AccessionNumber, one.InstitutionName = "F", "ACC-0815", "Charite"
    one.StudyDate, one.StudyTime, one.ReferringPhysicianName = "20031225", "142233", "Schiller"
    one.StudyID, one.StationName, one.StudyDescription = "1", "WS-0042", "Liver of Mustermann"
    one.ConvolutionKernel, one.PatientPosition = "Erika", "HFS"
    block = one.private_block(0x0029, "SECRET OWNER", create=True)
    block.add_new(1, "LO", "Wegener 19470815")
    one.Rows, one.Columns, one.SamplesPerPixel = ROWS, COLUMNS, 1
    one.PhotometricInterpretation, one.PixelRepresentation = "MONOCHROME2", 0
    one.BitsAllocated, one.BitsStored, one.HighBit = 16, 12, 11
    one.PixelSpacing, one.ImageOrientationPatient = [0.5, 0.7], [1, 0, 0, 0, 1, 0]
    one.ImagePositionPatient = [-10.0, -20.0, 30.0 + step_mm * k]
    one.RescaleSlope, one.RescaleIntercept = 1, -1024
    one.PixelData = stored(k).tobytes()
    return one


def write_series(
    folder: Path, slices: int = 3, change: Callable[[int, pydicom.Dataset], object] | None = None
) -> Path:
    """Write slices in an order of names that is not their order in the body."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(slices):
        one = header(k)
        if change is not None:
            change(k, one)
        write_one(folder / f"Mustermann_{slices - k:04},0000b.dcm", one)
    return folder


def write_one(path: Path, one: pydicom.Dataset) -> None:
    """Write one slice with a proper file head."""
    one.file_meta = pydicom.dataset.FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    pydicom.dcmwrite(path, one, enforce_file_format=True)
