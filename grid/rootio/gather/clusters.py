"""Read the columns of an RNTuple, cluster by cluster, as rows of bytes; every checksum and length is tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from grid.rootio.format.elements import Coding, page_bytes
from grid.rootio.format.envelopes import CHECKSUM
from grid.rootio.format.unpack import unpack
from grid.rootio.verbatim.ntuple_proving import integer_fields, integers
from grid.rootio.verbatim.ntuple_schema import Layout, representations
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from grid.rootio.format.pagelists import PageList
    from grid.rootio.ntuple import NTuple

__all__ = ["Cluster", "Clusters"]

#: The largest page that is held in memory, and more items than any cluster has.
_LARGEST: Final = 1 << 28
_MOST: Final = 1 << 62
#: The most entries of a cluster all of whose fields may be absent.
_MOST_ENTRIES: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster: its first entry, how many it has, and where its columns stand in its list of pages.

    ``chosen`` are the columns of each field that have its values, bool ``[columns]``: those of one representation.
    """

    first: int
    entries: int
    pages: PageList
    base: int
    columns: int
    chosen: NDArray[np.bool_]


class Clusters:
    """The clusters of an RNTuple of a file; threads may share it.

    Raises
    ------
    CorruptFile, UnsupportedContent
        If its lists of pages are unsound, or not understood.
    """

    def __init__(self, one: NTuple) -> None:
        self.image, self.schema, self.where = one.image, one.schema, one.where
        self.lists = [one.pages(group) for group in one.footer.groups]
        if any(pages.unknown for pages in self.lists):
            raise UnsupportedContent("its lists of pages hold what is not known here", where=one.where)
        self.codings = [self._coding(number) for number in range(len(one.schema.columns))]
        self.fields = representations(one.schema, one.where)
        self._late = np.arange(len(one.schema.columns)) >= one.known[1]
        self._plain = all(len(known) == 1 for known in self.fields.values())
        layout = Layout.of(one.schema, one.where)
        #: What each column holds, by number: the representations of one thing share it.
        self.slots = layout.slots
        self._each = layout.per_entry.tolist()
        self._fixed = (layout.per_entry > 0) & ~self._late
        self._begins = {id(pages): np.cumsum(pages.counts) - pages.counts for pages in self.lists}
        #: The bytes of each column, unpacked.
        self.unpacked = self._sizes()
        self.all = [cluster for pages in self.lists for cluster in self._clusters(pages)]

    def _coding(self, number: int) -> Coding:
        column = self.schema.columns[number]
        try:
            return Coding.of(column)
        except ValueError as error:
            name = self.schema.fields[column.field].name
            raise UnsupportedContent(f"{name!r} can't be read: {error}", where=self.where) from error

    def _sizes(self) -> list[int]:
        bits = np.zeros(len(self.codings), np.int64)
        for pages in self.lists:
            np.add.at(bits, pages.columns_of()[pages.ranges_of()], pages.elements)
        each = np.array([column.bits for column in self.schema.columns], np.int64)
        return [int(number) for number in bits * each // 8]

    def _clusters(self, pages: PageList) -> Iterator[Cluster]:
        bases = (np.cumsum(pages.columns) - pages.columns).tolist()
        rows = zip(pages.firsts.tolist(), pages.entries.tolist(), bases, pages.columns.tolist(), strict=True)
        for first, entries, base, columns in rows:
            active = np.zeros(len(self.codings), np.bool_)
            active[:columns] = pages.starts[base : base + columns] >= 0
            found = Cluster(first, entries, pages, base, columns, self._choose(active))
            self._bound(found)
            yield found

    def _bound(self, cluster: Cluster) -> None:
        """Refuse a number of entries that no column backs, before anything is made for each of them."""
        for column in np.flatnonzero(cluster.chosen & self._fixed)[:1].tolist():
            self._pages(cluster, column, 0, cluster.entries * self._each[column], last=True)
            return
        if cluster.entries > _MOST_ENTRIES:
            raise UnsupportedContent(
                f"a cluster has {cluster.entries} entries, and none of its first fields has a value for each",
                where=self.where,
            )

    def _choose(self, active: NDArray[np.bool_]) -> NDArray[np.bool_]:
        if self._plain and (active | self._late).all():
            return np.ones(len(active), np.bool_)
        chosen = np.zeros(len(active), np.bool_)
        for field, known in self.fields.items():
            found = [columns for columns in known if active[columns].any()]
            name = repr(self.schema.fields[field].name)
            if len(found) > 1:
                raise CorruptFile(f"{name} has two representations in a cluster", where=self.where)
            if not found and not self._late[known[0]].all():
                raise CorruptFile(f"a cluster has no pages for {name}", where=self.where)
            chosen[(found or known)[0]] = True
        return chosen

    def compressions(self) -> list[int | None]:
        """Return the number of the algorithm that packs each column where it first has pages."""
        found: list[int | None] = [None] * len(self.codings)
        for pages in self.lists:
            columns = pages.columns_of()
            for at in np.flatnonzero(pages.counts)[::-1].tolist():
                found[columns[at]] = int(pages.compression[at])
            if None not in found:
                break
        return found

    def rows(self, cluster: Cluster, column: int, start: int, stop: int, *, last: bool) -> NDArray[np.uint8]:
        """Return the elements ``start <= i < stop``, counted in their cluster, as rows of their coding.

        Parameters
        ----------
        cluster, column
            Which.
        start, stop
            Which elements.
        last
            Whether there must be no more.

        Raises
        ------
        CorruptFile
            If they aren't there, or a page is unsound.
        """
        zeros, pages = self._pages(cluster, column, start, stop, last=last)
        parts = [rows[low:high] for rows, low, high in pages]
        if zeros or not parts:
            parts.insert(0, np.zeros((zeros, self.codings[column].width), np.uint8))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def integers(self, names: Sequence[str]) -> Iterator[list[NDArray[Any]]]:
        """Yield the values of top fields that are one plain integer, cluster by cluster.

        Raises
        ------
        KeyError
            If a field is none.
        CorruptFile
            As :meth:`rows`.
        """
        known = integer_fields(self.schema)
        columns = [[columns[0] for columns in self.fields[known[name]]] for name in names]
        for cluster in self.all:
            mine = [next(one for one in same if cluster.chosen[one]) for same in columns]
            yield [
                integers(
                    self.rows(cluster, one, 0, cluster.entries, last=True), self.schema.columns[one].kind
                )
                for one in mine
            ]

    def ends(self, cluster: Cluster, column: int, start: int, stop: int, *, last: bool) -> NDArray[np.int64]:
        """Return where the collections ``start <= i < stop`` end, int64 ``[stop - start + 1]``.

        The first number says where the first one begins. Otherwise as :meth:`rows`.
        """
        coding, before = self.codings[column], 1 if start else 0
        zeros, pages = self._pages(cluster, column, start - before, stop, last=last)
        parts = [coding.ends(rows)[low:high] for rows, low, high in pages]
        ends = np.concatenate([np.zeros(zeros + 1 - before, np.uint64), *parts])
        if (ends[1:] < ends[:-1]).any() or int(ends[-1]) > _MOST:
            raise self.error(column, "the ends of its collections are out of order")
        return ends.astype(np.int64)

    def _pages(
        self, cluster: Cluster, column: int, start: int, stop: int, *, last: bool
    ) -> tuple[int, Iterator[tuple[NDArray[np.uint8], int, int]]]:
        """Return how many of some elements are zeros, and the pages with the rest: their rows, and which of these.

        What was added late has zeros before its first page.
        """
        begin = count = 0
        if column < cluster.columns:
            where = cluster.base + column
            begin, count = int(self._begins[id(cluster.pages)][where]), int(cluster.pages.counts[where])
        ends = np.cumsum(cluster.pages.elements[begin : begin + count])
        held, each = int(ends[-1]) if count else 0, self._each[column]
        missing = cluster.entries * each - held if each else (0 if held else stop)
        if missing < 0 or (missing and not self._late[column]) or stop > held + missing:
            needed = cluster.entries * each if each else stop
            raise self.error(column, f"it has {held} elements in a cluster that needs {needed}")
        if last and stop != held + missing:
            raise self.error(column, f"it has {held} elements in a cluster whose collections have {stop}")
        low, high = max(0, start - missing), max(0, stop - missing)
        zeros = stop - start - (high - low)
        return zeros, self._some(cluster, column, begin, ends, low, high)

    def _some(
        self, cluster: Cluster, column: int, begin: int, ends: NDArray[np.int64], low: int, high: int
    ) -> Iterator[tuple[NDArray[np.uint8], int, int]]:
        """Yield the pages that hold the elements ``low <= i < high``, page `begin` being a column's first."""
        for number in range(int(np.searchsorted(ends, low, side="right")), len(ends)):
            first = int(ends[number - 1]) if number else 0
            if first >= high:
                return
            rows = self._page(cluster.pages, begin + number, column)
            yield rows, max(0, low - first), min(len(rows), high - first)

    def _page(self, pages: PageList, number: int, column: int) -> NDArray[np.uint8]:
        from xxhash import xxh3_64_intdigest

        place, size = int(pages.offsets[number]), int(pages.sizes[number])
        elements, sealed = int(pages.elements[number]), bool(pages.sealed[number])
        where = self.image.where(f"a page at {place}")
        length = page_bytes(elements, self.schema.columns[column].bits)
        if length > _LARGEST:
            raise UnsupportedContent(
                f"it unpacks to {length} bytes, and at most {_LARGEST} can be held", where=where
            )
        data = self.image.read(place, size + CHECKSUM * sealed, "a page")
        payload = data[:size]
        if sealed and xxh3_64_intdigest(payload) != int.from_bytes(data[size:], "little"):
            raise CorruptFile("its xxh3 does not match", where=where)
        return self.codings[column].decode(unpack(payload, length, where), elements)

    def error(self, column: int, what: str) -> CorruptFile:
        """Return what says that a column is unsound."""
        name = self.schema.fields[self.schema.columns[column].field].name
        return CorruptFile(f"{name!r} is unsound: {what}", where=self.where)
