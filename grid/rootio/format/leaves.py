"""How each kind of branch is stored: its leaf class, the class of its objects, its titles."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from grid.rootio.columns import Branch
from sitecfg.errors import UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LARGEST_ENTRY", "LEAF_TYPES", "Leaf", "describe"]

#: What the leaves of plain numbers hold; those that say so are unsigned.
LEAF_TYPES: Final = {
    "TLeafO": "?",
    "TLeafB": "i1",
    "TLeafS": "i2",
    "TLeafI": "i4",
    "TLeafL": "i8",
    "TLeafG": "i8",
    "TLeafF": "f4",
    "TLeafD": "f8",
}

#: numpy's kind and size: leaf class, letter of struct for its limits, name inside a std::vector.
_TYPES: Final = {
    "b1": ("TLeafO", "?", "bool"),
    "i1": ("TLeafB", "b", "char"),
    "u1": ("TLeafB", "b", "unsigned char"),
    "i2": ("TLeafS", "h", "short"),
    "u2": ("TLeafS", "h", "unsigned short"),
    "i4": ("TLeafI", "i", "int"),
    "u4": ("TLeafI", "i", "unsigned int"),
    "i8": ("TLeafL", "q", "Long64_t"),
    "u8": ("TLeafL", "q", "ULong64_t"),
    "f4": ("TLeafF", "f", "float"),
    "f8": ("TLeafD", "d", "double"),
}
#: The version and the checksum that std::string has as a branch.
_STRING = (2, 1852773892)
_COLLECTION_VERSION = 6
#: Readers address a basket, and so each of its entries, with 30 bits.
LARGEST_ENTRY: Final = 1 << 29
#: A key tells its own length, names included, with 15 bits.
_LONGEST_NAMES: Final = 32_000


@dataclass(frozen=True, slots=True)
class Leaf:
    """The storage of one branch.

    ``letter`` spells the type of the leaf's limits, ``width`` is the number of bytes of one fixed
    element of an entry (0: entries are strings or objects), ``object_class`` names the class of a
    branch that holds objects. A branch of several leaves has one of these for each in ``members``,
    whose ``offset`` counts from the first.
    """

    branch: Branch
    leaf_class: str
    letter: str
    title: str
    width: int
    length: int
    object_class: str = ""
    class_version: int = 0
    checksum: int = 0
    offset: int = 0
    members: tuple[Leaf, ...] = ()

    @property
    def name(self) -> str:
        """The leaf's name."""
        return _leaf_name(self.branch)

    @property
    def unsigned(self) -> bool:
        """Whether the leaf says that it is unsigned."""
        return self.branch.dtype.kind == "u" and not self.object_class and not self.branch.text

    @property
    def fixed(self) -> bool:
        """Whether every entry takes ``width`` bytes."""
        return not self.branch.jagged and not self.branch.text


def describe(branches: Sequence[Branch], tree: str) -> list[Leaf]:
    """Return how the branches of a tree are stored.

    Raises
    ------
    UnsupportedContent
        If one can't be stored; it is named.
    """
    names = {branch.name: branch for branch in branches}
    if len(names) != len(branches):
        twice = sorted({b.name for b in branches if sum(o.name == b.name for o in branches) > 1})
        raise UnsupportedContent(f"two branches are called {twice[0]!r}", where=tree, todo="drop one of them")
    counters = {branch.counter for branch in branches if branch.counter is not None}
    for name in sorted(counters):
        counter = names.get(name)
        if counter is None:
            user = next(branch.name for branch in branches if branch.counter == name)
            raise UnsupportedContent(
                f"the length of branch {user!r} is in branch {name!r}, which is not there",
                where=tree,
                todo=f"keep {name!r}, or drop {user!r} as well",
            )
        if counter.dtype.kind not in "iu" or counter.shape or counter.jagged or counter.text:
            raise UnsupportedContent(
                f"branch {name!r} counts others, but is {counter.typename or counter.dtype}", where=tree
            )
    return [_describe(branch, tree) for branch in branches]


