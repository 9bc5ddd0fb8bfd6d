"""What a file says of the classes in it: its streamer info, read from the bytes.

The layout is that of ROOT's ``TStreamerInfo`` and ``TStreamerElement``, as they describe themselves in every file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from grid.rootio.format.keys import parse_text
from grid.rootio.format.nodes import after_tobject
from grid.rootio.format.objects import BYTE_COUNT, CLASS_MASK, MAP_OFFSET
from sitecfg.errors import CorruptFile

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ClassInfo", "Member", "Streamers", "read_streamers"]

_NEW_CLASS: Final = 0xFFFFFFFF
_COUNTED: Final = frozenset({"TStreamerBasicPointer", "TStreamerLoop"})


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a class, or one of its bases.

    ``code`` is ROOT's number of the kind of member, ``length`` the number of values of a fixed array, ``kind`` the
    type's name, ``counter`` the member that counts the values of a pointer.
    """

    code: int
    size: int
    length: int
    name: str
    title: str
    kind: str
    counter: str


@dataclass(frozen=True, slots=True)
class ClassInfo:
    """One version of a class, and its description as the file has it, in parts that refer to nothing else.

    ``head`` is what stands before the list of members, ``array`` the head of that list, ``elements`` are class and
    bytes of each; ``formats`` are the versions of the description itself and of the list.
    """

    name: str
    version: int
    checksum: int
    members: tuple[Member, ...]
    formats: tuple[int, int]
    head: bytes
    array: bytes
    elements: tuple[tuple[str, bytes], ...]

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells it from others; foreign classes share versions."""
        return self.name, self.version, self.checksum


@dataclass(frozen=True, slots=True)
class Streamers:
    """What a file says of its classes; ``rules`` say how old versions of them are read (each a TObjString's bytes)."""

    classes: tuple[ClassInfo, ...] = ()
    rules: tuple[bytes, ...] = ()

    def joined(self, others: Streamers) -> Streamers:
        """Return what both say; what is the same in both once."""
        classes = {one.key: one for one in self.classes}
        for one in others.classes:
            classes.setdefault(one.key, one)
        return Streamers(tuple(classes.values()), tuple(dict.fromkeys((*self.rules, *others.rules))))


def read_streamers(data: bytes, key_length: int, where: str) -> Streamers:
    """Read the streamer info of a file.

    Parameters
    ----------
    data
        The unpacked record: a ``TList``.
    key_length
        The length of its key; references count from there.
    where
        The file, for errors.

    Raises
    ------
    CorruptFile
        If it contradicts itself.
    """
    try:
        reader = _Reader(data, key_length)
        classes = tuple(reader.classes())
        return Streamers(classes, tuple(reader.rules))
    except (struct.error, ValueError, KeyError, IndexError) as error:
        raise CorruptFile(f"its streamer info is unsound: {error}", where=where) from error


class _Reader:
    def __init__(self, data: bytes, key_length: int) -> None:
        self.data, self.shift = data, key_length + MAP_OFFSET
        self.class_at: dict[int, str] = {}
        self.rules: list[bytes] = []

    def classes(self) -> Iterator[ClassInfo]:
        for kind, body, stop in self.listed(0):
            if kind == "TStreamerInfo":
                yield self.info(body)
            elif kind == "TList":
                self.rules += [self.data[begin:end] for _, begin, end in self.listed(body)]
            else:
                raise ValueError(f"it lists a {kind} at {stop}")

    def listed(self, at: int) -> Iterator[tuple[str, int, int]]:
        """Yield the items of a TList: class, and where their bodies begin and end."""
        _, at, end = self.version(at)
        _, at = parse_text(self.data, after_tobject(self.data, at))
        (count,) = struct.unpack_from(">i", self.data, at)
        at += 4
        for _ in range(count):
            kind, body, stop = self.pointed(at)
            if stop > end:
                raise ValueError("an item is longer than its list")
            yield kind, body, stop
            # an item of a TList has an option, a text of its own
            at = stop + 1 + self.data[stop]

    def info(self, at: int) -> ClassInfo:
        own_format, begin, _ = self.version(at)
        name, _, at = self.named(begin)
        checksum, version = struct.unpack_from(">Ii", self.data, at)
        head = self.data[begin : at + 8]
        _, at, _ = self.pointed(at + 8)
        array_format, array_begin, array_end = self.version(at)
        _, at = parse_text(self.data, after_tobject(self.data, array_begin))
        count, _ = struct.unpack_from(">ii", self.data, at)
        at += 8
        array = self.data[array_begin:at]
        elements = []
        for _ in range(count):
            kind, body, stop = self.pointed(at)
            if stop > array_end:
                raise ValueError("an item is longer than its list")
            elements.append((kind, body, stop))
            at = stop
        return ClassInfo(
            name,
            version,
            checksum,
            tuple(self.element(kind, body) for kind, body, _ in elements),
            (own_format, array_format),
            head,
            array,
            tuple((kind, self.data[body:stop]) for kind, body, stop in elements),
        )

    def element(self, class_name: str, at: int) -> Member:
        if class_name == "TStreamerElement":
            after = 0
        else:
            _, at, _ = self.version(at)
            _, _, after = self.version(at)
        version, at, _ = self.version(at)
        name, title, at = self.named(at)
        code, size, length, _ = struct.unpack_from(">iiii", self.data, at)
        at += 16
        if version == 1:
            (dimensions,) = struct.unpack_from(">i", self.data, at)
            at += 4 + 4 * dimensions
        else:
            at += 20
        kind, _ = parse_text(self.data, at)
        counter = b""
        if class_name in _COUNTED:
            counter, _ = parse_text(self.data, after + 4)
        return Member(code, size, length, name, title, _text(kind), _text(counter))

    def version(self, at: int) -> tuple[int, int, int]:
        """Return the version of what begins at `at`, and where its body begins and ends."""
        count, version = struct.unpack_from(">IH", self.data, at)
        if not count & BYTE_COUNT:
            raise ValueError("a part has no byte count")
        end = at + 4 + (count & ~BYTE_COUNT)
        if not at + 6 <= end <= len(self.data):
            raise ValueError("a part is longer than the whole")
        return version, at + 6, end

    def pointed(self, at: int) -> tuple[str, int, int]:
        """Return the class of the object at `at`, where it begins, and where it ends."""
        count, tag = struct.unpack_from(">II", self.data, at)
        end = at + 4 + (count & ~BYTE_COUNT)
        if not count & BYTE_COUNT or not at + 8 <= end <= len(self.data):
            raise ValueError("an object has no byte count")
        if tag != _NEW_CLASS:
            return self.class_at[(tag & ~CLASS_MASK) - self.shift], at + 8, end
        stop = self.data.index(b"\0", at + 8, end)
        self.class_at[at + 4] = _text(self.data[at + 8 : stop])
        return self.class_at[at + 4], stop + 1, end

    def named(self, at: int) -> tuple[str, str, int]:
        _, at, end = self.version(at)
        name, at = parse_text(self.data, after_tobject(self.data, at))
        title, _ = parse_text(self.data, at)
        return _text(name), _text(title), end


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
