"""Walk a serialised object by what its file says of the classes in it, and note every place that depends on another.

An object holds byte counts (of what follows) and references (to classes and objects that stood earlier, as positions).
Whoever replaces a part of it by a longer or shorter one must change those too, so each of them must be found: what no
description explains can't be walked over.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from grid.rootio.format.keys import parse_text
from grid.rootio.format.nodes import BASE, LISTS, OF_POINTERS, PLAIN, POINTER, TOBJECT, Node, after_tobject
from grid.rootio.format.objects import BYTE_COUNT, CLASS_MASK, MAP_OFFSET
from grid.rootio.format.plans import Plans
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from grid.rootio.format.described import ClassInfo, Member

__all__ = ["Walk"]

_U32: Final = struct.Struct(">I").unpack_from
_NEW_CLASS: Final = 0xFFFFFFFF
#: A TClonesArray's bit: its objects are stored member by member.
_MEMBERWISE: Final = 1 << 12
_DEEPEST: Final = 100
#: Bytes of an item of the arrays that write themselves.
_ARRAYS: Final = {
    "TArrayC": 1,
    "TArrayS": 2,
    "TArrayI": 4,
    "TArrayL": 8,
    "TArrayL64": 8,
    "TArrayF": 4,
    "TArrayD": 8,
}
#: Colours and such: numbers only, whose description some writers leave out, or give for another version.
_ATTRIBUTES: Final = frozenset({"TAttLine", "TAttFill", "TAttMarker"})
#: What refers to nothing, and writes itself otherwise than its description says.
_OPAQUE: Final = frozenset({"TBasket", "TTreeIndex"})
#: A bit in the version of a container: its objects are stored member by member.
_BY_MEMBERS: Final = 1 << 14


class Walk:
    """One object, walked.

    Parameters
    ----------
    data
        The unpacked object.
    key_length
        The length of its key; references count from its start.
    classes
        What the file says of classes; as :class:`Plans` where many objects of it are walked.
    where
        File and key, for errors.

    Attributes
    ----------
    counts
        Where each byte count stands, and where what it counts ends.
    references
        Where each reference stands.
    tobjects
        Where each TObject stands.
    nodes
        Every object that a pointer leads to, by the position that references to it name; the top one under -1.

    Raises
    ------
    CorruptFile
        If the bytes contradict themselves or the descriptions.
    UnsupportedContent
        If a class has no description, or one that is not understood; it is named.
    """

    def __init__(
        self,
        data: bytes,
        key_length: int,
        class_name: str,
        classes: Iterable[ClassInfo] | Plans,
        where: str,
    ) -> None:
        self.data, self.where = data, where
        self.shift = key_length + MAP_OFFSET
        self.counts: list[tuple[int, int]] = []
        self.references: list[int] = []
        self.tobjects: list[int] = []
        self.nodes: dict[int, Node] = {}
        self._class_at: dict[int, str] = {}
        self._depth = 0
        self._plans = classes if isinstance(classes, Plans) else Plans(classes)
        self.top = Node(class_name, 0, len(data), None)
        self.nodes[-1] = self.top
        try:
            end = self.object(class_name, 0, len(data), self.top)
        except (struct.error, ValueError, IndexError) as error:
            if isinstance(error, (CorruptFile, UnsupportedContent)):
                raise
            raise CorruptFile(f"its description is cut short: {error}", where=where) from error
        if end != len(data):
            raise CorruptFile(f"{len(data) - end} bytes follow its description", where=where)

    @property
    def targets(self) -> list[int]:
        """Where all that a reference can lead to begins: classes, then objects."""
        return [*self._class_at, *self.nodes]

    def u32(self, at: int) -> int:
        """Return the word at `at`."""
        return int(_U32(self.data, at)[0])

    def object(self, class_name: str, at: int, limit: int, node: Node) -> int:
        """Walk over an object of a known class; return where it ends."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise CorruptFile("objects are nested too deep", where=self.where)
        if class_name == "TObject":
            node.marks.setdefault("TObject", (at, TOBJECT))
            at = self._tobject(at)
        elif class_name == "TString":
            _, at = parse_text(self.data, at)
        elif class_name in _ARRAYS:
            node.marks.setdefault(class_name, (at, BASE))
            (count,) = struct.unpack_from(">i", self.data, at)
            at = self._skip(at + 4, count * _ARRAYS[class_name], limit)
        else:
            at = self._versioned(class_name, at, limit, node)
        self._depth -= 1
        if at > limit:
            raise CorruptFile(f"a {class_name} is longer than what holds it", where=self.where)
        return at

    def pointer(self, at: int, limit: int, parent: Node) -> int:
        """Walk over a pointer and, if it stands here, the object; return where it ends."""
        word: int = _U32(self.data, at)[0]
        if not word:
            return at + 4
        if word == _NEW_CLASS or not word & BYTE_COUNT:
            # 1 is the object that is being walked itself, wherever it stands.
            if word != 1:
                if word - self.shift not in self.nodes:
                    raise CorruptFile("a reference points to no object", where=self.where)
                self.references.append(at)
            return at + 4
        end = at + 4 + (word & ~BYTE_COUNT)
        if end > limit:
            raise CorruptFile("an object is longer than what holds it", where=self.where)
        self.counts.append((at, end))
        name, body = self._class_name(at + 4, end)
        node = Node(name, body, end, parent)
        self.nodes[at] = node
        if name in _OPAQUE:
            return end
        if self.object(name, body, end, node) != end:
            raise CorruptFile(f"a {name} does not end where it should", where=self.where)
        return end

    def _class_name(self, at: int, limit: int) -> tuple[str, int]:
        tag = self.u32(at)
        if tag == _NEW_CLASS:
            stop = self.data.index(b"\0", at + 4, limit)
            self._class_at[at] = self.data[at + 4 : stop].decode("utf-8", "backslashreplace")
            return self._class_at[at], stop + 1
        name = self._class_at.get((tag & ~CLASS_MASK) - self.shift)
        if not tag & CLASS_MASK or name is None:
            raise CorruptFile("an object has no class", where=self.where)
        self.references.append(at)
        return name, at + 4

    def _versioned(self, class_name: str, at: int, limit: int, node: Node) -> int:
        word: int = _U32(self.data, at)[0]
        if not word & BYTE_COUNT:
            raise UnsupportedContent(f"a {class_name} has no byte count", where=self.where)
        end = at + 4 + (word & ~BYTE_COUNT)
        if not at + 6 <= end <= limit:
            raise CorruptFile(f"a {class_name} is longer than what holds it", where=self.where)
        self.counts.append((at, end))
        (version,) = struct.unpack_from(">h", self.data, at + 4)
        at += 6
        if class_name in _ATTRIBUTES:
            return end
        if class_name in OF_POINTERS or class_name in LISTS:
            at = self._collection(class_name, at, end, node)
        elif class_name == "TClonesArray":
            at = self._clones(at, end, node)
        else:
            checksum = 0
            # a class without a version is told by a checksum, unless it was declared to be of version 0
            if version <= 0 and self._plans.knows(class_name, self.u32(at)):
                checksum = self.u32(at)
                at += 4
            at = self._members(class_name, version, checksum, at, end, node)
        if at != end:
            raise CorruptFile(f"a {class_name} does not end where it should", where=self.where)
        return end

    def _collection(self, class_name: str, at: int, end: int, node: Node) -> int:
        _, at = parse_text(self.data, self._tobject(at))
        (count,) = struct.unpack_from(">i", self.data, at)
        at += 8 if class_name == "TObjArray" else 4
        if not 0 <= count <= end - at:
            raise CorruptFile(f"a list says that it has {count} items", where=self.where)
        if class_name == "TObjArray" and self.data.count(0, at, end) == end - at == 4 * count:
            return end  # pointers to nothing, as a branch has one for each basket on file
        for _ in range(count * OF_POINTERS.get(class_name, 1)):
            at = self.pointer(at, end, node)
            if class_name in LISTS:
                _, at = parse_text(self.data, at)
        return at

    def _clones(self, at: int, end: int, node: Node) -> int:
        """Walk over a TClonesArray whose objects stand one after the other, each after a byte that says it is there."""
        _, _, bits = struct.unpack_from(">HII", self.data, at)
        _, at = parse_text(self.data, self._tobject(at))
        kind, at = parse_text(self.data, at)
        (count,) = struct.unpack_from(">i", self.data, at)
        at += 8
        if count and bits & _MEMBERWISE:
            raise UnsupportedContent(
                "it holds a TClonesArray that is stored member by member", where=self.where
            )
        if not 0 <= count <= end - at:
            raise CorruptFile(f"a TClonesArray says that it has {count} objects", where=self.where)
        name = kind.partition(b";")[0].decode("utf-8", "backslashreplace")
        for _ in range(count):
            at += 1
            if self.data[at - 1]:
                at = self.object(name, at, end, Node(name, at, end, node))
        return at

    def _members(self, class_name: str, version: int, checksum: int, at: int, end: int, node: Node) -> int:
        for step in self._plans.of(class_name, version, checksum, self.where):
            at = step(self, at, end, node)
            if at > end:
                raise CorruptFile(f"a {class_name} is longer than it says", where=self.where)
        return at

    def _tobject(self, at: int) -> int:
        self.tobjects.append(at)
        return after_tobject(self.data, at)

    def _skip(self, at: int, size: int, limit: int) -> int:
        if not 0 <= size <= limit - at:
            raise CorruptFile(f"an array of {size} bytes is longer than what holds it", where=self.where)
        return at + size

    # What a member is walked by.

    def counted(self, at: int, limit: int, node: Node, member: Member) -> int:
        """Walk over an array behind a pointer."""
        code = member.code - POINTER
        node.marks[member.name] = (at, member.code)
        there = self.data[at]
        if not there:
            return at + 1
        counter = node.place(member.counter)
        if counter is None:
            raise UnsupportedContent(f"nothing counts the values of {member.name}", where=self.where)
        (count,) = struct.unpack_from(">i", self.data, counter)
        # 2 says that the positions in an old branch take 8 bytes instead of 4
        return self._skip(at + 1, count * (8 if there == 2 else PLAIN[code]), limit)

    def objects(self, at: int, limit: int, node: Node, member: Member, count: int) -> int:
        """Walk over objects of one class that stand one after the other."""
        kind = member.kind.removesuffix("*")
        for turn in range(count):
            inner = node.inner[f"{member.name}[{turn}]"] = Node(kind, at, limit, node)
            at = self.object(kind, at, limit, inner)
        return at

    def looped(self, at: int, limit: int, node: Node, member: Member) -> int:
        """Walk over objects behind a pointer: what counts their bytes, and each."""
        counter = node.place(member.counter)
        if counter is None:
            raise UnsupportedContent(f"nothing counts the objects of {member.name}", where=self.where)
        end = self.counted_bytes(at, limit)
        (count,) = struct.unpack_from(">i", self.data, counter)
        if self.objects(at + 6, end, node, member, count) != end:
            raise CorruptFile(f"{member.name} does not end where it should", where=self.where)
        return end

    def text(self, at: int, name: str, node: Node) -> int:
        """Walk over a TString."""
        node.texts[name], at = parse_text(self.data, at)
        return at

    def counted_texts(self, at: int) -> int:
        """Walk over a text of characters."""
        count = int(struct.unpack_from(">i", self.data, at)[0])
        return at + 4 + max(0, count)

    def pointers_of_the_library(self, at: int, limit: int, node: Node) -> int:
        """Walk over a container of pointers of the standard library."""
        end = self.counted_bytes(at, limit)
        version, count = struct.unpack_from(">Hi", self.data, at + 4)
        if version & _BY_MEMBERS:
            raise UnsupportedContent("it holds a container that is stored member by member", where=self.where)
        at += 10
        if not 0 <= count <= end - at:
            raise CorruptFile(f"a container says that it has {count} items", where=self.where)
        for _ in range(count):
            at = self.pointer(at, end, node)
        if at != end:
            raise CorruptFile("a container does not end where it should", where=self.where)
        return end

    def counted_bytes(self, at: int, limit: int) -> int:
        """Walk over what counts its bytes, such as a container or string of the standard library.

        That refers to nothing unless it holds pointers.
        """
        word = self.u32(at)
        if not word & BYTE_COUNT:
            raise UnsupportedContent("a part has no byte count", where=self.where)
        end = at + 4 + (word & ~BYTE_COUNT)
        if end > limit:
            raise CorruptFile("a part is longer than what holds it", where=self.where)
        self.counts.append((at, end))
        return end
