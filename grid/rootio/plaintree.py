"""Describe a TTree of plain leaves quickly, straight from its bytes; anything else is left to uproot.

A plain tree has one leaf of numbers per branch, each perhaps counted by another, all baskets in keys
of their own, and nothing beside its branches: NanoAOD is like this, and most of what we write.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from grid.rootio.format.keys import parse_text
from grid.rootio.format.leaves import LEAF_TYPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PlainBranch", "PlainTree", "plain_tree"]

_BYTE_COUNT = 0x40000000
_NEW_CLASS = 0xFFFFFFFF
_REFERENCED = 1 << 4
#: The numbers before the branches of a tree, by version; the first are the entries.
_TREE = {18: ">qqqqqdiiiiqqqqqq", 19: ">qqqqqdiiiiIqqqqqq", 20: ">qqqqqdiiiiIqqqqqq"}
#: compression, basket size, offsets' length, baskets, entry number, offset, room, split level, entries ...
_BRANCH = {10: ">iiiiqiIiqqq", 11: ">iiiiqiIiqqqq", 12: ">iiiiqiIiqqqq"}
_HEAD, _TAIL = struct.Struct(">iiiiq"), struct.Struct(">iIiqqqq")
_LEAF = struct.Struct(">iii??I")
_WORD = struct.Struct(">I")
_DIMENSION = re.compile(r"\[([^\]]*)\]")


class _NotPlainError(Exception):
    """Something is there that only uproot can tell."""


@dataclass(frozen=True, slots=True, eq=False)
class PlainBranch:
    """One branch: its leaf, and where its baskets lie.

    ``disk`` is the leaf's big-endian type, ``counter`` the branch that counts it, ``edges`` the first
    entry of each basket and the end of the last, ``seeks`` and ``nbytes`` where the baskets lie.
    """

    name: str
    title: str
    disk: np.dtype[np.generic]
    shape: tuple[int, ...]
    counter: str | None
    compression: int
    unpacked: int
    edges: NDArray[np.int64]
    seeks: tuple[int, ...]
    nbytes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PlainTree:
    """A tree of plain branches."""

    title: str
    entries: int
    branches: tuple[PlainBranch, ...]


def plain_tree(data: bytes, key_length: int) -> PlainTree | None:
    """Read a tree object; ``None`` if anything in it isn't plain, or isn't as it should be.

    Parameters
    ----------
    data
        The unpacked object of class TTree.
    key_length
        The length of its key; references count from there.
    """
    try:
        return _Walk(data, key_length + 2).tree()
    except (_NotPlainError, struct.error, ValueError, IndexError, OverflowError):
        return None


class _Walk:
    def __init__(self, data: bytes, shift: int) -> None:
        self.data, self.shift = data, shift
        #: The branch of each leaf, and what counts it, by the places that references to leaves name.
        self.leaves: dict[int, str] = {}
        self.counting: dict[str, int] = {}

    def part(self, at: int) -> tuple[int, int, int]:
        """Return version, begin and end of the part at `at`."""
        count, version = struct.unpack_from(">IH", self.data, at)
        end = at + 4 + (count & ~_BYTE_COUNT)
        if not count & _BYTE_COUNT or end > len(self.data):
            raise _NotPlainError
        return version, at + 6, end

    def skip(self, at: int) -> int:
        return self.part(at)[2]

    def named(self, at: int) -> tuple[str, str, int]:
        """Return name and title of a TNamed, and where it ends."""
        _, at, end = self.part(at)
        name, at = parse_text(self.data, self.tobject(at))
        title, _ = parse_text(self.data, at)
        return name.decode("utf-8", "surrogateescape"), title.decode("utf-8", "surrogateescape"), end

    def tobject(self, at: int) -> int:
        _, _, bits = struct.unpack_from(">HII", self.data, at)
        return at + (12 if bits & _REFERENCED else 10)

    def items(self, at: int) -> tuple[int, int, int]:
        """Return the number of items of a TObjArray, where the first lies, and where the array ends."""
        _, at, end = self.part(at)
        _, at = parse_text(self.data, self.tobject(at))
        count, _ = struct.unpack_from(">ii", self.data, at)
        return count, at + 8, end

    def object(self, at: int) -> tuple[str, int, int]:
        """Return class, begin and end of the object that lies at `at`."""
        count, tag = struct.unpack_from(">II", self.data, at)
        if not count & _BYTE_COUNT or count == _NEW_CLASS:
            raise _NotPlainError
        begin = at + 8
        place = begin
        if tag != _NEW_CLASS:
            place = (tag & 0x7FFFFFFF) - self.shift + 4
            if not tag & 0x80000000 or place < 4 or _WORD.unpack_from(self.data, place - 4)[0] != _NEW_CLASS:
                raise _NotPlainError
        stop = self.data.index(b"\0", place, place + 64)
        return (
            self.data[place:stop].decode(),
            stop + 1 if tag == _NEW_CLASS else begin,
            at + 4 + (count & ~_BYTE_COUNT),
        )

    def tree(self) -> PlainTree:
        version, at, end = self.part(0)
        _, title, at = self.named(at)
        for _ in range(3):  # line, filling, marker
            at = self.skip(at)
        numbers = struct.unpack_from(_TREE.get(version, ""), self.data, at)
        if not numbers or numbers[5] != 1:  # the tree's weight
            raise _NotPlainError
        at += struct.calcsize(_TREE[version])
        if version >= 19:
            at += 2 * (1 + 8 * numbers[10])
        if version >= 20:
            at = self.skip(at)
        count, at, after = self.items(at)
        found = []
        for _ in range(count):
            branch, at = self.branch(at)
            found.append(branch)
        self.nothing_else(self.skip(after), end)
        if any(branch.edges[-1] != numbers[0] for branch in found):
            raise _NotPlainError
        counters = {name: self.leaves.get(place) for name, place in self.counting.items()}
        if None in counters.values():
            raise _NotPlainError
        return PlainTree(
            title, numbers[0], tuple(replace(one, counter=counters.get(one.name)) for one in found)
        )

    def nothing_else(self, at: int, end: int) -> None:
        """Make sure that there are no aliases, index, friends, user information or references."""
        # a pointer; two arrays, each a length and values; four pointers
        if end - at != 28 or any(self.data[at:end]):
            raise _NotPlainError

    def branch(self, at: int) -> tuple[PlainBranch, int]:
        kind, at, end = self.object(at)
        if kind != "TBranch":
            raise _NotPlainError
        version, at, _ = self.part(at)
        name, title, at = self.named(at)
        compression, written, room, entries, unpacked, at = self.numbers(version, self.skip(at))
        below, _, at = self.items(at)
        if below:
            raise _NotPlainError
        leaves, place, at = self.items(at)
        if leaves != 1:
            raise _NotPlainError
        disk, shape = self.leaf(place, name)
        inside, place, at = self.items(at)
        if inside and any(self.data[place : place + 4 * inside]):
            raise _NotPlainError
        nbytes, at = self.array(at, ">i4", room)
        firsts, at = self.array(at, ">i8", room)
        seeks, at = self.array(at, ">i8", room)
        if self.data[at] or not 0 <= written <= room or (seeks[:written] <= 0).any():
            raise _NotPlainError
        edges = np.append(firsts[:written], entries).astype(np.int64)
        if edges[0] != 0 or (np.diff(edges) < 0).any():
            raise _NotPlainError
        where = tuple(seeks[:written].tolist()), tuple(nbytes[:written].tolist())
        return PlainBranch(name, title, disk, shape, None, compression, unpacked, edges, *where), end

    def numbers(self, version: int, at: int) -> tuple[int, int, int, int, int, int]:
        """Return compression, baskets, room for baskets, entries, unpacked bytes, and where it goes on."""
        if version == 13:
            head = _HEAD.unpack_from(self.data, at)
            _, _, end = self.part(at + _HEAD.size)
            if self.data[end - 1]:  # input/output features change how offsets are stored
                raise _NotPlainError
            tail = _TAIL.unpack_from(self.data, end)
            return head[0], head[3], tail[1], tail[3], tail[5], end + _TAIL.size
        numbers = struct.unpack_from(_BRANCH.get(version, ""), self.data, at)
        if not numbers:
            raise _NotPlainError
        end = at + struct.calcsize(_BRANCH[version])
        return numbers[0], numbers[3], numbers[6], numbers[8], numbers[-2], end

    def leaf(self, at: int, branch: str) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
        """Return type and fixed dimensions of the leaf at `at`; note what counts it."""
        (word,) = _WORD.unpack_from(self.data, at)
        if not word & _BYTE_COUNT:  # it was written with the first array that it counts
            at = word - self.shift
        kind, begin, _ = self.object(at)
        _, begin, _ = self.part(begin)
        _, begin, _ = self.part(begin)
        _, title, begin = self.named(begin)
        length, _, _, _, unsigned, pointer = _LEAF.unpack_from(self.data, begin)
        self.leaves[at + self.shift] = branch
        if pointer:
            here = begin + _LEAF.size - _WORD.size + self.shift
            self.counting[branch] = here if pointer & _BYTE_COUNT else pointer
        code = LEAF_TYPES.get(kind)
        if code is None:
            raise _NotPlainError
        dimensions = _DIMENSION.findall(title)
        shape = tuple(int(text) for text in (dimensions[1:] if pointer else dimensions))
        if math.prod(shape) != length:
            raise _NotPlainError
        return np.dtype(">" + (code.replace("i", "u") if unsigned else code)), shape

    def array(self, at: int, kind: str, room: int) -> tuple[NDArray[np.int64], int]:
        """Return a basket array, and where it ends; a byte before it says whether it is there."""
        if not self.data[at]:
            return np.zeros(room, np.int64), at + 1
        values = np.frombuffer(self.data, kind, room, at + 1)
        return values.astype(np.int64), at + 1 + values.nbytes
