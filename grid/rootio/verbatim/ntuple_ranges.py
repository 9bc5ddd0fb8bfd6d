"""Rearrange lists of pages: other columns, other positions, and zeros where a column begins late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from grid.rootio.format.pagelists import LOWEST, PageList
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from grid.rootio.format.ntuples import Schema
    from grid.rootio.verbatim.ntuple_schema import Layout

__all__ = ["Rearranger"]

#: The most elements that a page of zeros has, and the most such pages in a column's part of a cluster.
_ZEROS: Final = 1 << 16
_MOST_PAGES: Final = 1 << 20


@dataclass(slots=True)
class _Table:
    """Ranges by cluster and column: whether they have pages of their own, how many elements and pages, and where."""

    active: NDArray[np.bool_]
    counts: NDArray[np.int64]
    elements: NDArray[np.int64]
    begins: NDArray[np.int64]
    starts: NDArray[np.int64]
    compression: NDArray[np.int64]

    @classmethod
    def of(cls, pages: PageList, columns: int) -> _Table:
        shape = len(pages.firsts), columns
        ranges = len(pages.counts)
        at = pages.clusters_of(), pages.columns_of()
        elements = np.zeros(ranges, np.int64)
        np.add.at(elements, pages.ranges_of(), pages.elements)

        def spread(values: NDArray[Any]) -> NDArray[Any]:
            table = np.zeros(shape, values.dtype)
            table[at] = values
            return table

        return cls(
            spread(pages.starts >= 0),
            spread(pages.counts),
            spread(elements),
            spread(np.cumsum(pages.counts) - pages.counts),
            spread(pages.starts),
            spread(pages.compression),
        )

    def choose(self, mapping: NDArray[np.int64]) -> _Table:
        """Return the columns of the output; those that are not there have no pages."""
        there = mapping >= 0
        active = self.active[:, mapping] & there
        rest = (self.counts, self.elements, self.begins, self.starts, self.compression)
        return _Table(active, *(np.where(active, part[:, mapping], 0) for part in rest))


class Rearranger:
    """Makes lists of pages for the merged RNTuple out of those of its inputs, one group after the other.

    Parameters
    ----------
    schema, layout
        Of the merged RNTuple.
    zeros
        Makes a page of so many bytes of zeros, or finds the one made before; returns its position and packed size.
    compression
        The number of the algorithm that packs them.
    """

    def __init__(
        self,
        schema: Schema,
        layout: Layout,
        zeros: Callable[[int], tuple[int, int]],
        compression: int,
    ) -> None:
        self._schema, self._layout, self._zeros, self._compression = schema, layout, zeros, compression
        self._slots = int(layout.slots.max(initial=-1)) + 1
        #: The first column of each slot: the one that has the zeros if there are no others.
        self._leading = np.zeros(len(layout.slots), np.bool_)
        self._leading[np.unique(layout.slots, return_index=True)[1]] = True
        self._base = np.zeros(self._slots, np.int64)
        self._mine = np.zeros(self._slots, np.int64)
        self._entries = 0

    def begin(self) -> None:
        """Begin with the next input."""
        self._mine[:] = 0

    def add(
        self, pages: PageList, mapping: NDArray[np.int64], late: NDArray[np.bool_], where: str
    ) -> PageList:
        """Return a group's list for the merged RNTuple, positions unchanged.

        Parameters
        ----------
        pages
            The input's.
        mapping
            The input's column for each one of the merged RNTuple, or -1.
        late
            Whether each column of the input was added late.
        where
            The input, for errors.

        Raises
        ------
        CorruptFile
            If columns have other numbers of elements than their entries need.
        """
        table = _Table.of(pages, max(len(late), 1)).choose(mapping)
        optional = np.where(mapping >= 0, late[mapping] if len(late) else False, True)
        self._fill(table, optional, where)
        missing = self._missing(table, pages.entries, optional, where)
        held = self._by_slot(table.elements + missing)
        before = np.cumsum(held, axis=0) - held
        told = table.active & ~optional & (table.compression >= 0)
        if (told & (table.starts != (self._mine + before)[:, self._layout.slots])).any():
            raise CorruptFile("the element offsets of its clusters contradict their pages", where=where)
        starts = np.where(table.active, (self._base + before)[:, self._layout.slots], LOWEST)
        self._mine += held.sum(axis=0)
        self._base += held.sum(axis=0)
        made = self._gather(pages, table, missing)
        made.firsts = self._entries + np.cumsum(pages.entries) - pages.entries
        made.starts = starts.reshape(-1)
        self._entries += int(pages.entries.sum())
        return made

    def _by_slot(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        found = np.zeros((len(values), self._slots), np.int64)
        np.add.at(found.T, self._layout.slots, values.T)
        return found

    def _fill(self, table: _Table, optional: NDArray[np.bool_], where: str) -> None:
        """Let each slot have one active column in each cluster."""
        having = self._by_slot(table.active.astype(np.int64))
        if (having > 1).any():
            raise CorruptFile("a field has two representations in a cluster", where=where)
        empty = (having == 0)[:, self._layout.slots]
        lacking = empty & ~optional
        if lacking.any():
            column = int(np.flatnonzero(lacking.any(axis=0))[0])
            raise CorruptFile(f"a cluster has no pages for {self._name(column)}", where=where)
        added = empty & self._leading
        table.active |= added
        table.compression[added] = self._compression

    def _missing(
        self, table: _Table, entries: NDArray[np.int64], optional: NDArray[np.bool_], where: str
    ) -> NDArray[np.int64]:
        """Return how many zeros each range begins with."""
        each = self._layout.per_entry
        if len(entries) and int(entries.max()) > (1 << 62) // max(1, int(each.max(initial=1))):
            raise CorruptFile("a cluster has more entries than can be counted", where=where)
        fixed = table.active & (each > 0)
        missing = np.where(fixed, entries[:, None] * each - table.elements, 0)
        wrong = (missing < 0) | ((missing > 0) & ~optional)
        if wrong.any():
            cluster, column = (int(index[0]) for index in np.nonzero(wrong))
            raise CorruptFile(
                f"{self._name(column)} has {table.elements[cluster, column]} elements in a cluster of "
                f"{entries[cluster]} entries",
                where=where,
            )
        if (missing > _ZEROS * _MOST_PAGES).any():
            raise UnsupportedContent("too many zeros would have to be filled in", where=where)
        return missing

    def _name(self, column: int) -> str:
        return repr(self._schema.fields[self._schema.columns[column].field].name)

    def _gather(self, pages: PageList, table: _Table, missing: NDArray[np.int64]) -> PageList:
        """Put the pages into the order of the merged columns, zeros first."""
        counts = table.counts.reshape(-1)
        index = np.repeat(table.begins.reshape(-1) - (np.cumsum(counts) - counts), counts)
        index += np.arange(len(index))
        columns = [pages.elements[index], pages.sizes[index], pages.offsets[index], pages.sealed[index]]
        flat = missing.reshape(-1)
        if flat.any():
            begins = np.cumsum(counts) - counts
            counts = counts.copy()
            made: list[tuple[int, int, int, int]] = []
            for number in np.flatnonzero(flat).tolist():
                found = list(self._pages_of_zeros(int(flat[number]), number % table.active.shape[1]))
                made += [(int(begins[number]), *page) for page in found]
                counts[number] += len(found)
            extra = np.array(made, np.int64)
            columns = [
                np.insert(columns[0], extra[:, 0], extra[:, 1]),
                np.insert(columns[1], extra[:, 0], extra[:, 2]),
                np.insert(columns[2], extra[:, 0], extra[:, 3]),
                np.insert(columns[3], extra[:, 0], True),
            ]
        width = np.full(len(pages.entries), len(self._layout.slots), np.int64)
        return PageList(
            pages.firsts,
            pages.entries,
            pages.flags,
            width,
            counts,
            counts,
            table.compression.reshape(-1),
            *columns,
        )

    def _pages_of_zeros(self, elements: int, column: int) -> list[tuple[int, int, int]]:
        """Return elements, size and position of pages of zeros."""
        kind, bits = self._schema.columns[column].kind, self._schema.columns[column].bits
        if kind == _QUANTIZED:
            raise UnsupportedContent(
                f"{self._name(column)} was added late and holds rounded numbers, among which zero need not be"
            )
        found = []
        while elements:
            some = min(elements, _ZEROS)
            place, size = self._zeros((some * bits + 7) // 8)
            found.append((some, size, place))
            elements -= some
        return found


#: ``Real32Quant``: integers between two limits.
_QUANTIZED: Final = 0x1D
