"""One tree of the output: what all inputs say of it, put together, and written into the first one's description."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from grid.rootio.format.objects import text, tobject, versioned
from grid.rootio.verbatim.reftable import joined as joined_tables
from grid.rootio.verbatim.treeindex import alike, joined
from sitecfg.errors import UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from grid.rootio.verbatim.baskets import Baskets, Late
    from grid.rootio.verbatim.reftable import RefTable
    from grid.rootio.verbatim.slots import BranchSlots, Said, Slot
    from grid.rootio.verbatim.template import Template
    from grid.rootio.verbatim.treeindex import TreeIndex

__all__ = ["LIE", "MergedTree", "in_order", "laid"]

#: How a basket lies: its branch, its size, its first entry, and its position. There may be millions.
LIE: Final = np.dtype([("branch", np.int32), ("nbytes", np.int32), ("first", np.int64), ("seek", np.int64)])

_NO_BASKETS = tobject() + text("")
#: The least room for baskets that ROOT gives a branch.
_ROOM = 10
#: The last position that 4 bytes can say.
_NARROW = (1 << 31) - 1
#: What adds up over the inputs.
_SUMS = ("fEntries", "fTotBytes", "fZipBytes")
#: What holds for all of them only when it is the largest of theirs.
_LARGEST = ("fBasketSize", "fEntryOffsetLen")


class MergedTree:
    """A tree of the output; of each input only what the output says of it is kept.

    Parameters
    ----------
    template
        The first input's tree.
    """

    def __init__(self, template: Template) -> None:
        self.template = template
        self.entries = 0
        self._first: dict[str, Any] = {}
        self._branches: dict[str, NDArray[Any]] = {}
        self._flush: float = 0
        self._ends: list[int] = []
        self._sizes: list[int] = []
        #: How the baskets of each input lie in the output, or of all together, in order.
        self._baskets: list[NDArray[Any]] = []
        self._in_order = False
        self._limits: list[NDArray[Any]] = []
        #: The indices of the inputs that have entries, and how many entries come before each.
        self._indices: list[tuple[int, TreeIndex | None]] = []
        #: The table of references that explains those of all inputs.
        self.table: RefTable | None = None
        self._narrow = any(4 in branch.baskets.widths[1:] for branch in template.branches)

    def add(self, said: Said, baskets: Baskets, seeks: NDArray[np.int64], late: Sequence[Late]) -> None:
        """Append an input.

        Parameters
        ----------
        said, baskets
            Its tree.
        seeks
            Where its baskets lie in the output, in the order of `baskets`.
        late
            What else there is in the output.

        Raises
        ------
        UnsupportedContent
            If the output has no room for what it says, or its index or table is of another kind than those before.
        """
        numbers, index = said.numbers, said.index
        if numbers.get("fWeight", 1) != self._first.get("fWeight", numbers.get("fWeight", 1)):
            raise UnsupportedContent(
                f"its weight is {numbers['fWeight']}, that of the first input {self._first['fWeight']}"
            )
        self._first = self._first or numbers
        if numbers["fEntries"]:
            if self._indices and not alike(self._indices[0][1], index):
                raise UnsupportedContent("some inputs have an index of the tree, others none or another one")
            self._indices.append((self.entries, index))
        self.table = joined_tables(self.table or said.table, said.table)
        self._clusters(said)
        self._add_branches(baskets, late)
        if numbers["fEntries"] or not self._limits:
            self._widen(said.limits)
        copied = laid(baskets.branches, baskets.nbytes, baskets.firsts, seeks)
        put = np.array([(one.branch, one.nbytes, one.first, one.seek) for one in late], LIE)
        mine = np.concatenate([copied, put]) if late else copied
        mine["first"] += self.entries
        self._refuse_far(mine)
        self._baskets.append(mine)
        self._in_order = False
        self.entries += int(numbers["fEntries"])

    @property
    def index(self) -> TreeIndex | None:
        """The index of all of it."""
        return joined(self._indices)

    def lie(self) -> NDArray[Any]:
        """Return how every basket lies (:data:`LIE`), branch by branch in order of entries."""
        if len(self._baskets) != 1 or not self._in_order:
            whole = np.concatenate([np.zeros(0, LIE), *self._baskets])
            self._baskets = []  # they need not be in memory twice
            self._baskets, self._in_order = [in_order(whole)], True
        return self._baskets[0]

    def body(self, key_length: int) -> bytearray:
        """Return the tree's bytes for a key of this length."""
        contents: dict[Slot, bytes] = {}
        said = {name: column.tolist() for name, column in self._branches.items()}
        for index, (branch, baskets) in enumerate(zip(self.template.branches, self._laid_out(), strict=True)):
            numbers = {name: column[index] for name, column in said.items()}
            self._branch(branch, numbers, baskets, contents)
        for group, values in zip(self.template.limits, self._limits, strict=True):
            for slot, value in zip(group.slots, values, strict=True):
                contents[slot] = value.tobytes()
        self._whole(contents)
        return self.template.fill(contents, key_length, self.table)

    def holds(self, found: Baskets) -> bool:
        """Whether these are the baskets of the tree; how its own lie is forgotten then, as there may be millions."""
        lie = self.lie()
        columns = found.branches, found.nbytes, found.firsts, found.seeks
        same = len(lie) == len(found.seeks) and all(
            bool((lie[name] == column).all()) for name, column in zip(LIE.names or (), columns, strict=True)
        )
        self._baskets = [] if same else self._baskets
        return same

    def _refuse_far(self, lie: NDArray[Any]) -> None:
        """Refuse positions that the description has no room for."""
        if self._narrow and max(lie[name].max(initial=0) for name in ("first", "seek")) > _NARROW:
            raise UnsupportedContent(
                "its description has 4-byte positions, and the output is too large for these"
            )

    def _clusters(self, said: Said) -> None:
        """Append the ranges of an input's clusters; the last range of a tree is implicit."""
        if not said.numbers["fEntries"]:
            return
        if self.entries > (self._ends[-1] + 1 if self._ends else 0):
            self._range(self.entries - 1, max(0, int(self._flush)))
        for end, size in zip(*said.clusters, strict=True):
            self._range(self.entries + end, size)
        self._flush = said.numbers.get("fAutoFlush", 0)

    def _range(self, end: int, size: int) -> None:
        """Append a range of clusters; one that only goes on with the range before is joined to it."""
        begun = self._ends[-2] + 1 if len(self._ends) > 1 else 0
        joins = bool(self._ends) and size > 0 and self._sizes[-1] == size
        if joins and (self._ends[-1] + 1 - begun) % size == 0:
            self._ends[-1] = end
        else:
            self._ends.append(end)
            self._sizes.append(size)

    def _add_branches(self, baskets: Baskets, late: Sequence[Late]) -> None:
        """Add up what an input says of its branches."""
        said = dict(baskets.numbers)
        for one in late:
            said["fTotBytes"][one.branch] += one.unpacked
            said["fZipBytes"][one.branch] += one.nbytes
        if not self._branches:
            self._branches = said
            return
        for name in _SUMS:
            self._branches[name] += said[name]
        for name in _LARGEST:
            np.maximum(self._branches[name], said[name], out=self._branches[name])
        if "fBits" in said:
            # kDoNotUseBufferMap, for one, is set as long as no entry names the class of an object inside
            self._branches["fBits"] &= said["fBits"]

    def _widen(self, said: list[NDArray[Any]]) -> None:
        """Widen limits to those of an input."""
        if not self._limits or not self.entries:
            self._limits = said
            return
        for mine, other in zip(self._limits, said, strict=True):
            for name in mine.dtype.names or ():
                choose = np.minimum if name == "fMinimum" else np.maximum
                mine[name] = choose(mine[name], other[name])

    def _laid_out(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield for each branch how many baskets it has, room for how many, and its arrays of them."""
        branches, lie = self.template.branches, self.lie()
        edges = np.searchsorted(lie["branch"], np.arange(len(branches) + 1)).tolist()
        entries = self._branches["fEntries"].tolist()
        for index, (branch, (first, stop)) in enumerate(zip(branches, pairwise(edges), strict=True)):
            count, mine = stop - first, lie[first:stop]
            room = max(_ROOM, count + 1)
            arrays = []
            for name, width in zip(("nbytes", "first", "seek"), branch.baskets.widths, strict=True):
                column = np.zeros(room, f">i{width}")
                column[:count] = mine[name]
                if name == "first" and count:
                    column[count] = entries[index]
                arrays.append(b"\x01" + column.tobytes())
            yield count, room, b"".join(arrays)

    def _branch(
        self,
        branch: BranchSlots,
        values: dict[str, Any],
        baskets: tuple[int, int, bytes],
        contents: dict[Slot, bytes],
    ) -> None:
        count, room, arrays = baskets
        values.update(fWriteBasket=count, fEntryNumber=int(values["fEntries"]), fMaxBaskets=room)
        for slot in branch.numbers:
            contents[slot] = _packed(slot, values)
        # a pointer to nothing for each basket on file, and for the one that would be filled next, as ROOT has it
        pointers = struct.pack(">ii", count + 1, 0) + bytes(4 * (count + 1))
        contents[branch.embedded] = versioned(3, _NO_BASKETS + pointers)
        contents[branch.baskets] = arrays

    def _whole(self, contents: dict[Slot, bytes]) -> None:
        packed = self._branches["fZipBytes"].sum().item()
        values = {
            **self._first,
            "fEntries": self.entries,
            "fTotBytes": self._branches["fTotBytes"].sum().item(),
            "fZipBytes": packed,
            "fSavedBytes": 0,
            "fFlushedBytes": packed,
            "fNClusterRange": len(self._ends),
            "fAutoFlush": self._flush or self._first.get("fAutoFlush", 0),
        }
        for slot in self.template.tree:
            contents[slot] = _packed(slot, values)
        if self.template.index is not None:
            index = self.index
            contents[self.template.index] = bytes(4) if index is None else index.encode()
        if self.template.clusters is not None:
            there = bytes((bool(self._ends),))
            contents[self.template.clusters] = b"".join(
                there + np.array(array, ">i8").tobytes() for array in (self._ends, self._sizes)
            )


def laid(
    branches: NDArray[Any], nbytes: NDArray[Any], firsts: NDArray[Any], seeks: NDArray[Any]
) -> NDArray[Any]:
    """Return how baskets lie, :data:`LIE` ``[n]``."""
    lie = np.empty(len(branches), LIE)
    for name, column in zip(LIE.names or (), (branches, nbytes, firsts, seeks), strict=True):
        lie[name] = column
    return lie


def in_order(lie: NDArray[Any]) -> NDArray[Any]:
    """Sort baskets by branch and first entry."""
    return lie[np.lexsort((lie["first"], lie["branch"]))]


def _packed(slot: Slot, values: dict[str, Any]) -> bytes:
    assert slot.layout is not None
    return slot.layout.pack(*(values[name] for name in slot.names))
