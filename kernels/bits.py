"""Trigger bits: one uint64 word for each 64 paths, one bit for each path or stream, bit 0 lowest.

Three shapes recur: ``words[n, w]`` holds the fired paths of n events, a *path mask* ``[w]`` selects paths, and a
*stream mask* ``[n]`` holds the streams an event goes to (so at most 64 streams).
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kernels._arrays import exact
from kernels._jit import kernel
from kernels._load import eight_bytes
from kernels.fingerprint import mix64_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "all_of",
    "any_of",
    "census",
    "mask_words",
    "none_of",
    "overlap",
    "pack_bits",
    "pack_columns",
    "stream_masks",
    "word_count",
]

Words = NDArray[np.uint64]
Flags = NDArray[np.bool_]

#: The lowest bit of each byte, and the factor that brings those eight bits together in the top byte.
_LOW_BITS = np.uint64(0x0101010101010101)
_GATHER = np.uint64(0x0102040810204080)

ONE = np.uint64(1)
ZERO = np.uint64(0)


def word_count(n_bits: int) -> int:
    """Words that hold so many bits, at least one."""
    if n_bits < 0:
        raise ValueError(f"a number of bits can't be negative, got {n_bits}")
    return max(1, -(-n_bits // 64))


def pack_bits(flags: Flags) -> Words:
    """Pack booleans into words.

    Parameters
    ----------
    flags : bool[n, b]
        Fired paths; any non-zero byte is true.

    Returns
    -------
    uint64[n, max(1, ceil(b / 64))]
        Bit ``j % 64`` of word ``j // 64`` is column ``j``; unused bits are 0.
    """
    rows = exact("flags", flags, np.bool_, 2).view(np.uint8)
    n, n_bits = rows.shape
    return _pack_rows(rows.reshape(-1), n, n_bits, word_count(n_bits))


def pack_columns(columns: Sequence[Flags], n_events: int | None = None) -> Words:
    """Pack one boolean array for each path into words.

    Parameters
    ----------
    columns : sequence of bool[n]
        One for each path, all of one length.
    n_events
        Needed only when there may be no columns; otherwise compared.

    Returns
    -------
    uint64[n, max(1, ceil(len(columns) / 64))]
        As `pack_bits`.
    """
    if not columns and n_events is None:
        raise ValueError("columns is empty, so n_events must say how many events there are")
    n = len(columns[0]) if n_events is None else n_events
    if n < 0:
        raise ValueError(f"n_events must not be negative, got {n}")
    bytes_of = [
        exact(f"columns[{j}]", column, np.bool_, 1).view(np.uint8) for j, column in enumerate(columns)
    ]
    for j, column in enumerate(bytes_of):
        if len(column) != n:
            raise ValueError(f"columns[{j}] has {len(column)} entries where {n} are expected")
    words = np.zeros((n, word_count(len(columns))), dtype=np.uint64)
    nothing = np.zeros(n, dtype=np.uint8)
    nothing.flags.writeable = False
    for j in range(0, len(bytes_of), 8):
        eight = bytes_of[j : j + 8]
        eight += [nothing] * (8 - len(eight))
        _or_eight(words, j // 64, np.uint64(j % 64), *eight)
    return words


def mask_words(bits: Iterable[int], n_bits: int) -> Words:
    """Make a path mask.

    Parameters
    ----------
    bits
        Numbers of the paths, in any order.
    n_bits
        Paths in the menu.

    Returns
    -------
    uint64[w]

    Raises
    ------
    ValueError
        A bit outside the menu.
    """
    mask = [0] * word_count(n_bits)
    for bit in bits:
        if not 0 <= bit < n_bits:
            raise ValueError(f"bit {bit} is outside a menu of {n_bits} paths")
        mask[bit // 64] |= 1 << (bit % 64)
    return np.array(mask, dtype=np.uint64)


def any_of(words: Words, mask: Words) -> Flags:
    """Tell which events fired at least one path of a mask (none of an empty mask).

    Parameters
    ----------
    words : uint64[n, w]
    mask : uint64[w]

    Returns
    -------
    bool[n]
    """
    return _any_of(*_words_and_mask(words, mask))


def all_of(words: Words, mask: Words) -> Flags:
    """Tell which events fired every path of a mask (true for an empty mask).

    Parameters
    ----------
    words : uint64[n, w]
    mask : uint64[w]

    Returns
    -------
    bool[n]
    """
    return _all_of(*_words_and_mask(words, mask))


def none_of(words: Words, mask: Words) -> Flags:
    """Tell which events fired no path of a mask: a veto.

    Parameters
    ----------
    words : uint64[n, w]
    mask : uint64[w]

    Returns
    -------
    bool[n]
    """
    return ~_any_of(*_words_and_mask(words, mask))


def stream_masks(words: Words, streams: Words) -> Words:
    """Say for each event which streams it goes to.

    Parameters
    ----------
    words : uint64[n, w]
        Fired paths.
    streams : uint64[s, w]
        One path mask for each stream, at most 64.

    Returns
    -------
    uint64[n]
        Bit s is set if any path of stream s fired.
    """
    fired = exact("words", words, np.uint64, 2)
    masks = exact("streams", streams, np.uint64, 2)
    if masks.shape[1] != fired.shape[1]:
        raise ValueError(f"streams has {masks.shape[1]} words for each mask where words has {fired.shape[1]}")
    if len(masks) > 64:
        raise ValueError(f"at most 64 streams fit a stream mask, got {len(masks)}")
    stream, word = (np.ascontiguousarray(axis, dtype=np.int64) for axis in np.nonzero(masks))
    return _stream_masks(fired, stream, word, masks[stream, word])


def overlap(stream_mask: Words, n_streams: int) -> NDArray[np.int64]:
    """Count the events that streams share.

    Parameters
    ----------
    stream_mask : uint64[n]
    n_streams
        At most 64; no event may have a bit beyond.

    Returns
    -------
    int64[n_streams, n_streams]
        Symmetric; the diagonal holds the sizes of the streams.
    """
    found, counts, _ = _census(exact_streams(stream_mask, n_streams))
    return _overlap(found, counts, operator.index(n_streams))


def census(stream_mask: Words) -> tuple[Words, NDArray[np.int64], NDArray[np.int64]]:
    """Count the events for each exact mask that occurs.

    Parameters
    ----------
    stream_mask : uint64[n]

    Returns
    -------
    masks : uint64[m]
        The masks that occur, ascending.
    counts : int64[m]
        Events of each.
    group : int64[n]
        For each event the index of its mask.
    """
    found, counts, group = _census(exact("stream_mask", stream_mask, np.uint64, 1))
    order = np.argsort(found)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return found[order], counts[order], rank[group]


def exact_streams(stream_mask: Words, n_streams: int) -> Words:
    """Refuse masks that name a stream that isn't there: such an event would be lost in silence."""
    if not 0 <= n_streams <= 64:
        raise ValueError(f"n_streams must lie in [0, 64], got {n_streams}")
    masks = exact("stream_mask", stream_mask, np.uint64, 1)
    seen = int(np.bitwise_or.reduce(masks))
    if seen >> n_streams:
        raise ValueError(
            f"stream_mask has bit {seen.bit_length() - 1} set, but there are {n_streams} streams"
        )
    return masks


