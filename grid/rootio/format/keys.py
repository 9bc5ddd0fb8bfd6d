"""Keys: the record head before every object, basket and list in a file."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from grid.rootio.format.objects import text

__all__ = ["BIG", "Key", "key_length", "parse_key"]

#: Positions beyond this are written with 8 bytes.
BIG = 2_000_000_000
_SMALL_HEAD = struct.Struct(">ihiIhhii")
_BIG_HEAD = struct.Struct(">ihiIhhqq")
#: No name in a key is longer; it bounds what a hostile key can make us read.
_LONGEST = 1 << 15


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    ``nbytes`` counts the key and its (packed) object, ``object_bytes`` the unpacked object;
    ``seek`` is the key's own position and ``parent`` that of its directory. ``date`` is a packed TDatime.
    """

    nbytes: int
    object_bytes: int
    date: int
    length: int
    cycle: int
    seek: int
    parent: int
    class_name: bytes
    name: bytes
    title: bytes
    big: bool

    @property
    def packed_bytes(self) -> int:
        """The bytes after the key."""
        return self.nbytes - self.length

    def encode(self) -> bytes:
        """Return the key's bytes, ``length`` of them unless a class appended fields of its own."""
        head = _BIG_HEAD if self.big else _SMALL_HEAD
        version = 1004 if self.big else 4
        return head.pack(
            self.nbytes,
            version,
            self.object_bytes,
            self.date,
            self.length,
            self.cycle,
            self.seek,
            self.parent,
        ) + (text(self.class_name) + text(self.name) + text(self.title))


def key_length(class_name: bytes, name: bytes, title: bytes, *, big: bool) -> int:
    """Return the length in bytes of a key with these names."""
    return (_BIG_HEAD if big else _SMALL_HEAD).size + sum(
        len(part) + (1 if len(part) < 255 else 5) for part in (class_name, name, title)
    )


def parse_key(data: bytes | memoryview, at: int = 0) -> tuple[Key, int]:
    """Read the key at `at`; return it and where its title ends.

    Raises
    ------
    ValueError
        If the bytes end too early, or no key can look like this.
    """
    if len(data) - at < _SMALL_HEAD.size:
        raise ValueError("a key is cut short")
    (version,) = struct.unpack_from(">h", data, at + 4)
    big = version > 1000
    head = _BIG_HEAD if big else _SMALL_HEAD
    if len(data) - at < head.size:
        raise ValueError("a key is cut short")
    nbytes, _, object_bytes, date, length, cycle, seek, parent = head.unpack_from(data, at)
    end = at + head.size
    class_name, end = parse_text(data, end)
    name, end = parse_text(data, end)
    title, end = parse_text(data, end)
    if length < end - at and nbytes > 0:
        raise ValueError(f"a key says that it is {length} bytes long, but its names end after {end - at}")
    if (nbytes < length and nbytes != 0) or object_bytes < 0 or length < 0 or seek < 0:
        raise ValueError(f"a key has impossible sizes: {nbytes} bytes, {length} of them the key")
    # the upper 16 bits of a big key's directory are an offset into the process ids
    parent = parent & 0xFFFFFFFFFFFF if big else parent
    return Key(nbytes, object_bytes, date, length, cycle, seek, parent, class_name, name, title, big), end


def parse_text(data: bytes | memoryview, at: int, longest: int = _LONGEST) -> tuple[bytes, int]:
    """Read a TString of bounded length; return its bytes and where it ends."""
    if at >= len(data):
        raise ValueError("a name is cut short")
    size, at = data[at], at + 1
    if size == 255:
        if len(data) - at < 4:
            raise ValueError("a name is cut short")
        (size,) = struct.unpack_from(">i", data, at)
        at += 4
    if not 0 <= size <= longest:
        raise ValueError(f"a name is {size} bytes long")
    if len(data) - at < size:
        raise ValueError("a name is cut short")
    return bytes(data[at : at + size]), at + size
