"""Gzip files with what their readers pass over: the heads of all members, and bytes behind them."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from isal import isal_zlib

from scansmith.evaluate.privacy.texts import CONTROL, HEADER_BYTES, Said, said_in

_MARK = b"\x1f\x8b"
_BLOCK = 1 << 18  # bytes read at a time
_GZIP = 31  # zlib's wbits for members with head and checksum


class Members(io.RawIOBase):
    """The content of a gzip file, one member after the other (RFC 1952, section 2.2).

    Attributes:
        said: what the heads of the members so far say.
    """

    def __init__(self, file: BinaryIO, name: str):
        self.said: list[tuple[str, str, str]] = []
        self._file, self._name, self._at, self._left = file, name, 0, b""
        self._member: Any = None

    def readable(self) -> bool:  # noqa: D102
        return True

    def tell(self) -> int:  # noqa: D102
        return self._at

    def readinto(self, buffer: Any) -> int:
        """The next bytes; none behind the last member.

        Raises:
            EOFError: the file ends within a member.
        """
        made = b""
        while not made and (self._member is not None or self._begins()):
            self._left = self._left or self._file.read(_BLOCK)
            if not self._left:
                raise EOFError("the file ends before its data do")
            made = self._member.decompress(self._left, len(buffer))
            if self._member.eof:
                self._left, self._member = self._member.unused_data, None
            else:
                self._left = self._member.unconsumed_tail
        buffer[: len(made)] = made
        self._at += len(made)
        return len(made)

    def behind(self, most: int) -> bytes:
        """At most so many bytes of what lies behind the last member, which has been read."""
        return self._left + self._file.read(max(most - len(self._left), 0))

    def _begins(self) -> bool:
        """Begin the next member, if there is one; zeros before it are padding."""
        self._left = self._left.lstrip(b"\0")
        while not self._left and (block := self._file.read(_BLOCK)):
            self._left = block.lstrip(b"\0")
        if len(self._left) < HEADER_BYTES:
            self._left += self._file.read(_BLOCK)
        if not self._left.startswith(_MARK):
            return False
        self.said += _head(self._left[:HEADER_BYTES], self._name)
        self._member = isal_zlib.decompressobj(_GZIP)
        return True


def _head(raw: bytes, packed: str) -> Said:
    """An extra field, the name that a file had when it was packed, a comment (section 2.3)."""
    flags, at = raw[3], 10
    if flags & 4:  # FEXTRA: its length, then so many bytes
        begin, at = at + 2, at + 2 + int.from_bytes(raw[at : at + 2], "little")
        extra = raw[begin:at].decode("latin-1")
        if not CONTROL.search(extra):  # a program's own bytes are no text
            yield from said_in("gzip extra field", extra)
    for flag, what in ((8, "name"), (16, "comment")):
        if flags & flag:
            text = raw[at:].split(b"\0", 1)[0]
            at += len(text) + 1
            said = text.decode("latin-1")
            if what == "name" and said != packed[: -len(".gz")]:
                yield "gzip name", said, "former name"
            # In a name of a file underscores stand for spaces.
            yield from said_in(f"gzip {what}", said.replace("_", " "))
