"""The tree object: what it says about its branches, their leaves and where their baskets lie."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.format.objects import ObjectWriter, named, text, tobject, versioned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from grid.rootio.format.blocks import Compression
    from grid.rootio.format.leaves import Leaf

__all__ = ["BranchBooks", "TreeBooks", "branch", "leaves", "tree_bytes"]

_FILL = versioned(2, struct.pack(">hh", 0, 1001))
#: How ROOT draws a tree unless told otherwise: line, filling, marker.
_ATTRIBUTES = (
    versioned(2, struct.pack(">hhh", 602, 1, 1)) + _FILL + versioned(2, struct.pack(">hhf", 1, 1, 1.0))
)
#: No feature; a class without a version of its own has its checksum here.
_IO_FEATURES = versioned(0, struct.pack(">IB", 0x1AA12F10, 0))
_NO_OBJECTS = versioned(3, tobject() + text("") + struct.pack(">ii", 0, 0))
#: ROOT's defaults: where a tree stops being filled, and the entries that estimates use.
_MANY = 1_000_000_000_000
_ESTIMATE = 1_000_000
_AUTO_SAVE = -300_000_000
_AUTO_FLUSH = -30_000_000
#: The room for entry offsets that a basket starts with.
OFFSETS = 1000
#: "An entry's objects do not refer to each other", as every branch of ours can say.
_PLAIN = 0x400000


@dataclass(slots=True)
class BranchBooks:
    """What a branch has stored so far; one item of the three lists per basket."""

    leaf: Leaf
    counts_others: bool = False
    nbytes: list[int] = field(default_factory=list)
    entries: list[int] = field(default_factory=list)
    seeks: list[int] = field(default_factory=list)
    total_bytes: int = 0
    packed_bytes: int = 0
    smallest: int = 0
    largest: int = 0


@dataclass(slots=True)
class TreeBooks:
    """What a tree has stored so far; ``clusters`` are the entries of each cluster."""

    name: str
    title: str
    basket_bytes: int
    branches: list[BranchBooks]
    clusters: list[int] = field(default_factory=list)
    entries: int = 0


def tree_bytes(books: TreeBooks, compression: Compression, key_length: int) -> bytes:
    """Return the serialised TTree for a key of this length."""
    out = ObjectWriter(key_length)
    by_name = {branch.leaf.branch.name: branch for branch in books.branches}
    total = sum(branch.total_bytes for branch in books.branches)
    packed = sum(branch.packed_bytes for branch in books.branches)
    ends, sizes = _cluster_ranges(books.clusters)
    start = out.begin(20)
    out.data += named(books.name, books.title) + _ATTRIBUTES
    out.pack("qqqqqd", books.entries, total, packed, 0, packed, 1.0)
    out.pack("iiiiI", 0, 25, 0, OFFSETS, len(ends))
    out.pack("qqqq", _MANY, _MANY, 0, _AUTO_SAVE)
    out.pack("qq", books.clusters[-1] if books.clusters else _AUTO_FLUSH, _ESTIMATE)
    for array in (ends, sizes):
        out.pack("B", int(bool(array)))
        out.data += np.array(array, ">i8").tobytes()
    out.data += _IO_FEATURES
    out.array_of([partial(branch, out, one, books, compression, by_name) for one in books.branches])
    out.array_of([leaf for one in books.branches for leaf in leaves(out, one, by_name)])
    out.null()  # aliases
    out.pack("ii", 0, 0)  # index values, index
    for _ in ("tree index", "friends", "user info", "branch references"):
        out.null()
    out.end(start)
    return bytes(out.data)


def _cluster_ranges(clusters: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return last entries and cluster sizes of the ranges before the last cluster, which is implicit."""
    ends: list[int] = []
    sizes: list[int] = []
    at = 0
    for size in clusters[:-1]:
        at += size
        if sizes and sizes[-1] == size:
            ends[-1] = at - 1
        else:
            ends.append(at - 1)
            sizes.append(size)
    return ends, sizes


