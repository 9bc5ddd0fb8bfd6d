"""Tell the entries of RNTuples apart by all that they hold, however that is encoded and cut into pages and clusters."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from grid.rootio.gather.alike import alike
from grid.rootio.gather.clusters import Clusters
from grid.rootio.gather.fields import Fields
from grid.rootio.ntuple import read_ntuple
from grid.rootio.verbatim.ntuple_schema import Layout, paths_of, places_of
from grid.rootio.verbatim.sums import EntrySums
from sitecfg.errors import SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from grid.rootio.ntuple import NTuple
    from grid.rootio.verbatim.inputs import Input

__all__ = ["entry_hashes"]

#: Independent hashes of each entry.
_ROUNDS: Final = 2


def entry_hashes(source: Input, paths: Sequence[str], threads: int) -> list[NDArray[np.int64]]:
    """Return two hashes of what each entry of some parallel RNTuples of a file holds, int64 ``[entries]`` each.

    Fields of which an entry holds nothing but zeros don't count, so that one that was added late says the same of the
    entries before as if it were not there. One section of a cluster is held at a time.

    Parameters
    ----------
    source, paths
        The RNTuples.
    threads
        How many fields are read at once.

    Raises
    ------
    CorruptFile
        If an RNTuple contradicts itself.
    SchemaMismatch
        If they differ in length.
    UnsupportedContent
        If one can't be read; the field is named.
    """
    found = [read_ntuple(source.image, source.ntuples[path]) for path in paths]
    lengths = {path: one.entries for path, one in zip(paths, found, strict=True)}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{path} {entries}" for path, entries in lengths.items())
        raise SchemaMismatch(f"parallel event trees differ in length: {told}", where=str(source.path))
    hashes = np.zeros((_ROUNDS, found[0].entries), np.uint64)
    with ThreadPoolExecutor(threads) as pool:
        for path, one in zip(paths, found, strict=True):
            hashes += _hashes(one, path, pool)
    return list(hashes.view(np.int64))


def _hashes(one: NTuple, path: str, pool: ThreadPoolExecutor) -> NDArray[np.uint64]:
    told = _Told(Clusters(one), path)
    fields = told.fields
    for cluster in told.clusters.all:
        for start, stop in fields.sections(cluster):
            last = stop == cluster.entries

            def add(field: int, start: int = start, stop: int = stop, last: bool = last) -> None:
                section = _Section(told, cluster.first + start, stop - start)  # noqa: B023
                fields.pick(cluster, field, (start, stop), [None], [section], last=last)  # noqa: B023

            for _ in pool.map(add, fields.top):
                pass
    return np.stack(told.sums.sealed(0, one.entries))


class _Told:
    """An RNTuple, and the sums of what its entries hold."""

    def __init__(self, clusters: Clusters, path: str) -> None:
        self.clusters, self.fields = clusters, Fields(clusters)
        self.schema = clusters.schema
        #: Whether a column holds what is in a collection, not where that ends.
        self.inside = [place > 0 for place in places_of(self.schema)]
        #: How many elements each entry has, 0 if that differs from entry to entry.
        self.each = Layout.of(self.schema, clusters.where).per_entry.tolist()
        self.alike = [alike(one, self.schema.fields[one.field]) for one in self.schema.columns]
        names = paths_of(self.schema)
        told = [
            f"{path} {names[one.field]}{' inside' if inside else ''}"
            for one, inside in zip(self.schema.columns, self.inside, strict=True)
        ]
        entries = sum(cluster.entries for cluster in clusters.all)
        self.sums = EntrySums(entries, told, rounds=_ROUNDS, sparse=True)


class _Section:
    """Takes what one field holds in some entries, from `first` on, and adds it to the sums."""

    def __init__(self, told: _Told, first: int, entries: int) -> None:
        self._told, self._first = told, first
        self._fields, self._repeated = told.schema.fields, told.fields.repeated
        self._entries = np.arange(entries + 1, dtype=np.int64)
        #: By field: where in the items of its collections each entry begins and ends, and in what was chosen.
        self._items: dict[int, NDArray[np.int64]] = {}
        self._chosen: dict[int, NDArray[np.int64]] = {}

    def rows(self, column: int, rows: NDArray[np.uint8]) -> None:
        """Take elements as they are."""
        field = self._field(column)
        edges = self._items[field] if self._told.inside[column] else self._edges(field)
        self._add(column, edges, self._told.alike[column](rows))

    def sizes(self, column: int, sizes: NDArray[np.int64]) -> None:
        """Take the sizes of collections."""
        field = self._field(column)
        edges = self._edges(field)
        self._add(column, edges, sizes[:, None].view(np.uint8))
        self._items[field] = _ends(sizes)[edges]

    def choices(self, column: int, tags: NDArray[np.int64]) -> None:
        """Take what is chosen."""
        field = self._field(column)
        edges = self._edges(field)
        self._add(column, edges, tags[:, None].view(np.uint8))
        for tag, child in enumerate(self._told.fields.children[field], start=1):
            self._chosen[child] = _ends(tags == tag)[edges]

    def _field(self, column: int) -> int:
        return self._told.schema.columns[column].field

    def _edges(self, field: int) -> NDArray[np.int64]:
        """Return where in the values of a field each entry begins, and the last one ends."""
        parent = self._fields[field].parent
        if parent == field:
            edges = self._entries
        elif field in self._chosen:
            edges = self._chosen[field]
        elif parent in self._items:
            edges = self._items[parent]
        else:
            edges = self._edges(parent)
        return edges * self._repeated[field]

    def _add(self, column: int, edges: NDArray[np.int64], rows: NDArray[np.uint8]) -> None:
        data = np.ascontiguousarray(rows).reshape(-1)
        if self._told.each[column]:
            self._told.sums.add_rows(column, self._first, data.reshape(len(edges) - 1, -1))
        else:
            self._told.sums.add(column, self._first, edges * rows.shape[1], data)


def _ends(counts: NDArray[Any]) -> NDArray[np.int64]:
    ends = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=ends[1:])
    return ends
