"""What the files of a data set say beside their voxels: names, dates, UIDs, paths.

Every file below a folder is opened by its kind: DICOM tags, NIfTI header texts and extensions,
PNG text chunks and EXIF, and whatever is text (JSON, YAML, CSV, Markdown). Findings are
"identifying" (a person's name, id or birth date in a place made for it) or "trace" (UID, path,
date, name of a real case): a trace may be harmless, and has to be looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import yaml
from isal import igzip
from PIL import ExifTags, Image

from scansmith.io.dicom import is_dicom

_MOST_BYTES = 1 << 26
_MOST_SHOWN = 200
_SHOWN_CHARACTERS = 80
_TEXT = (".json", ".jsonl", ".yaml", ".yml", ".csv", ".tsv", ".txt", ".md", ".xml", ".html", ".log")
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

#: Attributes that name a person or a visit: DICOM PS3.15 (2024), table E.1-1, the direct ones.
PERSONAL = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientBirthTime", "PatientAddress",
    "PatientTelephoneNumbers", "PatientMotherBirthName", "PatientBirthName", "OtherPatientIDs",
    "OtherPatientNames", "OtherPatientIDsSequence", "PatientComments", "EthnicGroup",
    "AccessionNumber", "IssuerOfPatientID", "MilitaryRank", "MedicalRecordLocator",
    "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName", "RequestingPhysician",
    "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "InstitutionName", "InstitutionAddress",
    "StudyID", "StationName", "DeviceSerialNumber", "RequestAttributesSequence",
)  # fmt: skip
_KEYS = {re.sub(r"[^a-z]", "", name.lower()) for name in PERSONAL} | {
    "nameofpatient", "birthdate", "dateofbirth", "dob", "mrn", "medicalrecordnumber", "ssn",
    "socialsecuritynumber", "patientsname", "patientsid",
}  # fmt: skip
# Words that anonymising programs leave in a person's place.
_BLANK = re.compile(
    r"(?i)^\W*(anon\w*|synthetic.*|phantom.*|none|null|unknown|removed|n/?a|x+|0+)?\W*$"
)

_PATTERNS: tuple[tuple[str, str, re.Pattern[str]], ...] = (
    ("name", "identifying", re.compile(r"\b[A-Z][A-Za-z'\-]+\^[A-Z][A-Za-z'\-]*\b")),
    ("e-mail", "trace", re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}\b")),
    ("uid", "trace", re.compile(r"(?<![\w.])[012]\.\d+(?:\.\d+){5,}(?![\w.])")),
    (
        "path", "trace",
        re.compile(r"(?<![\w.:/<~-])(?:/(?:[\w.+@-]+/)+[\w.+@-]+|[A-Za-z]:\\[^\s\"']+|\\\\[\w.-]+\\[^\s\"']+)"),
    ),
    (
        "date", "trace",
        re.compile(r"(?<![\w.-])(?:19|20)\d\d([-/.]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?![\w.-])"),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One entry that says more than it should.

    Attributes:
        file: relative to the folder.
        where: tag, key, line or chunk.
        kind: name, id, date, uid, path, e-mail, personal, private, extension, real case.
        level: "identifying" or "trace".
        text: its beginning.
    """

    file: str
    where: str
    kind: str
    level: str
    text: str


def scan_folder(root: Path | str, real: Iterable[str] = ()) -> dict[str, Any]:
    """Look into every file below a folder.

    Args:
        real: names of real cases and patients; where one occurs, it is a trace.
    Returns:
        files: how many; identifying, trace: how many findings; unread: files that could not be
        opened as what their name says; findings: the identifying ones first, 200 at most.
    """
    root, count = Path(root), 0
    found: list[Finding] = []
    unread: list[dict[str, str]] = []
    names = _names(real)
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        count += 1
        file = path.relative_to(root).as_posix()
        found += _judged(file, "file name", file, "", names)
        try:
            for where, text, kind in _said(path):
                found += _judged(file, where, text, kind, names)
        except Exception as error:  # a stranger's broken file must not end the audit
            unread.append({"file": file, "error": f"{type(error).__name__}: {error}"[:200]})
    found = sorted(dict.fromkeys(found), key=lambda f: f.level)
    levels = [finding.level for finding in found]
    return {
        "files": count,
        "identifying": levels.count("identifying"),
        "trace": levels.count("trace"),
        "unread": unread,
        "findings": [asdict(finding) for finding in found[:_MOST_SHOWN]],
    }


#: (where, text, kind): kind is "" for text in which patterns are looked for.
Said = Iterator[tuple[str, str, str]]


def _said(path: Path) -> Said:
    """(where, text, kind) of one file."""
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz", ".hdr")):
        yield from _nifti(path)
    elif name.endswith(_PICTURES):
        yield from _picture(path)
    elif name.endswith(_TEXT):
        yield from _text(path)
    elif is_dicom(path) or name.endswith((".dcm", ".dicom", ".ima")):
        yield from _dicom(path)


