"""The elements of an RNTuple's columns such that equal values have equal bytes, however their columns are encoded."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from grid.rootio.verbatim.ntuple_proving import integers

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from grid.rootio.format.ntuples import Column, Field

__all__ = ["Alike", "alike"]

#: Makes rows of bytes, uint8 ``[n, width]``, of those of a coding.
Alike: TypeAlias = "Callable[[NDArray[np.uint8]], NDArray[np.uint8]]"

#: Signed integers whose bytes stand apart, and alternate in sign.
_ALTERNATING: Final = frozenset({0x11, 0x13, 0x15})
#: Floating-point numbers, by the size of which they are stored.
_REALS: Final = {0x0B: "<f2", 0x17: "<f2", 0x0C: "<f4", 0x18: "<f4", 0x0D: "<f8", 0x19: "<f8"}
_TRUNCATED, _QUANTIZED = 0x1C, 0x1D
_LIMITS: Final = np.dtype("<f8")


def alike(column: Column, field: Field) -> Alike:
    """Return what makes the elements of a column of some field bytes that only depend on their values."""
    if column.kind in _ALTERNATING:
        return lambda rows: _bytes(integers(rows, column.kind))
    wanted = "<f8" if field.kind == "double" else "<f4"
    if column.kind in _REALS:
        stored = _REALS[column.kind]
        if np.dtype(stored).itemsize >= np.dtype(wanted).itemsize:
            return lambda rows: rows
        return lambda rows: _bytes(np.ascontiguousarray(rows).view(stored)[:, 0].astype(wanted))
    if column.kind == _TRUNCATED:
        return lambda rows: _bytes((_number(rows) << np.uint32(32 - column.bits)).view("<f4").astype(wanted))
    if column.kind == _QUANTIZED:
        return partial(_between, limits=column.limits, wanted=wanted)
    return lambda rows: rows


def _between(rows: NDArray[np.uint8], limits: bytes, wanted: str) -> NDArray[np.uint8]:
    """Return the numbers that whole ones between 0 and the largest stand for."""
    low, high = np.frombuffer(limits, _LIMITS).tolist() if limits else (0.0, 0.0)
    scale = (high - low) / ((1 << rows.shape[1]) - 1)
    return _bytes((_number(rows) * scale + low).astype(wanted))


def _number(rows: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return the whole number that each row of bits is, the least significant one first."""
    held = np.zeros((len(rows), 32), np.uint8)
    held[:, : rows.shape[1]] = rows
    return np.packbits(held, axis=1, bitorder="little").view("<u4")[:, 0]


def _bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), values.dtype.itemsize)
