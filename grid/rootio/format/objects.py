"""Serialised objects: byte counts, class tags and references to objects that were written before."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["ObjectWriter", "text"]

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

    def text(self, value: str | bytes) -> None:
        """Append a TString."""
        self.data += text(value)

    @contextmanager
    def version(self, number: int) -> Iterator[None]:
        """Append a byte count and a class version; the body's length is filled in at the end."""
        start = len(self.data)
        self.pack("IH", 0, number)
        yield
        self._close(start)

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
        self._close(start)

    def null(self) -> None:
        """Append a pointer to nothing."""
        self.pack("I", 0)

    def tobject(self, bits: int = 0) -> None:
        """Append a TObject."""
        self.pack("HII", 1, 0, bits)

    def named(self, name: str, title: str, bits: int = 0) -> None:
        """Append a TNamed."""
        with self.version(1):
            self.tobject(bits)
            self.text(name)
            self.text(title)

    def array_of(self, items: Sequence[Callable[[], None]]) -> None:
        """Append a TObjArray; each item appends one pointer."""
        with self.version(3):
            self.tobject()
            self.text("")
            self.pack("ii", len(items), 0)
            for item in items:
                item()

    def _close(self, start: int) -> None:
        struct.pack_into(">I", self.data, start, (len(self.data) - start - 4) | BYTE_COUNT)
