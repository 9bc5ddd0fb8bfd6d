"""Write an RNTuple around pages: its header, lists of pages, footer and anchor."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from grid.rootio.format.anchors import ANCHOR_CLASS, Anchor
from grid.rootio.format.blocks import pack
from grid.rootio.format.ntuples import Footer, Group

if TYPE_CHECKING:
    from grid.rootio.format.blocks import Compression
    from grid.rootio.format.pagelists import PageList
    from grid.rootio.ntuple import NTuple
    from grid.rootio.sink import Sink
    from grid.rootio.verbatim.ntuple_schema import MergedSchema

__all__ = ["LARGEST_KEY", "NTupleOutput", "blob_key"]

#: The largest key that any reader takes.
LARGEST_KEY: Final = 1 << 30
_BLOB: Final = (b"RBlob", b"", b"")


def blob_key(sink: Sink, place: int, size: int, parent: int, length: int | None = None) -> bytes:
    """Return the key of a blob of some size at some position, unpacked of some length (as long as it is, if None)."""
    return sink.key(_BLOB, place, size, size if length is None else length, parent)


class NTupleOutput:
    """An RNTuple of an output, with the header of one that was read.

    Parameters
    ----------
    sink, path, title
        Where it goes.
    first
        The one whose header it has.
    compression
        How descriptions are packed.
    """

    def __init__(self, sink: Sink, path: str, title: str, first: NTuple, compression: Compression) -> None:
        self._sink, self._first, self.compression = sink, first, compression
        self._made = sink.object(path, ANCHOR_CLASS, title)
        self._header = self._append(first.header_data)
        self._groups: list[Group] = []
        self.version = first.anchor.version
        self.attributes = first.footer.attributes
        #: The entries so far.
        self.entries = 0

    @property
    def parent(self) -> int:
        """Where its directory lies."""
        return self._made.place

    def put(self, payload: bytes, checksum: bytes) -> int:
        """Write a page with the checksum behind it; return where it begins."""
        out = self._sink.out
        key = blob_key(self._sink, out.position, len(payload) + len(checksum), self.parent)
        return out.append(key, payload, checksum) + len(key)

    def group(self, pages: PageList) -> None:
        """Write the list of pages of the next group of clusters."""
        offset, size, length = self._append(pages.encode(self._first.header.checksum))
        span = int(pages.entries.sum())
        self._groups.append(Group(self.entries, span, len(pages.entries), length, offset, size))
        self.entries += span

    def finish(self, schema: MergedSchema) -> None:
        """Write the footer, and tell the output what the anchor is."""
        footer = Footer(tuple(self._groups), self.attributes)
        data = footer.encode(self._first.header.checksum, schema.schema.encode(schema.known))
        anchor = Anchor(self.version, self._header, self._append(data), LARGEST_KEY)
        self._made.body = partial(_anchor, anchor.encode())

    def _append(self, data: bytes) -> tuple[int, int, int]:
        """Append an envelope in a blob of its own; return its position, packed and unpacked size."""
        packed = pack(data, self.compression)
        out = self._sink.out
        key = blob_key(self._sink, out.position, len(packed), self.parent, len(data))
        return out.append(key, packed) + len(key), len(packed), len(data)


def _anchor(data: bytes, _key_length: int) -> bytes:
    return data
