"""A file appears only complete: durable first, then under its name, and never over another."""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grid.rootio.checksums import Checksums, checksum_file
from grid.rootio.outfile import output_error
from sitecfg.errors import ClosureError
from sitecfg.points import reach

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Checksums", "Published", "checksum_file", "publish"]

_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}
_AT_FDCWD = -100
_NOREPLACE = 1


@dataclass(frozen=True, slots=True)
class Published:
    """A file under its final name: size in bytes, adler32 (8 hex digits), XXH3-128 (32 hex digits)."""

    path: Path
    bytes: int
    adler32: str
    xxh3: str


def publish(
    temp: Path,
    final: Path,
    *,
    expected: Checksums | None = None,
    proven: Checksums | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Published:
    """Give a finished file its name, durably and without ever overwriting.

    The bytes are read once more and compared with `expected`, unless they were `proven`, flushed to the disk, made
    read-only, then the name appears in one step and the folder is flushed. After a crash in the middle, calling
    it again with the same two names finishes the work.

    Parameters
    ----------
    temp
        The complete file, in the folder of `final`.
    final
        The name it gets.
    expected
        The checksums it was written with, if known.
    proven
        The checksums of what this process has just read back from it.
    progress
        Called with (bytes done, bytes in all) while the file is read.

    Raises
    ------
    OutputExists
        If `final` is taken by another file; `temp` is left as it is.
    ClosureError
        If the bytes are not those that were written: the output is at fault, not what it was made from.
    MissingFile
        If `temp` is not there.
    NoSpace, OutputError
        If the disk refuses.
    """
    sums = proven or checksum_file(temp, progress)
    if expected is not None and sums != expected:
        raise ClosureError(
            f"its checksum is {sums.adler32}, but {expected.adler32} was written",
            where=str(temp),
            todo="the disk or the memory of this host changes bytes: look there before trying again",
            host=os.uname().nodename,
        )
    try:
        _make_durable(temp)
        reach("output.durable")
        _name(temp, final)
        reach("output.named")
        _sync_folder(final.parent)
    except OSError as error:
        raise output_error(error, final) from error
    return Published(final, sums.bytes, sums.adler32, sums.xxh3)


def _make_durable(path: Path) -> None:
    path.chmod(0o444)
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _name(temp: Path, final: Path) -> None:
    try:
        final.hardlink_to(temp)
    except FileExistsError:
        # a crash after the link and before the unlink: the name is ours already
        if not os.path.samestat(final.lstat(), temp.lstat()):
            raise
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        _rename_without_replacing(temp, final)
        return
    reach("output.linked")
    temp.unlink()


def _rename_without_replacing(temp: Path, final: Path) -> None:
    """For file systems without hard links."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(temp), _AT_FDCWD, os.fsencode(final), _NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(final))


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
