"""One object as an input has it: its bytes, and what in them depends on where they stand."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from grid.rootio.format.objects import BYTE_COUNT, CLASS_MASK, MAP_OFFSET
from grid.rootio.format.walk import Walk
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from grid.rootio.format.nodes import Node
    from grid.rootio.format.plans import Plans

__all__ = ["Stored"]

#: The first size that a byte count can't say.
_LARGEST: Final = BYTE_COUNT
#: The first byte of a TObject's bits: whether it was made on the heap, and whether it is alive.
_ALIVE: Final = 0x03
#: Where the bits are in a TObject, behind version and number.
_BITS: Final = 6


class Stored:
    """An object, unpacked.

    Parameters
    ----------
    data
        The unpacked object.
    key_length
        The length of its key; references count from its start.
    class_name
        As the key says.
    plans
        What the file says of classes.
    where
        File and key, for errors.

    Attributes
    ----------
    walk
        The walk over it; ``None`` if its class has no description that can be followed.
    unknown
        Why not.

    Raises
    ------
    CorruptFile
        If its bytes contradict the descriptions.
    """

    def __init__(self, data: bytes, key_length: int, class_name: str, plans: Plans, where: str) -> None:
        self.data, self.key_length, self.class_name, self.where = data, key_length, class_name, where
        self.walk: Walk | None = None
        self.unknown = ""
        if len(data) >= _LARGEST:
            raise CorruptFile("no object can be so large", where=where)
        try:
            self.walk = Walk(data, key_length, class_name, plans, where)
        except UnsupportedContent as error:
            self.unknown = error.what
        except CorruptFile:
            if plans.describes(class_name):
                raise
            self.unknown = f"the file does not describe a {class_name}"

    @cached_property
    def plain(self) -> bytes:
        """The bytes without what depends on where they stand: equal objects are equal here.

        A reference is the number of the object or class that it leads to, a byte count is nothing, and so is whether an
        object was made on the heap.
        """
        if self.walk is None:
            return self.data
        numbers = {place: number for number, place in enumerate(self.walk.targets)}
        plain = bytearray(self.data)
        for at, _ in self.walk.counts:
            plain[at : at + 4] = bytes(4)
        for at in self.walk.references:
            plain[at : at + 4] = numbers[self._target(at)].to_bytes(4, "big")
        for at in self.walk.tobjects:
            plain[at + _BITS] &= ~_ALIVE
        return bytes(plain)

    def children(self, node: Node) -> list[Node]:
        """Return the objects that pointers of an object lead to, in the order of the bytes."""
        return self._children.get(id(node), [])

    @cached_property
    def _children(self) -> dict[int, list[Node]]:
        found: dict[int, list[Node]] = {}
        for node in self.walk.nodes.values() if self.walk is not None else ():
            found.setdefault(id(node.parent), []).append(node)
        return found

    def filled(self, contents: Mapping[tuple[int, int], bytes], key_length: int) -> bytes:
        """Return the object for a key of this length, other bytes in some stretches (begin and end).

        Raises
        ------
        UnsupportedContent
            If its references would have to change, and nobody knows where they are.
        """
        if self.walk is None:
            if key_length != self.key_length:
                raise UnsupportedContent(f"it can't be moved: {self.unknown}", where=self.where)
            return self.data
        stretches = sorted(contents)
        ends = np.array([end for _, end in stretches], np.int64)
        grown = [len(contents[begin, end]) - (end - begin) for begin, end in stretches]
        moved = np.concatenate([[0], np.cumsum(np.array(grown, np.int64))])
        parts, last = [], 0
        for begin, end in stretches:
            parts += [self.data[last:begin], contents[begin, end]]
            last = end
        out = bytearray(b"".join([*parts, self.data[last:]]))
        if len(out) >= _LARGEST:
            raise UnsupportedContent("it gets too large for one object", where=self.where)

        def place(old: list[int]) -> NDArray[np.int64]:
            places = np.array(old, np.int64)
            answer: NDArray[np.int64] = places + moved[np.searchsorted(ends, places, side="right")]
            return answer

        counts, references = place([at for at, _ in self.walk.counts]), place(self.walk.references)
        counted = place([end for _, end in self.walk.counts])
        targets = place([self._target(at) for at in self.walk.references])
        tags = np.array([self.walk.u32(at) & CLASS_MASK for at in self.walk.references], np.int64)
        _write(out, counts, (counted - counts - 4) | BYTE_COUNT)
        _write(out, references, (targets + key_length + MAP_OFFSET) | tags)
        return bytes(out)

    def forget(self) -> None:
        """Forget what is needed only to take the object apart."""
        self.__dict__.pop("plain", None)
        self.__dict__.pop("_children", None)
        if self.walk is not None:
            self.walk.nodes.clear()

    def _target(self, at: int) -> int:
        """Return where what the reference at `at` leads to begins."""
        assert self.walk is not None
        return (self.walk.u32(at) & ~CLASS_MASK) - self.key_length - MAP_OFFSET


def _write(out: bytearray, places: NDArray[np.int64], words: NDArray[np.int64]) -> None:
    np.frombuffer(out, np.uint8)[places[:, None] + np.arange(4)] = (
        words.astype(">u4").view(np.uint8).reshape(-1, 4)
    )