def _words_and_mask(words: Words, mask: Words) -> tuple[Words, Words]:
    fired = exact("words", words, np.uint64, 2)
    wanted = exact("mask", mask, np.uint64, 1)
    if fired.shape[1] != len(wanted):
        raise ValueError(f"mask has {len(wanted)} words where words has {fired.shape[1]}")
    return fired, wanted


@kernel
def _pack_rows(rows: NDArray[np.uint8], n: int, n_bits: int, n_words: int) -> Words:
    words = np.zeros((n, n_words), dtype=np.uint64)
    whole = n_bits - n_bits % 8
    for i in range(n):
        start = np.uint64(i * n_bits)
        for j in range(0, whole, 8):
            flags = eight_bytes(rows, start + np.uint64(j))
            flags |= flags >> np.uint64(4)
            flags |= flags >> np.uint64(2)
            flags |= flags >> np.uint64(1)
            packed = (flags & _LOW_BITS) * _GATHER >> np.uint64(56)
            words[i, j >> 6] |= packed << np.uint64(j & 63)
        for j in range(whole, n_bits):
            words[i, j >> 6] |= np.uint64(rows[start + np.uint64(j)] != 0) << np.uint64(j & 63)
    return words


@kernel
def _or_eight(
    words: Words,
    k: int,
    shift: np.uint64,
    c0: NDArray[np.uint8],
    c1: NDArray[np.uint8],
    c2: NDArray[np.uint8],
    c3: NDArray[np.uint8],
    c4: NDArray[np.uint8],
    c5: NDArray[np.uint8],
    c6: NDArray[np.uint8],
    c7: NDArray[np.uint8],
) -> None:
    for i in range(words.shape[0]):
        low = np.uint64(c0[i] != 0) | np.uint64(c1[i] != 0) << np.uint64(1)
        low |= np.uint64(c2[i] != 0) << np.uint64(2) | np.uint64(c3[i] != 0) << np.uint64(3)
        high = np.uint64(c4[i] != 0) | np.uint64(c5[i] != 0) << np.uint64(1)
        high |= np.uint64(c6[i] != 0) << np.uint64(2) | np.uint64(c7[i] != 0) << np.uint64(3)
        words[i, k] |= (low | high << np.uint64(4)) << shift


