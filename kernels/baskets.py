"""What the entries of unpacked baskets hold, as numbers that add: many baskets in one call.

A basket is entries one behind the other. Where they differ in length, a list of where each begins follows: how long it
is, and numbers of four bytes, big endian, that count from some place before the basket.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels import reference
from kernels._arrays import exact, integers, same_length
from kernels._jit import kernel, light
from kernels.content import byte_table, hash_bytes
from kernels.fingerprint import mix64_word

__all__ = ["Lie", "add_runs", "hashes"]

Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Index = NDArray[np.int64]
Integers = NDArray[np.integer[Any]]
Words = NDArray[np.uint64]

_WORD = 4


class Lie(NamedTuple):
    """How baskets lie in an array, ``[n]`` each.

    Attributes
    ----------
    begins, sizes
        Where each begins, and how many bytes it has.
    ends
        So many of them are entries; if all, the entries have one length.
    counts
        How many entries it has.
    shifts
        How far before it its list counts from.
    as_sizes
        Whether its list says how far each entry lies behind the one before; the first number means nothing then.
    """

    begins: Integers
    sizes: Integers
    ends: Integers
    counts: Integers
    shifts: Integers
    as_sizes: Flags


def hashes(data: Bytes, lie: Lie, salts: Words) -> tuple[int, Words]:
    """Hash every entry of baskets.

    Parameters
    ----------
    data : uint8[...]
        One-dimensional: what they lie in.
    lie
        Where.
    salts : uint64[n]
        For each basket one, from `kernels.content.salt_of`.

    Returns
    -------
    bad : int
        The first basket that its entries don't fill, one behind the other; -1 if there is none.
    hashes : uint64[sum(counts)]
        Of the entries of each basket in turn, those that `kernels.content.jagged` gives; not all, if a basket is bad.

    Raises
    ------
    ValueError
        A basket that isn't inside the data, or ends outside of itself.
    """
    content, salted = exact("data", data, np.uint8, 1), exact("salts", salts, np.uint64, 1)
    begins, sizes, ends, counts, shifts = (
        integers(name, values) for name, values in zip(Lie._fields, lie[:-1], strict=False)
    )
    as_sizes = exact("as_sizes", lie.as_sizes, np.bool_, 1)
    same_length(
        salts=salted, begins=begins, sizes=sizes, ends=ends, counts=counts, shifts=shifts, as_sizes=as_sizes
    )
    outside = (begins < 0) | (ends < 0) | (ends > sizes) | (counts < 0) | (sizes > content.size - begins)
    if outside.any():
        raise ValueError(f"basket {np.flatnonzero(outside)[0]} isn't inside data of {len(content)} bytes")
    if light(int(sizes.sum()) + int(counts.sum())):
        return reference.basket_hashes(content, begins, sizes, ends, counts, shifts, as_sizes, salted)
    bad, found = _hashes(content, begins, sizes, ends, counts, shifts, as_sizes, salted)
    return int(bad), found


def add_runs(sums: Words, firsts: Integers, counts: Integers, values: Words) -> None:
    """Add runs of values to sums, in place.

    Parameters
    ----------
    sums : uint64[...]
        What is added to, wrapping.
    firsts, counts : integers[n]
        Where each run goes, and how many values it has.
    values : uint64[sum(counts)]
        Run after run.

    Raises
    ------
    ValueError
        A run that isn't inside the sums, or other values than the runs have.
    """
    added = exact("values", values, np.uint64, 1)
    first, numbers = integers("firsts", firsts), integers("counts", counts)
    same_length(firsts=first, counts=numbers)
    if ((first < 0) | (numbers < 0) | (numbers > len(sums) - first)).any() or numbers.sum() != len(added):
        raise ValueError(f"runs of {numbers.sum()} values don't fit {len(added)} values and {len(sums)} sums")
    (reference.add_runs if light(len(added)) else _add_runs)(sums, first, numbers, added)


@kernel
def _number(data: Bytes, at: int) -> int:
    """Return the signed number of four bytes at a place, which the caller has proven to lie inside."""
    word = np.int64(data[at]) << 24 | np.int64(data[at + 1]) << 16
    word |= np.int64(data[at + 2]) << 8 | np.int64(data[at + 3])
    return (word ^ 0x80000000) - 0x80000000  # type: ignore[return-value]


@kernel
def _hashes(
    data: Bytes,
    begins: Index,
    sizes: Index,
    ends: Index,
    counts: Index,
    shifts: Index,
    as_sizes: Flags,
    salts: Words,
) -> tuple[int, Words]:
    out = np.empty(counts.sum(), dtype=np.uint64)
    done = 0
    for basket in range(begins.size):
        begin, end, count = begins[basket], ends[basket], counts[basket]
        seed = mix64_word(salts[basket])
        if not count:
            if sizes[basket]:
                return basket, out
            continue
        if end == sizes[basket]:
            width = end // count
            if width * count != end:
                return basket, out
            state = mix64_word(seed ^ np.uint64(width))
            if width == 1 and count > 256:  # trigger bits: hundreds of branches with two values each
                table = byte_table(state)
                for i in range(count):
                    out[done + i] = table[data[begin + i]]
            else:
                for i in range(count):
                    at = begin + i * width
                    out[done + i] = hash_bytes(state, data, np.uint64(at), np.uint64(at + width))
        else:
            listed = begin + end
            room = (sizes[basket] - end) // _WORD - 1
            if room < count + 1 or _number(data, listed) != count + 1:
                return basket, out
            base = begin - shifts[basket]
            at = begin
            if not as_sizes[basket] and base + _number(data, listed + _WORD) < begin:
                return basket, out
            if not as_sizes[basket]:
                at = base + _number(data, listed + _WORD)
            for i in range(count):
                if i + 1 == count:
                    stop = begin + end
                elif as_sizes[basket]:
                    stop = at + _number(data, listed + _WORD * (i + 2))
                else:
                    stop = base + _number(data, listed + _WORD * (i + 2))
                if stop < at or stop > begin + end:
                    return basket, out
                state = mix64_word(seed ^ np.uint64(stop - at))
                out[done + i] = hash_bytes(state, data, np.uint64(at), np.uint64(stop))
                at = stop
        done += count
    return -1, out


@kernel
def _add_runs(sums: Words, firsts: Index, counts: Index, values: Words) -> None:
    done = 0
    for run in range(firsts.size):
        first = firsts[run]
        for i in range(counts[run]):
            sums[first + i] += values[done + i]
        done += counts[run]
