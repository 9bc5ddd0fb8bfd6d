"""Which entries of a tree go to which stream."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from kernels import jagged

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["by_masks", "by_rows", "every", "picked"]


def by_masks(masks: NDArray[np.uint64], streams: int) -> Callable[[int, int], list[NDArray[np.int64]]]:
    """Return what chooses the entries of each stream by the bits of their masks, uint64 ``[n]``."""

    # the baskets of many branches begin and end with the same entries
    @lru_cache(maxsize=8)
    def chosen(start: int, stop: int) -> list[NDArray[np.int64]]:
        return jagged.partition(masks[start:stop], streams)

    return chosen


def by_rows(rows: NDArray[np.int64]) -> Callable[[int, int], list[NDArray[np.int64]]]:
    """Return what chooses some entries, ascending, for the one stream that there is."""

    def chosen(start: int, stop: int) -> list[NDArray[np.int64]]:
        first, last = np.searchsorted(rows, (start, stop))
        return [rows[first:last] - start]

    return chosen


def every(streams: int) -> Callable[[int, int], list[NDArray[np.int64]]]:
    """Return what chooses all entries for each stream."""

    def chosen(start: int, stop: int) -> list[NDArray[np.int64]]:
        return [np.arange(stop - start, dtype=np.int64)] * streams

    return chosen


def picked(
    chosen: Callable[[int, int], list[NDArray[np.int64]]],
) -> Callable[[tuple[int, ...]], list[tuple[NDArray[np.int64], list[int]]]]:
    """Return what chooses entries of baskets that lie between some entries.

    For each stream: the entries, counted from the first basket's first one, and where in them each basket begins and
    the last one ends.
    """

    # the baskets of many branches begin and end with the same entries
    @lru_cache(maxsize=8)
    def picks(edges: tuple[int, ...]) -> list[tuple[NDArray[np.int64], list[int]]]:
        within = np.subtract(edges, edges[0])
        return [(index, np.searchsorted(index, within).tolist()) for index in chosen(edges[0], edges[-1])]

    return picks
