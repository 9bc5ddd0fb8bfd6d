"""Test an RNTuple: its anchor, header, footer and page lists, and every page with its checksum."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grid.rootio.format.envelopes import CHECKSUM
from grid.rootio.format.unpack import blocks_of
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


def scan_ntuple(image: Image, entry: Entry, *, full: bool) -> NTupleScan:
    """Test an RNTuple; with `full`, unpack every page.

    Raises
    ------
    CorruptFile
        If sizes or checksums contradict each other.
    UnsupportedContent
        If it is older than version 1, or uses what is not known here.
    """
    return _Scan(image, entry, image.where(entry.path)).run(full=full)


class _Scan:
    def __init__(self, image: Image, entry: Entry, where: str) -> None:
        self.image, self.entry, self.where = image, entry, where
        self.covered = self.pages = self.packed_bytes = 0
        #: Where pages lie; equal ones may share a place.
        self.places: set[tuple[int, int]] = set()

    def run(self, *, full: bool) -> NTupleScan:
        found = read_ntuple(self.image, self.entry)
        self.covered = found.covered
        for group in found.footer.groups:
            pages = found.pages(group)
            self.covered += group.size
            self.page_list(pages, found.schema, full=full)
        return NTupleScan(
            found.entries, len(found.schema.fields), self.pages, self.packed_bytes, self.covered
        )

    def page_list(self, pages: PageList, schema: Schema, *, full: bool) -> None:
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
            self.page(what, offset, size, length, sealed=sealed, full=full)

    def page(self, what: str, offset: int, size: int, length: int, *, sealed: bool, full: bool) -> None:
        import xxhash

        data = self.image.read(offset, size + (CHECKSUM if sealed else 0), what)
        self.pages += 1
        new = (offset, size) not in self.places
        self.places.add((offset, size))
        self.packed_bytes += size if new else 0
        where = f"{self.where}: {what}"
        if sealed:
            (stored,) = struct.unpack_from("<Q", data, size)
            if xxhash.xxh3_64_intdigest(data[:size]) != stored:
                raise CorruptFile("its xxh3 does not match", where=where)
            self.covered += len(data) if new else 0
        if full:
            for block in blocks_of(data[:size], length, where):
                self.covered += block.packed if new and block.covered and not sealed else 0
