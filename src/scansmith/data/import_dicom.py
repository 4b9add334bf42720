"""A DICOM series with masks -> a de-identified case of an nnU-Net raw data set.

What is written: voxels, their affine, the labels, and the attributes that `_NUMBERS` and `_TERMS`
allow, each within bounds. Nothing else of a header survives: no name, id, date, time, UID, text
or private tag, and no file or folder name. Geometry keeps the scanner's coordinates. A face can
still be seen in the voxels of a head: remove it before passing such data on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import BytesLengthException

from scansmith.data.layouts_base import read_json, standard_modality, table_of_names
from scansmith.data.write import open_writer
from scansmith.io.atomic import alone, write_bytes
from scansmith.io.dicom import Series, open_series
from scansmith.io.masks import read_masks
from scansmith.io.scans import values_of
from scansmith.labels.table import LabelTable
from scansmith.scan import DataError, Problem

#: Numbers that describe the imaging, with the bounds in which they can be that and no disguised id.
_NUMBERS = {
    "KVP": (20, 200),
    "SliceThickness": (0.05, 50),
    "RepetitionTime": (0.1, 30000),
    "EchoTime": (0.1, 2000),
    "InversionTime": (1, 10000),
    "FlipAngle": (0.1, 180),
    "MagneticFieldStrength": (0.05, 15),
    "XRayTubeCurrent": (1, 2000),
    "ReconstructionDiameter": (10, 1000),
}
#: Terms that describe the imaging, with every value that is let through.
_TERMS = {
    "Modality": ("CT", "MR"),
    "PatientPosition": ("HFS", "HFP", "HFDL", "HFDR", "FFS", "FFP", "FFDL", "FFDR"),
    "MRAcquisitionType": ("2D", "3D"),
    "ScanningSequence": ("SE", "IR", "GR", "EP", "RM"),
}
_MANUFACTURERS = ("siemens", "ge medical", "philips", "canon", "toshiba", "hitachi", "united")


def import_dicom(
    series_dir: Path | str,
    labels: Path | str,
    out: Path | str,
    structures: Mapping[int, str] | None = None,
) -> Path:
    """Add a series as the next case ("case_0001" ...) of the nnU-Net raw data set `out`.

    Several processes may import into one data set at once: each waits for its turn to write.

    Args:
        series_dir: folder of one CT or MR series.
        labels: a folder of PNG masks numbered like the slices, a NIfTI file, or a DICOM-SEG.
        structures: names of the label values; else those of `out` or of the DICOM-SEG's coded
            terms, else "label 1" and so on.
    Returns:
        The image file.
    Raises:
        DataError: series, masks or the data set do not fit together; nothing is written.
        RunError: the disk is full, or another process has been writing there for a minute.
    """
    out = Path(out)
    series = open_series(series_dir)
    masks, coded = read_masks(labels, series)
    scan = series.scan
    if not masks.any():
        found = "nothing is labelled in any slice"
        raise DataError(Problem(Path(labels).name, "empty", found, "Give the masks of this series"))
    values, given = values_of(masks), {**coded, **(structures or {})}
    with alone(out):
        table = _table(values, given, _known(out, scan.modalities))
        scan = replace(scan, case=_next_case(out), labels=table.decode(table.encode(masks)))
        writer = open_writer("nnunet", out, scan.modalities, table, "imported")
        writer.close()  # so that after a kill the folder is known for what it is
        image, _ = writer.write(scan)
        sidecar = json.dumps(allowed(series), indent=2) + "\n"
        write_bytes(out / "sidecars" / f"{scan.case}.json", sidecar.encode())
        writer.close()
    return image


def allowed(series: Series) -> dict[str, Any]:
    """What may be told about a series: allow-listed attributes in which all slices agree."""
    facts: dict[str, Any] = {}
    for name, terms in _TERMS.items():
        values = {str(_value(one, name)) for one in series.slices}
        if len(values) == 1 and values <= set(terms):
            facts[name] = values.pop()
    for name, (low, high) in _NUMBERS.items():
        numbers = {_number(_value(one, name)) for one in series.slices}
        number = numbers.pop()
        if not numbers and number is not None and low <= number <= high:
            facts[name] = number
    maker = str(_value(series.slices[0], "Manufacturer")).lower()
    makers = [name for name in _MANUFACTURERS if maker.startswith(name)]
    facts |= {"Manufacturer": makers[0]} if makers else {}
    facts["spacing_mm"] = [round(step, 6) for step in series.scan.spacing_mm]
    facts["shape"] = list(series.scan.image.shape[1:])
    return facts


def _value(one: pydicom.Dataset, name: str) -> Any:
    """An element that need not be there; a broken one counts as absent."""
    try:
        return one.get(name)
    except (ValueError, TypeError, RuntimeError, BytesLengthException):
        return None


def _number(value: Any) -> float | None:
    try:
        return round(float(value), 3)
    except (TypeError, ValueError):
        return None


def _known(out: Path, modalities: tuple[str, ...]) -> LabelTable:
    """The label table of the data set that is there already. DataError if it is another kind."""
    path = out / "dataset.json"
    if not path.is_file():
        if out.is_dir() and any(not path.name.startswith(".") for path in out.iterdir()):
            found = "the folder holds other things, expected none or an nnU-Net raw data set"
            raise DataError(Problem(out.name, "layout", found, "Choose another folder"))
        return LabelTable({})
    head = read_json(path)
    channels = head.get("channel_names") or {}
    there = tuple(standard_modality(str(name)) for name in channels.values())
    if there != modalities:
        found = f"the data set has {', '.join(there) or 'no channels'}, the series {modalities[0]}"
        raise DataError(Problem(out.name, "channels", found, "Choose another data set"))
    return table_of_names(path, head.get("labels", {}))


def _table(values: list[int], given: Mapping[int, str], known: LabelTable) -> LabelTable:
    """Names for the values that occur and for those of the data set."""
    new = LabelTable({v: given.get(v) or known.names.get(v, f"label {v}") for v in values if v})
    clash = [v for v in new.names if v in known.names and new.names[v] != known.names[v]]
    if clash:
        found = (
            f"label {clash[0]} is {new.names[clash[0]]!r} here and {known.names[clash[0]]!r} there"
        )
        raise DataError(Problem("masks", "label-value", found, "Choose another data set"))
    aliases = {alias: new.names[value] for alias, value in new.aliases.items()}
    return LabelTable({**known.names, **new.names, **aliases})


def _next_case(out: Path) -> str:
    """The first free number; the name must tell nothing about the patient."""
    names = [p.name for sub in ("imagesTr", "labelsTr") for p in (out / sub).glob("case_*")]
    numbers = [int(m[1]) for name in names if (m := re.match(r"case_(\d+)", name))]
    return f"case_{max(numbers, default=0) + 1:04}"
