"""Unpack blocks, testing every checksum that they carry, never making more bytes than they promise."""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sitecfg.errors import CorruptFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    _Loaded = tuple[Callable[[memoryview, int], tuple[bytes, bool]], tuple[type[Exception], ...]]

__all__ = ["Block", "blocks_of", "seals", "unpack", "unpack_block", "unpack_covered"]

_HEAD: Final = 9
_SEAL: Final = 8
_LZ4: Final = b"L4"
_LZMA_MEMORY: Final = 512 << 20
#: The frame of a zstd block says that its length is not known.
_UNKNOWN: Final = (1 << 64) - 1
_local = threading.local()


class Block:
    """One unpacked block: its ``data``, the ``packed`` bytes it took, and whether a checksum covers it."""

    __slots__ = ("covered", "data", "packed")

    def __init__(self, data: bytes, packed: int, *, covered: bool) -> None:
        self.data = data
        self.packed = packed
        self.covered = covered


def unpack(payload: memoryview, size: int, where: str) -> bytes:
    """Return the `size` bytes that `payload` holds. Raises as :func:`blocks_of`."""
    return unpack_covered(payload, size, where)[0]


def unpack_covered(payload: memoryview, size: int, where: str) -> tuple[bytes, int]:
    """Return the `size` bytes that `payload` holds, and how many of it checksums cover. Raises as :func:`blocks_of`."""
    if len(payload) == size:
        return bytes(payload), 0
    at = made = sealed = 0
    parts = []
    while made < size:
        data, packed, covered = _block(payload, at, made, size, where)
        at += _HEAD + packed
        made += len(data)
        sealed += packed if covered else 0
        parts.append(data)
    _ends(payload, at, where)
    return parts[0] if len(parts) == 1 else b"".join(parts), sealed


def blocks_of(payload: memoryview, size: int, where: str) -> Iterator[Block]:
    """Yield the blocks of an object whose unpacked length is `size`, one at a time.

    Parameters
    ----------
    payload
        The bytes after the key; as long as `size` if they are not packed at all.
    size
        The object's length.
    where
        File and key, for errors.

    Raises
    ------
    CorruptFile
        If lengths or checksums contradict each other.
    """
    if len(payload) == size:
        yield Block(bytes(payload), 0, covered=False)
        return
    at = made = 0
    while made < size:
        data, packed, covered = _block(payload, at, made, size, where)
        at += _HEAD + packed
        made += len(data)
        yield Block(data, packed, covered=covered)
    _ends(payload, at, where)


def seals(payload: memoryview, size: int, where: str) -> int:
    """Follow the blocks of an object, and test the checksums that need no unpacking; return the bytes they cover.

    Raises as :func:`blocks_of`.
    """
    if len(payload) == size:
        return 0
    at = made = sealed = 0
    while made < size:
        letters, packed, length = _head(payload, at, made, size, where)
        if letters == _LZ4:
            try:
                _sealed_lz4(payload[at + _HEAD : at + _HEAD + packed])
            except ValueError as error:
                raise CorruptFile(f"a block (L4) is unsound: {error}", where=where) from error
            sealed += packed
        at += _HEAD + packed
        made += length
    _ends(payload, at, where)
    return sealed


def _head(payload: memoryview, at: int, made: int, size: int, where: str) -> tuple[bytes, int, int]:
    """Return the algorithm of the block at `at`, its packed length, and its own."""
    room = len(payload) - at - _HEAD
    if room < 0:
        raise CorruptFile(f"a packed object ends after {made} of {size} bytes", where=where)
    head = bytes(payload[at : at + _HEAD])
    letters = head[:2]
    packed = int.from_bytes(head[3:6], "little")
    length = int.from_bytes(head[6:], "little")
    if packed > room or length > size - made or not length:
        raise CorruptFile("a packed block is larger than its object", where=where)
    if letters not in _CODECS:
        raise CorruptFile(f"no algorithm packs blocks called {letters!r}", where=where)
    return letters, packed, length


def unpack_block(letters: bytes, packed: memoryview, length: int, where: str) -> tuple[bytes, bool]:
    """Unpack one block; return its `length` bytes, and whether a checksum covers it. Raises as :func:`blocks_of`."""
    codec, failures = _codec(letters)
    try:
        data, covered = codec(packed, length)
    except failures as error:
        raise CorruptFile(f"a block ({letters.decode()}) does not unpack: {error}", where=where) from error
    if len(data) != length:
        raise CorruptFile(f"a block unpacks to {len(data)} bytes, not {length}", where=where)
    return data, covered