def branch(
    out: ObjectWriter,
    books: BranchBooks,
    tree: TreeBooks,
    compression: Compression,
    by_name: dict[str, BranchBooks],
) -> None:
    """Append a pointer to a branch of a tree; `by_name` are the branches that may count it."""
    leaf = books.leaf

    def body() -> None:
        if not leaf.object_class:
            _plain_branch(out, books, tree, compression, by_name)
            return
        start = out.begin(10)
        _plain_branch(out, books, tree, compression, by_name)
        out.data += text(leaf.object_class) + text("") + text("")
        # a collection has a proxy, a string has none: its type tells
        kind = 0 if leaf.branch.jagged else -1
        out.pack("Ihiiii", leaf.checksum, leaf.class_version, -1, kind, -1, 0)
        out.null()
        out.null()
        out.end(start)

    kind = "TBranchElement" if leaf.object_class else "TBranch"
    out.object(("branch", leaf.branch.name), kind, body)


def _plain_branch(
    out: ObjectWriter,
    books: BranchBooks,
    tree: TreeBooks,
    compression: Compression,
    by_name: dict[str, BranchBooks],
) -> None:
    leaf, count, room = books.leaf, len(books.seeks), max(10, len(books.seeks) + 1)
    nbytes, entries, seeks = np.zeros(room, ">i4"), np.zeros(room, ">i8"), np.zeros(room, ">i8")
    nbytes[:count] = books.nbytes
    entries[1 : count + 1] = np.cumsum(books.entries)
    seeks[:count] = books.seeks
    start = out.begin(13)
    out.data += named(leaf.branch.name, leaf.branch.title, bits=_PLAIN) + _FILL
    out.pack("iii", compression.word, tree.basket_bytes, 0 if leaf.fixed else OFFSETS)
    out.pack("iq", count, tree.entries)
    out.data += _IO_FEATURES
    out.pack("iIiqqqq", 0, room, 0, tree.entries, 0, books.total_bytes, books.packed_bytes)
    out.data += _NO_OBJECTS
    out.array_of(leaves(out, books, by_name))
    out.data += _NO_OBJECTS
    out.data += b"".join((b"\1", nbytes.tobytes(), b"\1", entries.tobytes(), b"\1", seeks.tobytes(), b"\0"))
    out.end(start)


def leaves(
    out: ObjectWriter, books: BranchBooks, by_name: dict[str, BranchBooks]
) -> list[Callable[[], None]]:
    """Return what writes each leaf of a branch."""
    return [partial(_leaf, out, books, leaf, by_name) for leaf in books.leaf.members or (books.leaf,)]


def _leaf(out: ObjectWriter, books: BranchBooks, leaf: Leaf, by_name: dict[str, BranchBooks]) -> None:
    def body() -> None:
        start = out.begin(1)
        base = out.begin(2)
        out.data += named(leaf.name, leaf.title)
        length = max(leaf.length, books.largest) if leaf.leaf_class == "TLeafC" else leaf.length
        size = leaf.branch.dtype.itemsize if leaf.letter else 0
        out.pack("iii??", length, size, leaf.offset, books.counts_others, leaf.unsigned)
        if leaf.branch.counter is None:
            out.null()
        else:
            counter = by_name[leaf.branch.counter]
            _leaf(out, counter, counter.leaf, by_name)
        out.end(base)
        if leaf.letter:
            out.pack(leaf.letter * 2, *_limits(leaf, books))
        else:
            out.pack("ii", -1, -1)
        out.end(start)

    out.object(("leaf", books.leaf.branch.name, leaf.offset), leaf.leaf_class, body)


def _limits(leaf: Leaf, books: BranchBooks) -> tuple[Any, Any]:
    """Minimum and maximum, in the range of the leaf's own (signed) type."""
    if leaf.leaf_class in {"TLeafF", "TLeafD", "TLeafO"}:
        return (0, 0)
    bits = 8 * (4 if leaf.letter == "i" else leaf.branch.dtype.itemsize)
    top = (1 << (bits - 1)) - 1
    return min(books.smallest, top), min(books.largest, top)
