"""Envelopes: the checksummed parts in which an RNTuple describes itself, read and written.

Written from ROOT's "RNTuple Binary Format Specification 1.0"; everything in an envelope is little endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "CHECKSUM",
    "FOOTER",
    "HEADER",
    "PAGE_LIST",
    "Envelope",
    "Frame",
    "envelope",
    "listed",
    "locator",
    "record",
    "string",
]

HEADER: Final = 1
FOOTER: Final = 2
PAGE_LIST: Final = 3
#: The bytes of an XXH3-64.
CHECKSUM: Final = 8
_LARGE_LOCATOR: Final = 1
_LARGE_BYTES: Final = 20


@dataclass(frozen=True, slots=True)
class Frame:
    """A record or a list (with its number of items): where its content begins and ends."""

    begin: int
    end: int
    items: int


class Envelope:
    """An envelope whose checksum holds, read from front to back.

    Raises
    ------
    CorruptFile
        If it contradicts itself; also from the methods.
    """

    def __init__(self, data: bytes, kind: int, where: str) -> None:
        import xxhash

        self.data, self.where = data, where
        if len(data) < 16:
            raise CorruptFile("an envelope is cut short", where=where)
        (head,) = struct.unpack_from("<Q", data)
        (self.checksum,) = struct.unpack_from("<Q", data, len(data) - CHECKSUM)
        if xxhash.xxh3_64_intdigest(data[:-CHECKSUM]) != self.checksum:
            raise CorruptFile("the xxh3 of an envelope does not match", where=where)
        if head & 0xFFFF != kind or head >> 16 != len(data):
            raise CorruptFile(f"an envelope is not of kind {kind} or not of its length", where=where)
        self.at = 8
        self.end = len(data) - CHECKSUM

    def number(self, letter: str) -> int:
        """Read an integer, as ``struct`` spells its size."""
        (value,) = struct.unpack_from("<" + letter, self.data, self.at)
        self.at += struct.calcsize(letter)
        return int(value)

    def text(self) -> str:
        """Read a string."""
        size = self.number("I")
        if size > self.end - self.at:
            raise CorruptFile("a name is longer than its envelope", where=self.where)
        self.at += size
        return self.data[self.at - size : self.at].decode("utf-8", "surrogateescape")

    def flags(self) -> None:
        """Read feature flags, none of which are known.

        Raises
        ------
        UnsupportedContent
            If one is set.
        """
        if self.number("q") != 0:
            raise UnsupportedContent("it uses features of RNTuple that are not known here", where=self.where)

    def frame(self) -> Frame:
        """Read the head of a frame."""
        start = self.at
        size = self.number("q")
        items = self.number("I") if size < 0 else 0
        end = start + abs(size)
        if end > self.end or end < self.at or items > abs(size):
            raise CorruptFile("a frame is longer than its envelope", where=self.where)
        return Frame(self.at, end, items)

    def frames(self, parent: Frame) -> Iterator[Frame]:
        """Yield the items of a list of frames."""
        self.at = parent.begin
        for _ in range(parent.items):
            if self.at >= parent.end:
                raise CorruptFile("a list has fewer items than it says", where=self.where)
            item = self.frame()
            yield item
            if self.at > item.end:
                raise CorruptFile("an item of a list is shorter than what it holds", where=self.where)
            self.at = item.end
        self.at = parent.end

    def locator(self) -> tuple[int, int]:
        """Read a locator; return offset and size."""
        size = self.number("i")
        if size >= 0:
            return self.number("q"), size
        word, start = -size, self.at - 4
        if word >> 24 != _LARGE_LOCATOR or word & 0xFFFF < _LARGE_BYTES:
            raise UnsupportedContent("it keeps data where we can't look (unknown locator)", where=self.where)
        size, offset = self.number("q"), self.number("q")
        self.at = start + (word & 0xFFFF)
        return offset, size


def envelope(kind: int, content: bytes) -> bytes:
    """Return an envelope with its checksum."""
    import xxhash

    length = 8 + len(content) + CHECKSUM
    data = struct.pack("<Q", kind | length << 16) + content
    return data + struct.pack("<Q", xxhash.xxh3_64_intdigest(data))


def record(content: bytes) -> bytes:
    """Return a record frame."""
    return struct.pack("<q", 8 + len(content)) + content


def listed(items: Sequence[bytes], rest: bytes = b"") -> bytes:
    """Return a list frame; `rest` follows the items inside of it."""
    content = b"".join(items) + rest
    return struct.pack("<qI", -(12 + len(content)), len(items)) + content


def string(value: str) -> bytes:
    """Return a string."""
    data = value.encode("utf-8", "surrogateescape")
    return struct.pack("<I", len(data)) + data


def locator(offset: int, size: int) -> bytes:
    """Return a locator, a large one where the size takes more than 31 bits."""
    if size < 1 << 31:
        return struct.pack("<iq", size, offset)
    return struct.pack("<iqq", -(_LARGE_LOCATOR << 24 | _LARGE_BYTES), size, offset)
