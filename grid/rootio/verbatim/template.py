"""A serialised tree as a template: slots for what differs between files of one schema, and all the rest.

The first file's tree is walked by the descriptions that the file carries. Those of the other files are then held
against it slot by slot and byte by byte, which is much quicker, and proves that the schema is the same.
"""

from __future__ import annotations

import gc
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from grid.rootio.format.nodes import PLAIN
from grid.rootio.format.objects import BYTE_COUNT, MAP_OFFSET
from grid.rootio.format.walk import Walk
from grid.rootio.verbatim.integers import integer_branches
from grid.rootio.verbatim.literal import Literal
from grid.rootio.verbatim.reftable import TableSlots, find_lists
from grid.rootio.verbatim.slots import BranchSlots, LeafSlots, Slot, TreeView, arrays_length, grouped
from sitecfg.errors import UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from grid.rootio.format.described import ClassInfo
    from grid.rootio.format.nodes import Node, Plain
    from grid.rootio.verbatim.reftable import RefTable

__all__ = ["KIND_OF_BRANCH", "Differs", "Template"]

_LETTERS: Final = dict(
    zip((1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14, 16, 17, 18), "bhiqfidbBHIQqQ?", strict=True)
)
#: What differs between trees of one schema.
_TREE: Final = (
    "fEntries",
    "fTotBytes",
    "fZipBytes",
    "fSavedBytes",
    "fFlushedBytes",
    "fWeight",
    "fTimerInterval",
    "fScanField",
    "fUpdate",
    "fDefaultEntryOffsetLen",
    "fNClusterRange",
    "fMaxEntries",
    "fMaxEntryLoop",
    "fMaxVirtualSize",
    "fAutoSave",
    "fAutoFlush",
    "fEstimate",
)
_BRANCH: Final = (
    "fCompress",
    "fBasketSize",
    "fEntryOffsetLen",
    "fWriteBasket",
    "fEntryNumber",
    "fOffset",
    "fMaxBaskets",
    "fSplitLevel",
    "fEntries",
    "fFirstEntry",
    "fTotBytes",
    "fZipBytes",
)
#: Without these a branch can't be merged; the rest came with later versions.
_NEEDED: Final = frozenset(_BRANCH) - {"fFirstEntry", "fSplitLevel", "fOffset"}
#: What ROOT adds to the number of a type for an array behind a pointer.
_POINTER: Final = 40
_CLUSTERS: Final = ("fClusterRangeEnd", "fClusterSize")
_BASKETS: Final = ("fBasketBytes", "fBasketEntry", "fBasketSeek")
_LIMITS: Final = ("fMinimum", "fMaximum")
#: Where a TObject has its bits, and how they are stored.
_BITS_AT: Final = 6
_BITS: Final = struct.Struct(">I")
#: Bits of a branch by which it is of another kind, or stored in another way: TObject's kIsReferenced, TBranch's
#: kIsClone, kBranchObject and kBranchAny. The others say what was done with it in memory.
KIND_OF_BRANCH: Final = 1 << 4 | 1 << 11 | 1 << 12 | 1 << 17


@contextmanager
def _no_collection() -> Iterator[None]:
    """Put garbage collection off: many objects are made, all are needed, and each collection would look at them all."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


class Differs(Exception):
    """Another tree is not of the template's schema."""


