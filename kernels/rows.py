"""Numbers that stand in bytes as files have them, many rows of them in one call."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels import reference
from kernels._arrays import exact, integers, same_length
from kernels._jit import kernel, light

__all__ = ["falling"]

Bytes = NDArray[np.uint8]
Index = NDArray[np.int64]
Integers = NDArray[np.integer[Any]]

_WIDTH = 4


def falling(data: Bytes, begins: Integers, counts: Integers, least: Integers, most: Integers) -> int:
    """Find a row of numbers that fall, or lie outside of their limits.

    Parameters
    ----------
    data : uint8[...]
        One-dimensional; signed 32-bit numbers in it are big endian.
    begins, counts : integers[n]
        Where each row begins, and how many numbers it has.
    least, most : integers[n]
        What the numbers of each row lie between; both may be reached.

    Returns
    -------
    int
        The first such row; -1 if there is none.

    Raises
    ------
    ValueError
        A row that isn't inside the data.
    """
    content = exact("data", data, np.uint8, 1)
    first, numbers = integers("begins", begins), integers("counts", counts)
    low, high = integers("least", least), integers("most", most)
    same_length(begins=first, counts=numbers, least=low, most=high)
    room = content.size - first
    outside = np.flatnonzero((first < 0) | (numbers < 0) | (numbers > room // _WIDTH))
    if outside.size:
        bad = int(outside[0])
        raise ValueError(
            f"row {bad} has {numbers[bad]} numbers from {first[bad]} on, in data of {len(content)} bytes"
        )
    if light(int(numbers.sum())):
        return reference.falling(content, first, numbers, low, high)
    return int(_falling(content, first, numbers, low, high))


@kernel
def _falling(data: Bytes, begins: Index, counts: Index, least: Index, most: Index) -> int:
    for row in range(begins.size):
        before = least[row]
        at = begins[row]
        for _ in range(counts[row]):
            word = np.int64(data[at]) << 24 | np.int64(data[at + 1]) << 16
            word |= np.int64(data[at + 2]) << 8 | np.int64(data[at + 3])
            number = (word ^ 0x80000000) - 0x80000000
            if number < before:
                return row
            before = number
            at += 4
        if before > most[row] and counts[row]:
            return row
    return -1
