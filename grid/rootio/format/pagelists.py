"""Lists of pages: for each cluster of an RNTuple, where the pages of each column lie."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from grid.rootio.format.envelopes import PAGE_LIST, Envelope, envelope, listed, record
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grid.rootio.format.ntuples import Group

__all__ = ["LOWEST", "PageList"]

#: How a page stands in a list: elements (negative if a checksum follows it), size and position.
_PAGE: Final = np.dtype([("elements", "<i4"), ("size", "<i4"), ("offset", "<i8")])
_HEAD: Final = struct.Struct("<qI")
_SUMMARY: Final = struct.Struct("<QQ")
_FLAGS: Final = 56
_SHARDED: Final = 1
#: Far beyond what a page ever holds.
_TOO_LARGE: Final = 1 << 31
#: The element offset of a suppressed column.
LOWEST: Final = -(1 << 63)


@dataclass(slots=True)
class PageList:
    """The pages of a group of clusters.

    ``firsts``, ``entries`` and ``flags`` are the clusters', ``columns`` says how many columns each one lists. One range
    (cluster and column) after the other has ``counts`` pages, an element ``starts`` (negative: suppressed) and a
    ``compression``; one page after the other ``elements``, ``sizes``, ``offsets``, and whether it is ``sealed`` by a
    checksum behind it.
    """

    firsts: NDArray[np.int64]
    entries: NDArray[np.int64]
    flags: NDArray[np.int64]
    columns: NDArray[np.int64]
    counts: NDArray[np.int64]
    starts: NDArray[np.int64]
    compression: NDArray[np.int64]
    elements: NDArray[np.int64]
    sizes: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sealed: NDArray[np.bool_]
    unknown: bool = False

    @classmethod
    def parse(cls, data: Envelope, checksum: int) -> PageList:
        """Read the list of a group of clusters whose header has this checksum.

        Raises
        ------
        CorruptFile, UnsupportedContent
            If it is unsound, or its clusters are cut into shards.
        """
        if data.number("Q") != checksum:
            raise CorruptFile("its parts belong to different headers", where=data.where)
        summaries, unknown = [], False
        for one in data.frames(data.frame()):
            summaries.append((data.number("Q"), data.number("Q")))
            unknown |= data.at < one.end
        packed = np.array(summaries, np.uint64).reshape(-1, 2)
        flags = (packed[:, 1] >> np.uint64(_FLAGS)).astype(np.int64)
        if (flags & _SHARDED).any():
            raise UnsupportedContent("its clusters are cut into shards", where=data.where)
        entries = (packed[:, 1] & np.uint64((1 << _FLAGS) - 1)).astype(np.int64)
        columns, ranges, pages = [], [], []
        outer = data.frame()
        if outer.items != len(summaries):
            raise CorruptFile("a list of pages leaves out clusters", where=data.where)
        for cluster in data.frames(outer):
            columns.append(cluster.items)
            for one in data.frames(cluster):
                pages.append(_pages(data, one.items, one.end))
                start = data.number("q")
                compression = data.number("I") if start >= 0 else 0
                if start < 0 and one.items:
                    raise CorruptFile("a suppressed column has pages", where=data.where)
                ranges.append((one.items, start, compression))
                unknown |= data.at < one.end
        found = np.frombuffer(b"".join(pages), _PAGE)
        if (found["size"] < 0).any() or (found["offset"] < 0).any():
            raise CorruptFile("a page lies nowhere", where=data.where)
        table = np.array(ranges, np.int64).reshape(-1, 3)
        return cls(
            packed[:, 0].astype(np.int64),
            entries,
            flags,
            np.array(columns, np.int64),
            table[:, 0],
            table[:, 1],
            table[:, 2],
            np.abs(found["elements"].astype(np.int64)),
            found["size"].astype(np.int64),
            found["offset"].astype(np.int64),
            found["elements"] < 0,
            unknown or data.at < data.end,
        )

    def encode(self, checksum: int) -> bytes:
        """Return the envelope of the list."""
        data = np.empty(len(self.elements), _PAGE)
        data["elements"] = np.where(self.sealed, -self.elements, self.elements)
        data["size"], data["offset"] = self.sizes, self.offsets
        pages = data.tobytes()
        ends = (np.cumsum(self.counts) * _PAGE.itemsize).tolist()
        ranges, at = [], 0
        for count, start, compression, end in zip(
            self.counts.tolist(), self.starts.tolist(), self.compression.tolist(), ends, strict=True
        ):
            rest = struct.pack("<qI", start, compression) if start >= 0 else struct.pack("<q", LOWEST)
            ranges.append(_HEAD.pack(-(_HEAD.size + end - at + len(rest)), count) + pages[at:end] + rest)
            at = end
        clusters, at = [], 0
        for count in self.columns.tolist():
            clusters.append(listed(ranges[at : at + count]))
            at += count
        summaries = [
            record(_SUMMARY.pack(first, entries | flags << _FLAGS))
            for first, entries, flags in zip(
                self.firsts.tolist(), self.entries.tolist(), self.flags.tolist(), strict=True
            )
        ]
        return envelope(PAGE_LIST, struct.pack("<Q", checksum) + listed(summaries) + listed(clusters))

    def same(self, other: PageList) -> bool:
        """Whether another list says the same."""
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in self.__slots__)

    def clusters_of(self) -> NDArray[np.int64]:
        """Return the cluster of each range."""
        return np.repeat(np.arange(len(self.columns)), self.columns)

    def columns_of(self) -> NDArray[np.int64]:
        """Return the column of each range."""
        begins = np.cumsum(self.columns) - self.columns
        return np.arange(len(self.counts)) - np.repeat(begins, self.columns)

    def ranges_of(self) -> NDArray[np.int64]:
        """Return the range of each page."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def check(self, group: Group, columns: int, where: str) -> None:
        """Hold it against its group in the footer.

        Raises
        ------
        CorruptFile
            If clusters, entries or columns are other than these.
        """
        if len(self.firsts) != group.clusters:
            raise CorruptFile(
                f"a list of pages has {len(self.firsts)} clusters, not {group.clusters}", where=where
            )
        at = int(group.first)
        for first, entries in zip(self.firsts.tolist(), self.entries.tolist(), strict=True):
            if first != at:
                raise CorruptFile("its clusters don't follow each other", where=where)
            at += entries
        if at != group.first + group.entries:
            raise CorruptFile(
                f"its clusters hold {at - group.first} entries, not {group.entries}", where=where
            )
        if (self.columns > columns).any():
            raise CorruptFile("a cluster has more columns than the header", where=where)


def _pages(data: Envelope, count: int, end: int) -> bytes:
    """Read the pages of a range; what follows them is left."""
    size = count * _PAGE.itemsize
    if size > end - data.at:
        raise CorruptFile("a column has fewer pages than it says", where=data.where)
    if end - data.at - size <= _HEAD.size:
        data.at += size
        return data.data[data.at - size : data.at]
    found = np.empty(count, _PAGE)
    for number in range(count):
        elements = data.number("i")
        offset, size = data.locator()
        if data.at > end:
            raise CorruptFile("a column has fewer pages than it says", where=data.where)
        if not 0 <= size < _TOO_LARGE:
            raise UnsupportedContent(f"a page takes {size} bytes", where=data.where)
        found[number] = elements, size, offset
    return found.tobytes()
