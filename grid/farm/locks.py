"""Locks on files of a home. The kernel drops them when their holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

__all__ = ["FileLock"]

_POLL_S = 0.02


class FileLock:
    """An advisory lock (``flock``), held until released or until the process ends.

    Parameters
    ----------
    path
        The file; made if it isn't there, never removed (a removed lock file is a lock that two can hold).
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def alone(self) -> bool:
        """Take the lock exclusively if nobody holds it; returns at once."""
        return self._try(fcntl.LOCK_EX)

    def shared(self, *, patience_s: float = 0.0) -> bool:
        """Take the lock together with others; waits for an exclusive holder to let go."""
        deadline = time.monotonic() + patience_s
        while not self._try(fcntl.LOCK_SH):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def free(self) -> None:
        """Let go; the lock may be taken again."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go for good. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _try(self, how: int) -> bool:
        try:
            fcntl.flock(self._descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
