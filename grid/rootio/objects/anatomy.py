"""What of an object adds up, what must be the same in all inputs, and what is of no account."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from grid.rootio.format.nodes import Node
    from grid.rootio.objects.stored import Stored

    Values = Mapping[str, NDArray[Any]]
    Combine = Callable[[str, Values, Values], NDArray[Any]]

__all__ = ["ARRAYS", "KINDS", "POINTER", "Anatomy", "Part", "Piece", "array", "counted", "number", "numbers"]

#: How ROOT's numbers of plain types are stored; 9 is a Double32_t without a range.
KINDS: Final = {
    1: "i1",
    2: "i2",
    3: "i4",
    4: "i8",
    5: "f4",
    6: "i4",
    8: "f8",
    9: "f4",
    11: "u1",
    12: "u2",
    13: "u4",
    14: "u8",
    16: "i8",
    17: "u8",
    18: "u1",
}
#: How the arrays that write themselves are stored.
ARRAYS: Final = {
    "TArrayC": "i1",
    "TArrayS": "i2",
    "TArrayI": "i4",
    "TArrayL": "i8",
    "TArrayL64": "i8",
    "TArrayF": "f4",
    "TArrayD": "f8",
}
#: What ROOT adds to the number of a type for an array behind a pointer.
POINTER: Final = 40


@dataclass(frozen=True, slots=True)
class Part:
    """Numbers that are put together over the inputs.

    Parameters
    ----------
    begin, end
        Where they stand.
    values
        What they are, ``[n]``.
    head
        What stands before them: "" nothing, "count" their number, "flag" whether they are there.
    combine
        Makes the new values of this part from its name, the values so far and those of the next input.
    """

    begin: int
    end: int
    values: NDArray[Any]
    head: str
    combine: Combine

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Where it stands, in one piece."""
        return [(self.begin, self.end)]

    def encode(self, values: NDArray[Any]) -> dict[tuple[int, int], bytes]:
        """Return the bytes that say these values."""
        data = values.astype(self.values.dtype.newbyteorder(">")).tobytes()
        if self.head == "count":
            data = struct.pack(">i", len(values)) + data
        if self.head == "flag":
            data = b"\x01" + data if len(values) else b"\x00"
        return {(self.begin, self.end): data}


class Piece(Protocol):
    """Anything that is put together over the inputs, as a :class:`Part` is; it may stand in several places."""

    @property
    def values(self) -> NDArray[Any]:
        """What it is."""
        ...

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Where it stands: begins and ends."""
        ...

    @property
    def combine(self) -> Combine:
        """What makes the new values, from the name, the values so far and those of the next input."""
        ...

    def encode(self, values: NDArray[Any]) -> dict[tuple[int, int], bytes]:
        """Return the bytes for each of the spans that say other values."""
        ...


@dataclass(slots=True)
class Anatomy:
    """An object, taken apart.

    ``parts`` add up, ``same`` must be the same in all inputs, the rest need not be; ``alone`` says why it can't be put
    together with others at all, if that is so. ``todo`` says what can be done where inputs differ.
    """

    parts: dict[str, Piece] = field(default_factory=dict)
    same: dict[str, Any] = field(default_factory=dict)
    alone: str = ""
    todo: str = ""

    def rest(self, stored: Stored) -> int:
        """Return the XXH3-64 of the bytes outside of the parts."""
        from xxhash import xxh3_64

        plain, digest, at = stored.plain, xxh3_64(), 0
        for begin, end in sorted(span for part in self.parts.values() for span in part.spans):
            digest.update(plain[at:begin])
            at = end
        digest.update(plain[at:])
        return digest.intdigest()


def numbers(node: Node) -> dict[str, tuple[int, str]]:
    """Return the plain numbers of an object by name: where each stands, and how it is stored."""
    return {
        name: (at + begin, KINDS[code])
        for at, plain in node.plains
        for name, (begin, code) in plain.places.items()
        if code in KINDS
    }


def number(stored: Stored, place: tuple[int, str]) -> NDArray[Any]:
    """Return a plain number, ``[1]``."""
    at, kind = place
    return np.frombuffer(stored.data, ">" + kind, 1, at).astype(kind)


def array(stored: Stored, node: Node, name: str, kind: str) -> tuple[int, int, NDArray[Any]]:
    """Return an array that writes itself: where it begins and ends, and its values."""
    at = node.place(name)
    if at is None:
        raise UnsupportedContent(f"a {node.class_name} without {name}", where=stored.where)
    (count,) = struct.unpack_from(">i", stored.data, at)
    values = np.frombuffer(stored.data, ">" + kind, count, at + 4).astype(kind)
    return at, at + 4 + count * values.itemsize, values


def counted(stored: Stored, node: Node, name: str, count: int) -> tuple[int, int, NDArray[Any]]:
    """Return an array behind a pointer, as :func:`array`; empty if it isn't there."""
    at, code = node.marks[name]
    kind = KINDS.get(code - POINTER, "")
    if not kind:
        raise UnsupportedContent(f"{node.class_name}::{name} can't be read", where=stored.where)
    if not stored.data[at]:
        return at, at + 1, np.zeros(0, kind)
    if count < 0 or stored.data[at] != 1:
        raise CorruptFile(f"{node.class_name}::{name} is not what it should be", where=stored.where)
    values = np.frombuffer(stored.data, ">" + kind, count, at + 1).astype(kind)
    return at, at + 1 + count * values.itemsize, values
