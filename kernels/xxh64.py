"""XXH64 of many stretches of bytes in one call: the checksum that LZ4 blocks in ROOT files carry.

The algorithm is that of the xxHash specification (https://github.com/Cyan4973/xxHash), seed 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels._arrays import exact, integers, same_length
from kernels._jit import kernel
from kernels._load import eight_bytes

__all__ = ["digests"]

Bytes = NDArray[np.uint8]
Index = NDArray[np.int64]
Words = NDArray[np.uint64]
Integers = NDArray[np.integer[Any]]

_P1, _P2 = np.uint64(0x9E3779B185EBCA87), np.uint64(0xC2B2AE3D27D4EB4F)
_P3, _P4, _P5 = np.uint64(0x165667B19E3779F9), np.uint64(0x85EBCA77C2B2AE63), np.uint64(0x27D4EB2F165667C5)
_0, _1, _2, _3, _4, _7, _8, _11, _12, _16, _18 = (np.uint64(k) for k in (0, 1, 2, 3, 4, 7, 8, 11, 12, 16, 18))
_23, _24, _27, _29, _31, _32, _33, _64 = (np.uint64(k) for k in (23, 24, 27, 29, 31, 32, 33, 64))


def digests(data: Bytes, begins: Integers, ends: Integers) -> Words:
    """Hash stretches of bytes.

    Parameters
    ----------
    data : uint8[...]
        One-dimensional.
    begins, ends : integers[n]
        Where each stretch lies in it.

    Returns
    -------
    uint64[n]

    Raises
    ------
    ValueError
        A stretch that isn't inside the data.
    """
    content = exact("data", data, np.uint8, 1)
    first, last = integers("begins", begins), integers("ends", ends)
    same_length(begins=first, ends=last)
    outside = np.flatnonzero((first < 0) | (last < first) | (last > content.size))
    if outside.size:
        bad = int(outside[0])
        raise ValueError(
            f"stretch {bad} lies at [{first[bad]}, {last[bad]}), which isn't inside [0, {len(content)})"
        )
    return _digests(content, first, last)


@kernel
def _digests(data: Bytes, begins: Index, ends: Index) -> Words:
    out = np.empty(begins.size, dtype=np.uint64)
    for i in range(begins.size):
        out[i] = _digest(data, np.uint64(begins[i]), np.uint64(ends[i]))
    return out


@kernel
def _digest(data: Bytes, at: np.uint64, stop: np.uint64) -> np.uint64:
    length = stop - at
    if length >= _32:
        one, two, three, four = _P1 + _P2, _P2, _0, _0 - _P1
        while at + _32 <= stop:
            one = _round(one, eight_bytes(data, at))
            two = _round(two, eight_bytes(data, at + _8))
            three = _round(three, eight_bytes(data, at + _16))
            four = _round(four, eight_bytes(data, at + _24))
            at += _32
        state = _left(one, _1) + _left(two, _7) + _left(three, _12) + _left(four, _18)
        for lane in (one, two, three, four):
            state = (state ^ _round(_0, lane)) * _P1 + _P4
    else:
        state = _P5
    state += length
    while at + _8 <= stop:
        state = _left(state ^ _round(_0, eight_bytes(data, at)), _27) * _P1 + _P4
        at += _8
    if at + _4 <= stop:
        word = np.uint64(data[at]) | np.uint64(data[at + _1]) << _8
        word |= np.uint64(data[at + _2]) << _16 | np.uint64(data[at + _3]) << _24
        state = _left(state ^ word * _P1, _23) * _P2 + _P3
        at += _4
    while at < stop:
        state = _left(state ^ np.uint64(data[at]) * _P5, _11) * _P1
        at += _1
    state = (state ^ state >> _33) * _P2
    state = (state ^ state >> _29) * _P3
    return state ^ state >> _32


@kernel
def _round(state: np.uint64, word: np.uint64) -> np.uint64:
    return _left(state + word * _P2, _31) * _P1


@kernel
def _left(word: np.uint64, by: np.uint64) -> np.uint64:
    return word << by | word >> (_64 - by)
