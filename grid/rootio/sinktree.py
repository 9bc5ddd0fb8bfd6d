"""One tree that is being written: takes columns, cuts them into clusters, packs baskets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.format.baskets import BasketKey
from grid.rootio.format.leaves import describe
from grid.rootio.format.ttree import BranchBooks, TreeBooks
from grid.rootio.pending import Lengths, Pending, columns_in_order, starts_of
from sitecfg.errors import SchemaMismatch, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from grid.rootio.columns import Branch, Column
    from grid.rootio.format.baskets import Packed
    from grid.rootio.format.blocks import Compression
    from grid.rootio.outfile import OutFile

__all__ = ["SinkTree"]

#: Baskets are handed to a thread in lots of about this many bytes.
_LOT = 1 << 20


class SinkTree:
    """One tree of a :class:`grid.rootio.sink.Sink`; made by its method ``tree``.

    All branches are flushed together, after the entry with which the pending bytes reach
    ``cluster_bytes``: where clusters and baskets end depends on the entries, not on how many of
    them a call of :meth:`extend` brings.
    """

    def __init__(
        self,
        out: OutFile,
        place: int,
        name: str,
        branches: Sequence[Branch],
        *,
        title: str,
        basket_bytes: int,
        cluster_bytes: int,
        compression: Compression,
        date: int,
        threads: int,
    ) -> None:
        self.branches = tuple(branches)
        self.place = place
        leaves = describe(branches, name)
        counted = {branch.counter for branch in branches if branch.counter is not None}
        self.books = TreeBooks(
            name, title, basket_bytes, [BranchBooks(leaf, leaf.branch.name in counted) for leaf in leaves]
        )
        self._out, self._compression, self._threads = out, compression, threads
        self._cluster_bytes = cluster_bytes
        self._counters = {counter: Lengths(counter) for counter in counted}
        self._fixed_bytes = sum(leaf.width for leaf in leaves if leaf.fixed)
        self._pending = []
        for books in self.books.branches:
            leaf = books.leaf
            key = BasketKey(leaf.branch.name, name, basket_bytes, leaf.width if leaf.fixed else 0, date)
            self._pending.append(Pending(books, key, self._lengths_of(books)))
        self._waiting, self._waiting_bytes = 0, 0

    def _lengths_of(self, books: BranchBooks) -> Lengths | None:
        branch = books.leaf.branch
        if branch.counter is not None:
            shared = self._counters[branch.counter]
            shared.weight += books.leaf.width
            return shared
        return None if books.leaf.fixed else Lengths(branch.name)

    @property
    def entries(self) -> int:
        """Entries given so far."""
        return self.books.entries

    def extend(self, columns: Mapping[str, Column]) -> None:
        """Append entries: one column per branch, all of the same length (0 is fine).

        A counter branch may be left out of `columns`: it then follows from its arrays.
        The values are copied; they may be changed afterwards. Writes whole clusters, so most calls
        return at once and some pack and write. Not to be called from two threads at once.

        Raises
        ------
        SchemaMismatch
            If columns and branches don't fit each other.
        NoSpace, OutputError
            If the file can't be written.
        """
        found = columns_in_order(self._pending, columns, set(self._counters), self.books.name)
        entries = next((len(column) for column in found if column is not None), 0)
        counts = self._counts(found, entries)
        ready: list[tuple[NDArray[Any], NDArray[np.int64] | None]] = []
        sizes = np.full(entries, self._fixed_bytes, np.int64)
        for name, lengths in self._counters.items():
            sizes += np.diff(counts[name]) * lengths.weight
        for pending, column in zip(self._pending, found, strict=True):
            if column is None:
                ready.append((np.diff(counts[pending.name]).astype(pending.books.leaf.branch.dtype), None))
                continue
            values, places = pending.prepare(column, entries, counts)
            ready.append((values, places))
            if places is not None:
                sizes += np.diff(places)
        for start, stop, full in self._cuts(sizes):
            self._add(ready, counts, start, stop)
            if full:
                self.flush()

    def _counts(self, found: list[Column | None], entries: int) -> dict[str, NDArray[np.int64]]:
        """Return the offsets that each counter gives: from its own column, else from one of its arrays."""
        counts = {}
        for pending, column in zip(self._pending, found, strict=True):
            name = pending.name
            if name in self._counters and column is not None and len(column) == entries:
                counts[name] = starts_of(column.values.astype(np.int64))
        for pending, column in zip(self._pending, found, strict=True):
            counter = pending.books.leaf.branch.counter
            if counter is not None and counter not in counts and column is not None and column.offsets:
                counts[counter] = column.offsets[0]
        for name, starts in counts.items():
            if len(starts) != entries + 1 or bool((starts[1:] < starts[:-1]).any()):
                raise SchemaMismatch(f"branch {name!r} holds lengths below 0", where=self.books.name)
        return counts

    def _cuts(self, sizes: NDArray[np.int64]) -> Iterator[tuple[int, int, bool]]:
        """Yield ranges of entries, and whether a cluster is full at their end."""
        ends = np.cumsum(sizes)
        start, before = 0, -self._waiting_bytes
        while start < len(sizes):
            stop = int(np.searchsorted(ends, before + self._cluster_bytes, "left")) + 1
            full = stop <= len(sizes)
            stop = min(stop, len(sizes))
            yield start, stop, full
            if full:
                before = int(ends[stop - 1])
            else:
                self._waiting_bytes = int(ends[-1]) - before
            start = stop

    def _add(
        self,
        ready: list[tuple[NDArray[Any], NDArray[np.int64] | None]],
        counts: dict[str, NDArray[np.int64]],
        start: int,
        stop: int,
    ) -> None:
        for name, lengths in self._counters.items():
            lengths.add(np.diff(counts[name][start : stop + 1]))
        for pending, (values, places) in zip(self._pending, ready, strict=True):
            books = pending.books
            if pending.lengths is None:
                part = values[start:stop]
            else:
                starts = places if places is not None else counts[pending.lengths.name]
                part = values[starts[start] : starts[stop]]
                if places is not None:
                    sizes = np.diff(places[start : stop + 1])
                    pending.lengths.add(sizes)
                    if len(sizes):
                        books.largest = max(books.largest, int(sizes.max()))
            if books.counts_others and stop > start:
                books.largest = max(books.largest, int(part.max()))
                self._readable(books)
            pending.add(part)
        self._waiting += stop - start
        self.books.entries += stop - start

    def _readable(self, books: BranchBooks) -> None:
        """Refuse lengths that ROOT cuts: it takes the largest of a small unsigned counter for a signed one."""
        branch = books.leaf.branch
        if books.largest >> (8 * branch.dtype.itemsize - 1):
            raise UnsupportedContent(
                f"branch {branch.name!r} ({branch.dtype}) counts up to {books.largest}, "
                "and ROOT reads only half of its range",
                where=self.books.name,
                branch=branch.name,
            )

    def flush(self) -> None:
        """Write the pending entries as one cluster; nothing pending writes nothing."""
        entries = self._waiting
        if not entries:
            return
        for pending in self._pending:
            if pending.lengths is not None:
                pending.lengths.starts()
        lots = list(self._lots())
        pack = partial(_flush_lot, entries=entries, compression=self._compression)
        if len(lots) == 1 or self._threads <= 1:
            self._write_lots(lots, map(pack, lots))
        else:
            with ThreadPoolExecutor(self._threads) as pool:
                self._write_lots(lots, pool.map(pack, lots))
        for pending in self._pending:
            if pending.lengths is not None:
                pending.lengths.clear()
        self.books.clusters.append(entries)
        self._waiting, self._waiting_bytes = 0, 0

    def _lots(self) -> Iterator[list[Pending]]:
        lot: list[Pending] = []
        size = 0
        for pending in self._pending:
            lot.append(pending)
            size += pending.nbytes
            if size >= _LOT:
                yield lot
                lot, size = [], 0
        if lot:
            yield lot

    def _write_lots(self, lots: list[list[Pending]], packed: Iterable[list[list[Packed]]]) -> None:
        for lot, results in zip(lots, packed, strict=True):
            for one, baskets in zip(lot, results, strict=True):
                self._write(one, baskets)

    def _write(self, pending: Pending, baskets: list[Packed]) -> None:
        books = pending.books
        for basket in baskets:
            at = self._out.position
            self._out.append(pending.key.encode(basket, at, self.place), basket.payload)
            books.nbytes.append(self._out.position - at)
            books.entries.append(basket.entries)
            books.seeks.append(at)
            books.total_bytes += pending.key.length + basket.unpacked
            books.packed_bytes += self._out.position - at


def _flush_lot(lot: list[Pending], entries: int, compression: Compression) -> list[list[Packed]]:
    return [one.flush(entries, compression) for one in lot]
