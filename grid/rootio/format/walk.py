"""Walk a serialised object by what its file says of the classes in it, and note every place that depends on another.

An object holds byte counts (of what follows) and references (to classes and objects that stood earlier, as positions).
Whoever replaces a part of it by a longer or shorter one must change those too, so each of them must be found: what no
description explains can't be walked over.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from grid.rootio.format.keys import parse_text
from grid.rootio.format.objects import BYTE_COUNT, CLASS_MASK, MAP_OFFSET
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from grid.rootio.format.described import ClassInfo, Member

__all__ = ["PLAIN", "Node", "Plain", "Plans", "Walk"]

_U32: Final = struct.Struct(">I").unpack_from
_NEW_CLASS: Final = 0xFFFFFFFF
_REFERENCED: Final = 1 << 4
#: A TClonesArray's bit: its objects are stored member by member.
_MEMBERWISE: Final = 1 << 12
_DEEPEST: Final = 100
#: Bytes of each plain type, by ROOT's number: char, short, int, long, float, counter ... bool. 9 and 19 vary.
PLAIN: Final = {
    1: 1,
    2: 2,
    3: 4,
    4: 8,
    5: 4,
    6: 4,
    8: 8,
    10: 1,
    11: 1,
    12: 2,
    13: 4,
    14: 8,
    16: 8,
    17: 8,
    18: 1,
}
_BITS, _CHARS, _STRING, _TOBJECT, _TNAMED = 15, 7, 65, 66, 67
_BASE, _ARRAY, _POINTER = 0, 20, 40
_EMBEDDED: Final = frozenset({61, 62, 63, 68})
_POINTED: Final = frozenset({64, 69})
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
_LISTS: Final = frozenset({"TList", "THashList"})
#: How many pointers an item is in collections without options.
_POINTERS: Final = {"TObjArray": 1, "TMap": 2}
_STL: Final = frozenset({300, 365, 500})
_OF_POINTERS: Final = re.compile(r"(vector|list|deque|set|multiset)<\w+\* ?>")
#: A bit in the version of a container: its objects are stored member by member.
_BY_MEMBERS: Final = 1 << 14


@dataclass(frozen=True, slots=True, eq=False)
class Plain:
    """Plain members that stand together, ``size`` bytes: where each begins in them, and ROOT's number of its type."""

    places: dict[str, tuple[int, int]]
    size: int


@dataclass(slots=True)
class Node:
    """An object.

    ``plains`` are its plain members, with where they stand; ``marks`` says where each other member begins, and ROOT's
    number of its type, and where a base is that writes itself; ``texts`` is what its strings say, ``inner`` are the
    objects that stand in it.
    """

    class_name: str
    begin: int
    end: int
    parent: Node | None
    plains: list[tuple[int, Plain]] = field(default_factory=list)
    marks: dict[str, tuple[int, int]] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    inner: dict[str, Node] = field(default_factory=dict)

    def place(self, name: str) -> int | None:
        """Return where a member begins, None if there is none of this name."""
        if name in self.marks:
            return self.marks[name][0]
        for at, plain in self.plains:
            if name in plain.places:
                return at + plain.places[name][0]
        return None


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
            node.marks.setdefault("TObject", (at, _TOBJECT))
            at = self._tobject(at)
        elif class_name == "TString":
            _, at = parse_text(self.data, at)
        elif class_name in _ARRAYS:
            node.marks.setdefault(class_name, (at, _BASE))
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
        word = self.u32(at)
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
        if name == "TBasket":
            return end  # it refers to nothing
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
        word = self.u32(at)
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
        if class_name in _POINTERS or class_name in _LISTS:
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
        for _ in range(count * _POINTERS.get(class_name, 1)):
            at = self.pointer(at, end, node)
            if class_name in _LISTS:
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
        _, _, bits = struct.unpack_from(">HII", self.data, at)
        self.tobjects.append(at)
        return at + (12 if bits & _REFERENCED else 10)

    def _skip(self, at: int, size: int, limit: int) -> int:
        if not 0 <= size <= limit - at:
            raise CorruptFile(f"an array of {size} bytes is longer than what holds it", where=self.where)
        return at + size

    # What a member is walked by.

    def counted(self, at: int, limit: int, node: Node, member: Member) -> int:
        """Walk over an array behind a pointer."""
        code = member.code - _POINTER
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
        end = self.collection_of_the_library(at, limit)
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

    def collection_of_the_library(self, at: int, limit: int) -> int:
        """Walk over a container or string of the standard library: it refers to nothing unless it holds pointers."""
        word = self.u32(at)
        if not word & BYTE_COUNT:
            raise UnsupportedContent("a container has no byte count", where=self.where)
        end = at + 4 + (word & ~BYTE_COUNT)
        if end > limit:
            raise CorruptFile("a container is longer than what holds it", where=self.where)
        self.counts.append((at, end))
        return end