def _block(payload: memoryview, at: int, made: int, size: int, where: str) -> tuple[bytes, int, bool]:
    """Unpack the block at `at`; return its data, its packed length, and whether a checksum covers it."""
    letters, packed, length = _head(payload, at, made, size, where)
    at += _HEAD
    data, covered = unpack_block(letters, payload[at : at + packed], length, where)
    return data, packed, covered


def _ends(payload: memoryview, at: int, where: str) -> None:
    if at != len(payload):
        raise CorruptFile(f"{len(payload) - at} bytes follow a packed object", where=where)


def _zlib() -> _Loaded:
    from isal import isal_zlib

    def unpack_one(packed: memoryview, length: int) -> tuple[bytes, bool]:
        # the adler32 at a stream's end is tested by the codec
        return _inflated(packed, length, isal_zlib.decompressobj()), True

    return unpack_one, (ValueError, isal_zlib.error)  # type: ignore[return-value]  # its stubs call it an instance


def _deflate() -> _Loaded:
    """Load ROOT's first algorithm: a bare stream, without a checksum."""
    from isal import isal_zlib

    def unpack_one(packed: memoryview, length: int) -> tuple[bytes, bool]:
        return _inflated(packed, length, isal_zlib.decompressobj(wbits=-15)), False

    return unpack_one, (ValueError, isal_zlib.error)  # type: ignore[return-value]  # as above


def _inflated(packed: memoryview, length: int, decoder: Any) -> bytes:
    data: bytes = decoder.decompress(packed, length + 1)
    if len(data) == length and not decoder.eof:
        data += decoder.decompress(decoder.unconsumed_tail, 1)
    if not decoder.eof or decoder.unused_data:
        raise ValueError("the stream does not end where it should")
    return data


def _sealed_lz4(packed: memoryview) -> memoryview:
    """Return what follows the checksum of an lz4 block, which holds."""
    from xxhash import xxh64_digest

    if len(packed) < _SEAL:
        raise ValueError("it is too short for its checksum")
    body = packed[_SEAL:]
    if xxh64_digest(body) != packed[:_SEAL]:
        raise ValueError("its xxh64 does not match")
    return body


def _lz4() -> _Loaded:
    from lz4.block import LZ4BlockError, decompress

    def unpack_one(packed: memoryview, length: int) -> tuple[bytes, bool]:
        return decompress(_sealed_lz4(packed), uncompressed_size=length), True

    return unpack_one, (ValueError, LZ4BlockError)


def _zstd() -> _Loaded:
    import zstandard

    def unpack_one(packed: memoryview, length: int) -> tuple[bytes, bool]:
        frame = zstandard.get_frame_parameters(packed)
        if frame.content_size not in {length, _UNKNOWN}:
            raise ValueError(f"its frame holds {frame.content_size} bytes, not {length}")
        decoder: Any = getattr(_local, "zstd", None)
        if decoder is None:
            decoder = _local.zstd = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        data: bytes = decoder.decompress(packed, max_output_size=length, allow_extra_data=False)
        return data, bool(frame.has_checksum)

    return unpack_one, (ValueError, zstandard.ZstdError)


def _lzma() -> _Loaded:
    import lzma

    def unpack_one(packed: memoryview, length: int) -> tuple[bytes, bool]:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY)
        data = decoder.decompress(packed, length + 1)
        if not decoder.eof:
            data += decoder.decompress(b"", 1)
        if not decoder.eof or decoder.unused_data:
            raise ValueError("the stream does not end where it should")
        return data, decoder.check != lzma.CHECK_NONE

    return unpack_one, (ValueError, lzma.LZMAError, EOFError)


_CODECS: Final[dict[bytes, Callable[[], _Loaded]]] = {
    b"ZL": _zlib,
    b"CS": _deflate,
    _LZ4: _lz4,
    b"ZS": _zstd,
    b"XZ": _lzma,
}


@cache
def _codec(letters: bytes) -> _Loaded:
    """Load an algorithm: what unpacks a block to a length and says whether a checksum covered it, and how it fails."""
    return _CODECS[letters]()