def _dicom(path: Path) -> Said:
    """Tags with a value: personal ones, dates and times, UIDs of instances, private ones."""
    read = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    for element in [*read.file_meta, *read.iterall()]:
        text = str(element.value).strip()
        if not text or (element.VR == "SQ" and not len(element.value)):
            continue
        where = f"{element.tag} {element.keyword or element.name}"
        if element.keyword in PERSONAL or element.VR == "PN":
            yield where, text, "personal"
        elif element.VR in ("DA", "DT", "TM"):
            yield where, text, "dicom date"
        elif element.VR == "UI":
            if pydicom.uid.UID(text).name == text:  # not one of the standard's own
                yield where, text, "uid"
        elif element.tag.is_private:
            yield where, text, "private"
        else:
            yield where, text, ""


def _nifti(path: Path) -> Said:
    opener = igzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as file:
        header = _header(file)
    for name in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
        if name in header.structarr.dtype.names:
            raw = bytes(np.atleast_1d(header.structarr[name])[0]).rstrip(b"\0")
            yield f"header {name}", raw.decode("latin-1"), ""
    for extension in header.extensions:
        content = extension.get_content()
        text = content.decode("latin-1") if isinstance(content, bytes) else str(content)
        yield f"extension of code {extension.get_code()}", text.strip("\0"), "extension"
        yield f"extension of code {extension.get_code()}", text.strip("\0"), ""


def _header(file: Any) -> Any:
    start = file.read(4)
    file.seek(0)
    kind = nib.Nifti2Header if 540 in np.frombuffer(start, "<i4").tolist() else nib.Nifti1Header
    return kind.from_fileobj(file)


def _picture(path: Path) -> Said:
    with Image.open(path) as picture:
        picture.load()
        for key, value in picture.info.items():
            if isinstance(value, (str, bytes)):
                text = value.decode("latin-1") if isinstance(value, bytes) else value
                if key not in ("icc_profile", "exif"):
                    yield f"chunk {key}", text, ""
                    yield from _keyed(f"chunk {key}", text)
        for tag, value in picture.getexif().items():
            yield f"EXIF {ExifTags.TAGS.get(tag, tag)}", str(value), ""


def _text(path: Path) -> Said:
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError("larger than 64 MiB")
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        yield f"line {number}", line, ""
    name = path.name.lower()
    if name.endswith((".json", ".yaml", ".yml")):
        yield from _keyed("", text, yaml.safe_load if not name.endswith(".json") else json.loads)
    elif name.endswith(".jsonl"):
        for number, line in enumerate(text.splitlines(), 1):
            yield from _keyed(f"line {number} ", line)
    elif name.endswith((".csv", ".tsv")):
        yield from _columns(text)


def _keyed(where: str, text: str, load: Callable[[str], Any] = json.loads) -> Said:
    """Values under keys that are made for a person, however deep."""
    try:
        stack = [("", load(text))]
    except (ValueError, yaml.YAMLError, RecursionError):
        return
    while stack:
        key, value = stack.pop()
        if isinstance(value, dict):
            stack += [(str(name), item) for name, item in value.items()]
        elif isinstance(value, list):
            stack += [(key, item) for item in value]
        elif re.sub(r"[^a-z]", "", key.lower()) in _KEYS and value not in (None, ""):
            yield f"{where}key {key}", str(value), "personal"


def _columns(text: str) -> Said:
    rows = [re.split(r"[,;\t]", line) for line in text.splitlines()]
    for column, head in enumerate(rows[0] if rows else []):
        if re.sub(r"[^a-z]", "", head.lower()) in _KEYS:
            for row in rows[1:]:
                if column < len(row) and row[column].strip():
                    yield f"column {head.strip()}", row[column].strip(), "personal"


def _judged(
    file: str, where: str, text: str, kind: str, names: re.Pattern[str] | None
) -> Iterator[Finding]:
    shown = " ".join(text.split())[:_SHOWN_CHARACTERS]
    if kind == "personal":
        if not _BLANK.match(text):
            yield Finding(file, where, kind, "identifying", shown)
    elif kind == "dicom date":
        yield Finding(file, where, "date", "trace", shown)
    elif kind:
        yield Finding(file, where, kind, "trace", shown)
    else:
        for name, level, pattern in _PATTERNS:
            for match in pattern.finditer(text):
                yield Finding(file, where, name, level, match[0][:_SHOWN_CHARACTERS])
        for match in names.finditer(text) if names else ():
            yield Finding(file, where, "real case", "trace", match[0])


def _names(real: Iterable[str]) -> re.Pattern[str] | None:
    """Names of real cases as whole words; short ones and plain numbers would be everywhere."""
    usable = sorted({n for n in real if len(n) >= 5 and not n.isdigit()}, key=len, reverse=True)
    if not usable:
        return None
    return re.compile(r"(?<![\w-])(?:" + "|".join(map(re.escape, usable)) + r")(?![\w-])")
