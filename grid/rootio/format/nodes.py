"""An object that was walked over: where its members stand."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "BASE",
    "LISTS",
    "OF_POINTERS",
    "PLAIN",
    "POINTER",
    "REFERENCED",
    "TOBJECT",
    "Node",
    "Plain",
    "after_tobject",
]

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
#: ROOT's numbers of a base class, of TObject, and what it adds to that of a type for an array behind a pointer.
BASE, TOBJECT, POINTER = 0, 66, 40
#: A TObject's bit: others refer to it, and a number of the process follows.
REFERENCED: Final = 1 << 4
#: Lists whose items each have an option.
LISTS: Final = frozenset({"TList", "THashList"})
#: How many pointers an item is in collections without options.
OF_POINTERS: Final = {"TObjArray": 1, "TMap": 2}


def after_tobject(data: bytes, at: int) -> int:
    """Return where a TObject ends."""
    _, _, bits = struct.unpack_from(">HII", data, at)
    return at + (12 if bits & REFERENCED else 10)


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
