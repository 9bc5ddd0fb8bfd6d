"""The parts of a serialised tree that differ between files of one schema, and what they say in one of these."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from grid.rootio.verbatim.treeindex import read_index

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from grid.rootio.verbatim.reftable import RefTable
    from grid.rootio.verbatim.template import Template
    from grid.rootio.verbatim.treeindex import TreeIndex

__all__ = ["BranchSlots", "Group", "LeafSlots", "Said", "Slot", "TreeView", "arrays_length", "grouped"]

_KINDS: Final = dict(
    zip(
        "bhiqfdBHIQ?",
        (">i1", ">i2", ">i4", ">i8", ">f4", ">f8", ">u1", ">u2", ">u4", ">u8", ">u1"),
        strict=True,
    )
)
#: An array in an old tree whose positions nevertheless take 8 bytes.
_WIDE: Final = 2


@dataclass(slots=True, eq=False)
class Slot:
    """A stretch of a tree that is filled anew; ``begin`` and ``end`` are where it stands in the first file.

    It is as long elsewhere as its numbers are (``names``, ``layout``), as its byte count says (neither), or as the
    number says that counts its arrays (``counter``, ``widths``).
    """

    begin: int
    end: int
    names: tuple[str, ...] = ()
    layout: struct.Struct | None = None
    counter: tuple[Slot, int] | None = None
    widths: tuple[int, ...] = ()
    number: int = -1


@dataclass(slots=True)
class LeafSlots:
    """A leaf: the slot of its limits, and of the length of its longest text."""

    limits: Slot
    length: Slot | None


@dataclass(slots=True)
class BranchSlots:
    """A branch: its numbers, the baskets inside the tree, where the others lie, and a collection's largest size."""

    name: bytes
    numbers: list[Slot]
    embedded: Slot
    baskets: Slot
    maximum: Slot | None
    leaves: list[LeafSlots]
    foreign: bool

    def limits(self) -> list[Slot]:
        """Return the slots that tell the largest or smallest of what the branch holds."""
        found = [] if self.maximum is None else [self.maximum]
        for leaf in self.leaves:
            found += [leaf.limits] if leaf.length is None else [leaf.limits, leaf.length]
        return found


class Group:
    """Slots of the same numbers, read from a tree all at once; ``members`` says whose they are."""

    def __init__(self, layout: struct.Struct, names: tuple[str, ...]) -> None:
        letters = layout.format.lstrip(">")
        self.dtype = np.dtype([(name, _KINDS[letter]) for name, letter in zip(names, letters, strict=True)])
        self.slots: list[Slot] = []
        self.members: list[int] = []


def grouped(slots: Iterable[tuple[int, Slot]]) -> list[Group]:
    """Group slots of numbers by what they hold."""
    groups: dict[tuple[str, tuple[str, ...]], Group] = {}
    for member, slot in slots:
        assert slot.layout is not None
        key = slot.layout.format, slot.names
        if key not in groups:
            groups[key] = Group(slot.layout, slot.names)
        groups[key].slots.append(slot)
        groups[key].members.append(member)
    return list(groups.values())


@dataclass(slots=True)
class Said:
    """What an input says of its tree: its numbers by name, last entries and sizes of its clusters, limits, and so on.

    ``limits`` are those of the output's template, in the order of its groups.
    """

    numbers: dict[str, Any]
    clusters: tuple[list[int], list[int]]
    limits: list[NDArray[Any]]
    index: TreeIndex | None
    table: RefTable | None


