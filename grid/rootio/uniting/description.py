"""What a tree says of each of its branches, and which of them can be filled or widened: plain ones."""

from __future__ import annotations

import math
import re
import struct
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from grid.rootio.columns import Branch
from grid.rootio.format.keys import parse_text
from grid.rootio.format.leaves import LEAF_TYPES
from grid.rootio.format.nodes import after_tobject
from grid.rootio.format.objects import BYTE_COUNT, ObjectWriter
from grid.rootio.uniting.transcript import Places, Transcript
from grid.rootio.verbatim.baskets import branch_numbers
from grid.rootio.verbatim.template import KIND_OF_BRANCH, Template
from sitecfg.errors import UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from grid.rootio.format.described import ClassInfo
    from grid.rootio.format.nodes import Node
    from grid.rootio.format.walk import Walk
    from grid.rootio.verbatim.slots import LeafSlots, Slot

__all__ = ["Description", "Top"]

_DIMENSION: Final = re.compile(r"\[([^\]]*)\]")
_LEAVES, _BRANCHES = "fLeaves", "fBranches"


@dataclass(slots=True)
class Top:
    """A branch of the tree itself, with all that belongs to it.

    Attributes
    ----------
    at
        Where it stands.
    plain
        What it is, if it has one leaf of numbers and nothing that we would not write ourselves.
    numbers
        Its number among the template's branches, and those of the branches below.
    limits
        What its leaves and collections say of the largest that they hold.
    leaves
        Where its leaves stand, and those of the branches below.
    """

    name: str
    at: int
    plain: Branch | None = None
    numbers: list[int] = field(default_factory=list)
    limits: list[Slot] = field(default_factory=list)
    leaves: list[int] = field(default_factory=list)


