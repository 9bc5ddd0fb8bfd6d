"""The table of references of a tree: which branch holds an object that others refer to, as ROOT's ``TRefTable`` has it.

What it says of each entry lies in baskets of a branch of its own, in numbers that only the lists here explain: of
branches, and of the processes that made the references. Where baskets are copied, all must mean the same lists.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from grid.rootio.format.keys import parse_text
from grid.rootio.format.nodes import after_tobject
from grid.rootio.format.objects import BYTE_COUNT, text
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from grid.rootio.format.nodes import Node
    from grid.rootio.format.walk import Walk
    from grid.rootio.verbatim.slots import Slot

__all__ = ["RefTable", "TableSlots", "find_lists", "joined"]

#: The count of an object's bytes, and its version.
_HEAD: Final = 6
_WORD: Final = 4
#: A parent that is no branch of the tree any more.
_NOBODY: Final = -1


@dataclass(frozen=True, slots=True)
class RefTable:
    """What the numbers in the baskets mean: ``parents`` are branches, by number, ``processes`` are their GUIDs."""

    parents: tuple[int, ...] = ()
    processes: tuple[bytes, ...] = ()

    def begins(self, other: RefTable) -> bool:
        """Whether all numbers of this table mean the same in another."""
        return (
            other.parents[: len(self.parents)] == self.parents
            and other.processes[: len(self.processes)] == self.processes
        )


def joined(one: RefTable | None, other: RefTable | None) -> RefTable | None:
    """Return the table that explains the baskets of two trees, both of which have one, or none.

    Raises
    ------
    UnsupportedContent
        If a number means one thing in the one and another in the other.
    """
    if one is None or other is None or other.begins(one):
        return one
    if one.begins(other):
        return other
    raise UnsupportedContent(
        "its table of references numbers branches or processes otherwise than those of the inputs before",
        todo="merge only files whose trees were filled alike, by one process",
    )


def find_lists(walk: Walk, tree: Node, where: str) -> tuple[int, int] | None:
    """Return where the lists of branches and of processes begin in a tree; ``None`` if it has no table.

    Raises
    ------
    UnsupportedContent
        If the table is of another kind than ROOT 5.20 and later write.
    """
    at, _ = tree.marks.get("fBranchRef", (-1, 0))
    if at < 0 or not walk.u32(at):
        return None
    branch = walk.nodes.get(at)
    table = branch and walk.nodes.get(branch.marks.get("fRefTable", (-2, 0))[0])
    parents = table and walk.nodes.get(table.marks.get("fParents", (-2, 0))[0])
    if not table or not parents or parents.class_name != "TObjArray" or "fProcessGUIDs" not in table.marks:
        raise UnsupportedContent("a table of references of this kind can't be carried", where=where)
    return parents.begin, table.marks["fProcessGUIDs"][0]


@dataclass(frozen=True, slots=True)
class TableSlots:
    """Where the lists stand in a tree."""

    parents: Slot
    processes: Slot

    def read(
        self,
        parents: bytes,
        processes: bytes,
        branches_at: Callable[[NDArray[np.int64]], NDArray[np.int64]],
        where: str,
    ) -> RefTable:
        """Read the table from the bytes of both slots; `branches_at` tells branches by what references to them say.

        Raises
        ------
        CorruptFile
            If they contradict themselves, or name what is no branch.
        """
        try:
            words = _listed(parents)
            found = np.where(words == 0, _NOBODY, branches_at(words))
            told = tuple(_texts(processes))
        except (struct.error, ValueError, IndexError) as error:
            raise CorruptFile(
                f"the table of references of the tree is unsound: {error}", where=where
            ) from error
        if (found[words != 0] < 0).any():
            raise CorruptFile("its table of references names what is no branch of the tree", where=where)
        return RefTable(tuple(found.tolist()), told)

    def encode(self, table: RefTable, data: bytes) -> dict[Slot, bytes]:
        """Return other bytes for both slots of a tree; references to branches are left to :meth:`refer`."""
        parents, processes = (data[slot.begin : slot.end] for slot in (self.parents, self.processes))
        listed = struct.pack(">ii", len(table.parents), 0) + bytes(_WORD * len(table.parents))
        told = struct.pack(">i", len(table.processes)) + b"".join(map(text, table.processes))
        return {
            self.parents: _counted(parents[_WORD : _count_at(parents)] + listed),
            self.processes: _counted(processes[_WORD:_HEAD] + told),
        }

    def refer(self, out: bytearray, end: int, table: RefTable, branches: Sequence[int]) -> None:
        """Write the references to branches into the slot of these, which ends there."""
        words = [branches[number] if number >= 0 else 0 for number in table.parents]
        struct.pack_into(f">{len(words)}I", out, end - _WORD * len(words), *words)


def _counted(body: bytes) -> bytes:
    return struct.pack(">I", len(body) | BYTE_COUNT) + body


def _count_at(data: bytes) -> int:
    """Return where a TObjArray says how many items it has."""
    return parse_text(data, after_tobject(data, _HEAD))[1]


def _listed(data: bytes) -> NDArray[np.int64]:
    """Return the references of a TObjArray."""
    at = _count_at(data)
    count, lowest = struct.unpack_from(">ii", data, at)
    if lowest or count < 0 or at + (2 + count) * _WORD != len(data):
        raise ValueError(f"it has not the length of {count} branches")
    return np.frombuffer(data, ">u4", count, at + 2 * _WORD).astype(np.int64)


def _texts(data: bytes) -> Sequence[bytes]:
    """Return the texts of a vector."""
    (count,) = struct.unpack_from(">i", data, _HEAD)
    at, found = _HEAD + _WORD, []
    if not 0 <= count <= len(data):
        raise ValueError(f"it can't name {count} processes")
    for _ in range(count):
        one, at = parse_text(data, at)
        found.append(one)
    if at != len(data):
        raise ValueError(f"it has not the length of {count} processes")
    return found
