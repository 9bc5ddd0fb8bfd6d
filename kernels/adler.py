"""adler32, the checksum that storage systems of the field exchange, as 8 hexadecimal digits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kernels._arrays import frozen
from kernels._jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["adler32", "combine", "hex8"]

_BASE = 65521
#: The most bytes that can be summed before a 32-bit sum could overflow.
_PIECE = 5552


def adler32(data: bytes | bytearray | memoryview | NDArray[Any], value: int = 1) -> int:
    """Checksum bytes, as `zlib.adler32` does.

    Parameters
    ----------
    data
        Contiguous bytes: ``bytes``, ``memoryview``, an array of any type.
    value
        The checksum of what came before; 1 to begin.

    Returns
    -------
    int
        32 bits.
    """
    _check("value", value)
    view = memoryview(data)  # type: ignore[arg-type]  # numpy's stubs say Buffer from Python 3.12 on
    if not view.c_contiguous:
        raise ValueError("data must be contiguous bytes")
    content = np.frombuffer(view, dtype=np.uint8) if view.nbytes else np.empty(0, dtype=np.uint8)
    low, high = _sums(frozen(content), np.int64(value & 0xFFFF), np.int64(value >> 16))
    return int(high << 16 | low)


def combine(first: int, second: int, length: int) -> int:
    """Checksum of two pieces one after the other, from theirs.

    Parameters
    ----------
    first, second
        Checksums of the pieces.
    length
        Bytes of the second piece.

    Returns
    -------
    int
        32 bits.
    """
    _check("first", first)
    _check("second", second)
    if length < 0:
        raise ValueError(f"length must not be negative, got {length}")
    low = (first & 0xFFFF) - 1
    high = (first >> 16) + (second >> 16) + low * length
    return high % _BASE << 16 | (low + (second & 0xFFFF)) % _BASE


def hex8(value: int) -> str:
    """Spell a checksum as storage systems do: 8 lower-case hexadecimal digits.

    Parameters
    ----------
    value
        32 bits.

    Returns
    -------
    str
    """
    _check("value", value)
    return f"{value:08x}"


def _check(name: str, value: int) -> None:
    if not 0 <= value < 2**32:
        raise ValueError(f"{name} must have 32 bits, got {value}")


@kernel
def _sums(data: NDArray[np.uint8], low: np.int64, high: np.int64) -> tuple[np.int64, np.int64]:
    at = 0
    while at < data.size:
        piece = data[at : at + _PIECE]
        length = np.uint32(piece.size)
        total = np.uint32(0)
        weighted = np.uint32(0)
        for i in range(piece.size):
            byte = np.uint32(piece[i])
            total = np.uint32(total + byte)
            weighted = np.uint32(weighted + byte * np.uint32(length - np.uint32(i)))
        high = (high + low * piece.size + np.int64(weighted)) % _BASE
        low = (low + np.int64(total)) % _BASE
        at += piece.size
    return low, high
