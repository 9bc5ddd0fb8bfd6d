"""A file's bytes with guarded edges: nothing is read beyond the end, whatever a size claims."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Self

from grid.rootio.format.keys import Key, parse_key
from sitecfg.errors import CorruptFile, MissingFile

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

__all__ = ["Image"]

#: A key's head with three names of usual length; longer ones are read again.
_FIRST_LOOK = 512


class Image:
    """A local file open for guarded reading; threads may share it.

    Raises
    ------
    MissingFile
        If it can't be opened or read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # without O_NONBLOCK, opening a pipe waits for a writer
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise MissingFile(f"the file can't be opened: {error.strerror}", where=str(path)) from error
        status = os.fstat(self._file)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._file)
            raise MissingFile("it is no file", where=str(path))
        self.size = status.st_size
        self._stamp = _stamp(status)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    @property
    def changed(self) -> bool:
        """Whether somebody wrote to the file since it was opened."""
        return _stamp(os.fstat(self._file)) != self._stamp

    def where(self, what: str) -> str:
        """Return "file: what" for errors."""
        return f"{self.path}: {what}"

    def read(self, at: int, size: int, what: str) -> memoryview:
        """Return the bytes ``at <= i < at + size``.

        Raises
        ------
        CorruptFile
            If they don't lie in the file.
        MissingFile
            If they can't be read.
        """
        if at < 0 or size < 0 or at + size > self.size:
            raise CorruptFile(
                f"{what} lies at {at} and is {size} bytes long, but the file has {self.size}",
                where=str(self.path),
            )
        parts = []
        while size:
            try:
                part = os.pread(self._file, size, at)
            except OSError as error:
                raise MissingFile(
                    f"the file can't be read: {error.strerror}", where=str(self.path)
                ) from error
            if not part:
                raise CorruptFile(f"the file became shorter while {what} was read", where=str(self.path))
            parts.append(part)
            at, size = at + len(part), size - len(part)
        return memoryview(parts[0] if len(parts) == 1 else b"".join(parts))

    def read_into(self, at: int, buffer: bytearray | memoryview, what: str) -> None:
        """Fill a buffer with the bytes from `at` on; raises as :meth:`read`."""
        if at < 0 or at + len(buffer) > self.size:
            raise CorruptFile(f"{what} at {at} ends outside of the file", where=str(self.path))
        view = memoryview(buffer)
        while view:
            try:
                got = os.preadv(self._file, [view], at)
            except OSError as error:
                raise MissingFile(
                    f"the file can't be read: {error.strerror}", where=str(self.path)
                ) from error
            if not got:
                raise CorruptFile(f"the file became shorter while {what} was read", where=str(self.path))
            view, at = view[got:], at + got

    def key(self, at: int, what: str) -> Key:
        """Return the key at `at`; it lies in the file, with everything that it holds.

        Raises
        ------
        CorruptFile
            If there is none.
        """
        look = min(_FIRST_LOOK, self.size - at)
        while True:
            data = self.read(at, look, what)
            try:
                key, _ = parse_key(data)
            except ValueError as error:
                if "cut short" in str(error) and at + look < self.size and look < 1 << 17:
                    look = min(look * 8, self.size - at)
                    continue
                raise CorruptFile(f"{what} has no sound key: {error}", where=str(self.path)) from error
            break
        if key.seek != at:
            raise CorruptFile(f"the key of {what} lies at {at}, but says {key.seek}", where=str(self.path))
        if at + key.nbytes > self.size or key.nbytes <= 0:
            raise CorruptFile(
                f"{what} at {at} is {key.nbytes} bytes long, but the file has {self.size}",
                where=str(self.path),
            )
        return key


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns
