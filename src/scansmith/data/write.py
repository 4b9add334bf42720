"""Data sets on disk: one writer a layout, safe to be called from several threads and processes.

A writer decides file names and data set files only; it marks nothing as synthetic by itself.
`scan.notes["description"]` goes into the headers. Labels are in the table's values (nnU-Net:
their ranks). CT is stored as whole HU (int16), other images as they are. `close` describes what
lies on disk, whoever wrote it, so that shards and resumed runs end with the same `dataset.json`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from scansmith.data.layouts_base import (
    files_in,
    folders_in,
    patient_of,
    patient_of_slice,
    read_json,
    stem,
)
from scansmith.io.atomic import write_bytes
from scansmith.io.png import write_png
from scansmith.io.scans import write_scan
from scansmith.labels.table import LabelTable
from scansmith.scan import DataError, Scan, SettingsError

_STATED = {"ct": "CT", "mr": "MRI", "t1": "T1w", "t1c": "T1ce", "t2": "T2w", "flair": "FLAIR"}


class Writer(ABC):
    """Writes the scans of one data set in one layout."""

    def __init__(self, root: Path, modalities: Sequence[str], table: LabelTable, name: str):
        self.root, self.modalities = Path(root), tuple(modalities)
        self.table, self.name = table, name
        self._patients: dict[str, str] = {}

    def write(self, scan: Scan) -> list[Path]:
        """Write one case, whole or not at all; give the files.

        Raises:
            DataError: the scan has other modalities than the data set, or unknown label values.
        """
        if scan.modalities != self.modalities:
            raise DataError(
                f"{scan.case}: modalities {', '.join(scan.modalities)}, expected "
                f"{', '.join(self.modalities)}. Open the writer with the scans' modalities."
            )
        if not scan.case or Path(scan.case).name != scan.case or scan.case.startswith("."):
            raise DataError(f"case {scan.case!r} is no file name. Rename the case.")
        if scan.labels is not None:
            self.table.encode(scan.labels)
        return self.write_files(_storable(scan))

    @abstractmethod
    def write_files(self, scan: Scan) -> list[Path]:
        """Write the files of one case."""

    @abstractmethod
    def close(self, extra: Mapping[str, Any] | None = None) -> None:
        """Write the data set's own file, with `extra` added to it."""

    def _named(self, name: str, scan: Scan, told: str) -> None:
        """Note who a case is of, unless the reader tells it (`told`) from the name."""
        if scan.patient and scan.patient != told:
            self._patients[name] = scan.patient

    def _close(self, head: str, content: Mapping[str, Any]) -> None:
        path = self.root / "patients.json"
        if self._patients:
            known = read_json(path) if path.is_file() else {}
            self._json(path.name, dict(sorted((known | self._patients).items())))
        self._json(head, content)

    def _json(self, name: str, content: Mapping[str, Any]) -> None:
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        write_bytes(self.root / name, text.encode())

    def _label_names(self) -> dict[str, str]:
        return {str(value): name for value, name in self.table.names.items()}


class NnunetWriter(Writer):
    """nnU-Net raw v2: imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz, dataset.json.

    nnU-Net takes consecutive label values only, so files and dataset.json hold the structures'
    ranks 0, 1, 2 ... under their names, whatever the table's values are.
    """

    def write_files(self, scan: Scan) -> list[Path]:  # noqa: D102
        self._named(scan.case, scan, patient_of(scan.case))
        images = {
            name: self.root / "imagesTr" / f"{scan.case}_{c:04}.nii.gz"
            for c, name in enumerate(self.modalities)
        }
        ranks = None if scan.labels is None else self.table.encode(scan.labels)
        scan = replace(scan, labels=ranks)
        return write_scan(scan, images, self.root / "labelsTr" / f"{scan.case}.nii.gz")

    def close(self, extra: Mapping[str, Any] | None = None) -> None:  # noqa: D102
        head = {
            "name": self.name,
            "channel_names": {str(c): _stated(m) for c, m in enumerate(self.modalities)},
            "labels": {name: rank for rank, name in enumerate(self.table.structures)},
            "numTraining": len(files_in(self.root / "labelsTr")),
            "file_ending": ".nii.gz",
        }
        self._close("dataset.json", head | dict(extra or {}))


class MsdWriter(Writer):
    """Medical Segmentation Decathlon: imagesTr/CASE.nii.gz (4D if needed), dataset.json."""

    def write_files(self, scan: Scan) -> list[Path]:  # noqa: D102
        self._named(scan.case, scan, patient_of(scan.case))
        name = f"{scan.case}.nii.gz"
        return write_scan(scan, self.root / "imagesTr" / name, self.root / "labelsTr" / name)

    def close(self, extra: Mapping[str, Any] | None = None) -> None:  # noqa: D102
        names = [path.name for path in files_in(self.root / "labelsTr")]
        head = {
            "name": self.name,
            "tensorImageSize": "3D" if len(self.modalities) == 1 else "4D",
            "modality": {str(c): _stated(m) for c, m in enumerate(self.modalities)},
            "labels": self._label_names(),
            "numTraining": len(names),
            "numTest": 0,
            "training": [{"image": f"./imagesTr/{n}", "label": f"./labelsTr/{n}"} for n in names],
            "test": [],
        }
        self._close("dataset.json", head | dict(extra or {}))


class BratsWriter(Writer):
    """BraTS: CASE/CASE_t1.nii.gz ... CASE/CASE_seg.nii.gz, and labels.json."""

    def write_files(self, scan: Scan) -> list[Path]:  # noqa: D102
        self._named(scan.case, scan, patient_of(scan.case))
        folder = self.root / scan.case
        images = {
            name: folder / f"{scan.case}_{'t1ce' if name == 't1c' else name}.nii.gz"
            for name in self.modalities
        }
        return write_scan(scan, images, folder / f"{scan.case}_seg.nii.gz")

    def close(self, extra: Mapping[str, Any] | None = None) -> None:  # noqa: D102
        cases = [f.name for f in folders_in(self.root) if (f / f"{f.name}_seg.nii.gz").is_file()]
        self._json("labels.json", self._label_names())
        self._close("description.json", _description(self, cases) | dict(extra or {}))


class MmwhsWriter(Writer):
    """MM-WHS: ct_train_CASE_image.nii.gz, ct_train_CASE_label.nii.gz, and labels.json."""

    def write_files(self, scan: Scan) -> list[Path]:  # noqa: D102
        modality = self.modalities[0]
        if len(self.modalities) != 1 or modality not in ("ct", "mr"):
            raise DataError(
                f"{scan.case}: MM-WHS holds one modality, ct or mr, not "
                f"{', '.join(self.modalities)}. Choose another layout."
            )
        prefix = "" if scan.case.startswith(f"{modality}_train_") else f"{modality}_train_"
        name = f"{prefix}{scan.case}"
        self._named(name, scan, patient_of(name))
        image, labels = self.root / f"{name}_image.nii.gz", self.root / f"{name}_label.nii.gz"
        return write_scan(scan, image, labels)

    def close(self, extra: Mapping[str, Any] | None = None) -> None:  # noqa: D102
        cases = [
            stem(path).removesuffix("_label")
            for path in files_in(self.root)
            if stem(path).endswith("_label")
        ]
        self._json("labels.json", self._label_names())
        self._close("description.json", _description(self, cases) | dict(extra or {}))


