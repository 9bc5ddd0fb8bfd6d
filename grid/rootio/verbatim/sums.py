"""What each entry of a tree holds, as numbers that add: however its branches are cut into baskets and packed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from kernels import content

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["EntrySums"]


class EntrySums:
    """Hashes of the bytes of each entry, added over branches; threads may share it.

    Parameters
    ----------
    entries
        How many the tree has.
    names
        Of its branches; a name tells a branch's bytes from those of others.
    rounds
        How many independent hashes there are of each entry.
    """

    def __init__(self, entries: int, names: Sequence[str], *, rounds: int = 1) -> None:
        self._salts = [[int(content.salt_of(f"{turn} {name}")) for turn in range(rounds)] for name in names]
        self._sums = [np.zeros(entries, np.uint64) for _ in range(rounds)]
        self._lock = threading.Lock()

    def add(self, branch: int, first: int, edges: NDArray[np.int64], data: NDArray[np.uint8]) -> None:
        """Add entries of a branch (its number among the names), from entry `first` on.

        Parameters
        ----------
        edges
            int64 ``[n + 1]``: where each begins and the last ends.
        data
            uint8, what they lie in.
        """
        self._put(first, [content.jagged(edges[:-1], edges[1:], data, salt) for salt in self._salts[branch]])

    def add_rows(self, branch: int, first: int, rows: NDArray[np.uint8]) -> None:
        """Add entries of one width, uint8 ``[n, width]``; the same numbers as :meth:`add` of the same bytes."""
        self._put(first, [content.fixed(rows, salt) for salt in self._salts[branch]])

    def sealed(self, start: int, stop: int) -> list[NDArray[np.uint64]]:
        """Return for each round the hashes of some entries, of all branches together: uint64 ``[stop - start]``."""
        return [content.seal(sums[start:stop]) for sums in self._sums]

    def _put(self, first: int, hashes: list[Any]) -> None:
        with self._lock:
            for sums, found in zip(self._sums, hashes, strict=True):
                sums[first : first + len(found)] += found
