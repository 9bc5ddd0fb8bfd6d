"""Compressed blocks: the frames of at most 16 MB in which an object's bytes are packed."""

from __future__ import annotations

import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sitecfg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Compression", "pack"]

#: The most bytes, packed or not, that one block can hold.
BLOCK: Final = 0xFFFFFF
HEAD: Final = 9
#: ROOT's number of each algorithm, the two letters of its blocks, and its method byte.
ALGORITHMS: Final = {
    "zlib": (1, b"ZL", 8),
    "lzma": (2, b"XZ", 0),
    "lz4": (4, b"L4", 1),
    "zstd": (5, b"ZS", 1),
}
_DEFAULT_LEVELS: Final = {"zlib": 1, "lzma": 8, "lz4": 4, "zstd": 5}
_local = threading.local()


@dataclass(frozen=True, slots=True)
class Compression:
    """An algorithm and the level that its own library knows (1 to 9; 0 stores the bytes as they are)."""

    algorithm: str
    level: int

    @classmethod
    def parse(cls, spelled: str) -> Compression:
        """Read ``"zstd:5"``, ``"zlib"`` (default level) or ``"none"``.

        Raises
        ------
        ConfigError
            If there is no such algorithm or level.
        """
        algorithm, _, level = spelled.strip().lower().partition(":")
        if algorithm == "none" and level in {"", "0"}:
            return cls("zlib", 0)
        number = int(level) if level.isdecimal() else _DEFAULT_LEVELS.get(algorithm, 0) if not level else -1
        if algorithm not in ALGORITHMS or not 0 <= number <= 9:
            raise ConfigError(
                f"no compression is called {spelled!r}",
                todo=f"name one of {', '.join(ALGORITHMS)} and a level from 1 to 9, as in zstd:5; or none",
            )
        return cls(algorithm, number)

    @classmethod
    def of_word(cls, word: int) -> Compression:
        """Return what a number that ROOT stored means; a level that nobody knows is the highest."""
        number, level = divmod(max(0, word), 100)
        names = {known: name for name, (known, _, _) in ALGORITHMS.items()}
        return cls(names.get(number, "zlib"), min(level, 9))

    @property
    def word(self) -> int:
        """The number that ROOT stores: 100 times the algorithm plus the level."""
        return ALGORITHMS[self.algorithm][0] * 100 + self.level if self.level else 0

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.level}" if self.level else "none"


def pack(data: bytes | bytearray, compression: Compression) -> bytes:
    """Return `data` in blocks, or `data` itself where packing does not make it smaller.

    The bytes depend on nothing but the arguments and the codec's library. Releases the GIL while packing.
    """
    if not compression.level or len(data) <= HEAD + 8:
        return bytes(data)
    _, letters, method = ALGORITHMS[compression.algorithm]
    squeeze = _squeezer(compression)
    blocks = []
    for start in range(0, len(data), BLOCK):
        part = data[start : start + BLOCK] if len(data) > BLOCK else data
        packed = squeeze(part)
        if len(packed) > BLOCK:
            return bytes(data)
        blocks.append(
            letters + bytes((method,)) + len(packed).to_bytes(3, "little") + len(part).to_bytes(3, "little")
        )
        blocks.append(packed)
    size = sum(map(len, blocks))
    # an object as long as its unpacked self means "not packed" to every reader
    return b"".join(blocks) if size < len(data) else bytes(data)


def _squeezer(compression: Compression) -> Callable[[bytes | bytearray], bytes]:
    """Return this thread's packing function; the codecs' contexts are kept, not shared."""
    known: dict[Compression, Callable[[bytes | bytearray], bytes]] | None = getattr(_local, "squeezers", None)
    if known is None:
        known = _local.squeezers = {}
    if compression not in known:
        known[compression] = _MAKERS[compression.algorithm](compression.level)
    return known[compression]


def _zlib(level: int) -> Callable[[bytes | bytearray], bytes]:
    import zlib

    return lambda data: zlib.compress(data, level)


def _lzma(level: int) -> Callable[[bytes | bytearray], bytes]:
    import lzma

    return lambda data: lzma.compress(data, lzma.FORMAT_XZ, lzma.CHECK_CRC32, level)


def _zstd(level: int) -> Callable[[bytes | bytearray], bytes]:
    import zstandard

    # ROOT's own frames carry no checksum, so that a flipped bit may unpack; its reader tests the one in ours.
    compress: Callable[[bytes | bytearray], bytes] = zstandard.ZstdCompressor(
        level=level, write_checksum=True
    ).compress
    return compress


def _lz4(level: int) -> Callable[[bytes | bytearray], bytes]:
    import lz4.block
    from xxhash import xxh64_intdigest

    options: dict[str, Any] = {"mode": "high_compression", "compression": level} if level >= 4 else {}

    def squeeze(data: bytes | bytearray) -> bytes:
        packed: bytes = lz4.block.compress(data, store_size=False, **options)
        return struct.pack(">Q", xxh64_intdigest(packed)) + packed

    return squeeze


_MAKERS: Final = {"zlib": _zlib, "lzma": _lzma, "zstd": _zstd, "lz4": _lz4}
