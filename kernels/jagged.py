"""Picking events out of arrays of any nesting, by their offsets alone.

Event ``i`` of a jagged array has the items ``offsets[i]:offsets[i + 1]`` of what lies below; deeper nesting repeats the
step with the items that were taken as the next index. An index may repeat and reorder events. Every offset and index is
checked before anything is copied.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels._arrays import byte_rows, exact, integers
from kernels._jit import kernel
from kernels._memory import copy_bytes
from kernels.bits import ONE, exact_streams

__all__ = ["gather", "gather_bytes", "partition", "take_fixed"]

Index = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Integers = NDArray[np.integer[Any]]

_GOOD, _BAD_INDEX, _BAD_OFFSETS, _TOO_MUCH = 0, 1, 2, 3
#: No result may be longer, so that sums of lengths can't overflow: more than any machine can address.
_LONGEST = 2**48


def gather(offsets: Integers, index: Integers) -> tuple[Index, Index]:
    """Pick events of a jagged array: their new offsets, and which items to take from below.

    Parameters
    ----------
    offsets : integers[n + 1]
        Not decreasing, starting anywhere from 0.
    index : integers[m]
        Events to pick, in ``[0, n)``.

    Returns
    -------
    new_offsets : int64[m + 1]
        Starting at 0.
    take : int64[k]
        For each picked item its place in the content: ``content[take]``, or the index for the next level of nesting.

    Raises
    ------
    ValueError
        An index out of range, or offsets that are negative or decrease.
    MemoryError
        So many items that ``take`` doesn't fit.
    """
    bounds, picked = _offsets(offsets), integers("index", index)
    new_offsets = _plan_or_refuse(bounds, picked, _LONGEST)
    return new_offsets, _places(bounds, picked, new_offsets)


def gather_bytes(data: Bytes, offsets: Integers, index: Integers) -> tuple[Bytes, Index]:
    """Pick the bytes of events, joining neighbouring events into one copy.

    Parameters
    ----------
    data : uint8[...]
        One-dimensional.
    offsets : integers[n + 1]
        In bytes, within ``data``.
    index : integers[m]
        Events to pick, in ``[0, n)``.

    Returns
    -------
    picked : uint8[k]
    new_offsets : int64[m + 1]
        In bytes, starting at 0.

    Raises
    ------
    ValueError
        An index out of range, or offsets that are negative, decrease, or lie beyond the data.
    """
    content = exact("data", data, np.uint8, 1)
    bounds, picked = _offsets(offsets), integers("index", index)
    new_offsets = _plan_or_refuse(bounds, picked, len(content))
    return _copy(content, bounds, picked, new_offsets), new_offsets


def take_fixed(data: Bytes, index: Integers) -> Bytes:
    """Pick rows of fixed width.

    Parameters
    ----------
    data : uint8[n, width]
        One row for each event (view values of any type as bytes).
    index : integers[m]
        In ``[0, n)``.

    Returns
    -------
    uint8[m, width]
    """
    rows, picked = byte_rows("data", data), integers("index", index)
    n, width = rows.shape
    if picked.size and (picked.min() < 0 or picked.max() >= n):
        raise ValueError(f"index must lie in [0, {n}), found [{picked.min()}, {picked.max()}]")
    if width in (1, 2, 4, 8):  # numpy moves numbers faster than any copy of bytes
        return rows.view(f"u{width}").take(picked, axis=0).view(np.uint8)
    return _copy_rows(rows.reshape(-1), width, picked).reshape(len(picked), width)


def partition(stream_mask: NDArray[np.uint64], n_streams: int) -> list[Index]:
    """List the events of each stream.

    Parameters
    ----------
    stream_mask : uint64[n]
        From `kernels.bits.stream_masks`; no event may have a bit beyond the last stream.
    n_streams
        At most 64.

    Returns
    -------
    list of int64[...]
        For each stream the indices of its events, ascending; they share one buffer.
    """
    masks = exact_streams(stream_mask, n_streams)
    index, bounds = _partition(masks, operator.index(n_streams))
    return [index[bounds[s] : bounds[s + 1]] for s in range(n_streams)]


def _offsets(offsets: Integers) -> Index:
    bounds = integers("offsets", offsets)
    if not len(bounds):
        raise ValueError("offsets is empty: for n events it has n + 1 entries")
    return bounds


def _plan_or_refuse(offsets: Index, index: Index, size: int) -> Index:
    """Give the new offsets of the picked events, once all are proven sound."""
    code, where, new_offsets = _plan(offsets, index, size)
    if code == _BAD_INDEX:
        raise ValueError(f"index[{where}] is {index[where]}, but there are {len(offsets) - 1} events")
    if code == _BAD_OFFSETS:
        event = index[where]
        start, stop = offsets[event], offsets[event + 1]
        raise ValueError(f"offsets put event {event} at [{start}, {stop}), which isn't inside [0, {size})")
    if code == _TOO_MUCH:
        raise ValueError(f"the picked events would have more than {_LONGEST} items")
    return new_offsets


@kernel
def _plan(offsets: Index, index: Index, size: int) -> tuple[int, int, Index]:
    n = offsets.size - 1
    new_offsets = np.empty(index.size + 1, dtype=np.int64)
    new_offsets[0] = 0
    total = 0
    for j in range(index.size):
        i = index[j]
        if i < 0 or i >= n:
            return _BAD_INDEX, j, new_offsets
        start, stop = offsets[i], offsets[i + 1]
        if start < 0 or stop < start or stop > size:
            return _BAD_OFFSETS, j, new_offsets
        total += stop - start
        if total > _LONGEST:
            return _TOO_MUCH, j, new_offsets
        new_offsets[j + 1] = total
    return _GOOD, 0, new_offsets


@kernel
def _places(offsets: Index, index: Index, new_offsets: Index) -> Index:
    take = np.empty(new_offsets[-1], dtype=np.int64)
    for j in range(index.size):
        shift = offsets[index[j]] - new_offsets[j]
        for k in range(new_offsets[j], new_offsets[j + 1]):
            take[k] = k + shift
    return take


@kernel
def _copy(data: Bytes, offsets: Index, index: Index, new_offsets: Index) -> Bytes:
    out = np.empty(new_offsets[-1], dtype=np.uint8)
    j = 0
    while j < index.size:
        first = j
        j += 1
        while j < index.size and index[j] == index[j - 1] + 1:
            j += 1
        at = new_offsets[first]
        copy_bytes(out, at, data, offsets[index[first]], new_offsets[j] - at)
    return out


@kernel
def _copy_rows(data: Bytes, width: int, index: Index) -> Bytes:
    out = np.empty(index.size * width, dtype=np.uint8)
    j = 0
    while j < index.size:
        first = j
        j += 1
        while j < index.size and index[j] == index[j - 1] + 1:
            j += 1
        copy_bytes(out, first * width, data, index[first] * width, (j - first) * width)
    return out


@kernel
def _partition(stream_mask: NDArray[np.uint64], n_streams: int) -> tuple[Index, Index]:
    n = stream_mask.size
    bounds = np.zeros(n_streams + 1, dtype=np.int64)
    for s in range(n_streams):
        count = np.int64(0)
        for i in range(n):
            count += np.int64(stream_mask[i] >> np.uint64(s) & ONE)
        bounds[s + 1] = bounds[s] + count
    # Every event is written, and stays if the next doesn't replace it: no branch to guess, one slot more at the end.
    index = np.empty(bounds[-1] + 1, dtype=np.int64)
    for s in range(n_streams):
        end = bounds[s]
        for i in range(n):
            index[end] = i
            end += np.int64(stream_mask[i] >> np.uint64(s) & ONE)
    return index[: bounds[-1]], bounds