class TreeView:
    """A tree of a template's schema: ``begins`` and ``ends`` are where the slots stand in its ``data``.

    References in it count from `shift` bytes before.
    """

    def __init__(
        self, template: Template, data: bytes, begins: list[int], ends: list[int], shift: int
    ) -> None:
        self.template, self.data, self._begins, self._ends = template, data, begins, ends
        self._shift = shift

    def said(self, where: str) -> Said:
        """Return what it says; raises as :meth:`index` and :meth:`table`."""
        limits = [self.gather(group) for group in self.template.limits]
        numbers = self.numbers(self.template.tree)
        return Said(numbers, self.clusters(), limits, self.index(where), self.table(where))

    def clusters(self) -> tuple[list[int], list[int]]:
        """Return the last entries and the sizes of the ranges of its clusters."""
        if self.template.clusters is None:
            return [], []
        _, (ends, sizes) = self.arrays([self.template.clusters])
        return ends.tolist(), sizes.tolist()

    def numbers(self, slots: Iterable[Slot]) -> dict[str, Any]:
        """Return what stands in some slots of numbers, by name."""
        found: dict[str, Any] = {}
        for slot in slots:
            assert slot.layout is not None
            found.update(
                zip(slot.names, slot.layout.unpack_from(self.data, self._begins[slot.number]), strict=True)
            )
        return found

    def gather(self, group: Group) -> NDArray[Any]:
        """Return what stands in the slots of a group, ``[n]`` with a field for each number."""
        at = np.array([self._begins[slot.number] for slot in group.slots], np.int64)
        taken = np.frombuffer(self.data, np.uint8)[at[:, None] + np.arange(group.dtype.itemsize)]
        answer: NDArray[Any] = np.ascontiguousarray(taken).view(group.dtype).reshape(-1)
        return answer

    def index(self, where: str) -> TreeIndex | None:
        """Read the tree's index, if it has one; raises as :func:`grid.rootio.verbatim.treeindex.read_index`."""
        slot = self.template.index
        entries = int(self.numbers(self.template.tree)["fEntries"])
        return None if slot is None else read_index(self.content(slot), entries, where)

    def table(self, where: str) -> RefTable | None:
        """Read the tree's table of references, if it has one.

        Raises
        ------
        CorruptFile
            As :meth:`grid.rootio.verbatim.reftable.TableSlots.read`.
        """
        slots = self.template.table
        if slots is None:
            return None

        def branches_at(words: NDArray[np.int64]) -> NDArray[np.int64]:
            return self.template.literal.branches_at(words - self._shift, self._begins, self._ends)

        return slots.read(self.content(slots.parents), self.content(slots.processes), branches_at, where)

    def content(self, slot: Slot) -> bytes:
        """Return the bytes of a slot."""
        return self.data[self._begins[slot.number] : self._ends[slot.number]]

    def size(self, slot: Slot) -> int:
        """Return how many bytes a slot has."""
        return self._ends[slot.number] - self._begins[slot.number]

    def arrays(self, slots: Sequence[Slot]) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
        """Return the arrays of slots, one slot's items after the other's.

        Returns
        -------
        counts : int64 ``[slots]``
            How many items each slot's arrays have; none where one of them isn't there.
        arrays : list of int64 ``[sum(counts)]``
            The items.
        """
        data = np.frombuffer(self.data, np.uint8)
        at = np.array([self._begins[slot.number] for slot in slots], np.int64)
        counts = np.maximum(np.array([self.count(slot) for slot in slots], np.int64), 0)
        places = []
        there = np.ones(len(slots), bool)
        for widths in zip(*(slot.widths for slot in slots), strict=True):
            flag = data[at]
            wide = np.where(flag == _WIDE, 8, widths)
            places.append((at + 1, wide))
            at = at + 1 + np.where(flag > 0, counts * wide, 0)
            there &= flag > 0
        counts = np.where(there, counts, 0)
        return counts, [_items(data, begin, counts, wide) for begin, wide in places]

    def count(self, slot: Slot) -> int:
        """Return how many items the arrays of a slot have, if they are there."""
        assert slot.counter is not None
        numbers, place = slot.counter
        return int(struct.unpack_from(">i", self.data, self._begins[numbers.number] + place)[0])


def _items(
    data: NDArray[np.uint8], begins: NDArray[np.int64], counts: NDArray[np.int64], widths: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the items of arrays that stand apart."""
    rows = zip(begins.tolist(), counts.tolist(), widths.tolist(), strict=True)
    parts = [np.frombuffer(data, f">i{width}", count, begin) for begin, count, width in rows if count]
    return np.concatenate([np.zeros(0, np.int64), *parts], dtype=np.int64)


def arrays_length(data: bytes, at: int, count: int, widths: Iterable[int]) -> int:
    """Return how many bytes arrays take that begin at `at`, each with a byte that says whether it is there."""
    begin = at
    for width in widths:
        there = data[at]
        at += 1 + (0 if not there or count < 0 else count * (8 if there == 2 else width))
    return at - begin
