"""What the files of a data set say beside their voxels: names, dates, UIDs, paths.

Every file below a folder is opened by its kind: DICOM tags, NIfTI header texts and extensions,
PNG text chunks and EXIF, and whatever is text (JSON, YAML, CSV, Markdown). A file of any other kind
is searched as text, as far as it is text. Findings are "identifying" (a person's name, id or birth
date in a place made for it) or "trace" (UID, path, date, name of a real case): a trace may be
harmless, and has to be looked at.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
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
from scansmith.scan import DataError

_MOST_BYTES = 1 << 26
#: Of a file of an unknown kind, behind its text: what a binary header takes, not its voxels.
_HEADER_BYTES = 1 << 16
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
    (
        "name", "identifying",
        re.compile(r"\b[A-ZÀ-ÖØ-Þ][A-Za-zÀ-ÖØ-öø-ÿ'\-]+\^[A-ZÀ-ÖØ-Þ][A-Za-zÀ-ÖØ-öø-ÿ'\-]*\b"),
    ),
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
# No text has these; voxels and compressed bytes soon do.
_CONTROL = re.compile(r"[\0-\x08\x0e-\x1f\x7f]")
# `PatientID = 4711` of an MHA header, `PatientID:=4711` of an NRRD header, `"PatientID": "4711",`.
_PAIR = re.compile(r"^\W*([A-Za-z][A-Za-z' _.-]*?)[^\w:=]*:?[:=]\s*(.*\S)")
# As long as a field for a name, filled up with zeros; compressed bytes have none so long.
_STRETCH = re.compile(r"[\0\t\n\r -~À-ÿ]{16,}")


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
        read as what their name says, or not to their end, and why; unknown: names of text files
        whose kind is not known, searched as text alone; findings: the identifying ones first, 200
        at most.
    """
    root, count = Path(root), 0
    found: list[Finding] = []
    unread: list[dict[str, str]] = []
    unknown: list[str] = []
    names = _names(real)
    for path in sorted(p for p in root.rglob("*") if p.is_symlink() or not p.is_dir()):
        count += 1
        file = path.relative_to(root).as_posix().encode(errors="replace").decode()
        found += _judged(file, "file name", file, "", names)
        try:
            read = _reader(path)
            for where, text, kind in read(path):
                found += _judged(file, where, text, kind, names)
        except Exception as error:  # a stranger's broken file must not end the audit
            ours = isinstance(error, DataError)
            text = str(error) if ours else f"{type(error).__name__}: {error}"
            unread.append({"file": file, "error": text[:200]})
        else:
            unknown += [file] if read is _unknown else []
    found = sorted(dict.fromkeys(found), key=lambda f: f.level)
    levels = [finding.level for finding in found]
    return {
        "files": count,
        "identifying": levels.count("identifying"),
        "trace": levels.count("trace"),
        "unread": unread,
        "unknown": unknown,
        "findings": [asdict(finding) for finding in found[:_MOST_SHOWN]],
    }


#: (where, text, kind): kind is "" for text in which patterns are looked for, "binary" for what may
#: be text by chance, so that nothing in it identifies.
Said = Iterator[tuple[str, str, str]]


def _reader(path: Path) -> Callable[[Path], Said]:
    """What reads a file of this kind."""
    if not path.is_file():
        raise DataError("no file, but a link to a folder or to nothing: it was not followed")
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz", ".hdr")):
        return _nifti
    if name.endswith(_PICTURES):
        return _picture
    if name.endswith(_TEXT):
        return _text
    if is_dicom(path) or name.endswith((".dcm", ".dicom", ".ima")):
        return _dicom
    return _unknown


def _dicom(path: Path) -> Said:
    """Tags with a value: personal ones, dates and times, UIDs of instances, private ones."""
    read = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    if not is_dicom(path) and "SOPClassUID" not in read:
        raise DataError("named like DICOM, which it is not")
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
                    with suppress(ValueError, RecursionError):  # a chunk may hold anything
                        yield from _keyed(f"chunk {key}", json.loads(text))
        for tag, value in picture.getexif().items():
            yield f"EXIF {ExifTags.TAGS.get(tag, tag)}", str(value), ""


def _text(path: Path) -> Said:
    if path.stat().st_size > _MOST_BYTES:
        raise DataError("larger than 64 MiB")
    text, name = _decoded(path.read_bytes()), path.name.lower()
    yield from _lines(text)
    if name.endswith(".json"):
        yield from _keyed("", json.loads(text))
    elif name.endswith((".yaml", ".yml")):
        yield from _keyed("", list(yaml.safe_load_all(text)))
    elif name.endswith(".jsonl"):
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield from _keyed(f"line {number} ", json.loads(line))
    elif name.endswith((".csv", ".tsv")):
        yield from _columns(text)


def _unknown(path: Path) -> Said:
    """Of a kind that is not known: text, be it all of the file or the header of something else.

    Behind the text only what a header may take is searched, for letters and digits among voxels
    are chance.
    """
    with open(path, "rb") as file:
        raw = file.read(_HEADER_BYTES)
        if not _CONTROL.search(_decoded(raw)):
            raw += file.read(_MOST_BYTES - len(raw))
    text = _decoded(raw)
    control = _CONTROL.search(text)
    end = control.start() if control else len(text)
    yield from _lines(text[:end])
    for number, line in enumerate(text[:end].splitlines(), 1):
        pair = _PAIR.match(line)
        if pair and _is_personal(pair[1]):
            yield f"line {number} key {pair[1]}", pair[2], "personal"
    for stretch in _STRETCH.finditer(text, end, end + _HEADER_BYTES):
        yield f"character {stretch.start() + 1}", stretch[0].replace("\0", " "), "binary"
    if control:
        raise DataError("of a kind that is not known and no text: only its beginning was searched")
    if path.stat().st_size > len(raw):
        raise DataError("of a kind that is not known: only its first 64 MiB were searched")


def _decoded(raw: bytes) -> str:
    """Text by its byte order mark, else UTF-8; what is neither does not stop the search."""
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return raw.decode("utf-16" if wide else "utf-8-sig", errors="replace")


def _lines(text: str) -> Said:
    for number, line in enumerate(text.splitlines(), 1):
        yield f"line {number}", line, ""


def _keyed(where: str, content: Any) -> Said:
    """Values under keys that are made for a person, however deep."""
    stack = [("", content)]
    while stack:
        key, value = stack.pop()
        if isinstance(value, dict):
            stack += [(str(name), item) for name, item in value.items()]
        elif isinstance(value, list):
            stack += [(key, item) for item in value]
        elif _is_personal(key) and value not in (None, ""):
            yield f"{where}key {key}", str(value), "personal"


def _is_personal(key: str) -> bool:
    return re.sub(r"[^a-z]", "", key.lower()) in _KEYS


def _columns(text: str) -> Said:
    rows = [re.split(r"[,;\t]", line) for line in text.splitlines()]
    for column, head in enumerate(rows[0] if rows else []):
        if _is_personal(head):
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
    elif kind not in ("", "binary"):
        yield Finding(file, where, kind, "trace", shown)
    else:
        for name, level, pattern in _PATTERNS:
            for match in pattern.finditer(text):
                level = "trace" if kind == "binary" else level
                yield Finding(file, where, name, level, match[0][:_SHOWN_CHARACTERS])
        for match in names.finditer(text) if names else ():
            yield Finding(file, where, "real case", "trace", match[0])


def _names(real: Iterable[str]) -> re.Pattern[str] | None:
    """Names of real cases as whole words; short ones and plain numbers would be everywhere."""
    usable = sorted({n for n in real if len(n) >= 5 and not n.isdigit()}, key=len, reverse=True)
    if not usable:
        return None
    return re.compile(r"(?<![\w-])(?:" + "|".join(map(re.escape, usable)) + r")(?![\w-])")
