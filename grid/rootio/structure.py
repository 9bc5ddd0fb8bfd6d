"""The skeleton of a ROOT file: header, directories and keys, each where it says it is."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grid.rootio.format.keys import Key, parse_key
from grid.rootio.format.records import DirectoryRecord, Header
from sitecfg.errors import CorruptFile, NotRootFile, TruncatedFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grid.rootio.image import Image

__all__ = ["Entry", "Skeleton", "read_header", "read_skeleton"]

_HEADER = 100
#: A key has at least its fixed fields and three empty names.
_SMALLEST_KEY = 29
_DIRECTORIES = frozenset({b"TDirectory", b"TDirectoryFile"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a directory: its path without the cycle, and the key as it lies in the file."""

    path: str
    key: Key

    @property
    def class_name(self) -> str:
        """The class of the object."""
        return self.key.class_name.decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class Skeleton:
    """What a file says about itself before any object is unpacked.

    ``extents`` are position and length of every record that was seen; ``directories`` counts the
    top one too.
    """

    header: Header
    size: int
    directories: int
    entries: tuple[Entry, ...]
    extents: tuple[tuple[int, int], ...]

    @property
    def trailing_bytes(self) -> int:
        """Bytes behind the file's own end."""
        return self.size - self.header.end

    def newest(self) -> dict[str, Entry]:
        """Return the highest cycle of each path."""
        chosen: dict[str, Entry] = {}
        for entry in self.entries:
            other = chosen.get(entry.path)
            if other is None or entry.key.cycle > other.key.cycle:
                chosen[entry.path] = entry
        return chosen


def read_skeleton(image: Image) -> Skeleton:
    """Read header, directories and keys.

    Raises
    ------
    NotRootFile
        If it is none.
    TruncatedFile
        If it ends too early, or was never closed by its writer.
    CorruptFile
        If its parts contradict each other.
    """
    header = read_header(image)
    walk = _Walk(image)
    where = image.where("the top directory")
    key = walk.key(header.begin, "the top directory")
    if not key.length <= header.nbytes_name <= key.nbytes:
        raise CorruptFile("the header and the top directory contradict each other", where=where)
    record = walk.record(header.begin + header.nbytes_name, key, where)
    if record.seek_keys == 0:
        raise TruncatedFile(
            "its writer never closed it: it has no list of keys",
            where=str(image.path),
            todo="make the file again, or recover it with ROOT and check what was lost",
        )
    walk.seen.add(header.begin)
    walk.directory(record, "")
    for seek, what in ((header.seek_info, "the streamer info"), (header.seek_free, "the list of free space")):
        if seek:
            walk.key(seek, what)
    return Skeleton(header, image.size, len(walk.seen), tuple(walk.entries), tuple(walk.extents.items()))


def read_header(image: Image) -> Header:
    """Read a file's header and hold it against the file's size; raises as :func:`read_skeleton`."""
    where = str(image.path)
    data = bytes(image.read(0, min(_HEADER, image.size), "the header"))
    if not data:
        raise TruncatedFile("it is empty", where=where)
    if not data.startswith(b"root"[: len(data)]):
        raise NotRootFile("it is no ROOT file: its first four bytes are not 'root'", where=where)
    if data[4:12].isascii() and data[4:12].decode().isprintable() and len(data) > 8:
        raise NotRootFile("it is no ROOT file, but a text that begins with 'root'", where=where)
    if len(data) < _HEADER:
        raise TruncatedFile(f"it has {len(data)} bytes; a header alone has {_HEADER}", where=where)
    header = Header.parse(data)
    if header.end > image.size:
        raise TruncatedFile(
            f"it should have {header.end} bytes, but has {image.size}",
            where=where,
            todo="copy it again from where it came from",
            expected=header.end,
            bytes=image.size,
        )
    if not 0 < header.begin < header.end:
        raise CorruptFile("its header says that it holds nothing", where=where)
    return header


class _Walk:
    """Collects keys; a directory that is reached twice is a loop."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.seen: set[int] = set()
        self.entries: list[Entry] = []
        self.extents: dict[int, int] = {}

    def key(self, at: int, what: str) -> Key:
        key = self.image.key(at, what)
        self.extents[at] = key.nbytes
        return key

    def record(self, at: int, key: Key, where: str) -> DirectoryRecord:
        room = key.seek + key.nbytes - at
        try:
            return DirectoryRecord.parse(bytes(self.image.read(at, max(0, room), "a directory")))
        except ValueError as error:
            if isinstance(error, CorruptFile):
                raise
            raise CorruptFile(str(error), where=where) from error

    def directory(self, record: DirectoryRecord, path: str) -> None:
        waiting = [(record, path)]
        while waiting:
            record, path = waiting.pop()
            for listed in self.keys(record, path or "the top directory"):
                name = listed.name.decode("utf-8", "surrogateescape")
                inside = f"{path}/{name}" if path else name
                key = self.key(listed.seek, inside)
                if (key.nbytes, key.class_name, key.name) != (
                    listed.nbytes,
                    listed.class_name,
                    listed.name,
                ):
                    raise CorruptFile(
                        "the key and its directory contradict each other", where=self.image.where(inside)
                    )
                self.entries.append(Entry(inside, key))
                if key.class_name in _DIRECTORIES:
                    if key.seek in self.seen:
                        raise CorruptFile("a directory holds itself", where=self.image.where(inside))
                    self.seen.add(key.seek)
                    below = self.record(key.seek + key.length, key, self.image.where(inside))
                    waiting.append((below, inside))

    def keys(self, record: DirectoryRecord, what: str) -> Iterator[Key]:
        """Yield the keys that a directory lists."""
        if record.seek_keys == 0:
            return
        where = self.image.where(what)
        head = self.key(record.seek_keys, f"the list of keys of {what}")
        data = self.image.read(record.seek_keys + head.length, head.packed_bytes, "a list of keys")
        if len(data) < 4:
            raise CorruptFile("a list of keys is cut short", where=where)
        (count,) = struct.unpack_from(">i", data)
        if not 0 <= count <= len(data) // _SMALLEST_KEY:
            raise CorruptFile(f"a list of keys can't hold {count} keys", where=where)
        at = 4
        for _ in range(count):
            try:
                key, at = parse_key(data, at)
            except ValueError as error:
                raise CorruptFile(f"a list of keys is unsound: {error}", where=where) from error
            yield key
