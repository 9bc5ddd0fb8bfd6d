"""Events that occur twice, and the run sections that events belong to: exact, not by hash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kernels._arrays import bits64, frozen, integers, same_length
from kernels._jit import kernel
from kernels.fingerprint import mix64_word

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["duplicates", "sections"]

Integers = NDArray[np.integer[Any]]
Index = NDArray[np.int64]
Words = NDArray[np.uint64]

#: Slots looked at for each event before the table gives up: hostile identities could be made to meet in one place.
_PATIENCE = 64
_SEED = np.uint64(0xA4093822299F31D0)
_ZERO = np.uint64(0)


def duplicates(columns: Sequence[Integers]) -> Index:
    """Find entries that have the identity of an earlier entry.

    Parameters
    ----------
    columns : sequence of integer arrays [n]
        What identifies an event. Integers count by value, as in `kernels.fingerprint.event_keys`.

    Returns
    -------
    int64[m, 2]
        (first entry, repeated entry) with ``first < repeated``, ascending by the repeated entry. An identity that
        occurs k times gives k - 1 pairs, all with the same first entry.

    Notes
    -----
    Identities themselves are compared, never only hashes. Entries in ascending order cost one pass; others a hash table
    (16 to 32 bytes for each entry), and a stable sort where identities crowd in one place of it.
    """
    if not len(columns):
        raise ValueError("columns is empty: an event needs at least one column to be identified by")
    named = {f"columns[{j}]": bits64(f"columns[{j}]", column) for j, column in enumerate(columns)}
    same_length(**named)
    identity = np.column_stack(list(named.values()))
    if _ascends(identity):
        return np.empty((0, 2), dtype=np.int64)
    enough, first = _first_entries(identity, _PATIENCE)
    if not enough:
        first = _first_by_sorting(identity)
    repeated = np.flatnonzero(first != np.arange(len(first)))
    return np.column_stack((first[repeated], repeated))


def sections(run: Integers, section: Integers) -> tuple[Index, Index]:
    """Count the events of each run section.

    Parameters
    ----------
    run : integers[n]
    section : integers[n]

    Returns
    -------
    sections : int64[k, 2]
        The (run, section) that occur, ascending.
    counts : int64[k]
        Events of each.
    """
    of_run, of_section = integers("run", run), integers("section", section)
    same_length(run=of_run, section=of_section)
    starts = _starts(of_run, of_section)
    lengths = np.diff(starts, append=len(of_run))
    runs, numbers = of_run[starts], of_section[starts]
    order = np.lexsort((numbers, runs))
    runs, numbers, lengths = frozen(runs[order]), frozen(numbers[order]), lengths[order]
    heads = _starts(runs, numbers)
    counts = np.add.reduceat(lengths, heads) if len(heads) else np.empty(0, dtype=np.int64)
    return np.column_stack((runs[heads], numbers[heads])), counts


def _first_by_sorting(identity: Words) -> Index:
    """First entry of each entry's identity, by a stable sort: slower, but nothing can make it slower still."""
    order = np.lexsort(identity.T)
    rows = identity[order]
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    first = np.empty(len(order), dtype=np.int64)
    first[order] = order[np.flatnonzero(new)[np.cumsum(new) - 1]]
    return first


@kernel
def _ascends(identity: Words) -> bool:
    """Whether each row is greater than the one before, compared as words: then no row occurs twice."""
    n, width = identity.shape
    for i in range(1, n):
        c = 0
        while c < width and identity[i, c] == identity[i - 1, c]:
            c += 1
        if c == width or identity[i, c] < identity[i - 1, c]:
            return False
    return True


@kernel
def _first_entries(identity: Words, patience: int) -> tuple[bool, Index]:
    n, width = identity.shape
    first = np.empty(n, dtype=np.int64)
    size = 16
    while size < 2 * n:
        size *= 2
    table = np.full(size, -1, dtype=np.int64)
    budget = patience * n
    for i in range(n):
        mixed = _SEED
        for c in range(width):
            mixed = mix64_word(mixed ^ identity[i, c])
        slot = np.int64(mixed & np.uint64(size - 1))
        while table[slot] >= 0:
            there = table[slot]
            c = 0
            while c < width and identity[there, c] == identity[i, c]:
                c += 1
            if c == width:
                break
            slot = (slot + 1) & (size - 1)
            budget -= 1
            if budget < 0:
                return False, first
        if table[slot] < 0:
            table[slot] = i
        first[i] = table[slot]
    return True, first


@kernel
def _starts(run: Index, section: Index) -> Index:
    """Where a row differs from the one before."""
    starts = np.empty(run.size, dtype=np.int64)
    count = 0
    for i in range(run.size):
        if i == 0 or run[i] != run[i - 1] or section[i] != section[i - 1]:
            starts[count] = i
            count += 1
    return starts[:count].copy()
