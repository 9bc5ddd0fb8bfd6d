"""Fill baskets of the usual size with the entries of one branch that go to one stream."""

from __future__ import annotations

import struct
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

__all__ = ["Filler"]

_OFFSET = 4


class Filler:
    """Holds entries back until they fill a basket.

    Parameters
    ----------
    key_length
        Of the basket's key.
    target
        The unpacked bytes of a basket.
    compression
        How baskets are packed.
    """

    def __init__(self, key_length: int, target: int, compression: Compression) -> None:
        self._key_length, self._target, self._compression = key_length, target, compression
        self._parts: list[Entries] = []
        #: The bytes and the entries that are held back.
        self.held = 0

    def add(self, entries: Entries) -> Iterator[Packed]:
        """Append entries; yield the baskets that are full."""
        if not entries.count:
            return
        self._parts.append(entries)
        self.held += len(entries.data) + (_OFFSET * entries.count if entries.edges is not None else 0)
        if self.held < self._target:
            return
        whole = join(self._parts)
        start = 0
        ends = _ends(whole)
        while ends[-1] - ends[start] >= self._target:
            stop = max(start + 1, int(np.searchsorted(ends, ends[start] + self._target)))
            yield self._pack(whole.slice(start, stop))
            start = stop
        self.held = int(ends[-1] - ends[start])
        # a copy, so that what is held back doesn't hold all
        rest = np.arange(start, whole.count)
        self._parts = [whole.take(rest)] if len(rest) else []

    def flush(self) -> Iterator[Packed]:
        """Yield what is held back as a basket, if there is something."""
        if self._parts:
            yield self._pack(join(self._parts))
        self._parts, self.held = [], 0

    @property
    def empty(self) -> bool:
        """Whether nothing is held back."""
        return not self._parts

    def _pack(self, entries: Entries) -> Packed:
        last = self._key_length + len(entries.data)
        data = entries.data.tobytes()
        if entries.edges is not None:
            offsets = entries.edges[:-1] + self._key_length
            data += _list(offsets)
            if entries.origins is not None:
                data += _list(np.where(entries.origins < 0, offsets, entries.origins))
        return Packed(pack(data, self._compression), len(data), entries.count, last)


def _ends(entries: Entries) -> NDArray[np.int64]:
    """Return where each entry would begin with its offset before it, and the last end."""
    numbers = np.arange(entries.count + 1, dtype=np.int64)
    return numbers * entries.width if entries.edges is None else entries.edges + _OFFSET * numbers


def _list(values: NDArray[np.int64]) -> bytes:
    """Return an array with its length before it, and a last item for where the next entry would be."""
    return struct.pack(">i", len(values) + 1) + values.astype(">i4").tobytes() + bytes(_OFFSET)
