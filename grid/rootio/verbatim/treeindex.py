"""The index of a tree: which entry has which pair of values, as ROOT's ``TTreeIndex`` stores it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from grid.rootio.format.keys import parse_text
from grid.rootio.format.objects import BYTE_COUNT, NEW_CLASS, text, versioned
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["TreeIndex", "alike", "joined", "read_index", "same"]

_CLASS: Final = b"TTreeIndex\0"
_VERSION: Final = 2
#: Before, one word held both values, the minor one in its lower bits.
_JOINED, _MINOR_BITS = 1, 31
#: The count of an object's bytes, and its version.
_HEAD: Final = 6


@dataclass(frozen=True, slots=True, eq=False)
class TreeIndex:
    """An index, sorted by major and minor value.

    Attributes
    ----------
    names
        What the values are: expressions over branches.
    base
        Name, title and the like, as they are stored.
    values
        int64 ``[3, n]``: major value, minor value and entry.
    """

    names: tuple[bytes, bytes]
    base: bytes
    values: NDArray[np.int64]

    def cut(self, rows: NDArray[np.int64], entries: int) -> TreeIndex:
        """Return the index of a selection: of some of the entries (ascending), of so many."""
        place = np.full(entries, -1)
        place[rows] = np.arange(len(rows))
        values = self.values.copy()
        values[2] = place[values[2]]
        return replace(self, values=values[:, values[2] >= 0])

    def encode(self) -> bytes:
        """Return a pointer to it, as it stands in a tree."""
        words = struct.pack(">q", self.values.shape[1]) + self.values.astype(">i8").tobytes()
        body = self.base + text(self.names[0]) + text(self.names[1]) + words
        pointed = NEW_CLASS + _CLASS + versioned(_VERSION, body)
        return struct.pack(">I", len(pointed) | BYTE_COUNT) + pointed


def read_index(data: bytes, entries: int, where: str) -> TreeIndex | None:
    """Read the pointer to an index of a tree with so many entries; it may point to nothing.

    Raises
    ------
    UnsupportedContent
        If it is none of ROOT's usual kind.
    CorruptFile
        If it contradicts itself or the tree.
    """
    if not any(data[:4]):
        return None
    at = 8 + len(_CLASS)
    version = int.from_bytes(data[at + 4 : at + _HEAD], "big")
    if data[4:at] != NEW_CLASS + _CLASS or version not in {_JOINED, _VERSION}:
        raise UnsupportedContent("an index of a tree that is no TTreeIndex can't be carried", where=where)
    try:
        return _read(data, at + _HEAD, entries, joined=version == _JOINED)
    except (struct.error, ValueError, IndexError) as error:
        raise CorruptFile(f"the index of the tree is unsound: {error}", where=where) from error


def _read(data: bytes, base: int, entries: int, *, joined: bool) -> TreeIndex:
    names_at = base + 4 + (struct.unpack_from(">I", data, base)[0] & ~BYTE_COUNT)
    major, minor_at = parse_text(data, names_at)
    minor, count_at = parse_text(data, minor_at)
    (count,) = struct.unpack_from(">q", data, count_at)
    rows = 2 if joined else 3
    if count < 0 or count_at + 8 + 8 * rows * count != len(data):
        raise ValueError(f"it has not the length of {count} entries")
    values = np.frombuffer(data, ">i8", rows * count, count_at + 8).reshape(rows, count).astype(np.int64)
    if joined:
        both, places = values
        values = np.stack([both >> _MINOR_BITS, both & ((1 << _MINOR_BITS) - 1), places])
    if ((values[2] < 0) | (values[2] >= entries)).any():
        raise ValueError(f"it names an entry that is none of the {entries}")
    return TreeIndex((major, minor), data[base:names_at], values)


def alike(one: TreeIndex | None, other: TreeIndex | None) -> bool:
    """Whether two trees both have an index of the same values, or both none."""
    return (one and one.names) == (other and other.names)


def same(one: TreeIndex | None, other: TreeIndex | None) -> bool:
    """Whether two trees have the same index, or both none."""
    if one is None or other is None:
        return one is other
    return one.names == other.names and np.array_equal(one.values, other.values)


def joined(parts: Sequence[tuple[int, TreeIndex | None]]) -> TreeIndex | None:
    """Return the index of trees behind each other; with each goes the number of entries before it; all are alike."""
    there = [(before, one) for before, one in parts if one is not None]
    if not there:
        return None
    each = [one.values + np.array([[0], [0], [before]]) for before, one in there]
    values = np.concatenate(each, axis=1)
    _, first = there[0]
    return replace(first, values=values[:, np.lexsort((values[2], values[1], values[0]))])
