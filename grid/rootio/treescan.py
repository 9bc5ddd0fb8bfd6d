"""Read from a serialised tree where its baskets lie, bounded by the bytes that are there.

Every object is walked by its byte count, so classes that extend TBranch or TTree need not be known.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

from grid.rootio.format.baskets import parse_head
from grid.rootio.format.keys import parse_key, parse_text
from sitecfg.errors import CorruptFile, UnsupportedContent

__all__ = ["BranchScan", "TreeScan", "scan_tree"]

_BYTE_COUNT: Final = 0x40000000
_NEW_CLASS: Final = 0xFFFFFFFF
_MAP_OFFSET: Final = 2
_REFERENCED: Final = 1 << 4
#: The numbers before the branches of a tree, by version; ROOT 5.14 wrote 16 first.
_TREE: Final = {
    16: ">qqqqdiiiqqqqq",
    17: ">qqqqdiiiiqqqqq",
    18: ">qqqqqdiiiiqqqqqq",
    19: ">qqqqqdiiiiIqqqqqq",
    20: ">qqqqqdiiiiIqqqqqq",
}
#: The same for a branch: compression ... entry number, offset, most baskets, split level, entries ...
_BRANCH: Final = {10: ">iiiiqiIiqqq", 11: ">iiiiqiIiqqqq", 12: ">iiiiqiIiqqqq"}
#: Classes that begin with a TBranch.
_BRANCHES: Final = frozenset({"TBranch", "TBranchElement", "TBranchObject", "TBranchSTL", "TBranchRef"})
_DEEPEST: Final = 64


@dataclass(frozen=True, slots=True)
class BranchScan:
    """One branch: where its baskets lie.

    ``seeks`` and ``nbytes`` (one per basket on file), ``entries`` (entries in each of these),
    ``embedded`` (entries in baskets inside the tree object), ``total`` (entries of the branch),
    ``is_folder`` (it has branches below), ``foreign`` (another file holds its baskets).
    """

    name: str
    total: int
    seeks: tuple[int, ...]
    nbytes: tuple[int, ...]
    entries: tuple[int, ...]
    embedded: int
    is_folder: bool
    foreign: str


@dataclass(frozen=True, slots=True)
class TreeScan:
    """One tree: its entries, and all of its branches, nested ones too."""

    entries: int
    branches: tuple[BranchScan, ...]


def scan_tree(data: bytes, key_length: int, class_name: str, where: str) -> TreeScan:
    """Read a tree object.

    Parameters
    ----------
    data
        The unpacked object.
    key_length
        The length of its key; references count from there.
    class_name
        The class that the key names: TTree, or one that begins with it (TNtuple).
    where
        File and key, for errors.

    Raises
    ------
    CorruptFile
        If counts and bytes contradict each other.
    UnsupportedContent
        If it is of a version that is not known.
    """
    walk = _Walk(data, key_length, where)
    try:
        return walk.tree(class_name)
    except (struct.error, ValueError, IndexError, OverflowError) as error:
        if isinstance(error, (CorruptFile, UnsupportedContent)):
            raise
        raise CorruptFile(f"the tree's description is cut short: {error}", where=where) from error


class _Walk:
    def __init__(self, data: bytes, key_length: int, where: str) -> None:
        self.data, self.shift, self.where = data, key_length + _MAP_OFFSET, where
        self.branches: list[BranchScan] = []
        self.seen: set[int] = set()

    def corrupt(self, what: str) -> CorruptFile:
        return CorruptFile(what, where=self.where)

    def u32(self, at: int) -> int:
        if at < 0:
            raise self.corrupt("a reference points before the tree")
        return int(struct.unpack_from(">I", self.data, at)[0])

    def version(self, at: int, limit: int) -> tuple[int, int, int]:
        """Return the version of the part at `at`, where its body begins, and where it ends."""
        count = self.u32(at)
        if not count & _BYTE_COUNT:
            raise self.corrupt("a part of the tree has no byte count")
        end = at + 4 + (count & ~_BYTE_COUNT)
        if end > limit or end < at + 6:
            raise self.corrupt("a part of the tree is longer than the whole")
        return int(struct.unpack_from(">H", self.data, at + 4)[0]), at + 6, end

    def skip(self, at: int, limit: int) -> int:
        return self.version(at, limit)[2]

    def tree(self, class_name: str) -> TreeScan:
        version, at, end = self.version(0, len(self.data))
        if class_name != "TTree":
            version, at, end = self.version(at, end)
        layout = _TREE.get(version)
        if layout is None:
            raise UnsupportedContent(
                f"the tree is of version {version}; known are {min(_TREE)} to {max(_TREE)}",
                where=self.where,
                todo="write the tree again with a newer ROOT",
            )
        for _ in range(4):  # name and title, line, filling, marker
            at = self.skip(at, end)
        numbers = struct.unpack_from(layout, self.data, at)
        at += struct.calcsize(layout)
        entries = numbers[0]
        if version >= 19:
            ranges = numbers[10]
            at += 2 * (1 + 8 * ranges)
            if at > end:
                raise self.corrupt(f"the tree says that it has {ranges} cluster ranges")
        if version >= 20:
            at = self.skip(at, end)
        _, at = self.array(at, end, 0)
        self.references(self.skip(at, end), end)
        return TreeScan(entries, tuple(self.branches))

    def references(self, at: int, limit: int) -> None:
        """Walk over what follows the leaves: aliases, values of an index, the index, friends, information, references.

        A table of references has baskets of its own.
        """
        at = self.pointer(at, limit)
        for width in (8, 4):
            at += 4 + width * self.u32(at)
        for _ in range(3):
            at = self.pointer(at, limit)
        found = self.pointed(at, limit)
        if found is not None:
            self.branch(*found, 0)

    def pointer(self, at: int, limit: int) -> int:
        """Return where a pointer ends, with the object if it stands here."""
        word = self.u32(at)
        end = at + 4 + (word & ~_BYTE_COUNT if word & _BYTE_COUNT else 0)
        if end > limit:
            raise self.corrupt("an object is longer than the tree")
        return end

    def items(self, at: int, limit: int) -> tuple[list[int], int]:
        """Return where the pointers of a TObjArray lie, and where it ends."""
        _, at, end = self.version(at, limit)
        at = self.tobject(at)
        _, at = parse_text(self.data, at)
        count, _ = struct.unpack_from(">ii", self.data, at)
        at += 8
        if count < 0 or count * 4 > end - at:
            raise self.corrupt(f"a list says that it has {count} items")
        places = []
        for _ in range(count):
            if at >= end:
                raise self.corrupt("a list has fewer items than it says")
            places.append(at)
            at = self.pointer(at, end)
        return places, end

    def tobject(self, at: int) -> int:
        _, _, bits = struct.unpack_from(">HII", self.data, at)
        return at + (12 if bits & _REFERENCED else 10)

    def pointed(self, at: int, limit: int) -> tuple[str, int, int] | None:
        """Return class, begin and end of the object that the pointer at `at` means; follow one reference."""
        word = self.u32(at)
        if word == 0:
            return None
        if not word & _BYTE_COUNT:
            at = word - self.shift
            limit = len(self.data)
            word = self.u32(at)
            if not word & _BYTE_COUNT:
                raise self.corrupt("a reference points to no object")
        end = at + 4 + (word & ~_BYTE_COUNT)
        if end > limit:
            raise self.corrupt("an object is longer than what holds it")
        name, begin = self.class_name(at + 4)
        return name, begin, end

    def class_name(self, at: int) -> tuple[str, int]:
        tag = self.u32(at)
        body = at + 4
        if tag != _NEW_CLASS:
            at = (tag & 0x7FFFFFFF) - self.shift
            if not tag & 0x80000000 or self.u32(at) != _NEW_CLASS:
                raise self.corrupt("an object has no class")
        stop = self.data.find(b"\0", at + 4, at + 4 + 256)
        if stop < 0:
            raise self.corrupt("the name of a class has no end")
        name = self.data[at + 4 : stop].decode("utf-8", "backslashreplace")
        return name, (stop + 1 if tag == _NEW_CLASS else body)

    def array(self, at: int, limit: int, depth: int) -> tuple[int, int]:
        """Walk a list of branches; return how many there are and where it ends."""
        if depth > _DEEPEST:
            raise self.corrupt("branches are nested too deep")
        places, end = self.items(at, limit)
        for place in places:
            found = self.pointed(place, end)
            if found is not None:
                self.branch(*found, depth)
        return len(places), end

    def branch(self, class_name: str, begin: int, end: int, depth: int) -> None:
        if begin in self.seen:
            raise self.corrupt("the same branch is listed twice")
        self.seen.add(begin)
        if class_name not in _BRANCHES:
            raise UnsupportedContent(
                f"a branch is a {class_name}, which is not known here",
                where=self.where,
                todo="write the tree again with a newer ROOT",
            )
        version, at, end = self.version(begin, end)
        if class_name != "TBranch":
            version, at, end = self.version(at, end)
        name_end = self.skip(at, end)
        name = self.name(at, name_end)
        at = self.skip(name_end, end)  # filling
        written, room, total, at = self.branch_numbers(version, at, end)
        count, at = self.array(at, end, depth + 1)
        at = self.skip(at, end)  # leaves
        embedded, at = self.embedded(at, end)
        nbytes, entries, seeks, at = self.basket_arrays(at, end, room)
        foreign, _ = parse_text(self.data, at)
        used = [i for i in range(room) if seeks[i] > 0]
        if written < 0 or (used and used[-1] > written):
            raise self.corrupt(f"branch {name!r} has more baskets than it says")
        self.branches.append(
            BranchScan(
                name,
                total,
                tuple(int(seeks[i]) for i in used),
                tuple(int(nbytes[i]) for i in used),
                _counts(entries, used, room, written, total),
                embedded,
                count > 0,
                foreign.decode("utf-8", "backslashreplace"),
            )
        )

    def name(self, at: int, end: int) -> str:
        _, at, _ = self.version(at, end)
        name, _ = parse_text(self.data, self.tobject(at))
        return name.decode("utf-8", "backslashreplace")

    def branch_numbers(self, version: int, at: int, end: int) -> tuple[int, int, int, int]:
        """Return the number of the basket being filled, the room for baskets, entries, where it goes on."""
        if version == 13:
            head = struct.unpack_from(">iiiiq", self.data, at)
            at = self.skip(at + 24, end)
            tail = struct.unpack_from(">iIiqqqq", self.data, at)
            return head[3], tail[1], tail[3], at + 44
        layout = _BRANCH.get(version)
        if layout is None:
            raise UnsupportedContent(
                f"a branch is of version {version}; known are {min(_BRANCH)} to 13",
                where=self.where,
                todo="write the tree again with a newer ROOT",
            )
        numbers = struct.unpack_from(layout, self.data, at)
        return numbers[3], numbers[6], numbers[8], at + struct.calcsize(layout)

    def embedded(self, at: int, limit: int) -> tuple[int, int]:
        """Return the entries in the baskets that lie inside the tree, and where the list ends."""
        places, end = self.items(at, limit)
        total = 0
        for place in places:
            found = self.pointed(place, end)
            if found is None:
                continue
            class_name, begin, stop = found
            if class_name != "TBasket":
                raise self.corrupt(f"a basket is a {class_name}")
            key, at = parse_key(self.data[begin:stop])
            head = parse_head(self.data, begin + at)
            if head.entries < 0 or not 0 <= head.last - key.length <= stop - begin:
                raise self.corrupt("a basket inside the tree has impossible sizes")
            total += head.entries
        return total, end

    def basket_arrays(self, at: int, end: int, room: int) -> tuple[list[int], list[int], list[int], int]:
        if room * 20 + 3 > end - at:
            raise self.corrupt(f"a branch says that it has room for {room} baskets")
        arrays = []
        for kind in (">i4", ">i8", ">i8"):
            # one byte says whether the array is there at all
            there = self.data[at]
            count = room if there else 0
            values = np.frombuffer(self.data, kind, count, at + 1)
            arrays.append(values.tolist() if there else [0] * room)
            at += 1 + values.nbytes
        return arrays[0], arrays[1], arrays[2], at


def _counts(entries: list[int], used: list[int], room: int, written: int, total: int) -> tuple[int, ...]:
    """Entries in each basket on file: the next one's first entry, or the branch's total, minus its own."""
    ends = [entries[i + 1] if i + 1 < room and i + 1 <= written else total for i in used]
    return tuple(end - entries[i] for i, end in zip(used, ends, strict=True))
