"""A DICOM series with masks -> a de-identified case of an nnU-Net raw data set.

What is written: voxels, their affine, the labels, and the attributes that `_NUMBERS` and `_TERMS`
allow, each within bounds. Nothing else of a header survives: no name, id, date, time, UID, text
or private tag, and no file or folder name. Geometry keeps the scanner's coordinates. A face can
still be seen in the voxels of a head: remove it before passing such data on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.errors import BytesLengthException

from scansmith.data.layouts_base import read_json, standard_modality, table_of_names
from scansmith.data.write import open_writer
from scansmith.io.atomic import alone, write_bytes
from scansmith.io.dicom import Series, open_series
from scansmith.io.masks import read_masks
from scansmith.io.scans import values_of
from scansmith.labels.table import LabelTable, plain_name
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
#: In dataset.json: value in the masks that were imported -> value in the data set.
_CODES = "mask_values"


@dataclass(frozen=True)
class _There:
    """The data set that a series is added to.

    Attributes:
        table: its structures. Values are consecutive, in the order in which structures came.
        codes: value in masks -> value in `table`, as earlier imports had it; None: it does not say.
    """

    table: LabelTable
    codes: Mapping[int, int] | None


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
        structures: names of the masks' values. A value without one is what it was in earlier
            imports into `out`, in a DICOM-SEG what its coded term says, else "label 1" and so on.
            Structures are matched by name; numbers in `out` are its own.
    Returns:
        The image file.
    Raises:
        DataError: series, masks or the data set do not fit together, or it is not certain what a
            value means; nothing is written.
        RunError: the disk is full, or another process has been writing there for a minute.
    """
    out = Path(out)
    series = open_series(series_dir)
    scan, given = series.scan, dict(structures or {})
    named = {*given, *(_there(out, scan.modalities).codes or ())}
    masks, coded = read_masks(labels, series, named)
    if not masks.any():
        found = "nothing is labelled in any slice"
        raise DataError(Problem(Path(labels).name, "empty", found, "Give the masks of this series"))
    with alone(out):
        there = _there(out, scan.modalities)
        names = _names(values_of(masks), given, coded, there)
        table, numbers = _merged(names, there.table)
        scan = replace(scan, case=_next_case(out), labels=_renumbered(masks, numbers))
        writer = open_writer("nnunet", out, scan.modalities, table, "imported")
        note = _note(there.codes, {} if coded else numbers)
        writer.close(note)  # so that after a kill the folder is known for what it is
        image, _ = writer.write(scan)
        sidecar = json.dumps(allowed(series), indent=2) + "\n"
        write_bytes(out / "sidecars" / f"{scan.case}.json", sidecar.encode())
        writer.close(note)
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


def _there(out: Path, modalities: tuple[str, ...]) -> _There:
    """The data set that is there already. DataError if it is another kind."""
    path = out / "dataset.json"
    # One look at the folder: between two of them another process may have begun the data set.
    names = {one.name for one in out.iterdir()} if out.is_dir() else set[str]()
    if path.name not in names:
        if any(not name.startswith(".") for name in names):
            found = "the folder holds other things, expected none or an nnU-Net raw data set"
            raise DataError(Problem(out.name, "layout", found, "Choose another folder"))
        return _There(LabelTable({}), {})
    head = read_json(path)
    channels = head.get("channel_names") or {}
    there = tuple(standard_modality(str(name)) for name in channels.values())
    if there != modalities:
        found = f"the data set has {', '.join(there) or 'no channels'}, the series {modalities[0]}"
        raise DataError(Problem(out.name, "channels", found, "Choose another data set"))
    table = table_of_names(path, head.get("labels", {}))
    if table.known != set(range(len(table.values))):
        found = f"label values {sorted(table.known)}, expected 0, 1, 2 ... with a name for each"
        raise DataError(Problem(out.name, "label-value", found, "Choose another data set"))
    return _There(table, _codes(head, table))


def _codes(head: Mapping[str, Any], table: LabelTable) -> dict[int, int] | None:
    stated = head.get(_CODES)
    if stated is None:
        return None
    try:
        codes = {int(value): int(number) for value, number in stated.items()}
    except (AttributeError, TypeError, ValueError):
        codes = {0: -1}
    if not set(codes.values()) <= set(table.values):
        found = f"{_CODES} {stated!r:.80} is not of the form value in masks: label value"
        raise DataError(Problem("dataset.json", "json", found, f"Take {_CODES} out of it"))
    return codes


def _names(
    values: Iterable[int], given: Mapping[int, str], coded: Mapping[int, str], there: _There
) -> dict[int, str]:
    """What the masks' values are called.

    Args:
        given: names that the user states.
        coded: the segments of a DICOM-SEG; their numbers are that file's own.
    Raises:
        DataError: with every value of which it is not certain what it means.
    """
    structures, codes = there.table.structures, {} if coded else there.codes or {}
    terms = {value: name for value, name in coded.items() if name != f"label {value}"}
    stated = {**{value: structures[n] for value, n in codes.items()}, **terms, **given}
    names = {value: stated.get(value, f"label {value}") for value in values if value}
    _, numbers = _merged(names, there.table)
    problems = [
        _unclear(
            f"label {value} is {names[value]!r} here and {structures[n]!r} there",
            "Name it alike, or choose another data set",
        )
        for value, n in codes.items()
        if numbers.get(value, n) != n
    ]
    misnamed = bool(given) and not given.keys() & names.keys()
    problems += [
        _unclear(
            f"nothing says what label {value} is; named are {_listed(given)}, the data set has "
            f"{_listed(structures[1:])}",
            f"Name it (--structure {value}=NAME)",
        )
        for value, name in names.items()
        if value not in stated and (there.codes is None or misnamed or name in structures)
    ]
    if problems:
        raise DataError(problems)
    return names


def _unclear(found: str, remedy: str) -> Problem:
    return Problem("masks", "label-value", found, remedy)


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names)) or "none"


def _merged(names: Mapping[int, str], table: LabelTable) -> tuple[LabelTable, dict[int, int]]:
    """The table with what is new in `names` after its own structures, and each value's number."""
    terms = LabelTable(names)
    structures, numbers = list(table.structures), {}
    for value, name in names.items():
        term = terms.names[terms.aliases.get(value, value)]
        wanted = plain_name(name) if plain_name(name) in structures else term
        if wanted not in structures:
            structures.append(wanted)
        numbers[value] = structures.index(wanted)
    return LabelTable(dict(enumerate(structures))), numbers


def _renumbered(masks: np.ndarray, numbers: Mapping[int, int]) -> np.ndarray:
    labels = np.zeros(masks.shape, dtype=np.uint8)
    for value, number in numbers.items():
        labels[masks == value] = number
    return labels


def _note(codes: Mapping[int, int] | None, numbers: Mapping[int, int]) -> dict[str, Any]:
    """For dataset.json: what masks' values stand for, also those of this import, if it says so."""
    if codes is None:
        return {}
    return {_CODES: {str(value): n for value, n in sorted({**codes, **numbers}.items())}}


def _next_case(out: Path) -> str:
    """The first free number; the name must tell nothing about the patient."""
    names = [p.name for sub in ("imagesTr", "labelsTr") for p in (out / sub).glob("case_*")]
    numbers = [int(m[1]) for name in names if (m := re.match(r"case_(\d+)", name))]
    return f"case_{max(numbers, default=0) + 1:04}"
