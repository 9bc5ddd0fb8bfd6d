"""Which branches of a tree hold one plain integer an entry: those can tell events apart."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grid.rootio.format.nodes import Node
    from grid.rootio.format.walk import Walk

__all__ = ["integer_branches"]

_LEAVES: Final = {"TLeafB": 1, "TLeafS": 2, "TLeafI": 4, "TLeafL": 8, "TLeafG": 8}
#: ROOT's numbers of the types of members.
_MEMBERS: Final = {
    1: "i1",
    2: "i2",
    3: "i4",
    4: "i8",
    11: "u1",
    12: "u2",
    13: "u4",
    14: "u8",
    16: "i8",
    17: "u8",
}


def integer_branches(walk: Walk, branches: Sequence[Node]) -> dict[int, np.dtype[Any]]:
    """Return the types of those branches (by their place in `branches`) whose entries are one integer each."""
    numbers = {id(branch): number for number, branch in enumerate(branches)}
    leaves: dict[int, list[Node]] = {}
    for node in walk.nodes.values():
        if node.class_name.startswith("TLeaf"):
            above = node.parent
            while above is not None and id(above) not in numbers and not above.class_name.startswith("TLeaf"):
                above = above.parent
            if above is not None and id(above) in numbers:
                leaves.setdefault(numbers[id(above)], []).append(node)
    found = {
        number: _integer(walk.data, branches[number], of[0]) for number, of in leaves.items() if len(of) == 1
    }
    return {number: dtype for number, dtype in found.items() if dtype is not None}


def _integer(data: bytes, branch: Node, leaf: Node) -> np.dtype[Any] | None:
    counter = leaf.marks.get("fLeafCount")
    if _number(data, leaf, "fLen") != 1 or counter is None or data[counter[0] : counter[0] + 4] != bytes(4):
        return None
    if leaf.class_name in _LEAVES:
        unsigned = leaf.place("fIsUnsigned")
        if unsigned is None:
            return None
        return np.dtype(f">{'u' if data[unsigned] else 'i'}{_LEAVES[leaf.class_name]}")
    if leaf.class_name != "TLeafElement" or _number(data, branch, "fType") != 0:
        return None
    member = _MEMBERS.get(_number(data, branch, "fStreamerType") or 0)
    return None if member is None else np.dtype(">" + member)


def _number(data: bytes, node: Node, name: str) -> int | None:
    """Return a member that takes four bytes; None if there is none of this name."""
    at = node.place(name)
    return None if at is None else int(struct.unpack_from(">i", data, at)[0])
