"""The records that hold a file together: header, directory, list of keys, list of free space."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from grid.rootio.format.keys import BIG

__all__ = ["DirectoryRecord", "Header", "free_list"]

#: Where the first key lies.
BEGIN = 100
_MAGIC = b"root"
#: The version of ROOT whose layout is written here.
LAYOUT = 64000
_DIRECTORY_SMALL = struct.Struct(">HIIiiiii")
_DIRECTORY_BIG = struct.Struct(">HIIiiqqq")


@dataclass(frozen=True, slots=True)
class Header:
    """The first 100 bytes of a file."""

    end: int
    seek_free: int
    nbytes_free: int
    free_segments: int
    nbytes_name: int
    compression: int
    seek_info: int
    nbytes_info: int
    uuid: bytes
    big: bool = False
    version: int = LAYOUT
    begin: int = BEGIN

    def encode(self) -> bytes:
        """Return exactly 100 bytes."""
        layout = ">4siiqqiiiBiqi" if self.big else ">4siiiiiiiBiii"
        head = struct.pack(
            layout,
            _MAGIC,
            self.version + (1_000_000 if self.big else 0),
            self.begin,
            self.end,
            self.seek_free,
            self.nbytes_free,
            self.free_segments,
            self.nbytes_name,
            8 if self.big else 4,
            self.compression,
            self.seek_info,
            self.nbytes_info,
        )
        return (head + struct.pack(">H", 1) + self.uuid).ljust(BEGIN, b"\0")

    @classmethod
    def parse(cls, data: bytes) -> Header:
        """Read a header.

        Raises
        ------
        ValueError
            If it is none.
        """
        if data[:4] != _MAGIC:
            raise ValueError("the first four bytes are not 'root'")
        if len(data) < 64:
            raise ValueError("the header is cut short")
        version, begin = struct.unpack_from(">ii", data, 4)
        big = version >= 1_000_000
        layout = struct.Struct(">qqiiiBiqi" if big else ">iiiiiBiii")
        end, seek_free, nbytes_free, segments, nbytes_name, _, compression, seek_info, nbytes_info = (
            layout.unpack_from(data, 12)
        )
        uuid = data[12 + layout.size + 2 : 12 + layout.size + 18]
        return cls(
            end,
            seek_free,
            nbytes_free,
            segments,
            nbytes_name,
            compression,
            seek_info,
            nbytes_info,
            bytes(uuid),
            big,
            version % 1_000_000,
            begin,
        )


@dataclass(frozen=True, slots=True)
class DirectoryRecord:
    """What a directory says about itself."""

    created: int
    modified: int
    nbytes_keys: int
    nbytes_name: int
    seek: int
    parent: int
    seek_keys: int
    uuid: bytes = bytes(16)
    big: bool = False

    #: Room that any record takes, so that it can be rewritten in place.
    SIZE = 60

    def encode(self) -> bytes:
        """Return exactly ``SIZE`` bytes."""
        layout = _DIRECTORY_BIG if self.big else _DIRECTORY_SMALL
        head = layout.pack(
            1005 if self.big else 5,
            self.created,
            self.modified,
            self.nbytes_keys,
            self.nbytes_name,
            self.seek,
            self.parent,
            self.seek_keys,
        )
        return (head + struct.pack(">H", 1) + self.uuid).ljust(self.SIZE, b"\0")

    @classmethod
    def parse(cls, data: bytes) -> DirectoryRecord:
        """Read a record.

        Raises
        ------
        ValueError
            If the bytes end too early.
        """
        if len(data) < _DIRECTORY_SMALL.size:
            raise ValueError("a directory is cut short")
        big = struct.unpack_from(">H", data)[0] > 1000
        layout = _DIRECTORY_BIG if big else _DIRECTORY_SMALL
        if len(data) < layout.size:
            raise ValueError("a directory is cut short")
        _, created, modified, nbytes_keys, nbytes_name, seek, parent, seek_keys = layout.unpack_from(data)
        uuid = bytes(data[layout.size + 2 : layout.size + 18])
        return cls(created, modified, nbytes_keys, nbytes_name, seek, parent, seek_keys, uuid, big)


def free_list(end: int, big_from: int = BIG) -> bytes:
    """Return the list of free space of a file without gaps that ends at `end`."""
    if end <= big_from:
        return struct.pack(">Hii", 1, end, BIG)
    return struct.pack(">Hqq", 1001, end, end + 1_000_000_000)
