"""How each version of a class is walked, by what a file says of its members."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from grid.rootio.format.nodes import (
    BASE,
    LISTS,
    OF_POINTERS,
    PLAIN,
    POINTER,
    REFERENCED,
    TOBJECT,
    Node,
    Plain,
)
from sitecfg.errors import UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from grid.rootio.format.described import ClassInfo, Member
    from grid.rootio.format.walk import Walk

__all__ = ["Plans"]

_BITS, _CHARS, _STRING, _TNAMED = 15, 7, 65, 67
_ARRAY: Final = 20
_EMBEDDED: Final = frozenset({61, 62, 63, 68})
_POINTED: Final = frozenset({64, 69})
#: Objects behind a pointer, as many as another member says.
_LOOP: Final = 501
_STL: Final = frozenset({300, 365, 500})
_STL_OF_POINTERS: Final = re.compile(r"(vector|list|deque|set|multiset)<\w+\* ?>")


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
        return any(name == class_name for name, _ in self._by_version) or class_name in {*LISTS, *OF_POINTERS}

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
    if _ARRAY < code < POINTER:
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
    if code == BASE:
        return lambda walk, at, end, node: walk.object(name, at, end, node)
    if code == TOBJECT:
        return lambda walk, at, end, node: walk.object("TObject", at, end, node)
    if code == _TNAMED:
        return lambda walk, at, end, node: walk.object("TNamed", at, end, node)
    if code == _STRING:
        return lambda walk, at, _, node: walk.text(at, name, node)
    if code == _BITS:
        return lambda walk, at, _, __: at + (6 if walk.u32(at) & REFERENCED else 4)
    if code == _CHARS:
        return lambda walk, at, _, __: walk.counted_texts(at)
    if code in _EMBEDDED:
        return lambda walk, at, end, node: walk.object(
            kind, _marked(node, member, at), end, _inner(node, name, Node(kind, at, end, node))
        )
    if code - _ARRAY in _EMBEDDED:
        return lambda walk, at, end, node: walk.objects(at, end, node, member, member.length)
    if code == _LOOP and not kind.endswith("*"):
        return lambda walk, at, end, node: walk.looped(at, end, node, member)
    if code in _POINTED:
        return lambda walk, at, end, node: walk.pointer(_marked(node, member, at), end, node)
    if POINTER < code < _STRING and code - POINTER in PLAIN:
        return lambda walk, at, end, node: walk.counted(at, end, node, member)
    if code in _STL and "*" not in member.kind:
        return lambda walk, at, end, node: walk.counted_bytes(_marked(node, member, at), end)
    if code in _STL and _STL_OF_POINTERS.fullmatch(member.kind):
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