class Description:
    """A tree's description that some inputs have. Its branches are known once it was understood.

    Parameters
    ----------
    data, key_length, class_name, classes, where
        As :class:`grid.rootio.verbatim.template.Template` takes them.

    Raises
    ------
    CorruptFile
        If it contradicts itself.
    UnsupportedContent
        If it holds what can't be copied.
    """

    def __init__(
        self, data: bytes, key_length: int, class_name: str, classes: Iterable[ClassInfo], where: str
    ) -> None:
        self.class_name, self.where = class_name, where
        self.classes = tuple(classes)
        self.template = Template(data, key_length, class_name, self.classes, where, self._keep)

    def _keep(self, walk: Walk, leaves: Mapping[int, LeafSlots]) -> None:
        self._walk, self._leaf_slots = walk, leaves

    def understand(self) -> None:
        """Find out what branches it has.

        Raises
        ------
        UnsupportedContent
            If it holds what can't be put together with others.
        """
        if self.template.table is not None:
            raise self._unsupported("its table of references is for its own branches alone")
        walk = self._walk
        #: What its branches say of themselves in numbers.
        self.said: dict[str, NDArray[Any]] = branch_numbers(self.template.view())
        self.places, marks = Places(walk), walk.top.marks
        if _BRANCHES not in marks or _LEAVES not in marks:
            raise self._unsupported("it is described in a way that is not known here")
        #: Where the lists of its branches and leaves begin and end.
        self.lists = [(at, self.places.counts[at]) for at in (marks[_BRANCHES][0], marks[_LEAVES][0])]
        tops = [
            Top(self._name(walk.nodes[at]), at, leaves=list(self._leaves_of(walk.nodes[at])))
            for at in self._items(walk.top, _BRANCHES)
        ]
        self.tops = {top.name: top for top in tops}
        if len(self.tops) < len(tops):
            raise self._unsupported("two of its branches have one name")
        self._owners = {leaf: top.name for top in tops for leaf in top.leaves}
        branches = [at for at, node in walk.nodes.items() if node.class_name.startswith("TBranch")]
        for top in tops:
            # in the order in which they stand
            first, stop = (bisect_left(branches, at) for at in (top.at, walk.nodes[top.at].end))
            top.numbers = list(range(first, stop))
            top.plain = self._plain(top)
        if sorted(number for top in tops for number in top.numbers) != list(range(len(branches))):
            raise self._unsupported("some of its branches belong to several others, or to none")
        self._count_plainly()
        self._find_limits()

    @property
    def plain(self) -> dict[str, Branch]:
        """Its plain branches by name."""
        return {name: top.plain for name, top in self.tops.items() if top.plain is not None}

    def other(self, top: Top) -> bytes:
        """Return what tells a branch that isn't plain from others of its name; its title is of no account."""
        node = self._walk.nodes[top.at]
        kinds = self.said["fBits"][top.numbers] & KIND_OF_BRANCH if "fBits" in self.said else top.numbers
        return str((node.class_name, list(kinds))).encode() + self._digest(node, node.begin, node.end, top.at)

    @property
    def behind(self) -> bytes:
        """What the tree has beside its branches: aliases, friends, user information."""
        top = self._walk.top
        return self._digest(None, self.lists[1][1], top.end, self.lists[1][1])

    def _digest(self, named: Node | None, begin: int, end: int, apart: int) -> bytes:
        out = ObjectWriter(0)
        replaced = {slot.begin: (slot.end, _nothing) for slot in self.template.slots}
        if named is not None:
            _, title = parse_text(self._walk.data, after_tobject(self._walk.data, self._object(named)))
            replaced[title] = (parse_text(self._walk.data, title)[1], _nothing)
        Transcript(self.places, out, replaced, (apart, end)).copy(begin, end)
        return bytes(out.data)

    def _find_limits(self) -> None:
        """Give the slots of limits to the branches that they belong to, wherever they stand."""
        slots = sorted(
            (slot for group in self.template.limits for slot in group.slots), key=lambda slot: slot.begin
        )
        for top in self.tops.values():
            if top.plain is not None:
                top.limits = [self._leaf_slots[leaf].limits for leaf in top.leaves]
                continue
            end = self._walk.nodes[top.at].end
            top.limits = [slot for slot in slots if top.at <= slot.begin < end]
            if not all(top.at <= leaf < end for leaf in top.leaves):
                raise self._unsupported(f"the leaves of branch {top.name!r} stand elsewhere")

    def _count_plainly(self) -> None:
        """Take for plain only what is counted by a plain number, and whose leaf stands in a plain branch."""
        others = [self._walk.nodes[top.at] for top in self.tops.values() if top.plain is None]
        for top in self.tops.values():
            if top.plain is None:
                continue
            counter = None if top.plain.counter is None else self.tops[top.plain.counter].plain
            sound = counter is not None and counter.dtype.kind in "iu" and not counter.jagged
            if top.plain.counter is not None and not (sound and counter is not None and not counter.shape):
                raise self._unsupported(f"what counts branch {top.name!r} is no plain number")
            if any(node.begin <= leaf < node.end for node in others for leaf in top.leaves):
                raise self._unsupported(f"the leaf of branch {top.name!r} stands elsewhere")

    # What a branch is.

    def _plain(self, top: Top) -> Branch | None:
        """Return what a branch is; ``None`` if it isn't plain."""
        data, node = self._walk.data, self._walk.nodes[top.at]
        if node.class_name != "TBranch" or len(top.numbers) != 1 or len(top.leaves) != 1:
            return None
        leaf = self._walk.nodes[top.leaves[0]]
        features = node.inner.get("fIOFeatures")
        bits = struct.unpack_from(">I", data, self._object(node) + 6)[0]
        if (
            leaf.class_name not in LEAF_TYPES
            or top.leaves[0] not in self._leaf_slots
            or node.texts.get("fFileName")
            or (features is not None and (at := features.place("fIOBits")) is not None and data[at])
            or bits & KIND_OF_BRANCH
        ):
            return None
        return self._of_leaf(top, node, leaf)

    def _of_leaf(self, top: Top, node: Node, leaf: Node) -> Branch | None:
        said = {name: self._number(leaf, name) for name in ("fLen", "fLenType", "fOffset")}
        unsigned, count = leaf.place("fIsUnsigned"), leaf.marks.get("fLeafCount")
        if unsigned is None or count is None or "fName" not in leaf.texts or "fTitle" not in leaf.texts:
            return None
        code = LEAF_TYPES[leaf.class_name]
        dtype = np.dtype(code.replace("i", "u") if self._walk.data[unsigned] else code)
        counting = self._pointed(count[0])
        counter = None if counting is None else self._owners.get(counting)
        title = _text(leaf.texts["fTitle"])
        dimensions = _DIMENSION.findall(title)
        if counting is not None and dimensions[:1] != [counter]:
            return None
        try:
            shape = tuple(int(size) for size in dimensions[counting is not None :])
        except ValueError:
            return None
        called = top.name.partition("[")[0] or top.name
        sizes = ([] if counter is None else [counter]) + [str(size) for size in shape]
        if (
            said != {"fLen": math.prod(shape), "fLenType": dtype.itemsize, "fOffset": 0}
            or min(shape, default=1) < 1
            or _text(leaf.texts["fName"]) != called
            or title != called + "".join(f"[{size}]" for size in sizes)
        ):
            return None
        branch_title = _text(node.texts.get("fTitle", b""))
        return Branch(top.name, branch_title, dtype, shape, int(counting is not None), counter)

    def _number(self, node: Node, name: str) -> int | None:
        at = node.place(name)
        return None if at is None else int(struct.unpack_from(">i", self._walk.data, at)[0])

    # What stands where.

    def _name(self, node: Node) -> str:
        return _text(node.texts.get("fName", b""))

    def _object(self, node: Node) -> int:
        """Return where the TObject of a branch stands."""
        if "TObject" not in node.marks:
            raise self._unsupported(f"its {node.class_name} is described in a way that is not known here")
        return node.marks["TObject"][0]

    def _leaves_of(self, branch: Node) -> Iterator[int]:
        yield from self._items(branch, _LEAVES)
        for at in self._items(branch, _BRANCHES):
            if branch.begin <= at < branch.end:
                yield from self._leaves_of(self._walk.nodes[at])

    def _items(self, node: Node, name: str) -> list[int]:
        """Return where the objects stand that a list of an object leads to."""
        data = self._walk.data
        if name not in node.marks:
            return []
        _, at = parse_text(data, after_tobject(data, node.marks[name][0] + 6))
        (count,) = struct.unpack_from(">i", data, at)
        at += 8
        found = []
        for _ in range(count):
            pointed = self._pointed(at)
            at = self._walk.nodes[at].end if pointed == at else at + 4
            if pointed is not None:
                found.append(pointed)
        return found

    def _pointed(self, at: int) -> int | None:
        """Return where the object stands that a pointer leads to."""
        word = self._walk.u32(at)
        if not word:
            return None
        target = at if word & BYTE_COUNT and at in self._walk.nodes else word - self._walk.shift
        if target not in self._walk.nodes:
            raise self._unsupported("its description refers to itself")
        return target

    def _unsupported(self, what: str) -> UnsupportedContent:
        return UnsupportedContent(what, where=self.where)


def _nothing() -> None:
    """Leave it out."""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
