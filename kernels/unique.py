"""Events that occur twice, and the run sections that events belong to: exact, not by hash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kernels import reference
from kernels._arrays import bits64, frozen, integers, same_length
from kernels._jit import kernel, light

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["duplicates", "sections"]

Integers = NDArray[np.integer[Any]]
Index = NDArray[np.int64]
Words = NDArray[np.uint64]


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
    Identities themselves are compared, never their hashes. Entries in ascending order cost one pass; others a stable
    sort, which no choice of identities can slow down.
    """
    if not len(columns):
        raise ValueError("columns is empty: an event needs at least one column to be identified by")
    named = {f"columns[{j}]": bits64(f"columns[{j}]", column) for j, column in enumerate(columns)}
    same_length(**named)
    if light(len(next(iter(named.values())))):
        if _rise(list(named.values())):
            return np.empty((0, 2), dtype=np.int64)
        return reference.duplicates(list(named.values()))
    identity = frozen(np.stack(list(named.values())))
    del named
    if _ascends(identity):
        return np.empty((0, 2), dtype=np.int64)
    pairs = _repeats(identity, np.lexsort(identity))
    return pairs[np.argsort(pairs[:, 1])]


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
    if light(len(of_run)):
        return reference.sections(of_run, of_section)
    starts = _starts(of_run, of_section)
    lengths = np.diff(starts, append=len(of_run))
    runs, numbers = of_run[starts], of_section[starts]
    order = np.lexsort((numbers, runs))
    runs, numbers, lengths = frozen(runs[order]), frozen(numbers[order]), lengths[order]
    heads = _starts(runs, numbers)
    counts = np.add.reduceat(lengths, heads) if len(heads) else np.empty(0, dtype=np.int64)
    return np.column_stack((runs[heads], numbers[heads])), counts


def _rise(identity: Sequence[Words]) -> bool:
    """`_ascends` for few entries."""
    later, equal = (
        np.zeros(max(0, len(identity[0]) - 1), np.bool_),
        np.ones(max(0, len(identity[0]) - 1), np.bool_),
    )
    for column in identity:
        later |= equal & (column[1:] > column[:-1])
        equal &= column[1:] == column[:-1]
    return bool(later.all())


@kernel
def _ascends(identity: Words) -> bool:
    """Whether each entry is greater than the one before, compared as words: then none occurs twice."""
    width, n = identity.shape
    for i in range(1, n):
        c = 0
        while c < width and identity[c, i] == identity[c, i - 1]:
            c += 1
        if c == width or identity[c, i] < identity[c, i - 1]:
            return False
    return True


@kernel
def _repeats(identity: Words, order: Index) -> Index:
    """Pairs of (first, repeated) entry, from a stable order in which equal identities are neighbours."""
    width, n = identity.shape
    pairs = np.empty((16, 2), dtype=np.int64)
    count = 0
    head = order[0]
    for k in range(1, n):
        i = order[k]
        c = width - 1  # the last column differs most often
        while c >= 0 and identity[c, i] == identity[c, head]:
            c -= 1
        if c >= 0:
            head = i
            continue
        if count == len(pairs):
            pairs = np.concatenate((pairs, np.empty_like(pairs)))
        pairs[count, 0] = head
        pairs[count, 1] = i
        count += 1
    return pairs[:count].copy()


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
