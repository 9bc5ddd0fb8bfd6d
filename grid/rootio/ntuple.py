"""Find an RNTuple in a file: anchor, header and footer, and its lists of pages when they are asked for."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from grid.rootio.format.anchors import Anchor
from grid.rootio.format.envelopes import FOOTER, HEADER, PAGE_LIST, Envelope
from grid.rootio.format.ntuples import Footer, Header, Schema
from grid.rootio.format.pagelists import PageList
from grid.rootio.format.unpack import unpack
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grid.rootio.format.ntuples import Group
    from grid.rootio.image import Image
    from grid.rootio.structure import Entry

__all__ = ["NTuple", "read_ntuple"]

#: The largest envelope that is held in memory.
_LARGEST_ENVELOPE: Final = 1 << 30
_LONGEST_ANCHOR: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class NTuple:
    """An RNTuple of a file, whose checksums hold.

    ``known`` says how much of the schema the header has; ``header_data`` is the header, unpacked; ``covered`` are the
    packed bytes of all this.
    """

    image: Image
    where: str
    anchor: Anchor
    header: Header
    header_data: bytes
    footer: Footer
    schema: Schema
    known: tuple[int, int, int, int]
    covered: int

    @property
    def entries(self) -> int:
        """The number of entries."""
        return sum(group.entries for group in self.footer.groups)

    def pages(self, group: Group) -> PageList:
        """Read the list of pages of a group of clusters.

        Raises
        ------
        CorruptFile, UnsupportedContent
            If it is unsound, or not understood.
        """
        with _unsound(self.where):
            data = _envelope(self.image, (group.offset, group.size, group.length), PAGE_LIST, self.where)
            found = PageList.parse(data, self.header.checksum)
        found.check(group, len(self.schema.columns), self.where)
        return found


def read_ntuple(image: Image, entry: Entry, like: NTuple | None = None) -> NTuple:
    """Read what an RNTuple says of itself, but for its lists of pages.

    Parameters
    ----------
    image, entry
        The file, and the key of the anchor.
    like
        One that was read before: an equal header is not taken apart again.

    Raises
    ------
    CorruptFile
        If sizes or checksums contradict each other.
    UnsupportedContent
        If it is older than version 1, or uses features that are not known here.
    """
    key, where = entry.key, image.where(entry.path)
    if key.object_bytes > _LONGEST_ANCHOR:
        raise CorruptFile("the anchor is too long", where=where)
    payload = image.read(key.seek + key.length, key.packed_bytes, "the anchor")
    with _unsound(where):
        anchor = Anchor.parse(unpack(payload, key.object_bytes, where), where)
        head = _envelope(image, anchor.header, HEADER, where)
        if like is not None and head.data == like.header_data and not like.schema.unknown:
            header, schema = like.header, like.schema.first(like.known)
        else:
            schema = Schema()
            header = Header.parse(head, schema)
        known = schema.sizes
        footer = Footer.parse(_envelope(image, anchor.footer, FOOTER, where), header, schema)
    at = 0
    for group in footer.groups:
        if group.first != at:
            raise CorruptFile(f"its clusters leave out entries from {at} on", where=where)
        at += group.entries
    covered = len(payload) + anchor.header[1] + anchor.footer[1]
    return NTuple(image, where, anchor, header, head.data, footer, schema, known, covered)


def _envelope(image: Image, place: tuple[int, int, int], kind: int, where: str) -> Envelope:
    offset, size, length = place
    if length > _LARGEST_ENVELOPE:
        raise UnsupportedContent(f"a part of its description takes {length} bytes", where=where)
    payload = image.read(offset, size, "an envelope")
    return Envelope(unpack(payload, length, where), kind, where)


@contextmanager
def _unsound(where: str) -> Iterator[None]:
    """Say that a description ends too early, or has numbers that nothing can hold."""
    try:
        yield
    except (struct.error, IndexError, OverflowError) as error:
        raise CorruptFile(f"the description of the RNTuple is cut short: {error}", where=where) from error