def _describe(branch: Branch, tree: str) -> Leaf:
    if len(branch.name.encode("utf-8", "surrogateescape")) + len(tree) > _LONGEST_NAMES:
        raise _refuse(branch, tree, "its name is too long for a key")
    if not branch.name:
        raise _refuse(branch, tree, "it has no name")
    if branch.dtype.names is not None:
        return _list(branch, tree)
    kind = f"{branch.dtype.kind}{branch.dtype.itemsize}"
    if kind not in _TYPES:
        raise _refuse(branch, tree, f"its values are {branch.dtype}")
    leaf_class, letter, name = _TYPES[kind]
    if branch.text:
        if branch.shape or kind != "u1" or branch.counter is not None:
            raise _refuse(branch, tree, "it is an array of texts")
        if branch.jagged or "string" in branch.typename:
            return _object(branch, "string", _STRING if not branch.jagged else None)
        return Leaf(branch, "TLeafC", "i", _leaf_name(branch), 0, 1)
    if branch.jagged and branch.counter is None:
        if branch.shape:
            raise _refuse(branch, tree, "it is a vector of fixed arrays")
        if "long" in branch.typename and "long long" not in branch.typename and kind in {"i8", "u8"}:
            name = "unsigned long" if "unsigned long" in branch.typename else "long"
        return _object(branch, name, None)
    if branch.jagged > 1 or (branch.counter is not None and not branch.jagged):
        raise _refuse(branch, tree, f"it has {branch.jagged} variable dimensions and a counter")
    length = math.prod(branch.shape)
    dims = (f"[{branch.counter}]" if branch.counter is not None else "") + "".join(
        f"[{n}]" for n in branch.shape
    )
    if not length:
        raise _refuse(branch, tree, f"an entry of {branch.name}{dims} holds nothing")
    if length * branch.dtype.itemsize > LARGEST_ENTRY:
        raise _refuse(branch, tree, f"{branch.name}{dims} is larger than any reader can hold")
    return Leaf(branch, leaf_class, letter, _leaf_name(branch) + dims, length * branch.dtype.itemsize, length)


def _list(branch: Branch, tree: str) -> Leaf:
    """Describe a branch of several leaves, which lie behind each other without a gap."""
    if branch.levels or branch.shape:
        raise _refuse(branch, tree, "it holds several leaves in a list or array")
    members = []
    for name, (dtype, offset, *_) in (branch.dtype.fields or {}).items():
        base, shape = dtype.subdtype or (dtype, ())
        member = _describe(Branch(name, name, base, shape), tree)
        members.append(replace(member, offset=offset))
    return Leaf(branch, "", "", "", branch.dtype.itemsize, 1, members=tuple(members))


def _leaf_name(branch: Branch) -> str:
    """Return the branch's name up to any brackets: in a leaf, ROOT takes them for dimensions."""
    return branch.name.partition("[")[0] or branch.name


def _object(branch: Branch, element: str, version: tuple[int, int] | None) -> Leaf:
    name = element
    for _ in range(branch.jagged):
        name = f"vector<{name} >" if name.endswith(">") else f"vector<{name}>"
    class_version, checksum = version or (_COLLECTION_VERSION, _checksum(name))
    return Leaf(branch, "TLeafElement", "", _leaf_name(branch), 0, 1, name, class_version, checksum)


def _checksum(class_name: str) -> int:
    """Return the checksum that ROOT gives to a class without members: a hash of its name."""
    total = 0
    for byte in class_name.encode():
        total = (total * 3 + byte) & 0xFFFFFFFF
    return total


def _refuse(branch: Branch, tree: str, why: str) -> UnsupportedContent:
    return UnsupportedContent(
        f"branch {branch.name!r} ({branch.typename or branch.dtype}) can't be written: {why}",
        where=tree,
        todo=f'drop it with "drop {branch.name}"',
        branch=branch.name,
    )