class SlicesWriter(Writer):
    """2D pictures: images/CASE_SLICE.png and labels/CASE_SLICE.png, and labels.json.

    Slices are axial as radiologists view them. Whole numbers from 0 to 255 become 8-bit pictures;
    all else 16-bit, with slope and intercept of the raw values in the file (CT: HU + 1024).
    """

    def write_files(self, scan: Scan) -> list[Path]:  # noqa: D102
        if len(self.modalities) != 1 or max(self.table.values) > 65535:
            raise DataError(
                f"{scan.case}: PNG slices hold one modality, not {', '.join(self.modalities)}. "
                "Choose another layout, or one modality."
            )
        scan = lying_lps(scan)
        stored, slope, intercept = _grey_levels(scan.image[0], self.modalities[0] == "ct")
        description = str(scan.notes.get("description", ""))
        written = []
        for k in range(stored.shape[2]):
            affine = scan.affine.copy()
            affine[:3, 3] += affine[:3, 2] * k
            # A single picture keeps its name: "patient_slice" read from PNG is one slice already.
            name = scan.case if stored.shape[2] == 1 else f"{scan.case}_{k:03}"
            self._named(name, scan, patient_of_slice(name))
            path = self.root / "images" / f"{name}.png"
            write_png(
                path, stored[:, :, k], affine,
                slope=slope, intercept=intercept, description=description,
            )  # fmt: skip
            written.append(path)
            if scan.labels is not None:
                labels = scan.labels[:, :, k].astype(
                    np.uint8 if max(self.table.values) < 256 else np.uint16
                )
                path = self.root / "labels" / f"{name}.png"
                written.append(write_png(path, labels, affine, description=description))
        return written

    def close(self, extra: Mapping[str, Any] | None = None) -> None:  # noqa: D102
        cases = [stem(path) for path in files_in(self.root / "images", [".png"])]
        self._json("labels.json", self._label_names())
        self._close("description.json", _description(self, cases) | dict(extra or {}))


LAYOUT_WRITERS: dict[str, type[Writer]] = {
    "nnunet": NnunetWriter,
    "msd": MsdWriter,
    "brats": BratsWriter,
    "slices": SlicesWriter,
    "mmwhs": MmwhsWriter,
}


def open_writer(
    layout: str,
    root: Path | str,
    modalities: Sequence[str],
    table: LabelTable,
    name: str = "scansmith",
) -> Writer:
    """The writer of a layout. Raises SettingsError with the names there are."""
    if layout not in LAYOUT_WRITERS:
        raise SettingsError(
            f"layout: {layout!r} cannot be written. Choose one of {', '.join(LAYOUT_WRITERS)}."
        )
    return LAYOUT_WRITERS[layout](Path(root), modalities, table, name)


def lying_lps(scan: Scan) -> Scan:
    """The same scan with its axes flipped and swapped so that they run left, back, head."""
    to_lps = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(scan.affine), [[0, -1], [1, -1], [2, 1]]
    )
    shape = scan.image.shape[1:]
    affine = scan.affine @ nib.orientations.inv_ornt_aff(to_lps, shape)
    turned = [nib.orientations.apply_orientation(channel, to_lps) for channel in scan.image]
    labels = scan.labels
    if labels is not None:
        labels = nib.orientations.apply_orientation(labels, to_lps)
    return replace(scan, image=np.stack(turned), affine=affine, labels=labels)


def _storable(scan: Scan) -> Scan:
    image, labels = scan.image, scan.labels
    if set(scan.modalities) == {"ct"} and image.dtype.kind == "f":
        image = np.clip(np.rint(image), -32768, 32767).astype(np.int16)
    if labels is not None:
        labels = np.asarray(labels).astype(np.uint8 if labels.max() < 256 else np.int16)
    return replace(scan, image=image, labels=labels)


def _grey_levels(image: np.ndarray, is_ct: bool) -> tuple[np.ndarray, float, float]:
    """Stored values of a picture, slope and intercept: raw = stored * slope + intercept."""
    low, high = float(image.min()), float(image.max())
    if image.dtype.kind in "iu" or (image == np.rint(image)).all():
        if low >= 0 and high <= 255 and not is_ct:
            return image.astype(np.uint8), 1.0, 0.0
        intercept = min(-1024.0 if is_ct else 0.0, low)
        if high - intercept <= 65535:
            return (image - intercept).astype(np.uint16), 1.0, intercept
    slope = (high - low) / 65535 or 1.0
    return np.rint((image.astype(np.float64) - low) / slope).astype(np.uint16), slope, low


def _description(writer: Writer, cases: list[str]) -> dict[str, Any]:
    return {
        "name": writer.name,
        "modalities": list(writer.modalities),
        "labels": writer._label_names(),
        "cases": len(cases),
    }


def _stated(modality: str) -> str:
    return _STATED.get(modality, modality)
