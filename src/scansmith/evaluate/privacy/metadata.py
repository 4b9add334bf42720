"""What the files of a data set say beside their voxels: names, dates, UIDs, paths.

Every file below a folder is opened by its kind: DICOM tags, NIfTI header texts and extensions, the
head of a packed file, PNG text chunks and EXIF, and whatever is text (`texts`). A file of any other
kind is searched as text, as far as it is text, and so are bytes that lie between or behind what a
kind of file consists of. Findings are "identifying" (a person's name, id or
birth date in a place made for it) or "trace" (UID, path, date, name of a real case): a trace may
be harmless, and has to be looked at.
"""

from __future__ import annotations

import io
import math
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
import pydicom
from PIL import ExifTags, Image, ImageFile, ImageSequence, IptcImagePlugin

from scansmith.evaluate.privacy.packed import Members
from scansmith.evaluate.privacy.texts import (
    CONTROL,
    ENDINGS,
    PERSONAL,
    STRAY_BYTES,
    Said,
    is_personal,
    said_in,
    stray,
    text_file,
    unknown_file,
)
from scansmith.io.dicom import is_dicom, looks_like_dicom
from scansmith.scan import DataError

_MOST_SHOWN = 200
_SHOWN_CHARACTERS = 80
#: What a UserComment begins with: Exif 2.32, section 4.6.5.
_CHARACTER_CODES = (b"ASCII\0\0\0", b"UNICODE\0", b"JIS\0\0\0\0\0", bytes(8))
#: Group of the elements that hold pixels, and how long an element is left unread until asked for.
_PIXELS = 0x7FE0
_DEFERRED_BYTES = 1 << 16
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
#: What such files begin with.
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
# A marker of JPEG (ISO 10918-1, B.1.1), but what a scan may hold: FF00, restarts and fill bytes.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_JPEG_END, _WITHOUT_LENGTH = b"\xff\xd9", (b"\xff\xd8", b"\xff\x01")
_BLOCK = 1 << 20  # bytes of voxels passed at a time

# Words that anonymising programs leave in a person's place.
_BLANK = re.compile(
    r"(?i)^\W*(anon\w*|synthetic.*|phantom.*|none|null|unknown|removed|deleted|redacted|withheld"
    r"|not (?:given|known|recorded|available|applicable)|n/?a|x+|0+)?\W*$"
)

# Letters of any writing. A name begins with no small one, so that `exp^x` is none.
_SMALL = "".join(filter(str.islower, map(chr, range(1 << 16))))
_FIRST, _LETTER = rf"[^\W\d_{_SMALL}]", r"(?:[^\W\d_]|['\u2019\u0300-\u036f-])"
# One of these alone is a family name: kana, Chinese and Korean.
_SYLLABLE = r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]"

# Where a word begins and ends; in the names of files "_" parts them.
_WORD, _END = r"(?<![^\W_])", r"(?![^\W_])"

