"""Unpack LZ4 blocks, many in one call.

A library unpacks one block in a call; files of many thousand small blocks then spend their time between the calls. The
format is LZ4's block format, with its rules for the end of a block: what is accepted here is what the reference
implementation accepts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels._arrays import exact, integers, same_length
from kernels._jit import kernel
from kernels._memory import copy_bytes

__all__ = ["SLACK", "unpack"]

Bytes = NDArray[np.uint8]
Index = NDArray[np.int64]
Integers = NDArray[np.integer[Any]]

_0, _1, _2, _4, _8 = (np.uint64(k) for k in (0, 1, 2, 4, 8))
#: The shortest match; a length that is this much goes on in the next bytes, until one of them is less than that.
_SHORTEST, _GOES_ON, _MOST = np.uint64(4), np.uint64(15), np.uint64(255)
#: No match begins in the last bytes of a block, unpacked or packed, nor reaches into the very last ones.
_LAST_MATCH, _LAST_PACKED, _LAST_LITERALS = np.uint64(12), np.uint64(8), np.uint64(5)
#: Bytes are copied by so many at once where there is room for them, whatever the length.
_WIDE = np.uint64(16)
#: So many bytes behind a block may be written to.
SLACK = 16


def unpack(
    data: Bytes, begins: Integers, ends: Integers, out: Bytes, places: Integers, sizes: Integers
) -> int:
    """Unpack blocks into a buffer.

    Parameters
    ----------
    data : uint8[...]
        One-dimensional.
    begins, ends : integers[n]
        Where each block lies in it.
    out : uint8[...]
        One-dimensional. Up to `SLACK` bytes behind a block's place are written to as well.
    places, sizes : integers[n]
        Where each block goes, ascending, and how many bytes it unpacks to; there must be `SLACK` bytes behind the last.

    Returns
    -------
    int
        The first block that is unsound, or does not unpack to its size, with which it stops; -1 if all are sound.

    Raises
    ------
    ValueError
        A block that isn't inside the data, or a place that isn't inside of `out` or before the end of the last one.
    """
    content = exact("data", data, np.uint8, 1)
    first, last = integers("begins", begins), integers("ends", ends)
    start, lengths = integers("places", places), integers("sizes", sizes)
    number = same_length(begins=first, ends=last, places=start, sizes=lengths)
    if out.dtype != np.uint8 or out.ndim != 1 or not out.flags.carray:
        raise ValueError("out must be a 1-dimensional array of uint8, contiguous and writable")
    stop = start + lengths
    outside = (first < 0) | (last < first) | (last > content.size)
    outside |= (start < np.concatenate(([0], stop[:-1]))[:number]) | (lengths < 0) | (stop > out.size - SLACK)
    if outside.any():
        bad = int(np.flatnonzero(outside)[0])
        raise ValueError(
            f"block {bad} lies at [{first[bad]}, {last[bad]}) of {content.size} bytes, "
            f"and goes to [{start[bad]}, {stop[bad]}) of {out.size}"
        )
    return int(_unpack_all(content, first, last, out, start, lengths))


@kernel
def _unpack_all(data: Bytes, begins: Index, ends: Index, out: Bytes, places: Index, sizes: Index) -> int:
    for block in range(begins.size):
        start = np.uint64(places[block])
        stop = start + np.uint64(sizes[block])
        if not _unpack_one(data, np.uint64(begins[block]), np.uint64(ends[block]), out, start, stop):
            return block
    return -1


@kernel
def _unpack_one(
    data: Bytes, at: np.uint64, stop: np.uint64, out: Bytes, start: np.uint64, end: np.uint64
) -> bool:
    """Unpack a block, proven to lie inside; writes up to `SLACK` bytes behind its end, where later blocks go."""
    size = np.uint64(data.size)
    to = start
    while at < stop:
        token = np.uint64(data[at])
        at += _1
        length = token >> _4
        if length == _GOES_ON:
            more = _MOST
            while more == _MOST:
                if at >= stop:
                    return False
                more = np.uint64(data[at])
                at += _1
                length += more
        if length > stop - at or length > end - to:
            return False
        if length <= _WIDE and at + _WIDE <= size:
            copy_bytes(out, int(to), data, int(at), 16)
        else:
            copy_bytes(out, int(to), data, int(at), int(length))
        at += length
        to += length
        if to + _LAST_MATCH > end or at + _LAST_PACKED > stop:
            return bool(at == stop and to == end)
        distance = np.uint64(data[at]) | np.uint64(data[at + _1]) << _8
        at += _2
        length = token & _GOES_ON
        if length == _GOES_ON:
            more = _MOST
            while more == _MOST:
                if at >= stop:
                    return False
                more = np.uint64(data[at])
                at += _1
                length += more
        length += _SHORTEST
        if distance == _0 or distance > to - start or length + _LAST_LITERALS > end - to:
            return False
        # what stands before comes again; with a short distance that is what was just written
        done = _0
        if distance < _8:
            once = distance
            while distance < _8:
                distance += once
            while done < length and done + once < distance:
                out[to + done] = out[to + done - once]
                done += _1
        source = to - distance
        if distance >= _WIDE:
            while done < length:
                copy_bytes(out, int(to + done), out, int(source + done), 16)
                done += _WIDE
        else:
            while done < length:
                copy_bytes(out, int(to + done), out, int(source + done), 8)
                done += _8
        to += length
    return False
