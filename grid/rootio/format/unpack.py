"""Unpack blocks, testing every checksum that they carry, never making more bytes than they promise."""

from __future__ import annotations

import lzma
import struct
import threading
from typing import TYPE_CHECKING, Any, Final

from sitecfg.errors import CorruptFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Block", "blocks_of", "unpack"]

_HEAD: Final = 9
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
    return b"".join(block.data for block in blocks_of(payload, size, where))


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
        if len(payload) - at < _HEAD:
            raise CorruptFile(f"a packed object ends after {made} of {size} bytes", where=where)
        letters = bytes(payload[at : at + 2])
        packed = int.from_bytes(payload[at + 3 : at + 6], "little")
        length = int.from_bytes(payload[at + 6 : at + 9], "little")
        at += _HEAD
        if packed > len(payload) - at or length > size - made or not length:
            raise CorruptFile("a packed block is larger than its object", where=where)
        codec = _CODECS.get(letters)
        if codec is None:
            raise CorruptFile(f"no algorithm packs blocks called {letters!r}", where=where)
        try:
            data, covered = codec(payload[at : at + packed], length)
        except _failures(letters) as error:
            raise CorruptFile(
                f"a block ({letters.decode()}) does not unpack: {error}", where=where
            ) from error
        if len(data) != length:
            raise CorruptFile(f"a block unpacks to {len(data)} bytes, not {length}", where=where)
        at += packed
        made += length
        yield Block(data, packed, covered=covered)
    if at != len(payload):
        raise CorruptFile(f"{len(payload) - at} bytes follow a packed object", where=where)


def _zlib(packed: memoryview, length: int) -> tuple[bytes, bool]:
    from isal import isal_zlib

    # the adler32 at a stream's end is tested by the codec
    return _inflated(packed, length, isal_zlib.decompressobj()), True


def _deflate(packed: memoryview, length: int) -> tuple[bytes, bool]:
    """Unpack a block of ROOT's first algorithm: a bare stream, without a checksum."""
    from isal import isal_zlib

    return _inflated(packed, length, isal_zlib.decompressobj(wbits=-15)), False


def _inflated(packed: memoryview, length: int, decoder: Any) -> bytes:
    data: bytes = decoder.decompress(packed, length + 1)
    if len(data) == length and not decoder.eof:
        data += decoder.decompress(decoder.unconsumed_tail, 1)
    if not decoder.eof or decoder.unused_data:
        raise ValueError("the stream does not end where it should")
    return data


def _lz4(packed: memoryview, length: int) -> tuple[bytes, bool]:
    import lz4.block
    from xxhash import xxh64_intdigest

    if len(packed) < 8:
        raise ValueError("it is too short for its checksum")
    if xxh64_intdigest(packed[8:]) != struct.unpack_from(">Q", packed)[0]:
        raise ValueError("its xxh64 does not match")
    data: bytes = lz4.block.decompress(packed[8:], uncompressed_size=length)
    return data, True


def _zstd(packed: memoryview, length: int) -> tuple[bytes, bool]:
    import zstandard

    frame = zstandard.get_frame_parameters(packed)
    if frame.content_size not in {length, _UNKNOWN}:
        raise ValueError(f"its frame holds {frame.content_size} bytes, not {length}")
    decoder: Any = getattr(_local, "zstd", None)
    if decoder is None:
        decoder = _local.zstd = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    data: bytes = decoder.decompress(packed, max_output_size=length, allow_extra_data=False)
    return data, bool(frame.has_checksum)


def _lzma(packed: memoryview, length: int) -> tuple[bytes, bool]:
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY)
    data = decoder.decompress(packed, length + 1)
    if not decoder.eof:
        data += decoder.decompress(b"", 1)
    if not decoder.eof or decoder.unused_data:
        raise ValueError("the stream does not end where it should")
    return data, decoder.check != lzma.CHECK_NONE


_CODECS: Final[dict[bytes, Callable[[memoryview, int], tuple[bytes, bool]]]] = {
    b"ZL": _zlib,
    b"CS": _deflate,
    b"L4": _lz4,
    b"ZS": _zstd,
    b"XZ": _lzma,
}


def _failures(letters: bytes) -> tuple[type[Exception], ...]:
    """Return the exceptions with which a codec says that bytes are wrong."""
    if letters in {b"ZL", b"CS"}:
        from isal import isal_zlib

        return (ValueError, isal_zlib.error)  # type: ignore[return-value]  # its stubs call it an instance
    if letters == b"L4":
        import lz4.block

        return (ValueError, lz4.block.LZ4BlockError)
    if letters == b"ZS":
        import zstandard

        return (ValueError, zstandard.ZstdError)
    return (ValueError, lzma.LZMAError, EOFError)
