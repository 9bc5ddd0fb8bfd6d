"""Serialised objects: byte counts, class tags and references to objects that were written before."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "BYTE_COUNT",
    "CLASS_MASK",
    "MAP_OFFSET",
    "NEW_CLASS",
    "ObjectWriter",
    "named",
    "text",
    "tobject",
    "versioned",
]

#: Marks a byte count; also the bit that says "a class follows by reference".
BYTE_COUNT = 0x40000000
CLASS_MASK = 0x80000000
NEW_CLASS = b"\xff\xff\xff\xff"
#: References count from the start of the key, plus this.
MAP_OFFSET = 2


def text(value: str | bytes) -> bytes:
    """Return a TString: one length byte, or 255 and a 4-byte length.

    Surrogate escapes become the bytes that they stand for.
    """
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    if len(data) < 255:
        return bytes((len(data),)) + data
    return b"\xff" + struct.pack(">I", len(data)) + data


def versioned(number: int, body: bytes) -> bytes:
    """Return a part with its byte count and class version; it may hold no references."""
    return struct.pack(">IH", (len(body) + 2) | BYTE_COUNT, number) + body


def tobject(bits: int = 0) -> bytes:
    """Return a TObject."""
    return struct.pack(">HII", 1, 0, bits)


def named(name: str, title: str, bits: int = 0) -> bytes:
    """Return a TNamed."""
    return versioned(1, tobject(bits) + text(name) + text(title))


class ObjectWriter:
    """A growing object record.

    Parameters
    ----------
    key_length
        The length of the key before the object: references count from the key's start.
    """

    def __init__(self, key_length: int) -> None:
        self.data = bytearray()
        self._shift = key_length + MAP_OFFSET
        self._classes: dict[str, int] = {}
        self._objects: dict[Any, int] = {}

    def pack(self, layout: str, *values: Any) -> None:
        """Append big-endian values in the letters of :mod:`struct`."""
        self.data += struct.pack(">" + layout, *values)

    def begin(self, number: int) -> int:
        """Append a class version; return what :meth:`end` needs to put the byte count before it."""
        start = len(self.data)
        self.pack("IH", 0, number)
        return start

    def end(self, start: int) -> None:
        """Fill in the byte count of the part that began at `start`."""
        struct.pack_into(">I", self.data, start, (len(self.data) - start - 4) | BYTE_COUNT)

    def object(self, key: Any, class_name: str, body: Callable[[], None]) -> None:
        """Append a pointer to the object that `key` names: in full at first, then by reference."""
        seen = self._objects.get(key)
        if seen is not None:
            self.pack("I", seen)
            return
        start = len(self.data)
        # readers number an object by the place of its byte count, and write it before its body
        self._objects[key] = start + self._shift
        self.pack("I", 0)
        tag = self._classes.get(class_name)
        if tag is None:
            self._classes[class_name] = len(self.data) + self._shift
            self.data += NEW_CLASS + class_name.encode() + b"\0"
        else:
            self.pack("I", tag | CLASS_MASK)
        body()
        self.end(start)

    def null(self) -> None:
        """Append a pointer to nothing."""
        self.pack("I", 0)

    def array_of(self, items: Sequence[Callable[[], None]]) -> None:
        """Append a TObjArray; each item appends one pointer."""
        start = self.begin(3)
        self.data += tobject() + text("")
        self.pack("ii", len(items), 0)
        for item in items:
            item()
        self.end(start)
