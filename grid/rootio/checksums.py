"""Whole-file checksums: adler32, the field's common coin, and XXH3-128."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernels.adler import hex8
from sitecfg.errors import MissingFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Checksums", "checksum_file"]

_STEP = 4 << 20


@dataclass(frozen=True, slots=True)
class Checksums:
    """The size of a file in bytes, its adler32 (8 hex digits) and its XXH3-128 (32 hex digits)."""

    bytes: int
    adler32: str
    xxh3: str


def checksum_file(path: Path, progress: Callable[[int, int], None] | None = None) -> Checksums:
    """Read a file once, from the beginning to its end, and return its checksums.

    Parameters
    ----------
    path
        A local file.
    progress
        Called with (bytes done, bytes in all) every few megabytes.

    Raises
    ------
    MissingFile
        If the file can't be opened or read.
    """
    import xxhash
    from isal.isal_zlib import adler32

    strong, weak, done = xxhash.xxh3_128(), 1, 0
    buffer = bytearray(_STEP)
    view = memoryview(buffer)
    try:
        with path.open("rb", buffering=0) as file:
            total = file.seek(0, 2)
            file.seek(0)
            while got := file.readinto(buffer):
                part = view[:got]
                strong.update(part)
                weak = adler32(part, weak)
                done += got
                if progress is not None:
                    progress(done, total)
    except OSError as error:
        raise MissingFile(f"the file can't be read: {error.strerror}", where=str(path)) from error
    return Checksums(done, hex8(weak), strong.hexdigest())
