"""The anchor of an RNTuple: what its key holds; the only part of it that is big endian."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from grid.rootio.format.envelopes import CHECKSUM
from sitecfg.errors import CorruptFile, UnsupportedContent

__all__ = ["ANCHOR_CLASS", "Anchor"]

ANCHOR_CLASS: Final = "ROOT::RNTuple"
_ANCHOR: Final = struct.Struct(">IHHHHHQQQQQQQ")
_CLASS_VERSION: Final = 2
_BYTE_COUNT: Final = 0x40000000


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where header and footer lie: position, packed and unpacked size; ``largest`` is the most that a key holds."""

    version: tuple[int, int, int, int]
    header: tuple[int, int, int]
    footer: tuple[int, int, int]
    largest: int

    @classmethod
    def parse(cls, data: bytes, where: str) -> Anchor:
        """Read an anchor and test its checksum.

        Raises
        ------
        CorruptFile, UnsupportedContent
            If it is unsound, or older than version 1 of the format.
        """
        import xxhash

        if len(data) >= 8 and struct.unpack_from(">H", data, 6)[0] < 1:
            raise UnsupportedContent(
                "it is an RNTuple from before version 1 of the format",
                where=where,
                todo="write it again with ROOT 6.34 or later",
            )
        if len(data) < _ANCHOR.size + CHECKSUM:
            raise CorruptFile("the anchor is cut short", where=where)
        _, _, epoch, major, minor, patch, *sizes, largest = _ANCHOR.unpack_from(data)
        (stored,) = struct.unpack_from(">Q", data, _ANCHOR.size)
        if xxhash.xxh3_64_intdigest(data[6 : _ANCHOR.size]) != stored:
            raise CorruptFile("the xxh3 of the anchor does not match", where=where)
        if epoch != 1:
            raise UnsupportedContent(f"it is an RNTuple of epoch {epoch}; known is 1", where=where)
        version = epoch, major, minor, patch
        return cls(version, (sizes[0], sizes[1], sizes[2]), (sizes[3], sizes[4], sizes[5]), largest)

    def encode(self) -> bytes:
        """Return the anchor's bytes."""
        import xxhash

        count = _BYTE_COUNT | (_ANCHOR.size - 4)
        data = _ANCHOR.pack(count, _CLASS_VERSION, *self.version, *self.header, *self.footer, self.largest)
        return data + struct.pack(">Q", xxhash.xxh3_64_intdigest(data[6:]))
