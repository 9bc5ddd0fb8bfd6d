"""Fill pages of the usual size with the elements of one column of an RNTuple that go to one stream."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.format.blocks import pack
from grid.rootio.format.envelopes import CHECKSUM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from grid.rootio.format.blocks import Compression
    from grid.rootio.format.elements import Coding
    from grid.rootio.format.ntuples import Column

__all__ = ["Page", "PageFiller", "Received"]


@dataclass(frozen=True, slots=True)
class Page:
    """A packed page, and the checksum that follows it."""

    elements: int
    payload: bytes
    checksum: bytes


class Received:
    """What the columns of one stream were given, in order, however it is cut into pages: a hash of each."""

    def __init__(self, columns: int) -> None:
        from xxhash import xxh3_64

        self._hashes = [xxh3_64() for _ in range(columns)]

    def rows(self, column: int, rows: NDArray[np.uint8]) -> None:
        """Take elements as they are."""
        self._hashes[column].update(np.ascontiguousarray(rows).data)

    def sizes(self, column: int, sizes: NDArray[np.int64]) -> None:
        """Take the sizes of collections."""
        self._hashes[column].update(np.ascontiguousarray(sizes).data)

    def choices(self, column: int, tags: NDArray[np.int64]) -> None:
        """Take what is chosen."""
        self._hashes[column].update(np.ascontiguousarray(tags).data)

    def difference(self, other: Received) -> list[int]:
        """Return the columns that were given something else than in `other`."""
        pairs = zip(self._hashes, other._hashes, strict=True)
        return [column for column, (one, two) in enumerate(pairs) if one.digest() != two.digest()]


class PageFiller:
    """Holds the elements of one column back until they fill a page.

    Parameters
    ----------
    column, coding
        The column.
    sizes
        The least and the most unpacked bytes of a page; at the end of a cluster it may have less.
    compression
        How pages are packed.
    """

    def __init__(
        self, column: Column, coding: Coding, sizes: tuple[int, int], compression: Compression
    ) -> None:
        self.compression = compression
        self._coding = coding
        self._least, self._most = (max(1, size * 8 // max(1, column.bits)) for size in sizes)
        self._bits = column.bits
        self._parts: list[NDArray[Any]] = []
        self._held = 0
        self._end = 0
        self._chosen: dict[int, int] = {}
        #: The elements since the cluster began.
        self.elements = 0

    @property
    def bytes(self) -> float:
        """The unpacked bytes since the cluster began."""
        return self.elements * self._bits / 8

    def rows(self, rows: NDArray[np.uint8]) -> None:
        """Append elements as they are."""
        if len(rows):
            # what waits for more must not keep the larger array alive that it is a part of
            self._parts.append(rows.copy() if len(rows) < self._least else rows)
            self._held += len(rows)
            self.elements += len(rows)

    def sizes(self, sizes: NDArray[np.int64]) -> None:
        """Append collections, of which these are the sizes."""
        ends = self._end + np.cumsum(sizes)
        if len(ends):
            self._end = int(ends[-1])
            # as differences they begin anew with each page, so that they become rows only there
            self._parts.append(ends)
            self._held += len(ends)
            self.elements += len(ends)

    def choices(self, tags: NDArray[np.int64]) -> None:
        """Append choices: the next value of each chosen field."""
        places = np.zeros(len(tags), np.int64)
        for tag in np.unique(tags).tolist():
            mine = np.flatnonzero(tags == tag)
            before = self._chosen.get(tag, 0)
            if tag:
                places[mine] = before + np.arange(len(mine))
                self._chosen[tag] = before + len(mine)
        self.rows(self._coding.switch_rows(places, tags))

    def full(self) -> Iterator[Page]:
        """Yield what is held back as pages, if it fills one."""
        if self._held >= self._least:
            yield from self._pages()

    def end_cluster(self) -> Iterator[Page]:
        """Yield what is held back as pages, if there is something; what follows belongs to the next cluster."""
        yield from self._pages()
        self._end, self._chosen, self.elements = 0, {}, 0

    def _pages(self) -> Iterator[Page]:
        """Cut what is held back into pages of about the same size."""
        if self._held:
            whole = self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts)
            number = -(-self._held // self._most)
            edges = [self._held * one // number for one in range(number + 1)]
            for start, stop in pairwise(edges):
                yield self._page(whole[start:stop])
        self._parts, self._held = [], 0

    def _page(self, held: NDArray[Any]) -> Page:
        from xxhash import xxh3_64_intdigest

        rows = self._coding.index_rows(held) if self._coding.index else held
        payload = pack(self._coding.encode(rows), self.compression)
        return Page(len(rows), payload, xxh3_64_intdigest(payload).to_bytes(CHECKSUM, "little"))