@kernel
def _any_of(words: Words, mask: Words) -> Flags:
    n, w = words.shape
    out = np.empty(n, dtype=np.bool_)
    for i in range(n):
        hit = ZERO
        for k in range(w):
            hit |= words[i, k] & mask[k]
        out[i] = hit != ZERO
    return out


@kernel
def _all_of(words: Words, mask: Words) -> Flags:
    n, w = words.shape
    out = np.empty(n, dtype=np.bool_)
    for i in range(n):
        missing = ZERO
        for k in range(w):
            missing |= mask[k] & ~words[i, k]
        out[i] = missing == ZERO
    return out


@kernel
def _stream_masks(words: Words, stream: NDArray[np.int64], word: NDArray[np.int64], mask: Words) -> Words:
    n = words.shape[0]
    out = np.empty(n, dtype=np.uint64)
    for i in range(n):
        streams = ZERO
        for p in range(stream.size):
            fired = words[i, word[p]] & mask[p] != ZERO
            streams |= np.uint64(fired) << np.uint64(stream[p])
        out[i] = streams
    return out


@kernel
def _overlap(masks: Words, counts: NDArray[np.int64], n_streams: int) -> NDArray[np.int64]:
    out = np.zeros((n_streams, n_streams), dtype=np.int64)
    for a in range(n_streams):
        for g in range(masks.size):
            if masks[g] >> np.uint64(a) & ONE != ZERO:
                for b in range(n_streams):
                    out[a, b] += counts[g] * np.int64(masks[g] >> np.uint64(b) & ONE)
    return out


@kernel
def _census(stream_mask: Words) -> tuple[Words, NDArray[np.int64], NDArray[np.int64]]:
    n = stream_mask.size
    group = np.empty(n, dtype=np.int64)
    found = np.empty(16, dtype=np.uint64)
    counts = np.empty(16, dtype=np.int64)
    table = np.full(32, -1, dtype=np.int64)
    m = 0
    for i in range(n):
        mask = stream_mask[i]
        slot = _slot_of(table, found, mask)
        g = table[slot]
        if g < 0:
            if m == found.size:
                found = np.concatenate((found, np.empty_like(found)))
                counts = np.concatenate((counts, np.empty_like(counts)))
                table = np.full(2 * table.size, -1, dtype=np.int64)
                for old in range(m):
                    table[_slot_of(table, found, found[old])] = old
                slot = _slot_of(table, found, mask)
            g = m
            m += 1
            found[g] = mask
            counts[g] = 0
            table[slot] = g
        counts[g] += 1
        group[i] = g
    return found[:m].copy(), counts[:m].copy(), group


@kernel
def _slot_of(table: NDArray[np.int64], found: Words, mask: np.uint64) -> np.int64:
    """Find the slot of a mask, or the empty slot where it belongs; the table is never more than half full."""
    last = table.size - 1
    slot = np.int64(mix64_word(mask) & np.uint64(last))
    while table[slot] >= 0 and found[table[slot]] != mask:
        slot = (slot + 1) & last
    return slot
