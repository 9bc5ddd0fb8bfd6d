"""A file that is written once, from front to back, with holes that are filled at the end."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from sitecfg.errors import NoSpace, OutputError, OutputExists

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["OutFile", "output_error"]

#: There is one for each stream of a split.
_BUFFER = 1 << 20


def output_error(error: OSError, path: Path) -> OutputError:
    """Return what an operating-system error on an output means to us."""
    reason = error.strerror or str(error)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return NoSpace(
            f"there is no room left: {reason}", where=str(path), todo="free space, or write elsewhere"
        )
    if error.errno == errno.EEXIST:
        return OutputExists(
            "the name is taken", where=str(path), todo="nothing is ever overwritten: choose another"
        )
    return OutputError(f"it can't be written: {reason}", where=str(path))


class OutFile:
    """A new file; its adler32 is known when it is finished, without reading it again.

    Parameters
    ----------
    path
        It must not exist.

    Raises
    ------
    OutputExists, NoSpace, OutputError
        From every method that writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._holes: dict[int, int] = {}
        #: (adler32, length) of each stretch: what was written, hole, what was written ...
        self._stretches: list[tuple[int, int] | int] = []
        self._adler, self._since = 1, 0
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise output_error(error, path) from error

    def append(self, *parts: bytes) -> int:
        """Append bytes; return where they begin."""
        start = self.position
        for part in parts:
            self._pending.append(part)
            self._pending_bytes += len(part)
            self.position += len(part)
        if self._pending_bytes >= _BUFFER:
            self._drain()
        return start

    def reserve(self, size: int) -> int:
        """Leave a hole of `size` bytes for :meth:`finish` to fill; return where it begins."""
        self._drain()
        self._stretches += [(self._adler, self._since), self.position]
        self._adler, self._since = 1, 0
        self._holes[self.position] = size
        start = self.position
        try:
            os.lseek(self._file, size, os.SEEK_CUR)
        except OSError as error:
            raise output_error(error, self.path) from error
        self.position += size
        return start

    def region(self, size: int) -> int:
        """Leave room for `size` bytes that :meth:`put` writes; return where it begins."""
        self._drain()
        self._stretches.append((self._adler, self._since))
        self._adler, self._since = 1, 0
        start = self.position
        try:
            if size:
                os.posix_fallocate(self._file, start, size)
            os.lseek(self._file, size, os.SEEK_CUR)
        except OSError as error:
            raise output_error(error, self.path) from error
        self.position += size
        return start

    def put(self, data: memoryview, place: int) -> None:
        """Write into a region; threads may do so at once."""
        try:
            _write_at(self._file, data, place)
        except OSError as error:
            raise output_error(error, self.path) from error

    def region_done(self, adler: int, size: int) -> None:
        """Say what the region that was made last holds: its adler32."""
        self._stretches.append((adler, size))

    def finish(self, holes: dict[int, bytes]) -> int:
        """Fill the holes, the first one last, make it durable and close; return the file's adler32."""
        from isal.isal_zlib import adler32

        from kernels.adler import combine

        self._drain()
        self._stretches.append((self._adler, self._since))
        if {place: len(data) for place, data in holes.items()} != self._holes:
            raise AssertionError("holes and fillings differ")
        try:
            for place in sorted(holes, reverse=True):
                _write_at(self._file, holes[place], place)
            os.fsync(self._file)
        except OSError as error:
            raise output_error(error, self.path) from error
        finally:
            self.close()
        total = 1
        for stretch in self._stretches:
            adler, size = (
                (adler32(holes[stretch]), len(holes[stretch])) if isinstance(stretch, int) else stretch
            )
            total = combine(total, adler, size)
        return total

    def close(self) -> None:
        """Close the file as it is; calling it again does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _drain(self) -> None:
        from isal.isal_zlib import adler32

        data = b"".join(self._pending)
        self._pending, self._pending_bytes = [], 0
        self._adler = adler32(data, self._adler)
        self._since += len(data)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            raise output_error(error, self.path) from error


def _write_at(file: int, data: bytes | memoryview, place: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(file, view, place)
        view, place = view[done:], place + done
