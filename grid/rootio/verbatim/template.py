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
from grid.rootio.format.objects import BYTE_COUNT, CLASS_MASK, MAP_OFFSET
from grid.rootio.format.walk import Walk
from grid.rootio.verbatim.integers import integer_branches
from grid.rootio.verbatim.slots import BranchSlots, LeafSlots, Slot, TreeView, arrays_length, grouped
from sitecfg.errors import UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from grid.rootio.format.described import ClassInfo
    from grid.rootio.format.nodes import Node, Plain

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
        #: The types of branches, by number, that hold one plain integer an entry.
        self.integers = integer_branches(walk, nodes)
        self.slots.sort(key=lambda slot: slot.begin)
        for number, slot in enumerate(self.slots):
            slot.number = number
        self._ends = np.array([slot.end for slot in self.slots], np.int64)
        self._lengths = np.array([slot.end - slot.begin for slot in self.slots], np.int64)
        if (self._ends[:-1] > self._ends[1:] - self._lengths[1:]).any():
            raise UnsupportedContent("parts of its description overlap", where=where)
        self._words(walk)
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
        return TreeView(self, self._data, begins, ends)

    def match(self, data: bytes, key_length: int) -> TreeView:
        """Hold another tree against this one.

        Raises
        ------
        Differs
            It is another schema, or has other settings.
        """
        begins: list[int] = []
        ends: list[int] = []
        pieces = []
        at = before = 0
        view = TreeView(self, data, begins, ends)
        try:
            for slot in self.slots:
                begin = at + slot.begin - before
                pieces.append(data[at:begin])
                before = slot.end
                begins.append(begin)
                at = begin + self._length(slot, view, begin)
                ends.append(at)
        except (struct.error, IndexError) as error:
            raise Differs from error
        pieces.append(data[at:])
        literal = np.frombuffer(b"".join(pieces), np.uint8)
        if len(literal) != len(self._literal) or ((literal != self._literal) & self._fixed).any():
            raise Differs
        lengths = np.subtract(ends, begins)
        words = literal[self._word_bytes].view(">u4").astype(np.int64)
        if (self._targets(words, np.array(ends), lengths, key_length + MAP_OFFSET) != self._meant).any():
            raise Differs  # a part is of another class, or belongs to another part
        if (self._kinds(view) != self._kinds_of_branches).any():
            raise Differs
        return view

    def fill(self, contents: Mapping[Slot, bytes], key_length: int) -> bytes:
        """Return the tree with other contents of some slots, for a key of this length."""
        filled = [contents.get(slot, self._data[slot.begin : slot.end]) for slot in self.slots]
        moved = np.cumsum([0, *(len(new) for new in filled)]) - np.cumsum([0, *self._lengths])
        parts, at = [], 0
        for slot, new in zip(self.slots, filled, strict=True):
            parts += [self._data[at : slot.begin], new]
            at = slot.end
        out = bytearray(b"".join([*parts, self._data[at:]]))

        def place(old: NDArray[np.int64]) -> NDArray[np.int64]:
            answer: NDArray[np.int64] = old + moved[np.searchsorted(self._ends, old, side="right")]
            return answer

        words = self._old_words
        is_count = self._is_count
        values = np.where(
            is_count,
            (place(self._old_targets) - place(words) - 4) | BYTE_COUNT,
            (place(self._old_targets) + key_length + MAP_OFFSET) | self._class_bit,
        )
        patched = np.frombuffer(out, np.uint8)
        at_bytes = place(words)[:, None] + np.arange(4)
        patched[at_bytes] = values.astype(">u4").view(np.uint8).reshape(-1, 4)
        return bytes(out)

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
        if "fBranchRef" in node.marks and any(self._data[node.marks["fBranchRef"][0] :][:4]):
            raise UnsupportedContent(
                "a table of references of a tree can't be carried yet", where=self._where
            )
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

    # What refers to what.

    def _words(self, walk: Walk) -> None:
        """Note all words that change when something before them gets longer, unless they stand in a slot."""
        counts = self._outside(np.array(walk.counts, np.int64).reshape(-1, 2))
        references = self._outside(np.array([[at, 0] for at in walk.references], np.int64).reshape(-1, 2))
        raw = np.array([walk.u32(int(at)) for at in references[:, 0]], np.int64)
        references[:, 1] = (raw & ~CLASS_MASK) - self._shift
        self._is_count = np.repeat([True, False], [len(counts), len(references)])
        self._class_bit = np.concatenate([np.zeros(len(counts), np.int64), raw & CLASS_MASK])
        both = np.concatenate([counts, references])
        self._old_words, self._old_targets = both[:, 0].copy(), both[:, 1].copy()
        places = self._to_literal(self._old_words, self._ends, self._lengths)
        self._word_bytes = (places[:, None] + np.arange(4)).reshape(-1)
        parts, at = [], 0
        for slot in self.slots:
            parts.append(self._data[at : slot.begin])
            at = slot.end
        self._literal = np.frombuffer(b"".join([*parts, self._data[at:]]), np.uint8)
        self._fixed = np.ones(len(self._literal), bool)
        self._fixed[self._word_bytes] = False
        words = self._literal[self._word_bytes].view(">u4").astype(np.int64)
        self._meant = self._targets(words, self._ends, self._lengths, self._shift)

    def _kinds(self, view: TreeView) -> NDArray[np.int64]:
        """Return of what kind each branch is, as far as its bits tell."""
        found = [view.gather(group) for group in self.numbers if group.dtype.names == ("fBits",)]
        return np.concatenate([np.zeros(0, np.int64), *(bits["fBits"] & KIND_OF_BRANCH for bits in found)])

    def _outside(self, words: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the words (first column: where) that stand in no slot."""
        inside = np.searchsorted(self._ends, words[:, 0], side="right")
        begins = np.append(self._ends - self._lengths, np.iinfo(np.int64).max)
        return words[words[:, 0] < begins[inside]]

    def _targets(
        self, words: NDArray[np.int64], ends: NDArray[np.int64], lengths: NDArray[np.int64], shift: int
    ) -> NDArray[np.int64]:
        """Return what each word means, as a place among the bytes between the slots."""
        at = self._from_literal(self._word_bytes[::4], ends, lengths)
        counted = at + 4 + (words & ~BYTE_COUNT)
        meant = np.where(self._is_count, counted, (words & ~CLASS_MASK) - shift)
        place = self._to_literal(meant, ends, lengths)
        answer: NDArray[np.int64] = np.where(self._is_count, place, place | (words & CLASS_MASK))
        return answer

    @staticmethod
    def _to_literal(
        at: NDArray[np.int64], ends: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        before = np.concatenate([[0], np.cumsum(lengths)])
        answer: NDArray[np.int64] = at - before[np.searchsorted(ends, at, side="right")]
        return answer

    @staticmethod
    def _from_literal(
        at: NDArray[np.int64], ends: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        before = np.cumsum(lengths)
        answer: NDArray[np.int64] = (
            at + np.concatenate([[0], before])[np.searchsorted(ends - before, at, side="right")]
        )
        return answer

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
