"""What events contain, as numbers that add.

Each column gives one hash for each event, of the event's bytes and their number under a *salt* that names the column.
To prove that nothing changed:

1. add the columns' hashes of each event (uint64, wrapping): ``per_event``;
2. `seal` that sum, which ties the values of one event to each other (without it, two events could exchange a column
   and no sum would notice);
3. add over events, or over groups of events with `group_sums`. The order of events doesn't matter.

The hashes find faults, by chance once in 2**64; they are no defence against someone who makes a collision on purpose.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels import reference
from kernels._arrays import byte_rows, exact, integers, same_length, within_groups
from kernels._jit import expect, kernel, light
from kernels._load import eight_bytes
from kernels.fingerprint import mix64_word

__all__ = ["byte_table", "expect", "fixed", "group_sums", "hash_bytes", "jagged", "light", "salt_of", "seal"]

Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]
Index = NDArray[np.int64]
Integers = NDArray[np.integer[Any]]

_A = np.uint64(0x9E3779B97F4A7C15)
_B = np.uint64(0xD6E8FEB86659FD93)
_C = np.uint64(0x452821E638D01377)
_0, _1, _8, _27, _31, _33, _37 = (np.uint64(k) for k in (0, 1, 8, 27, 31, 33, 37))


def salt_of(name: str) -> np.uint64:
    """Make a column's salt from its name.

    Parameters
    ----------
    name
        Any text.

    Returns
    -------
    uint64
        The same on every machine.
    """
    return np.uint64(
        int.from_bytes(blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little")
    )


def fixed(data: Bytes, salt: int | np.uint64) -> Words:
    """Hash rows of fixed width.

    Parameters
    ----------
    data : uint8[n, width]
        One row for each event (view values of any type as bytes, little endian).
    salt
        From `salt_of`.

    Returns
    -------
    uint64[n]
        Equal to `jagged` of the same bytes.
    """
    rows = byte_rows("data", data)
    if light(rows.size):
        return reference.fixed(rows, _salt(salt))
    return _fixed(rows.reshape(-1), len(rows), rows.shape[1], _salt(salt))


def jagged(starts: Integers, stops: Integers, data: Bytes, salt: int | np.uint64) -> Words:
    """Hash the bytes of events of any length, and their length.

    Parameters
    ----------
    starts, stops : integers[n]
        In bytes, within ``data``; ``offsets[:-1]`` and ``offsets[1:]`` times the size of an item.
    data : uint8[...]
        One-dimensional.
    salt
        From `salt_of`.

    Returns
    -------
    uint64[n]

    Raises
    ------
    ValueError
        A range that isn't inside the data.
    """
    content = exact("data", data, np.uint8, 1)
    first, last = integers("starts", starts), integers("stops", stops)
    same_length(starts=first, stops=last)
    if light(content.size + first.size):
        outside = np.flatnonzero((first < 0) | (last < first) | (last > content.size))
        if not outside.size:
            return reference.jagged(first, last, content, _salt(salt))
        bad = int(outside[0])
    else:
        bad, hashes = _jagged(first, last, content, _salt(salt))
    if bad >= 0:
        raise ValueError(
            f"event {bad} lies at [{first[bad]}, {last[bad]}), which isn't inside [0, {len(content)})"
        )
    return hashes


def seal(per_event: Words) -> Words:
    """Tie the columns of each event together: scramble the sum of their hashes.

    Parameters
    ----------
    per_event : uint64[n]
        Sums of the columns' hashes.

    Returns
    -------
    uint64[n]
        To be added over events.
    """
    sums = exact("per_event", per_event, np.uint64, 1)
    return reference.seal(sums) if light(len(sums)) else _seal(sums)


def group_sums(per_event: Words, group: Integers, n_groups: int) -> Words:
    """Add the hashes of each group of events.

    Parameters
    ----------
    per_event : uint64[n]
    group : integers[n]
        In ``[0, n_groups)``.
    n_groups
        Number of groups; one without events gets zero.

    Returns
    -------
    uint64[n_groups]
    """
    hashes = exact("per_event", per_event, np.uint64, 1)
    groups = within_groups(group, n_groups)
    same_length(per_event=hashes, group=groups)
    return _group_sums(hashes, groups, n_groups)


def _salt(salt: int | np.uint64) -> np.uint64:
    if not 0 <= int(salt) < 2**64:
        raise ValueError(f"salt must lie in [0, 2**64), got {salt}")
    return np.uint64(salt)


@kernel
def _absorb(state: np.uint64, word: np.uint64) -> np.uint64:
    """Take in eight bytes. The word is scrambled beside the chain, so that the chain itself is short."""
    word *= _A
    word = ((word << _31) | (word >> _33)) * _B
    state ^= word
    return ((state << _27) | (state >> _37)) * _A + _C


@kernel
def hash_bytes(state: np.uint64, data: Bytes, start: np.uint64, stop: np.uint64) -> np.uint64:
    """Hash the bytes in ``[start, stop)``, which the caller has proven to lie inside."""
    at = start
    while at + _8 <= stop:
        state = _absorb(state, eight_bytes(data, at))
        at += _8
    if at < stop:
        rest = stop - at
        if at + _8 <= np.uint64(data.size):
            word = eight_bytes(data, at) & ((_1 << _8 * rest) - _1)
        else:
            word = _0
            for j in range(rest):
                word |= np.uint64(data[at + np.uint64(j)]) << _8 * np.uint64(j)
        state = _absorb(state, word)
    return mix64_word(state)


@kernel
def byte_table(state: np.uint64) -> Words:
    """Return `hash_bytes` of each byte alone: uint64[256]."""
    table = np.empty(256, dtype=np.uint64)
    for byte in range(256):
        table[byte] = mix64_word(_absorb(state, np.uint64(byte)))
    return table


@kernel
def _fixed(data: Bytes, n: int, width: int, salt: np.uint64) -> Words:
    state = mix64_word(mix64_word(salt) ^ np.uint64(width))
    out = np.empty(n, dtype=np.uint64)
    if width == 1:  # trigger bits: hundreds of columns with two values each
        table = byte_table(state)
        for i in range(n):
            out[i] = table[data[i]]
        return out
    for i in range(n):
        out[i] = hash_bytes(state, data, np.uint64(i * width), np.uint64((i + 1) * width))
    return out


@kernel
def _jagged(starts: Index, stops: Index, data: Bytes, salt: np.uint64) -> tuple[int, Words]:
    seed = mix64_word(salt)
    out = np.empty(starts.size, dtype=np.uint64)
    for i in range(starts.size):
        start, stop = starts[i], stops[i]
        if start < 0 or stop < start or stop > data.size:
            return i, out
        state = mix64_word(seed ^ np.uint64(stop - start))
        out[i] = hash_bytes(state, data, np.uint64(start), np.uint64(stop))
    return -1, out


@kernel
def _seal(per_event: Words) -> Words:
    out = np.empty(per_event.size, dtype=np.uint64)
    for i in range(per_event.size):
        out[i] = mix64_word(per_event[i] + _C)
    return out


@kernel
def _group_sums(per_event: Words, group: Index, n_groups: int) -> Words:
    sums = np.zeros(n_groups, dtype=np.uint64)
    for i in range(per_event.size):
        sums[group[i]] += per_event[i]
    return sums
