"""One supervised process: start it, see it die, start it again after a pause that fits."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Executed", "Launch", "Supervised", "pause_before"]

#: Pauses before the restarts of a process that keeps dying young, seconds; the last one is repeated.
PAUSES_S = (0.0, 0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
#: A process that lived this long did not die young, seconds.
GROWN_UP_S = 20.0
#: A log file is put aside when its process starts and it is larger than this, bytes.
LOG_LIMIT = 10_000_000


def pause_before(deaths: int) -> float:
    """Return how long to wait before a process is started that died young `deaths` times in a row, in seconds."""
    return PAUSES_S[min(deaths, len(PAUSES_S) - 1)]


class Launch(Protocol):
    """A way to start a process as a child of this one."""

    def __call__(self, name: str, output: int) -> int:
        """Start it under a name; stdout and stderr go to `output`.

        Returns
        -------
        int
            A descriptor from which its process id can be read, in decimal; empty when it could not be started.
        """
        ...


@dataclass(frozen=True, slots=True)
class Executed:
    """Start ``python -m MODULE ARGUMENT… NAME`` afresh.

    Parameters
    ----------
    arguments
        What follows ``python -m``.
    inherit
        Descriptors that it is given: the number here, and the number there.
    """

    arguments: Sequence[str]
    inherit: Mapping[int, int]

    def __call__(self, name: str, output: int) -> int:
        """Start it; see :class:`Launch`."""
        command = [sys.executable, "-P", "-m", *self.arguments, name]
        here, there = os.pipe()
        nothing = os.open(os.devnull, os.O_RDONLY)
        actions = [
            (os.POSIX_SPAWN_DUP2, old, new) for old, new in {nothing: 0, output: 1, **self.inherit}.items()
        ]
        actions.append((os.POSIX_SPAWN_DUP2, output, 2))
        try:
            child = os.posix_spawn(sys.executable, command, os.environ, file_actions=actions)
            os.write(there, str(child).encode())
        finally:
            os.close(nothing)
            os.close(there)
        return here


class Supervised:
    """A process that is kept running.

    Start it from the main thread only: the kernel ties a child to the thread that made it.

    Parameters
    ----------
    name
        Names its log file.
    launch
        How it is started.
    log
        Folder of the log.
    mark
        Makes the names of its starts unique.
    """

    def __init__(self, name: str, launch: Launch, log: Path, mark: str) -> None:
        self.name = name
        #: Its process id, once it is known and while it runs.
        self.pid: int | None = None
        self.starts = 0
        self.last_exit: int | None = None
        self._launch = launch
        self._log = log / f"{name}.log"
        self._mark = mark
        self._deaths = 0
        self._due = 0.0
        self._began = 0.0
        self._expected: int | None = None

    @property
    def incarnation(self) -> str:
        """The name of the present start; never used again."""
        return f"{self.name}.{self._mark}.{self.starts}"

    @property
    def starting(self) -> bool:
        """Whether it may live already under a number that isn't known yet."""
        return self._expected is not None

    @property
    def due(self) -> bool:
        """Whether it should be started now."""
        return self.pid is None and self._expected is None and time.monotonic() >= self._due

    def start(self) -> None:
        """Start it."""
        self.starts += 1
        self._began = time.monotonic()
        if self._log.exists() and self._log.stat().st_size > LOG_LIMIT:
            self._log.replace(self._log.with_suffix(".log.1"))
        with self._log.open("ab") as log:
            self._expected = self._launch(self.incarnation, log.fileno())
        os.set_blocking(self._expected, False)

    def descriptor(self) -> int | None:
        """Return a new descriptor that is readable when there is news: it runs, or it has ended."""
        if self._expected is not None:
            return os.dup(self._expected)
        try:
            return os.pidfd_open(self.pid) if self.pid is not None else None
        except ProcessLookupError:
            return None

    def appeared(self) -> bool:
        """Whether its process id has become known since this was last asked."""
        if self._expected is None:
            return False
        try:
            told = os.read(self._expected, 32)
        except BlockingIOError:
            return False
        os.close(self._expected)
        self._expected = None
        if told:
            self.pid = int(told)
        else:
            self._mourn(None)
        return bool(told)

    def died(self) -> bool:
        """Whether it has ended since this was last asked."""
        if self.pid is None:
            return False
        found, status = os.waitpid(self.pid, os.WNOHANG)
        if not found:
            return False
        self._mourn(os.waitstatus_to_exitcode(status))
        return True

    def end(self, number: int, timeout: float) -> None:
        """Send it a signal and wait until it has ended; ``SIGKILL`` follows when the time is up."""
        if self.pid is None:
            return
        os.kill(self.pid, number)
        deadline = time.monotonic() + timeout
        while not self.died():
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.005)

    def _mourn(self, code: int | None) -> None:
        self.pid = None
        self.last_exit = code
        now = time.monotonic()
        self._deaths = 0 if now - self._began > GROWN_UP_S else self._deaths + 1
        self._due = now + pause_before(self._deaths)