class Template:
    """The tree of the first file.

    Parameters
    ----------
    data
        The unpacked object.
    key_length
        The length of its key.
    class_name
        As the key says.
    classes
        What the file says of classes.
    where
        File and key, for errors.
    understood
        Called with the objects in it, and the limits of its leaves (by the place of each).

    Raises
    ------
    CorruptFile, UnsupportedContent
        As :class:`grid.rootio.format.walk.Walk`.
    """

    def __init__(
        self,
        data: bytes,
        key_length: int,
        class_name: str,
        classes: Iterable[ClassInfo],
        where: str,
        understood: Callable[[Walk, Mapping[int, LeafSlots]], None] | None = None,
    ) -> None:
        self._data, self._shift = data, key_length + MAP_OFFSET
        self._where = where
        with _no_collection():
            walk = Walk(data, key_length, class_name, classes, where)
            leaves = self._understand(walk)
            if understood is not None:
                understood(walk, leaves)

    def _understand(self, walk: Walk) -> dict[int, LeafSlots]:
        where = self._where
        self.slots: list[Slot] = []
        self._cut: dict[tuple[Plain, tuple[str, ...]], list[tuple[int, tuple[str, ...], struct.Struct]]] = {}
        #: The numbers of the tree, and the ranges of its clusters where it can have some.
        self.tree, self.clusters = self._tree_slots(walk.top)
        nodes = [node for node in walk.nodes.values() if node.class_name.startswith("TBranch")]
        if not nodes:
            raise UnsupportedContent("it has no branch", where=where)
        self.branches = [self._branch_slots(node) for node in nodes]
        leaves = self._leaves(walk, nodes)
        lists = find_lists(walk, walk.top, where)
        #: Its table of references.
        self.table = None if lists is None else TableSlots(*map(self._object, lists))
        #: The types of branches, by number, that hold one plain integer an entry.
        self.integers = integer_branches(walk, nodes)
        self.slots.sort(key=lambda slot: slot.begin)
        for number, slot in enumerate(self.slots):
            slot.number = number
        #: All the rest.
        self.literal = Literal(walk, self.slots)
        if self.literal.overlaps:
            raise UnsupportedContent("parts of its description overlap", where=where)
        #: What all branches say of themselves in numbers.
        self.numbers = grouped(
            (index, slot) for index, branch in enumerate(self.branches) for slot in branch.numbers
        )
        self._kinds_of_branches = self._kinds(self.view())
        #: Limits of leaves, lengths of the longest texts, and the largest sizes of collections.
        self.limits = grouped(
            (index, slot) for index, branch in enumerate(self.branches) for slot in branch.limits()
        )
        return leaves

    def integers_of(self, names: Sequence[str]) -> dict[int, np.dtype[Any]] | None:
        """Return the numbers and types of branches of some names; ``None`` if they aren't one plain integer each."""
        known = [branch.name.decode("utf-8", "surrogateescape") for branch in self.branches]
        if any(known.count(name) != 1 for name in names):
            return None
        numbers = [known.index(name) for name in names]
        if not self.integers.keys() >= set(numbers):
            return None
        return {number: self.integers[number] for number in numbers}

    def view(self) -> TreeView:
        """Return the first file's tree itself."""
        begins, ends = [slot.begin for slot in self.slots], [slot.end for slot in self.slots]
        return TreeView(self, self._data, begins, ends, self._shift)

    def match(self, data: bytes, key_length: int) -> TreeView:
        """Hold another tree against this one.

        Raises
        ------
        Differs
            It is another schema, or has other settings.
        """
        begins: list[int] = []
        ends: list[int] = []
        at = before = 0
        view = TreeView(self, data, begins, ends, key_length + MAP_OFFSET)
        try:
            for slot in self.slots:
                begins.append(at + slot.begin - before)
                before = slot.end
                at = begins[-1] + self._length(slot, view, begins[-1])
                ends.append(at)
        except (struct.error, IndexError) as error:
            raise Differs from error
        if not self.literal.same(data, begins, ends, key_length):
            raise Differs
        if (self._kinds(view) != self._kinds_of_branches).any():
            raise Differs
        return view

    def fill(
        self, contents: Mapping[Slot, bytes], key_length: int, table: RefTable | None = None
    ) -> bytearray:
        """Return the tree with other contents of some slots, and another table, for a key of this length."""
        if self.table is not None and table is not None:
            contents = {**contents, **self.table.encode(table, self._data)}
        filled = [contents.get(slot, self._data[slot.begin : slot.end]) for slot in self.slots]
        parts, at = [], 0
        for slot, new in zip(self.slots, filled, strict=True):
            parts += [self._data[at : slot.begin], new]
            at = slot.end
        out = bytearray().join([*parts, self._data[at:]])
        self.literal.patch(out, filled, key_length)
        if self.table is not None and table is not None:
            (end,) = self.literal.moved(np.array([self.table.parents.end]), filled).tolist()
            self.table.refer(out, end, table, self.literal.branches(filled, key_length))
        return out

    # What is where.

    def _slot(self, begin: int, end: int, **more: Any) -> Slot:
        slot = Slot(begin, end, **more)
        self.slots.append(slot)
        return slot

    def _numbers(self, node: Node, names: tuple[str, ...]) -> list[Slot]:
        """Make slots of the plain members that are there, one for neighbours together."""
        return [
            self._slot(at + begin, at + begin + layout.size, names=found, layout=layout)
            for at, plain in node.plains
            for begin, found, layout in self._neighbours(plain, names)
        ]

    def _neighbours(
        self, plain: Plain, names: tuple[str, ...]
    ) -> list[tuple[int, tuple[str, ...], struct.Struct]]:
        key = plain, names
        if key not in self._cut:
            groups: list[list[str]] = []
            end = -1
            for name, (at, code) in plain.places.items():
                if name in names and code in _LETTERS:
                    if at != end:
                        groups.append([])
                    groups[-1].append(name)
                    end = at + PLAIN[code]
            self._cut[key] = [
                (
                    plain.places[group[0]][0],
                    tuple(group),
                    struct.Struct(">" + "".join(_LETTERS[plain.places[name][1]] for name in group)),
                )
                for group in groups
            ]
        return self._cut[key]

    def _arrays(self, node: Node, names: Sequence[str], numbers: list[Slot], counter: str) -> Slot:
        counting = next((slot for slot in numbers if counter in slot.names), None)
        at = node.place(counter)
        codes = [node.marks.get(name, (0, 0))[1] - _POINTER for name in names]
        if counting is None or at is None or any(code not in PLAIN for code in codes):
            raise UnsupportedContent(
                f"the arrays of its {node.class_name} are described in a way that is not known here",
                where=self._where,
            )
        begin, _ = node.marks[names[0]]
        widths = tuple(PLAIN[code] for code in codes)
        (count,) = struct.unpack_from(">i", self._data, at)
        end = begin + arrays_length(self._data, begin, count, widths)
        return self._slot(begin, end, counter=(counting, at - counting.begin), widths=widths)

    def _object(self, at: int) -> Slot:
        (count,) = struct.unpack_from(">I", self._data, at)
        return self._slot(at, at + 4 + (count & ~BYTE_COUNT))

    def _tree_slots(self, node: Node) -> tuple[list[Slot], Slot | None]:
        numbers = self._numbers(node, _TREE)
        #: The pointer to its index.
        self.index = self._object(node.marks["fTreeIndex"][0]) if "fTreeIndex" in node.marks else None
        #: Whether other trees go with it entry by entry.
        self.friends = bool("fFriends" in node.marks and any(self._data[node.marks["fFriends"][0] :][:4]))
        if node.place("fEntries") is None:
            raise UnsupportedContent(f"a {node.class_name} that says no number of entries", where=self._where)
        if "fClusterSize" not in node.marks:
            return numbers, None
        return numbers, self._arrays(node, _CLUSTERS, numbers, "fNClusterRange")

    def _branch_slots(self, node: Node) -> BranchSlots:
        numbers = self._numbers(node, _BRANCH)
        if "TObject" in node.marks:
            at = node.marks["TObject"][0] + _BITS_AT
            numbers.append(self._slot(at, at + _BITS.size, names=("fBits",), layout=_BITS))
        maximum = self._numbers(node, ("fMaximum",))
        told = {name for slot in numbers for name in slot.names}
        if not told >= _NEEDED or "fName" not in node.texts or "fBaskets" not in node.marks:
            raise UnsupportedContent(
                f"its {node.class_name} is described in a way that is not known here", where=self._where
            )
        return BranchSlots(
            node.texts["fName"],
            numbers,
            self._object(node.marks["fBaskets"][0]),
            self._arrays(node, _BASKETS, numbers, "fMaxBaskets"),
            maximum[0] if maximum else None,
            [],
            bool(node.texts.get("fFileName")),
        )

    def _leaves(self, walk: Walk, branches: Sequence[Node]) -> dict[int, LeafSlots]:
        """Find the limits of leaves; a leaf stands in the branch, or in the leaf, that came to it first."""
        known = dict(zip(map(id, branches), self.branches, strict=True))
        found: dict[int, LeafSlots] = {}
        for at, node in walk.nodes.items():
            if not node.class_name.startswith("TLeaf"):
                continue
            limits = self._numbers(node, _LIMITS)
            if not limits:
                continue  # of packed numbers, say: nobody sizes anything by theirs
            owner = node.parent
            while owner is not None and id(owner) not in known:
                owner = owner.parent
            if owner is None:
                continue
            length = next(iter(self._numbers(node, ("fLen",))), None) if node.class_name == "TLeafC" else None
            found[at] = LeafSlots(limits[0], length)
            known[id(owner)].leaves.append(found[at])
        return found

    def _kinds(self, view: TreeView) -> NDArray[np.int64]:
        """Return of what kind each branch is, as far as its bits tell."""
        found = [view.gather(group) for group in self.numbers if group.dtype.names == ("fBits",)]
        return np.concatenate([np.zeros(0, np.int64), *(bits["fBits"] & KIND_OF_BRANCH for bits in found)])

    def _length(self, slot: Slot, view: TreeView, begin: int) -> int:
        """Return how long a slot is in another file, where it begins at `begin`."""
        if slot.layout is not None:
            return slot.layout.size
        if slot.counter is not None:
            return arrays_length(view.data, begin, view.count(slot), slot.widths)
        (count,) = struct.unpack_from(">I", view.data, begin)
        if count and not count & BYTE_COUNT:
            raise Differs
        return 4 + int(count & ~BYTE_COUNT)
