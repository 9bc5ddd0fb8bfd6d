"""The elements of an RNTuple's columns as rows of bytes, and the pages that hold them.

How each type of column lies in a page follows the specification of RNTuple's binary format, version 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grid.rootio.format.ntuples import Column

__all__ = ["Coding", "page_bytes"]

_BIT: Final = 0x00
_INDICES: Final = frozenset({0x0E, 0x0F, 0x1A, 0x1B})
_SWITCH: Final = 0x10
#: The bytes of all elements' first bytes, then of their second ones, and so on.
_SPLIT: Final = frozenset(range(0x11, 0x1C))
#: Numbers of any number of bits.
_ROUNDED: Final = frozenset({0x1C, 0x1D})
_SWITCHED: Final = np.dtype([("index", "<u8"), ("tag", "<u4")])
#: How many bits an element of each type has, the least and the most.
_BITS: Final = {
    _BIT: (1, 1),
    **dict.fromkeys((0x01, 0x02, 0x03, 0x04), (8, 8)),
    **dict.fromkeys((0x05, 0x06, 0x0B, 0x11, 0x12, 0x17), (16, 16)),
    **dict.fromkeys((0x07, 0x08, 0x0C, 0x0E, 0x13, 0x14, 0x18, 0x1A), (32, 32)),
    **dict.fromkeys((0x09, 0x0A, 0x0D, 0x0F, 0x15, 0x16, 0x19, 0x1B), (64, 64)),
    _SWITCH: (96, 96),
    0x1C: (10, 31),
    0x1D: (1, 32),
}


def page_bytes(elements: int, bits: int) -> int:
    """Return how long a page of some elements is, unpacked."""
    return (elements * bits + 7) // 8


@dataclass(frozen=True, slots=True)
class Coding:
    """How a column's elements lie in a page.

    A row holds one element: its bytes in the order of their significance, or one byte for each of its bits where it has
    no whole number of them.
    """

    width: int
    by_bits: bool
    split: bool
    #: Whether elements say where collections end; as differences, with ``split``.
    index: bool
    #: Whether elements choose one of several fields.
    switch: bool

    @classmethod
    def of(cls, column: Column) -> Coding:
        """Return that of a column; raises ``ValueError`` if its type is not known, or has not so many bits."""
        if column.kind not in _BITS:
            raise ValueError(f"its type is {column.kind:#x}, which is not known here")
        least, most = _BITS[column.kind]
        if not least <= column.bits <= most:
            raise ValueError(f"its type is {column.kind:#x}, which has no elements of {column.bits} bits")
        by_bits = column.kind == _BIT or column.kind in _ROUNDED
        return cls(
            column.bits if by_bits else column.bits // 8,
            by_bits,
            column.kind in _SPLIT,
            column.kind in _INDICES,
            column.kind == _SWITCH,
        )

    def decode(self, data: bytes, elements: int) -> NDArray[np.uint8]:
        """Return the rows of an unpacked page, uint8 ``[elements, width]``."""
        raw = np.frombuffer(data, np.uint8)
        if self.by_bits:
            bits = np.unpackbits(raw, count=elements * self.width, bitorder="little")
            return bits.reshape(elements, self.width)
        if self.split:
            rows = np.empty((elements, self.width), np.uint8)
            for number, same in enumerate(raw.reshape(self.width, elements)):
                rows[:, number] = same  # several times as fast as a transposed copy
            return rows
        return raw.reshape(elements, self.width)

    def encode(self, rows: NDArray[np.uint8]) -> bytes:
        """Return the unpacked page that holds some rows."""
        if self.by_bits:
            return np.packbits(rows.reshape(-1), bitorder="little").tobytes()
        return (rows.T if self.split else rows).tobytes()

    def ends(self, rows: NDArray[np.uint8]) -> NDArray[np.uint64]:
        """Return the numbers of a page of an index, counted from the cluster's beginning."""
        numbers = rows.view(f"<u{self.width}").reshape(-1)
        if self.split:
            return np.cumsum(numbers, dtype=np.uint64)
        return numbers.astype(np.uint64)

    def index_rows(self, ends: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the rows for a page of an index that has these numbers."""
        if self.split:
            ends = np.diff(ends, prepend=0)
        return _rows(ends.astype(f"<u{self.width}"))

    @staticmethod
    def choices(rows: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return what the elements of a switch choose: the place in the chosen field, and which one (0: none)."""
        found = np.ascontiguousarray(rows).view(_SWITCHED).reshape(-1)
        return found["index"].astype(np.int64), found["tag"].astype(np.int64)

    @staticmethod
    def switch_rows(places: NDArray[np.int64], tags: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the rows for such choices."""
        made = np.zeros(len(tags), _SWITCHED)
        made["index"], made["tag"] = places, tags
        return _rows(made)


def _rows(values: NDArray[Any]) -> NDArray[np.uint8]:
    return values.view(np.uint8).reshape(len(values), values.dtype.itemsize)