class Plans:
    """How each version of a class is walked, made when it is first met."""

    def __init__(self, classes: Iterable[ClassInfo]) -> None:
        self._by_version: dict[tuple[str, int], ClassInfo] = {}
        self._by_checksum: dict[tuple[str, int], ClassInfo] = {}
        for one in classes:
            self._by_version.setdefault((one.name, one.version), one)
            self._by_checksum.setdefault((one.name, one.checksum), one)
        self._plans: dict[tuple[str, int, int], list[_Step]] = {}

    def describes(self, class_name: str) -> bool:
        """Whether the file says anything of a class, or needs not."""
        return any(name == class_name for name, _ in self._by_version) or class_name in {*_LISTS, *_POINTERS}

    def knows(self, class_name: str, checksum: int) -> bool:
        """Whether a class with this checksum is described."""
        return (class_name, checksum) in self._by_checksum

    def of(self, class_name: str, version: int, checksum: int, where: str) -> list[_Step]:
        """Return what walks over the members of a class, one after the other."""
        key = class_name, version, checksum
        if key not in self._plans:
            found = (
                self._by_checksum.get((class_name, checksum))
                if checksum
                else self._by_version.get((class_name, version))
            )
            if found is None:
                raise UnsupportedContent(
                    f"it holds a {class_name} of version {version}, which the file does not describe",
                    where=where,
                )
            self._plans[key] = list(_steps(found, where))
        return self._plans[key]


if TYPE_CHECKING:
    _Step = Callable[[Walk, int, int, Node], int]


def _steps(info: ClassInfo, where: str) -> Iterable[_Step]:
    """Yield what walks over the members of a class, neighbouring plain ones in one step."""
    places: dict[str, tuple[int, int]] = {}
    size = 0
    for member in info.members:
        width = _width(member)
        if width is not None:
            places[member.name] = (size, member.code)
            size += width
            continue
        if size:
            yield _plain(Plain(places, size))
            places, size = {}, 0
        yield _step(info, member, where)
    if size:
        yield _plain(Plain(places, size))


def _width(member: Member) -> int | None:
    """Return how many bytes a member always takes, or None."""
    code, items = member.code, 1
    if _ARRAY < code < _POINTER:
        code, items = code - _ARRAY, member.length
    if code in {9, 19}:
        return items * _packed_width(member, code)
    return None if code not in PLAIN else items * PLAIN[code]


def _packed_width(member: Member, code: int) -> int:
    """Return the bytes of a ``Double32_t`` or ``Float16_t`` by the range in its title."""
    first = member.title.strip()
    if not first.startswith("["):
        return 4 if code == 9 else 3
    parts = first[1 : first.find("]")].split(",")
    without_range = len(parts) == 3 and parts[0].strip() == parts[1].strip() == "0"
    if len(parts) < 2 or without_range:
        return 3
    return 4


def _plain(plain: Plain) -> _Step:
    def step(_: Walk, at: int, __: int, node: Node) -> int:
        node.plains.append((at, plain))
        return at + plain.size

    return step


def _step(info: ClassInfo, member: Member, where: str) -> _Step:
    code, name, kind = member.code, member.name, member.kind.removesuffix("*")
    if code == _BASE:
        return lambda walk, at, end, node: walk.object(name, at, end, node)
    if code == _TOBJECT:
        return lambda walk, at, end, node: walk.object("TObject", at, end, node)
    if code == _TNAMED:
        return lambda walk, at, end, node: walk.object("TNamed", at, end, node)
    if code == _STRING:
        return lambda walk, at, _, node: walk.text(at, name, node)
    if code == _BITS:
        return lambda walk, at, _, __: at + (6 if walk.u32(at) & _REFERENCED else 4)
    if code == _CHARS:
        return lambda walk, at, _, __: walk.counted_texts(at)
    if code in _EMBEDDED:
        return lambda walk, at, end, node: walk.object(
            kind, _marked(node, member, at), end, _inner(node, name, Node(kind, at, end, node))
        )
    if code in _POINTED:
        return lambda walk, at, end, node: walk.pointer(_marked(node, member, at), end, node)
    if _POINTER < code < _STRING and code - _POINTER in PLAIN:
        return lambda walk, at, end, node: walk.counted(at, end, node, member)
    if code in _STL and "*" not in member.kind:
        return lambda walk, at, end, _: walk.collection_of_the_library(at, end)
    if code in _STL and _OF_POINTERS.fullmatch(member.kind):
        return lambda walk, at, end, node: walk.pointers_of_the_library(at, end, node)
    raise UnsupportedContent(
        f"the member {info.name}::{name} ({member.kind}, kind {code}) can't be walked over", where=where
    )


def _marked(node: Node, member: Member, at: int) -> int:
    node.marks[member.name] = (at, member.code)
    return at


def _inner(node: Node, name: str, inner: Node) -> Node:
    node.inner[name] = inner
    return inner
