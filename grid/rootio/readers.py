"""Read one branch, piece by piece, where a piece is what is unpacked at once: a basket or a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grid.rootio.columns import Column
from grid.rootio.planning import Weight
from sitecfg.errors import CorruptFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from grid.rootio.columns import Branch

__all__ = ["BranchReader", "TreeReader"]


@dataclass(slots=True)
class BranchReader:
    """Reads ranges of entries of one branch; remembers the piece in which the last range ended.

    Parameters
    ----------
    branch
        What it reads.
    decode
        Unpacks a piece: called with its number, its first entry and the entry after its last.
    edges
        int64 ``[k + 1]``: the first entry of each piece, and the end of the last.
    unpacked
        float64 ``[k]``: about how many bytes each piece has, unpacked.
    of_bytes
        Makes a column of entries' bytes as they are stored: called with these, the number of entries, and where each
        begins and the last ends, if they vary in size. ``None`` where more than that has to be known.
    """

    branch: Branch
    decode: Callable[[int, int, int], Column]
    edges: NDArray[np.int64]
    unpacked: NDArray[np.float64]
    of_bytes: Callable[[NDArray[np.uint8], int, NDArray[np.int64] | None], Column] | None = None
    held: tuple[int, Column] | None = None

    def read(self, start: int, stop: int) -> Column:
        """Return the entries ``start <= i < stop``; going forward, no piece is unpacked twice."""
        number = int(np.searchsorted(self.edges, start, side="right")) - 1
        parts = []
        while number < len(self.edges) - 1 and self.edges[number] < stop:
            low, high = int(self.edges[number]), int(self.edges[number + 1])
            column = self._piece(number, low, high)
            parts.append(column.slice(max(start, low) - low, min(stop, high) - low))
            self.held = (number, column) if high > stop else None
            number += 1
        return Column.concatenate(parts) if parts else self.branch.empty()

    def weight(self) -> Weight:
        """Return how the unpacked bytes grow with the entries."""
        return Weight(self.edges, np.concatenate([[0.0], np.cumsum(self.unpacked)]))

    def _piece(self, number: int, start: int, stop: int) -> Column:
        if self.held is not None and self.held[0] == number:
            return self.held[1]
        column = self.decode(number, start, stop)
        if len(column) != stop - start:
            raise CorruptFile(f"basket {number} holds {len(column)} entries instead of {stop - start}")
        return column


class TreeReader:
    """The readers of a tree's branches, in the tree's order."""

    def __init__(self) -> None:
        self.readers: dict[str, BranchReader] = {}
        #: ROOT's compression number of each branch, as far as it is known.
        self.compression_codes: list[int] = []

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The branches that can be read."""
        return tuple(reader.branch for reader in self.readers.values())
