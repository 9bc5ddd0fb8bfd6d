"""Test an RNTuple: its anchor, header, footer and page lists, and every page with its checksum."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grid.rootio.format.envelopes import CHECKSUM
from grid.rootio.format.unpack import blocks_of, seals
from grid.rootio.ntuple import read_ntuple
from sitecfg.errors import CorruptFile

if TYPE_CHECKING:
    from grid.rootio.format.ntuples import Schema
    from grid.rootio.format.pagelists import PageList
    from grid.rootio.image import Image
    from grid.rootio.structure import Entry

__all__ = ["NTupleScan", "scan_ntuple"]


@dataclass(frozen=True, slots=True)
class NTupleScan:
    """What was found: entries, fields of all levels, pages, their bytes, and how many checksums cover."""

    entries: int
    fields: int
    pages: int
    packed_bytes: int
    covered: int


def scan_ntuple(image: Image, entry: Entry, *, depth: str) -> NTupleScan:
    """Test an RNTuple to a depth, as :func:`grid.rootio.verify.verify` does.

    Raises
    ------
    CorruptFile
        If sizes or checksums contradict each other.
    UnsupportedContent
        If it is older than version 1, or uses what is not known here.
    """
    return _Scan(image, entry, image.where(entry.path)).run(depth)


class _Scan:
    def __init__(self, image: Image, entry: Entry, where: str) -> None:
        self.image, self.entry, self.where = image, entry, where
        self.covered = self.pages = self.packed_bytes = 0
        #: Where pages lie; equal ones may share a place.
        self.places: set[tuple[int, int]] = set()

    def run(self, depth: str) -> NTupleScan:
        found = read_ntuple(self.image, self.entry)
        self.covered = found.covered
        for group in found.footer.groups:
            pages = found.pages(group)
            self.covered += group.size
            self.page_list(pages, found.schema, depth)
        return NTupleScan(
            found.entries, len(found.schema.fields), self.pages, self.packed_bytes, self.covered
        )

    def page_list(self, pages: PageList, schema: Schema, depth: str) -> None:
        columns = pages.columns_of()[pages.ranges_of()].tolist()
        for column, elements, size, offset, sealed in zip(
            columns,
            pages.elements.tolist(),
            pages.sizes.tolist(),
            pages.offsets.tolist(),
            pages.sealed.tolist(),
            strict=True,
        ):
            what = f"a page of column {column} at {offset}"
            length = (elements * schema.columns[column].bits + 7) // 8
            if offset > self.image.size - size - (CHECKSUM if sealed else 0):
                raise CorruptFile(f"{what} ends outside of the file", where=self.where)
            self.pages += 1
            new = (offset, size) not in self.places
            self.places.add((offset, size))
            self.packed_bytes += size if new else 0
            if depth != "copied":
                covered = self.page(what, offset, size, length, sealed=sealed, full=depth == "proven")
                self.covered += covered if new else 0

    def page(self, what: str, offset: int, size: int, length: int, *, sealed: bool, full: bool) -> int:
        """Test a page, with `full` by unpacking it; return how many of its bytes are under checksums."""
        import xxhash

        data = self.image.read(offset, size + (CHECKSUM if sealed else 0), what)
        where = f"{self.where}: {what}"
        if sealed:
            (stored,) = struct.unpack_from("<Q", data, size)
            if xxhash.xxh3_64_intdigest(data[:size]) != stored:
                raise CorruptFile("its xxh3 does not match", where=where)
        blocks = blocks_of(data[:size], length, where) if full else ()
        inside = sum(block.packed for block in blocks if block.covered)
        if sealed:
            return len(data)
        return inside if full else seals(data[:size], length, where)
