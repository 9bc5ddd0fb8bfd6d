"""What each entry of a tree holds, as numbers that add: however its branches are cut into baskets and packed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kernels import baskets, content

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["EntrySums"]

#: So many entries of baskets are hashed before their hashes are added.
_TOGETHER: Final = 1 << 20


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
    sparse
        Whether a branch adds nothing to entries of which it holds no byte, or zeros only.
    """

    def __init__(self, entries: int, names: Sequence[str], *, rounds: int = 1, sparse: bool = False) -> None:
        salts = [[content.salt_of(f"{turn} {name}") for name in names] for turn in range(rounds)]
        self._salts = np.array(salts, np.uint64).reshape(rounds, len(names))
        self._sums = [np.zeros(entries, np.uint64) for _ in range(rounds)]
        self._sparse = sparse
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
        salts = self._salts[:, branch].tolist()
        hashes = [content.jagged(edges[:-1], edges[1:], data, salt) for salt in salts]
        if self._sparse:
            held = np.flatnonzero(edges[1:] > edges[:-1])
            zero = np.ones(len(edges) - 1, np.bool_)
            zero[held] = np.maximum.reduceat(data[: edges[-1]], edges[held]) == 0 if len(held) else True
            for one in hashes:
                one[zero] = 0
        self._put(first, hashes)

    def add_rows(self, branch: int, first: int, rows: NDArray[np.uint8]) -> None:
        """Add entries of one width, uint8 ``[n, width]``; the same numbers as :meth:`add` of the same bytes."""
        salts = self._salts[:, branch].tolist()
        hashes = [content.fixed(rows, salt) for salt in salts]
        if self._sparse:
            zeros = np.zeros((1, rows.shape[1]), np.uint8)
            for one, salt in zip(hashes, salts, strict=True):
                one[one == content.fixed(zeros, salt)] = 0
        self._put(first, hashes)

    def add_baskets(
        self,
        branches: NDArray[np.int64],
        firsts: NDArray[np.int64],
        data: NDArray[np.uint8],
        lie: baskets.Lie,
    ) -> int:
        """Add all entries of baskets, of every branch alike: these sums are not sparse.

        Parameters
        ----------
        branches, firsts
            For each basket its branch, and its first entry.
        data, lie
            What they lie in, and how.

        Returns
        -------
        int
            The first basket that its entries don't fill, one behind the other; -1 if all do.
        """
        ends = np.cumsum(lie.counts)
        at = 0
        while at < len(ends):
            before = int(ends[at]) - int(lie.counts[at])
            some = slice(at, max(at + 1, int(np.searchsorted(ends, before + _TOGETHER, side="right"))))
            part = baskets.Lie._make(column[some] for column in lie)
            for salts, sums in zip(self._salts, self._sums, strict=True):
                bad, hashes = baskets.hashes(data, part, salts[branches[some]])
                if bad >= 0:
                    return at + bad
                with self._lock:
                    baskets.add_runs(sums, firsts[some], part.counts, hashes)
            at = some.stop
        return -1

    def sealed(self, start: int, stop: int) -> list[NDArray[np.uint64]]:
        """Return for each round the hashes of some entries, of all branches together: uint64 ``[stop - start]``."""
        return [content.seal(sums[start:stop]) for sums in self._sums]

    def _put(self, first: int, hashes: list[Any]) -> None:
        with self._lock:
            for sums, found in zip(self._sums, hashes, strict=True):
                sums[first : first + len(found)] += found
