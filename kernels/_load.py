"""Reading bytes eight at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernels._jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["eight_bytes"]

_1, _2, _3, _4, _5, _6, _7, _8 = (np.uint64(k) for k in range(1, 9))
_16, _24, _32 = np.uint64(16), np.uint64(24), np.uint64(32)


@kernel
def eight_bytes(data: NDArray[np.uint8], at: np.uint64) -> np.uint64:
    """Eight bytes as a number, little endian; compiled to one load. The caller has proven that they lie inside."""
    low = np.uint64(data[at]) | np.uint64(data[at + _1]) << _8
    low |= np.uint64(data[at + _2]) << _16 | np.uint64(data[at + _3]) << _24
    high = np.uint64(data[at + _4]) | np.uint64(data[at + _5]) << _8
    high |= np.uint64(data[at + _6]) << _16 | np.uint64(data[at + _7]) << _24
    return low | high << _32
