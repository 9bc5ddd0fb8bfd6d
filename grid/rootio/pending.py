"""What a tree holds in memory until its next cluster: each branch's bytes, each counter's lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.format.entries import object_bytes, text_bytes
from grid.rootio.format.leaves import LARGEST_ENTRY
from sitecfg.errors import SchemaMismatch, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from grid.rootio.columns import Column
    from grid.rootio.format.baskets import BasketKey, Packed
    from grid.rootio.format.blocks import Compression
    from grid.rootio.format.ttree import BranchBooks

__all__ = ["Lengths", "Pending", "columns_in_order", "starts_of"]


class Lengths:
    """The lengths that several branches share: one counter, or one branch's own texts or objects."""

    def __init__(self, name: str) -> None:
        self.name = name
        #: Bytes per counted element, over all branches that share the counter.
        self.weight = 0
        self._parts: list[NDArray[np.int64]] = []
        self._starts: NDArray[np.int64] | None = None

    def add(self, counts: NDArray[np.int64]) -> None:
        """Append the lengths of more entries."""
        self._parts.append(counts)
        self._starts = None

    def starts(self) -> NDArray[np.int64]:
        """Return where each pending entry begins, int64 ``[n + 1]``."""
        if self._starts is None:
            self._starts = starts_of(np.concatenate([np.zeros(0, np.int64), *self._parts]))
        return self._starts

    def clear(self) -> None:
        """Forget the lengths."""
        self._parts, self._starts = [], None


def starts_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the running sum of `counts`, from 0."""
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    return starts


class Pending:
    """The pending entries of one branch."""

    def __init__(self, books: BranchBooks, key: BasketKey, lengths: Lengths | None) -> None:
        leaf = books.leaf
        branch = leaf.branch
        self.books = books
        self.key = key
        self.lengths = lengths
        self.name = branch.name
        self.counter = branch.counter
        self.width = leaf.width or 1
        self._dtype = branch.dtype
        self._stored = np.dtype(np.uint8) if not leaf.width else branch.dtype.newbyteorder(">")
        self._shape = branch.shape
        self._levels = branch.levels
        self._parts: list[NDArray[Any]] = []
        self.nbytes = 0

    def prepare(
        self, column: Column, entries: int, counts: Mapping[str, NDArray[np.int64]]
    ) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
        """Return the values to store and, for texts and objects, where each entry begins.

        `counts` holds the offsets that each counter asks for.

        Raises
        ------
        SchemaMismatch
            If the column is not of the branch's type or of another length, or not as its counter says.
        """
        values, offsets = column.values, column.offsets
        if values.dtype != self._dtype or values.shape[1:] != self._shape or len(offsets) != self._levels:
            raise SchemaMismatch(
                f"branch {self.name!r} holds {self._dtype}{list(self._shape)} with {self._levels} variable "
                f"dimensions, but was given {values.dtype}{list(values.shape[1:])} with {len(offsets)}",
                branch=self.name,
            )
        if self.counter is not None:
            wanted, given = counts[self.counter], offsets[0]
            sound = given is wanted or (len(given) == len(wanted) and bool((given == wanted).all()))
            sound = sound and len(values) == wanted[-1]
        else:
            sound = _fits(values, offsets, entries)
        if not sound:
            raise SchemaMismatch(
                f"branch {self.name!r} was given a column whose lengths don't fit "
                + (f"its counter {self.counter!r}" if self.counter else f"{entries} entries"),
                branch=self.name,
            )
        leaf = self.books.leaf
        if leaf.width:
            return values, None
        return object_bytes(column, leaf) if leaf.object_class else text_bytes(column)

    def add(self, values: NDArray[Any]) -> None:
        """Append stored values of more entries; they are copied."""
        self._parts.append(values.astype(self._stored, order="C"))
        self.nbytes += values.nbytes

    def flush(self, entries: int, compression: Compression) -> list[Packed]:
        """Pack and forget what is pending; it holds `entries` entries."""
        data = b"".join(self._parts)  # type: ignore[arg-type]  # arrays are buffers
        self._parts, self.nbytes = [], 0
        return self._cut(data, entries, compression)

    def _cut(self, data: bytes, entries: int, compression: Compression) -> list[Packed]:
        most = self.key.basket_bytes
        if self.lengths is None:
            step = max(1, most // self.width)
            if entries <= step:
                return [self.key.pack(data, None, entries, compression)]
            pieces = ((at, min(at + step, entries)) for at in range(0, entries, step))
            return [
                self.key.pack(data[a * self.width : b * self.width], None, b - a, compression)
                for a, b in pieces
            ]
        places = self.lengths.starts() * self.width
        if len(data) <= most:
            return [self.key.pack(data, places, entries, compression)]
        baskets = []
        start = 0
        while start < entries:
            stop = int(np.searchsorted(places, places[start] + most, "right")) - 1
            stop = min(max(stop, start + 1), entries)
            part = places[start : stop + 1] - places[start]
            if part[-1] > LARGEST_ENTRY and stop == start + 1:
                raise UnsupportedContent(
                    f"one entry of branch {self.name!r} takes {part[-1]} bytes; no reader can hold it",
                    branch=self.name,
                )
            baskets.append(self.key.pack(data[places[start] : places[stop]], part, stop - start, compression))
            start = stop
        return baskets


def _fits(values: NDArray[Any], offsets: tuple[NDArray[np.int64], ...], entries: int) -> bool:
    """Whether values and all levels of offsets fit each other."""
    if not offsets:
        return len(values) == entries
    sizes = [len(level) - 1 for level in offsets] + [len(values)]
    return sizes[0] == entries and all(
        len(level) > 0 and level[0] == 0 and level[-1] == below and bool((level[1:] >= level[:-1]).all())
        for level, below in zip(offsets, sizes[1:], strict=True)
    )


def columns_in_order(
    pending: list[Pending], columns: Mapping[str, Column], counters: set[str], tree: str
) -> list[Column | None]:
    """Return one column per branch; ``None`` for a counter that was left out.

    Raises
    ------
    SchemaMismatch
        If a branch has no column, or a column no branch; they are named.
    """
    found = [columns.get(one.name) for one in pending]
    missing = [
        one.name
        for one, column in zip(pending, found, strict=True)
        if column is None and one.name not in counters
    ]
    given = sum(column is not None for column in found)
    if missing or given != len(columns):
        known = {one.name for one in pending}
        foreign = [name for name in columns if name not in known]
        raise SchemaMismatch(
            f"columns and branches differ: no column for {missing[:5]}, no branch for {foreign[:5]}",
            where=tree,
        )
    return found
