"""What texts hold in places made for a person: `PatientID = 4711`, and the like of each kind."""

from __future__ import annotations

import codecs
import csv
import html
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydicom.datadict import keyword_for_tag

from scansmith.scan import DataError

#: What `text_file` reads: these have keys of their own, or columns,
_STRUCTURED = (".json", ".jsonl", ".yaml", ".yml", ".csv", ".tsv")
#: and these lines, with or without tags.
_MARKED = (".xml", ".html")
ENDINGS = (*_STRUCTURED, *_MARKED, ".txt", ".md", ".log")
_MOST_BYTES = 1 << 26
#: Of a file of an unknown kind, behind its text: what a binary header takes, not its voxels.
HEADER_BYTES = 1 << 16
#: Of what lies beside the parts of a file of a known kind.
STRAY_BYTES = 1 << 20

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
#: Of a person in DICOM JSON (PS3.18, annex F): these say no more than the key above them.
_PASSED_ON = frozenset({"value", "alphabetic", "ideographic", "phonetic"})

# No text has these; voxels and compressed bytes soon do.
CONTROL = re.compile(r"[\0-\x08\x0e-\x1f\x7f]")
# `PatientID = 4711` of an MHA header, `PatientID:=4711` of an NRRD header, `"PatientID": "4711",`.
_PAIR = re.compile(r"^\W*([A-Za-z][A-Za-z' _.-]*?)[^\w:=]*:?[:=]\s*(.*\S)")
# The same with a keyword of DICOM anywhere in a line, up to what may end an entry there.
_KEYWORD = re.compile(r"\b(" + "|".join(PERSONAL) + r")\b[^\w:=,;|]*:?[:=]\s*([^,;|\t]*[^,;|\s])")
# A tag: its name, its attributes, and the text that it or one just within it holds.
_TAG = re.compile(
    r"<(?:\w+:)?([A-Za-z][\w.-]*)([^<>]*)>(?=(?:\s*<[^<>/][^<>]*>){0,4}\s*([^<>\s][^<>]*))?"
)
_ATTRIBUTE = re.compile(r"""([\w.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
# As long as a field for a name, filled up with zeros; compressed bytes have none so long.
_STRETCH = re.compile(r"[\0\t\n\r -~À-ÿ]{16,}")

# Of JSON, within a line: only those with a backslash say something else than they show.
_LITERAL = re.compile(r'"(?:[^"\\\r\n]|\\.)*"')
# Letters and ends of lines of YAML, in double quotes, which may go on in the next line.
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U(000[0-9A-Fa-f]{5})|[nrt])")

#: (where, text, kind): kind is "" for text in which patterns are looked for, "binary" for what may
#: be text by chance, so that nothing in it identifies, "personal" for what is in a person's place.
Said = Iterator[tuple[str, str, str]]


def is_personal(key: str) -> bool:
    """Whether a key is made for a person: a word for it, or the number of its DICOM tag."""
    if re.fullmatch(r"[0-9A-Fa-f]{8}", key):
        return keyword_for_tag(int(key, 16)) in PERSONAL
    return re.sub(r"[^a-z]", "", key.lower()) in _KEYS


def text_file(path: Path) -> Said:
    """Of a file with one of ENDINGS. Raises DataError if it is too long, or the parser's error."""
    if path.stat().st_size > _MOST_BYTES:
        raise DataError("larger than 64 MiB")
    text, name = _decoded(path.read_bytes()), path.name.lower()
    if not name.endswith(_STRUCTURED):
        yield from _lines(text, marked=name.endswith(_MARKED))
        return
    shown = _unescaped(text) if name.endswith((".json", ".jsonl")) else text
    for number, line in enumerate(shown.splitlines(), 1):
        yield f"line {number}", line, ""
    if name.endswith(".json"):
        yield from keyed("", json.loads(text))
    elif name.endswith(".jsonl"):
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield from keyed(f"line {number} ", json.loads(line))
    elif name.endswith((".yaml", ".yml")):
        yield from _escapes(text)
        yield from keyed("", list(yaml.safe_load_all(text)))
    elif name.endswith((".csv", ".tsv")):
        yield from _columns(text)


def unknown_file(path: Path) -> Said:
    """Of a kind that is not known: text, be it all of the file or the header of something else.

    Behind the text only what a header may take is searched, for letters and digits among voxels
    are chance.
    """
    with open(path, "rb") as file:
        raw = file.read(HEADER_BYTES)
        if not CONTROL.search(_decoded(raw)):
            raw += file.read(_MOST_BYTES - len(raw))
    text = _decoded(raw)
    control = CONTROL.search(text)
    end = control.start() if control else len(text)
    yield from _lines(text[:end])
    yield from _stretches("", text, end)
    if control:
        raise DataError("of a kind that is not known and no text: only its beginning was searched")
    if path.stat().st_size > len(raw):
        raise DataError("of a kind that is not known: only its first 64 MiB were searched")


def stray(parts: Mapping[str, bytes]) -> Said:
    """Where -> bytes that belong to no part of a file, for no reader shows them: they are text, or
    zeros, with which programs fill up.

    Raises:
        DataError: some are neither, or more than STRAY_BYTES.
    """
    dark = []
    for where, raw in parts.items():
        text = _decoded(raw.strip(b"\0"))
        control = CONTROL.search(text)
        end = control.start() if control else len(text)
        yield from said_in(where, text[:end])
        yield from _stretches(f"{where} ", text, end)
        if control or len(raw) > STRAY_BYTES:
            dark.append(where)
    if dark:
        raise DataError(f"what lies {' and '.join(dark)} is no text, or more than is searched")


def _stretches(where: str, text: str, begin: int) -> Said:
    """What may be text among other bytes."""
    for stretch in _STRETCH.finditer(text, begin, begin + HEADER_BYTES):
        yield f"{where}character {stretch.start() + 1}", stretch[0].replace("\0", " "), "binary"


def said_in(where: str, text: str) -> Said:
    """A text of any shape, and what it holds under keys that are made for a person."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):  # most are no JSON
        yield where, text, ""
        for line in text.splitlines():
            yield from _pairs(f"{where} ", line)
        yield from _tagged(f"{where} ", text)
    else:
        yield where, _unescaped(text), ""
        yield from keyed(f"{where} ", content)


def keyed(where: str, content: Any) -> Said:
    """Values under keys that are made for a person, however deep, and what strings hold as texts
    do: `{"note": "line\\nPatientID: 4711"}`.
    """
    stack = [("", content)]
    while stack:
        key, value = stack.pop()
        if isinstance(value, dict):
            for name, item in value.items():
                stack.append((key if str(name).lower() in _PASSED_ON else str(name), item))
        elif isinstance(value, list):
            stack += [(key, item) for item in value]
        elif is_personal(key) and value not in (None, ""):
            yield f"{where}key {key}", str(value), "personal"
        elif isinstance(value, str):
            at = f"{where}key {key} " if key else where
            if ":" in value or "=" in value:
                for line in value.splitlines():
                    yield from _pairs(at, line)
            if "<" in value:
                yield from _tagged(at, value)


def _unescaped(text: str) -> str:
    """JSON with what its strings say instead of escapes, line by line: `"M\\u00fcller"` as
    `"Müller"`. Lines that a string breaks become one.
    """

    def said(literal: re.Match[str]) -> str:
        if "\\" not in literal[0]:
            return literal[0]
        try:
            return '"' + " ".join(json.loads(literal[0], strict=False).splitlines()) + '"'
        except ValueError:  # a mistake, which the parser tells
            return literal[0]

    return _LITERAL.sub(said, text) if "\\" in text else text


def _escapes(text: str) -> Said:
    """Lines of YAML with escapes, as they are meant in double quotes."""
    for number, line in enumerate(text.splitlines(), 1):
        meant = _ESCAPE.sub(lambda found: chr(int("".join(found.groups("")) or "20", 16)), line)
        if meant != line:
            yield f"line {number}", meant, ""


def _decoded(raw: bytes) -> str:
    """Text by its byte order mark, else UTF-8; what is neither does not stop the search."""
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return raw.decode("utf-16" if wide else "utf-8-sig", errors="replace")


def _lines(text: str, *, marked: bool = False) -> Said:
    """Lines, and what stands in them under keys that are made for a person."""
    for number, line in enumerate(text.splitlines(), 1):
        yield f"line {number}", html.unescape(line) if marked else line, ""
        yield from _pairs(f"line {number} ", re.sub(r"<[^<>]*>", " ", line) if marked else line)
    yield from _tagged("", text)


def _pairs(where: str, line: str) -> Said:
    """Values behind keywords of DICOM, or behind a key of any spelling at the line's beginning."""
    found = _KEYWORD.findall(line)
    if not found and (first := _PAIR.match(line)) and is_personal(first[1]):
        found = [first.groups()]
    for key, value in found:
        yield f"{where}key {key}", value, "personal"


def _tagged(where: str, text: str) -> Said:
    """`<PatientID>4711`, `<case PatientID="4711"/>`, `<element name="PatientID">4711`, in XML."""
    for tag in _TAG.finditer(text):
        attributes = {name: a or b for name, a, b in _ATTRIBUTE.findall(tag[2])}
        for name, value in attributes.items():
            if is_personal(name) and value:
                yield f"{where}attribute {name}", value, "personal"
        behind = attributes.get("content") or ("" if tag[2].endswith("/") else tag[3])
        for name in (tag[1], *attributes.values()):
            if is_personal(name) and behind:
                yield f"{where}tag {name}", behind, "personal"
                break


def _columns(text: str) -> Said:
    """Below a head that is made for a person, and beside one in a table of two columns."""
    lines = text.splitlines()
    between = max(",;\t|", key=(lines or [""])[0].count)
    rows = [
        [cell.strip() for cell in row] for row in csv.reader(lines, delimiter=between, strict=True)
    ]
    for column, head in enumerate(rows[0] if rows else []):
        if is_personal(head):
            for row in rows[1:]:
                if column < len(row) and row[column] and not is_personal(row[column]):
                    yield f"column {head}", row[column], "personal"
    for row in rows[1:] or rows:  # else the first row are heads
        if len(row) == 2 and row[1] and is_personal(row[0]) and not is_personal(row[1]):
            yield f"row {row[0]}", row[1], "personal"
