"""Whole-file checksums: adler32, the field's common coin, and XXH3-128."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernels.adler import hex8
from sitecfg.errors import CorruptFile, MissingFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["Checksums", "checksum_file", "checksums_of", "compare"]

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


def compare(found: Checksums, known: Mapping[str, Any], *, where: str) -> None:
    """Hold a file's size and checksums against those that the catalog knows.

    Parameters
    ----------
    found
        Those of the file.
    known
        ``bytes``, ``adler32`` and ``xxh3``; None where the catalog doesn't know.
    where
        What the file is called in the error.

    Raises
    ------
    CorruptFile
        They differ: the copy was damaged or replaced.
    """
    for what in ("bytes", "adler32", "xxh3"):
        if known[what] is not None and getattr(found, what) != known[what]:
            raise CorruptFile(
                f"its {what} is {getattr(found, what)}, the catalog has {known[what]}",
                where=where,
                todo="the copy was damaged or replaced: take another copy, or declare it as a new file",
            )


def checksums_of(paths: Sequence[Path], known: Sequence[Mapping[str, Any]] = ()) -> list[Checksums]:
    """Return the checksums of files, held against what the catalog knows of them, if it is given.

    Raises
    ------
    CorruptFile, MissingFile
        As :func:`compare` and :func:`checksum_file`.
    """
    found = [checksum_file(path) for path in paths]
    if known:
        for path, one, said in zip(paths, found, known, strict=True):
            compare(one, said, where=str(path))
    return found
