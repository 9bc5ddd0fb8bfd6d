"""Baskets: the pieces of a branch that lie in a file, each under a key of its own."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.format.blocks import pack
from grid.rootio.format.objects import text
from grid.rootio.format.ttree import OFFSETS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grid.rootio.format.blocks import Compression

__all__ = ["AS_SIZES", "BasketHead", "BasketKey", "Packed", "entry_offsets", "from_sizes", "parse_head"]

_HEAD = struct.Struct(">ihiIhhqq")
_TAIL = struct.Struct(">HiiiiB")
_VERSION = 3
#: A basket's feature (ROOT's ``kGenerateOffsetMap``): entry offsets are left out where they follow from another branch,
#: and are sizes elsewhere.
AS_SIZES = 1


@dataclass(frozen=True, slots=True)
class BasketHead:
    """What a basket says behind its names.

    Attributes
    ----------
    entries
        How many it has.
    last
        Where their data end, from the key's start.
    end
        Where this ends.
    sizes
        Whether it tells where entries begin by how far each lies behind the one before, if it tells it at all.
    """

    entries: int
    last: int
    end: int
    sizes: bool


def parse_head(data: bytes | memoryview, at: int) -> BasketHead:
    """Read the fields of a basket at `at`, where its key's names end; ``end`` is where they end.

    Raises
    ------
    ValueError
        If the bytes end too early.
    """
    if len(data) - at < _TAIL.size:
        raise ValueError("the head of a basket is cut short")
    # a negative length says that one byte of features follows
    extra = 1 if struct.unpack_from(">i", data, at + 6)[0] < 0 else 0
    if len(data) - at < _TAIL.size + extra:
        raise ValueError("the head of a basket is cut short")
    entries, last = struct.unpack_from(">ii", data, at + 10 + extra)
    sizes = bool(extra and data[at + 10] & AS_SIZES)
    return BasketHead(entries, last, at + _TAIL.size + extra, sizes)


def entry_offsets(
    data: bytes | NDArray[np.uint8], size: int, entries: int, key_length: int, *, sizes: bool = False
) -> NDArray[np.int64]:
    """Return where each entry of an unpacked basket begins, and where the last one ends: int64 ``[entries + 1]``.

    Parameters
    ----------
    data
        The unpacked basket: entries, and behind them where each begins, unless all are of one size.
    size
        The bytes of the entries.
    entries, key_length, sizes
        As its key says; offsets count from the key's start.

    Raises
    ------
    ValueError
        If the entries do not lie one behind the other, inside the data.
    """
    if size == len(data):
        if size % entries if entries else size:
            raise ValueError(f"its {size} bytes can't be {entries} entries of one size")
        return np.arange(entries + 1) * (size // entries if entries else 0)
    count = int.from_bytes(data[size : size + 4], "big")
    if count != entries + 1 or count * 4 > len(data) - size - 4:
        raise ValueError(f"it has {count} entry offsets for {entries} entries")
    offsets = np.empty(entries + 1, np.int64)
    listed = np.frombuffer(data, ">i4", entries, size + 4)
    offsets[:-1] = from_sizes(listed, key_length) if sizes else listed
    offsets[-1] = size + key_length
    if offsets[0] < key_length or (offsets[1:] < offsets[:-1]).any():
        raise ValueError("its entry offsets are out of order")
    offsets -= key_length
    return offsets


def from_sizes(listed: NDArray[Any], key_length: int) -> NDArray[np.int64]:
    """Return where entries begin, from how far each lies behind the one before; what is listed first means nothing."""
    begins = np.cumsum(listed, dtype=np.int64)
    return begins + (key_length - begins[:1])


@dataclass(frozen=True, slots=True)
class Packed:
    """One basket, packed; its key awaits its position. ``unpacked`` is the length of the object."""

    payload: bytes
    unpacked: int
    entries: int
    last: int


class BasketKey:
    """Makes the baskets of one branch: packing needs no position, the key does."""

    def __init__(self, branch: str, tree: str, basket_bytes: int, fixed_width: int, date: int) -> None:
        self._names = text("TBasket") + text(branch) + text(tree)
        self.length = _HEAD.size + len(self._names) + _TAIL.size
        self.basket_bytes = basket_bytes
        self._per_entry = fixed_width or OFFSETS
        self._date = date

    def pack(
        self, data: bytes, places: NDArray[np.int64] | None, entries: int, compression: Compression
    ) -> Packed:
        """Pack the bytes of `entries` entries; `places` says where each begins when they vary in size."""
        return self.packed(self.with_offsets(data, places), len(data), entries, compression)

    def with_offsets(self, data: bytes, places: NDArray[np.int64] | None) -> bytes:
        """Return what a basket holds, unpacked: the bytes of entries, and where each begins if they vary in size."""
        if places is None:
            return data
        offsets = np.empty(len(places) + 1, ">i4")
        offsets[0] = len(places)
        offsets[1:-1] = places[:-1] + self.length
        offsets[-1] = 0
        return data + offsets.tobytes()

    def packed(self, held: bytes, size: int, entries: int, compression: Compression) -> Packed:
        """Pack what a basket holds; `size` bytes of it are the entries."""
        return Packed(pack(held, compression), len(held), entries, self.length + size)

    def encode(self, basket: Packed, seek: int, parent: int) -> bytes:
        """Return the key for a basket that is put at `seek`."""
        head = _HEAD.pack(
            self.length + len(basket.payload),
            1004,
            basket.unpacked,
            self._date,
            self.length,
            0,
            seek,
            parent,
        )
        tail = _TAIL.pack(_VERSION, self.basket_bytes, self._per_entry, basket.entries, basket.last, 0)
        return head + self._names + tail
