"""Fill the clusters of one stream's RNTuple."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from grid.rootio.format.pagelists import LOWEST, PageList
from grid.rootio.gather.pages import PageFiller, Received

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from grid.rootio.format.blocks import Compression
    from grid.rootio.gather.clusters import Clusters
    from grid.rootio.gather.pages import Page
    from grid.rootio.verbatim.ntuple_output import NTupleOutput
    from grid.rootio.verbatim.ntuple_schema import MergedSchema

__all__ = ["StreamFill"]

#: Pages that are ready, and the column of each.
Ready: TypeAlias = "list[tuple[int, Page]]"
#: The pages that one list has.
_LISTED: Final = 1 << 18


class StreamFill:
    """Takes what was picked for one stream, and lays it out in pages, clusters and lists of pages.

    Different threads may fill different columns.

    Parameters
    ----------
    out
        The stream's RNTuple.
    clusters
        The input.
    sizes
        The least and the most unpacked bytes of a page.
    compressions
        How each column is packed.
    """

    def __init__(
        self,
        out: NTupleOutput,
        clusters: Clusters,
        sizes: tuple[int, int],
        compressions: Sequence[Compression],
    ) -> None:
        self.out = out
        columns = clusters.schema.columns
        self._fillers = [
            PageFiller(column, coding, sizes, compression)
            for column, coding, compression in zip(columns, clusters.codings, compressions, strict=True)
        ]
        #: The columns of each field that get its values in the cluster that is filled, bool ``[columns]``.
        self.chosen = np.ones(len(columns), np.bool_)
        #: The entries of that cluster.
        self.entries = 0
        self.received = Received(len(columns))
        #: The lists of pages that were written.
        self.lists: list[PageList] = []
        self._slots = clusters.slots
        self._starts = np.zeros(int(self._slots.max(initial=-1)) + 1, np.int64)
        self._pages: list[list[tuple[int, int, int]]] = [[] for _ in columns]
        self._clusters: list[tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
        self._listed: list[tuple[int, int, int]] = []

    @property
    def bytes(self) -> float:
        """The unpacked bytes of the cluster that is filled."""
        return sum(filler.bytes for filler in self._fillers)

    def rows(self, column: int, rows: NDArray[np.uint8]) -> None:
        """Take elements as they are."""
        self.received.rows(column, rows)
        self._fillers[column].rows(rows)

    def sizes(self, column: int, sizes: NDArray[np.int64]) -> None:
        """Take the sizes of collections."""
        self.received.sizes(column, sizes)
        self._fillers[column].sizes(sizes)

    def choices(self, column: int, tags: NDArray[np.int64]) -> None:
        """Take what is chosen."""
        self.received.choices(column, tags)
        self._fillers[column].choices(tags)

    def full(self, columns: Iterable[int]) -> Ready:
        """Return the pages of some columns that are full."""
        return [(column, page) for column in columns for page in self._fillers[column].full()]

    def end_column(self, column: int) -> Ready:
        """Return what is held back of a column, whose cluster ends."""
        return [(column, page) for page in self._fillers[column].end_cluster()]

    def write(self, pages: Ready) -> None:
        """Write pages of the cluster that is filled."""
        for column, page in pages:
            place = self.out.put(page.payload, page.checksum)
            self._pages[column].append((page.elements, len(page.payload), place))

    def end_cluster(self) -> None:
        """End a cluster, of which all pages are written."""
        counts = np.array([len(pages) for pages in self._pages], np.int64)
        elements = np.array([sum(page[0] for page in pages) for pages in self._pages], np.int64)
        starts = np.where(self.chosen, self._starts[self._slots], LOWEST)
        words = np.array([filler.compression.word for filler in self._fillers], np.int64)
        self._clusters.append((self.entries, counts, starts, np.where(self.chosen, words, 0)))
        np.add.at(self._starts, self._slots, elements)
        self._listed += [page for pages in self._pages for page in pages]
        self._pages = [[] for _ in self._pages]
        self.entries = 0
        if len(self._listed) >= _LISTED:
            self._end_group()

    def finish(self, schema: MergedSchema) -> None:
        """Write the last list of pages and the footer."""
        if self._clusters:
            self._end_group()
        self.out.finish(schema)

    def _end_group(self) -> None:
        entries = np.array([cluster[0] for cluster in self._clusters], np.int64)
        counts, starts, words = (
            np.concatenate(column) for column in list(zip(*self._clusters, strict=True))[1:]
        )
        elements, sizes, places = np.array(self._listed, np.int64).reshape(-1, 3).T
        pages = PageList(
            self.out.entries + np.cumsum(entries) - entries,
            entries,
            np.zeros(len(entries), np.int64),
            np.full(len(entries), len(self._fillers), np.int64),
            counts,
            starts,
            words,
            elements,
            sizes,
            places,
            np.ones(len(sizes), np.bool_),
        )
        self.out.group(pages)
        self.lists.append(pages)
        self._clusters, self._listed = [], []
