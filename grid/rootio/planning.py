"""Cut entries into ranges that fit into memory, and files into groups that fit into one; pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Weight", "cut", "groups"]


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """How a branch's unpacked bytes grow with the entries.

    Parameters
    ----------
    edges
        int64 ``[k + 1]``: the first entry of each basket, and the end of the last.
    total
        float64 ``[k + 1]``: unpacked bytes before each edge, starting at 0.
    """

    edges: NDArray[np.int64]
    total: NDArray[np.float64]


def cut(entries: int, weights: Sequence[Weight], memory_bytes: int) -> list[tuple[int, int]]:
    """Cut ``0 .. entries`` into consecutive ranges of at most about `memory_bytes`.

    A range holds at least one entry. Its end is the basket edge, in the second half of what fits,
    at which most bytes have an edge; there no basket has to be kept for the next range.

    Returns
    -------
    list of (start, stop)
        Empty without entries.
    """
    if entries == 0:
        return []
    if not weights:
        return [(0, entries)]
    weights = _joined(weights)
    edges = np.unique(np.concatenate([[0, entries], *(weight.edges for weight in weights)]))
    edges = edges[(edges >= 0) & (edges <= entries)]
    total = np.zeros(len(edges))
    aligned = np.zeros(len(edges))
    for weight in weights:
        total += np.interp(edges, weight.edges, weight.total)
        aligned[np.isin(edges, weight.edges, assume_unique=False)] += weight.total[-1] + 1
    ranges = []
    start = 0
    while start < entries:
        used = float(np.interp(start, edges, total))
        fits = (
            int(np.floor(np.interp(used + memory_bytes, total, edges)))
            if used + memory_bytes < total[-1]
            else entries
        )
        stop = max(fits, start + 1)
        first, last = np.searchsorted(edges, (start + (stop - start) // 2, stop), side="right")
        if stop < entries and last > first:
            stop = int(edges[last - 1 - int(np.argmax(aligned[first:last][::-1]))])
        ranges.append((start, stop))
        start = stop
    return ranges


def groups(sizes: Sequence[int], limit: int) -> list[tuple[int, int]]:
    """Share files out, in their order, over groups of at most `limit` bytes; a larger file is a group of its own.

    Returns
    -------
    list of (first, stop)
        Which files are in each.
    """
    shared: list[tuple[int, int]] = []
    first = held = 0
    for number, size in enumerate(sizes):
        if number > first and held + size > limit:
            shared.append((first, number))
            first, held = number, 0
        held += size
    return [*shared, (first, len(sizes))] if sizes else shared


def _joined(weights: Sequence[Weight]) -> list[Weight]:
    """Add the weights of branches that have the same edges: mostly that is all of them."""
    sums: dict[bytes, Weight] = {}
    for weight in weights:
        key = weight.edges.tobytes()
        known = sums.get(key)
        sums[key] = weight if known is None else Weight(weight.edges, known.total + weight.total)
    return list(sums.values())
