"""Fill baskets of the usual size with the entries of one branch that go to one stream."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from grid.rootio.format.baskets import Packed
from grid.rootio.format.blocks import pack
from grid.rootio.gather.unpacked import join

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from grid.rootio.format.blocks import Compression
    from grid.rootio.gather.unpacked import Entries

__all__ = ["Filler", "Full"]

_OFFSET = 4


@dataclass(frozen=True, slots=True)
class Full:
    """A basket that is not packed yet: its bytes, its entries, and where their data end, from the key's start."""

    data: bytes
    entries: int
    last: int

    @property
    def size(self) -> int:
        """How much there is to pack."""
        return len(self.data)

    def packed(self, compression: Compression) -> Packed:
        """Return it packed."""
        return Packed(pack(self.data, compression), len(self.data), self.entries, self.last)


class Filler:
    """Holds entries back until they fill a basket.

    Parameters
    ----------
    key_length
        Of the basket's key.
    target
        The unpacked bytes of a basket.
    """

    def __init__(self, key_length: int, target: int) -> None:
        self._key_length, self._target = key_length, target
        self._parts: list[Entries] = []
        #: The bytes and the entries that are held back.
        self.held = 0

    def add(self, entries: Entries) -> Iterator[Full]:
        """Append entries; yield the baskets that are full."""
        if not entries.count:
            return
        self._parts.append(entries)
        self.held += _bytes(entries)
        if self.held < self._target:
            return
        whole = join(self._parts)
        cuts = _cuts(whole, self._target)
        for start, stop in pairwise(cuts):
            yield self._full(whole.slice(start, stop))
        # a copy, so that what is held back doesn't hold all
        rest = whole.slice(cuts[-1], whole.count).copy()
        self._parts, self.held = ([rest], _bytes(rest)) if rest.count else ([], 0)

    def flush(self) -> Iterator[Full]:
        """Yield what is held back as a basket, if there is something."""
        if self._parts:
            yield self._full(join(self._parts))
        self._parts, self.held = [], 0

    @property
    def memory(self) -> int:
        """The bytes of memory in which entries are held back."""
        return sum(part.memory for part in self._parts)

    @property
    def empty(self) -> bool:
        """Whether nothing is held back."""
        return not self._parts

    def _full(self, entries: Entries) -> Full:
        last = self._key_length + len(entries.data)
        if entries.edges is None:
            return Full(entries.data.tobytes(), entries.count, last)
        offsets = entries.edges[:-1] + self._key_length
        parts = [entries.data.tobytes(), _list(offsets)]
        if entries.origins is not None:
            parts.append(_list(np.where(entries.origins < 0, offsets, entries.origins)))
        return Full(b"".join(parts), entries.count, last)


def _bytes(entries: Entries) -> int:
    """Return how many bytes entries take in a basket, with their offsets."""
    return len(entries.data) + (_OFFSET * entries.count if entries.edges is not None else 0)


def _cuts(entries: Entries, target: int) -> list[int]:
    """Return between which entries full baskets end: 0 first; what follows the last of them fills none."""
    if entries.edges is None:
        step = -(-target // entries.width) if entries.width else entries.count + 1
        return list(range(0, entries.count + 1, step))
    # where each would begin with its offset before it
    ends = entries.edges + _OFFSET * np.arange(entries.count + 1)
    cuts = [0]
    while ends[-1] - ends[cuts[-1]] >= target:
        cuts.append(max(cuts[-1] + 1, int(np.searchsorted(ends, ends[cuts[-1]] + target))))
    return cuts


def _list(values: NDArray[np.int64]) -> bytes:
    """Return an array with its length before it, and a last item for where the next entry would be."""
    words = np.zeros(len(values) + 2, ">i4")
    words[0] = len(values) + 1
    words[1:-1] = values
    return words.tobytes()
