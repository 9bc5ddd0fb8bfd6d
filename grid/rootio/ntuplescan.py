"""Test an RNTuple: its anchor, header, footer and page lists, and every page with its checksum.

Written from ROOT's "RNTuple Binary Format Specification 1.0"; envelopes are little endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from grid.rootio.format.unpack import blocks_of, unpack
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grid.rootio.image import Image
    from grid.rootio.structure import Entry

__all__ = ["NTupleScan", "scan_ntuple"]

_ANCHOR: Final = struct.Struct(">IHHHHHQQQQQQQ")
_HEADER, _FOOTER, _PAGE_LIST = 1, 2, 3
_LARGE_LOCATOR: Final = 1
#: The largest envelope that is held in memory.
_LARGEST_ENVELOPE: Final = 1 << 30
_CHECKSUM: Final = 8


@dataclass(frozen=True, slots=True)
class NTupleScan:
    """What was found: entries, fields of all levels, pages, their bytes, and how many checksums cover."""

    entries: int
    fields: int
    pages: int
    packed_bytes: int
    covered: int


@dataclass(frozen=True, slots=True)
class _Frame:
    """A record or a list (with its number of items): where its content begins and ends."""

    begin: int
    end: int
    items: int


class _Envelope:
    """An envelope whose checksum holds."""

    def __init__(self, data: bytes, kind: int, where: str) -> None:
        import xxhash

        self.data, self.where = data, where
        if len(data) < 16:
            raise CorruptFile("an envelope is cut short", where=where)
        (head,) = struct.unpack_from("<Q", data)
        (self.checksum,) = struct.unpack_from("<Q", data, len(data) - _CHECKSUM)
        if xxhash.xxh3_64_intdigest(data[:-_CHECKSUM]) != self.checksum:
            raise CorruptFile("the xxh3 of an envelope does not match", where=where)
        if head & 0xFFFF != kind or head >> 16 != len(data):
            raise CorruptFile(f"an envelope is not of kind {kind} or not of its length", where=where)
        self.at = 8

    def number(self, letter: str) -> int:
        (value,) = struct.unpack_from("<" + letter, self.data, self.at)
        self.at += struct.calcsize(letter)
        return int(value)

    def text(self) -> str:
        size = self.number("I")
        if size > len(self.data) - self.at:
            raise CorruptFile("a name is longer than its envelope", where=self.where)
        self.at += size
        return self.data[self.at - size : self.at].decode("utf-8", "backslashreplace")

    def flags(self) -> None:
        if self.number("q") != 0:
            raise UnsupportedContent("it uses features of RNTuple that are not known here", where=self.where)

    def frame(self) -> _Frame:
        start = self.at
        size = self.number("q")
        items = self.number("I") if size < 0 else 0
        end = start + abs(size)
        if end > len(self.data) - _CHECKSUM or end < self.at or items > abs(size):
            raise CorruptFile("a frame is longer than its envelope", where=self.where)
        return _Frame(self.at, end, items)

    def frames(self, parent: _Frame) -> Iterator[_Frame]:
        """Yield the items of a list of frames."""
        self.at = parent.begin
        for _ in range(parent.items):
            if self.at >= parent.end:
                raise CorruptFile("a list has fewer items than it says", where=self.where)
            item = self.frame()
            yield item
            self.at = item.end
        self.at = parent.end

    def locator(self) -> tuple[int, int]:
        """Return offset and size."""
        size = self.number("i")
        if size >= 0:
            return self.number("q"), size
        word, start = -size, self.at - 4
        if word >> 24 != _LARGE_LOCATOR:
            raise UnsupportedContent("it keeps data where we can't look (unknown locator)", where=self.where)
        size, offset = self.number("q"), self.number("q")
        self.at = start + (word & 0xFFFF)
        return offset, size


def scan_ntuple(image: Image, entry: Entry, *, full: bool) -> NTupleScan:
    """Test an RNTuple; with `full`, unpack every page.

    Raises
    ------
    CorruptFile
        If sizes or checksums contradict each other.
    UnsupportedContent
        If it is older than version 1, or uses what is not known here.
    """
    where = image.where(entry.path)
    try:
        return _Scan(image, entry, where).run(full=full)
    except (struct.error, IndexError, OverflowError) as error:
        raise CorruptFile(f"the description of the RNTuple is cut short: {error}", where=where) from error


class _Scan:
    def __init__(self, image: Image, entry: Entry, where: str) -> None:
        self.image, self.entry, self.where = image, entry, where
        self.covered = self.pages = self.packed_bytes = self.fields = 0
        #: Bits of an element, by column.
        self.bits: list[int] = []
        #: Where pages lie; equal ones may share a place.
        self.places: set[tuple[int, int]] = set()

    def run(self, *, full: bool) -> NTupleScan:
        header_place, footer_place = self.anchor()
        header = self.envelope(*header_place, _HEADER)
        header.flags()
        for _ in range(3):
            header.text()
        self.schema(header)
        footer = self.envelope(*footer_place, _FOOTER)
        footer.flags()
        self.belongs(footer, header)
        extension = footer.frame()
        if extension.end > footer.at:
            self.schema(footer)
        footer.at = extension.end
        entries = 0
        for _ in footer.frames(footer.frame()):
            first, span, clusters = footer.number("Q"), footer.number("Q"), footer.number("I")
            length = footer.number("Q")
            offset, size = footer.locator()
            if first != entries:
                raise CorruptFile(f"its clusters leave out entries from {entries} on", where=self.where)
            entries += span
            pages = self.envelope(offset, size, length, _PAGE_LIST)
            self.belongs(pages, header)
            self.clusters(pages, first, span, clusters)
            self.page_lists(pages, clusters, full=full)
        return NTupleScan(entries, self.fields, self.pages, self.packed_bytes, self.covered)

    def anchor(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Return position, packed and unpacked size of header and footer."""
        import xxhash

        key = self.entry.key
        payload = self.image.read(key.seek + key.length, key.packed_bytes, "the anchor")
        if key.object_bytes > 1 << 16:
            raise CorruptFile("the anchor is too long", where=self.where)
        data = unpack(payload, key.object_bytes, self.where)
        if len(data) >= 8 and struct.unpack_from(">H", data, 6)[0] < 1:
            raise UnsupportedContent(
                "it is an RNTuple from before version 1 of the format",
                where=self.where,
                todo="write it again with ROOT 6.34 or later",
            )
        if len(data) < _ANCHOR.size + _CHECKSUM:
            raise CorruptFile("the anchor is cut short", where=self.where)
        _, _, epoch, _, _, _, *sizes = _ANCHOR.unpack_from(data)
        (stored,) = struct.unpack_from(">Q", data, _ANCHOR.size)
        if xxhash.xxh3_64_intdigest(data[6 : _ANCHOR.size]) != stored:
            raise CorruptFile("the xxh3 of the anchor does not match", where=self.where)
        if epoch != 1:
            raise UnsupportedContent(f"it is an RNTuple of epoch {epoch}; known is 1", where=self.where)
        self.covered += len(payload)
        return (sizes[0], sizes[1], sizes[2]), (sizes[3], sizes[4], sizes[5])

    def envelope(self, offset: int, size: int, length: int, kind: int) -> _Envelope:
        if length > _LARGEST_ENVELOPE:
            raise UnsupportedContent(f"a part of its description takes {length} bytes", where=self.where)
        payload = self.image.read(offset, size, "an envelope")
        self.covered += size
        return _Envelope(unpack(payload, length, self.where), kind, self.where)

    def belongs(self, envelope: _Envelope, header: _Envelope) -> None:
        if envelope.number("Q") != header.checksum:
            raise CorruptFile("its parts belong to different headers", where=self.where)

    def schema(self, envelope: _Envelope) -> None:
        """Read fields and columns; what follows them is not needed."""
        fields = envelope.frame()
        self.fields += fields.items
        envelope.at = fields.end
        for _ in envelope.frames(envelope.frame()):
            envelope.number("H")  # its type
            self.bits.append(envelope.number("H"))

    def clusters(self, envelope: _Envelope, first: int, span: int, count: int) -> None:
        summaries = envelope.frame()
        if summaries.items != count:
            raise CorruptFile(
                f"a list of pages has {summaries.items} clusters, not {count}", where=self.where
            )
        at = first
        for _ in envelope.frames(summaries):
            begin, packed = envelope.number("Q"), envelope.number("Q")
            if begin != at or packed >> 56 & 1:
                raise CorruptFile("its clusters don't follow each other", where=self.where)
            at += packed & ((1 << 56) - 1)
        if at != first + span:
            raise CorruptFile(f"its clusters hold {at - first} entries, not {span}", where=self.where)

    def page_lists(self, envelope: _Envelope, clusters: int, *, full: bool) -> None:
        outer = envelope.frame()
        if outer.items != clusters:
            raise CorruptFile("a list of pages leaves out clusters", where=self.where)
        for cluster in envelope.frames(outer):
            if cluster.items > len(self.bits):
                raise CorruptFile("a cluster has more columns than the header", where=self.where)
            for column, pages in enumerate(envelope.frames(cluster)):
                for _ in range(pages.items):
                    elements = envelope.number("i")
                    offset, size = envelope.locator()
                    if envelope.at > pages.end:
                        raise CorruptFile("a column has fewer pages than it says", where=self.where)
                    self.page(column, elements, offset, size, full=full)

    def page(self, column: int, elements: int, offset: int, size: int, *, full: bool) -> None:
        import xxhash

        has_checksum = elements < 0
        what = f"a page of column {column} at {offset}"
        data = self.image.read(offset, size + (_CHECKSUM if has_checksum else 0), what)
        self.pages += 1
        new = (offset, size) not in self.places
        self.places.add((offset, size))
        self.packed_bytes += size if new else 0
        where = f"{self.where}: {what}"
        if has_checksum:
            (stored,) = struct.unpack_from("<Q", data, size)
            if xxhash.xxh3_64_intdigest(data[:size]) != stored:
                raise CorruptFile("its xxh3 does not match", where=where)
            self.covered += len(data) if new else 0
        if full:
            length = (abs(elements) * self.bits[column] + 7) // 8
            for block in blocks_of(data[:size], length, where):
                self.covered += block.packed if new and block.covered and not has_checksum else 0
