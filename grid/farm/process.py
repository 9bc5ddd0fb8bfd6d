"""One supervised process: start it, see it die, start it again after a pause that fits."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Supervised", "pause_before"]

#: Pauses before the restarts of a process that keeps dying young, seconds; the last one is repeated.
PAUSES_S = (0.0, 0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
#: A process that lived this long did not die young, seconds.
GROWN_UP_S = 20.0
#: A log file is put aside when its process starts and it is larger than this, bytes.
LOG_LIMIT = 10_000_000


def pause_before(deaths: int) -> float:
    """Return how long to wait before a process is started that died young `deaths` times in a row, in seconds."""
    return PAUSES_S[min(deaths, len(PAUSES_S) - 1)]


@dataclass(slots=True)
class Supervised:
    """A process that is kept running.

    Parameters
    ----------
    name
        Names its log file.
    arguments
        What follows ``python -m``; the last is the name of this one start.
    log
        Folder of the log.
    inherit
        Descriptors that it is given.
    mark
        Makes the names of its starts unique.
    """

    name: str
    arguments: Sequence[str]
    log: Path
    mark: str
    inherit: tuple[int, ...] = ()
    starts: int = 0
    deaths: int = 0
    last_exit: int | None = None
    due: float = 0.0
    _began: float = 0.0
    _process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def incarnation(self) -> str:
        """The name of the present start; never used again."""
        return f"{self.name}.{self.mark}.{self.starts}"

    @property
    def pid(self) -> int | None:
        """Its process id, if it runs."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start it. From the main thread only: the kernel ties a child to the thread that made it."""
        self.starts += 1
        path = self.log / f"{self.name}.log"
        if path.exists() and path.stat().st_size > LOG_LIMIT:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self.arguments, self.incarnation],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=self.inherit,
            )
        self._began = time.monotonic()

    def died(self) -> bool:
        """Whether it has ended since it was started; True once for each start."""
        if self._process is None or self._process.poll() is None:
            return False
        self.last_exit = self._process.returncode
        self._process = None
        now = time.monotonic()
        self.deaths = 0 if now - self._began > GROWN_UP_S else self.deaths + 1
        self.due = now + pause_before(self.deaths)
        return True

    def stop(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self, timeout: float) -> bool:
        """Wait until it has ended; False when the time is up."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def watch(self) -> int | None:
        """Return a descriptor that becomes readable when it ends; None when it has."""
        try:
            return os.pidfd_open(self._process.pid) if self._process is not None else None
        except ProcessLookupError:
            return None