_PATTERNS: tuple[tuple[str, str, re.Pattern[str]], ...] = (
    (
        "name", "identifying",
        re.compile(rf"{_WORD}(?:{_FIRST}{_LETTER}+|{_SYLLABLE})\^{_FIRST}{_LETTER}*{_END}"),
    ),
    ("e-mail", "trace", re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}\b")),
    ("uid", "trace", re.compile(rf"{_WORD}(?<!\.)[012]\.\d+(?:\.\d+){{5,}}{_END}(?!\.\d)")),
    (
        "path", "trace",
        re.compile(r"(?<![\w.:/<~-])(?:/(?:[\w.+@-]+/)+[\w.+@-]+|[A-Za-z]:\\[^\s\"']+|\\\\[\w.-]+\\[^\s\"']+)"),
    ),
    (
        "date", "trace",
        re.compile(
            rf"{_WORD}(?<!\d[.-])(?:19|20)\d\d([-/._]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])"
            r"(?![^\W_T]|[.-]?\d)"
        ),
    ),
    (
        "date", "trace",
        re.compile(
            rf"{_WORD}(?<!\d[.-])(?:0[1-9]|[12]\d|3[01])([./-])(?:0[1-9]|[12]\d|3[01])\1"
            rf"(?:19|20)\d\d{_END}(?![.-]\d)"
        ),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One entry that says more than it should.

    Attributes:
        file: relative to the folder.
        where: tag, key, line or chunk.
        kind: name, date, uid, path, e-mail, personal, private, extension, former name, position,
            real case.
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
            unknown += [file] if read is unknown_file else []
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


def _reader(path: Path) -> Callable[[Path], Said]:
    """What reads a file of this kind."""
    if not path.is_file():
        raise DataError("no file, but a link to a folder or to nothing: it was not followed")
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz", ".hdr")):
        return _nifti
    if name.endswith(_PICTURES):
        return _picture
    if name.endswith(ENDINGS):
        return text_file
    if looks_like_dicom(path):
        return _dicom
    return unknown_file


def _dicom(path: Path) -> Said:
    """The preamble, and every element but pixels, those behind them too."""
    read = pydicom.dcmread(path, defer_size=_DEFERRED_BYTES, force=True)
    if not is_dicom(path) and "SOPClassUID" not in read:
        raise DataError("named like DICOM, which it is not")
    preamble = (read.preamble or b"").strip(b"\0").decode("latin-1")
    if preamble:
        yield from said_in("preamble", preamble)
    yield from _elements(read.file_meta)
    yield from _elements(read)


def _elements(dataset: pydicom.Dataset) -> Said:
    """Tags with a value: personal ones, dates and times, UIDs of instances, private ones."""
    for element in _flat(dataset):
        text = str(element.value).strip()
        if not text or (element.VR == "SQ" and not len(element.value)):
            continue
        where = f"{element.tag} {element.keyword or element.name}"
        if element.keyword in PERSONAL or element.VR == "PN":
            yield where, text, "personal"
        elif element.VR in ("DA", "DT", "TM"):
            yield where, text, "date"
        elif element.VR == "UI":
            if pydicom.uid.UID(text).name == text:  # not one of the standard's own
                yield where, text, "uid"
        elif element.tag.is_private:
            yield where, text, "private"
        else:
            yield where, text, ""


def _flat(dataset: pydicom.Dataset) -> Iterator[pydicom.DataElement]:
    """A data set's elements and those of its sequences; pixels are not read."""
    for tag in sorted(dataset.keys()):
        if tag.group != _PIXELS:
            element = dataset[tag]
            yield element
            for item in element.value if element.VR == "SQ" else ():
                yield from _flat(item)


def _nifti(path: Path) -> Said:
    """The header, and all bytes that are neither header nor voxels; of packed ones the heads."""
    with open(path, "rb") as raw:
        members = Members(raw, path.name) if path.name.lower().endswith(".gz") else None
        file = raw if members is None else io.BufferedReader(members)
        header = _header(file)
        yield from _header_texts(header)
        beside = {}
        if bytes(header["magic"]).startswith(b"n+"):  # else voxels are in a file of their own
            begin = int(header["vox_offset"]) - file.tell()
            beside["between header and voxels"] = _next(file, begin)
            _next(file, math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize)
        beside["behind the voxels"] = _next(file, sys.maxsize)
        if members is not None:
            beside["behind the packed file"] = members.behind(STRAY_BYTES + 1)
            yield from members.said
    yield from stray(beside)


def _next(file: BinaryIO, count: int) -> bytes:
    """Pass so many bytes, and give as many of them as `stray` looks at, and one more."""
    first = file.read(max(min(count, STRAY_BYTES + 1), 0))
    count -= len(first)
    while count > 0 and (block := file.read(min(count, _BLOCK))):
        count -= len(block)
    return first


def _header_texts(header: Any) -> Said:
    for name in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
        if name in header.structarr.dtype.names:
            raw = bytes(np.atleast_1d(header.structarr[name])[0]).rstrip(b"\0")
            yield from said_in(f"header {name}", raw.decode("latin-1"))
    for extension in header.extensions:
        content = extension.get_content()
        if isinstance(content, pydicom.Dataset):  # code 2
            yield f"extension of code {extension.get_code()}", "DICOM elements", "extension"
            yield from _elements(content)
            continue
        text = content.decode("latin-1") if isinstance(content, bytes) else str(content)
        yield f"extension of code {extension.get_code()}", text.strip("\0"), "extension"
        yield from said_in(f"extension of code {extension.get_code()}", text.strip("\0"))


def _header(file: Any) -> Any:
    size = int.from_bytes(file.peek(4)[:4], "little")
    kind = nib.Nifti2Header if size == 540 else nib.Nifti1Header
    return kind.from_fileobj(file)


def _picture(path: Path) -> Said:
    with Image.open(path) as picture:
        for _ in ImageSequence.Iterator(picture):
            picture.load()
            yield from _page(picture)
    yield from stray({"behind the picture": _behind_picture(path.read_bytes())})


def _behind_picture(raw: bytes) -> bytes:
    """What follows the last chunk of PNG, or the end of JPEG; TIFF has no end."""
    if raw.startswith(_JPEG):
        return _behind_jpeg(raw)
    at = len(_PNG)
    while raw.startswith(_PNG) and at < len(raw):
        kind, length = raw[at + 4 : at + 8], int.from_bytes(raw[at : at + 4], "big")
        at += length + 12  # with length, kind and checksum
        if kind == b"IEND":
            return raw[at:]
    return b""


def _behind_jpeg(raw: bytes) -> bytes:
    """What follows the first end that lies in no segment, where thumbnails have ends of their own.

    All of it where there is no end, since then nothing says where the picture stops.
    """
    at = 0
    while marker := _MARKER.search(raw, at):
        at = marker.end()
        if marker[0] == _JPEG_END:
            return raw[at:]
        if marker[0] not in _WITHOUT_LENGTH:
            at += int.from_bytes(raw[at : at + 2], "big")
    return raw


def _page(picture: ImageFile.ImageFile) -> Said:
    chunks = {str(key): value for key, value in picture.info.items()}
    if "XML:com.adobe.xmp" in chunks:  # PNG's, which Pillow gives twice
        chunks.pop("xmp", None)
    for key, value in chunks.items():
        if isinstance(value, (str, bytes)) and key not in ("icc_profile", "exif"):
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            if is_personal(key):
                yield f"chunk {key}", text, "personal"
            yield from said_in(f"chunk {key}", text)
    for chunk, raw, *_ in getattr(picture, "private_chunks", ()):  # PNG's
        text = raw.decode("latin-1")
        if not CONTROL.search(text):  # a program's own bytes are no text
            yield from said_in(f"chunk {chunk.decode('latin-1')}", text)
    exif = picture.getexif()
    yield from _exif(exif, "EXIF", ExifTags.TAGS)
    yield from _exif(exif.get_ifd(ExifTags.IFD.Exif), "EXIF", ExifTags.TAGS)
    yield from _exif(exif.get_ifd(ExifTags.IFD.GPSInfo), "GPS", ExifTags.GPSTAGS)
    for (record, number), value in (IptcImagePlugin.getiptcinfo(picture) or {}).items():
        for item in value if isinstance(value, list) else [value]:
            yield from said_in(f"IPTC {record}:{number}", item.decode("utf-8", errors="replace"))


def _exif(tags: Mapping[int, Any], where: str, names: Mapping[int, str]) -> Said:
    for tag, value in tags.items():
        name = str(names.get(tag, tag))
        text = str(value)
        if isinstance(value, bytes):
            code = next((c for c in _CHARACTER_CODES if value.startswith(c)), b"")
            text = value.removeprefix(code).decode("latin-1").replace("\0", "")
        if name.startswith(("DateTime", "GPSDate")):
            yield f"{where} {name}", text, "date"
        elif where == "GPS":
            yield f"{where} {name}", text, "position"
        elif not CONTROL.search(text):  # a maker's own bytes are no text
            yield from said_in(f"{where} {name}", text)


def _judged(
    file: str, where: str, text: str, kind: str, names: re.Pattern[str] | None
) -> Iterator[Finding]:
    where, text = _composed(where), _composed(text)
    shown = " ".join(text.split())[:_SHOWN_CHARACTERS]
    if kind == "personal":
        if not _BLANK.match(text):
            yield Finding(file, where, kind, "identifying", shown)
    elif kind not in ("", "binary"):
        yield Finding(file, where, kind, "trace", shown)
    else:
        for name, level, pattern in _PATTERNS:
            for match in pattern.finditer(text):
                level = "trace" if kind == "binary" else level
                yield Finding(file, where, name, level, match[0][:_SHOWN_CHARACTERS])
        for match in names.finditer(text) if names else ():
            yield Finding(file, where, "real case", "trace", match[0])


def _composed(text: str) -> str:
    """Each letter as one character, for macOS writes the names of files in parts; what is half a
    character, as JSON may hold, as `?`.
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", text.encode(errors="replace").decode())


def _names(real: Iterable[str]) -> re.Pattern[str] | None:
    """Names of real cases as whole words; short ones and plain numbers would be everywhere."""
    composed = {_composed(name) for name in real}
    usable = sorted({n for n in composed if len(n) >= 5 and not n.isdigit()}, key=len, reverse=True)
    if not usable:
        return None
    return re.compile(_WORD + "(?:" + "|".join(map(re.escape, usable)) + ")" + _END)
