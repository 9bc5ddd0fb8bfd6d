"""Run one step in a process of its own, watch it, and tell how it ended in words."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grid.farm import forkserver
from grid.farm.following import Follower, last_lines
from grid.steps.program import signal_name
from sitecfg.errors import GridError, PayloadDied, from_json
from sitecfg.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from grid.farm.watchdog import Limits

__all__ = ["Ended", "Order", "PayloadServer"]


@dataclass(frozen=True, slots=True)
class Order:
    """What to run.

    Parameters
    ----------
    kind
        The step: ``grid.steps.<kind>``.
    spec
        What the step is given.
    limits
        What it may use.
    scratch
        Its working directory; it must exist.
    output
        The file that its stdout and stderr are appended to.
    mark
        Names the attempt, in the payload's environment and in reports.
    seed
        Seeds the random numbers of code that does not seed its own: the same for every attempt of a job, so that its
        outputs are the same, and another for every other job.
    """

    kind: str
    spec: Mapping[str, Any]
    limits: Limits
    scratch: Path
    output: Path
    mark: str
    seed: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return what the payload has to know, as plain JSON types."""
        return {
            "kind": self.kind,
            "spec": self.spec,
            "scratch": str(self.scratch),
            "mark": self.mark,
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True)
class Ended:
    """How a payload ended: with a result, or with an error and the class of failure.

    Attributes
    ----------
    measured
        ``cpu_s``, ``wall_s``, ``peak_rss`` (bytes), ``bytes_in``, ``bytes_out``.
    last_lines
        The end of what it printed.
    """

    result: dict[str, Any] | None
    error: GridError | None
    failure: str
    measured: dict[str, Any]
    last_lines: str


class PayloadServer:
    """Payload processes of one worker. Thread-safe; :meth:`run` blocks its thread for as long as the payload lives.

    The forkserver is started at once and again when it dies. When this process ends, however it ends, the
    forkserver ends its payloads and itself.

    Parameters
    ----------
    preload
        Modules that the forkserver imports before it forks.
    fresh
        This process has loaded the modules, has one thread and nothing to hide from payloads: its first forkserver
        is a fork of it, ready at once.
    """

    def __init__(self, preload: Sequence[str] = forkserver.PRELOAD, *, fresh: bool = False) -> None:
        self._preload = tuple(preload)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | _Forked | None = None
        self._control: socket.socket | None = None
        if fresh:
            self._control, self._process = _fork_server()
        self._ensure()

    def run(
        self,
        order: Order,
        *,
        tell: Callable[[int, int], None] | None = None,
        abandoned: Callable[[], bool] = lambda: False,
    ) -> Ended:
        """Run a payload to its end and return how it ended; raises nothing that the payload did.

        Parameters
        ----------
        order
            What to run.
        tell
            Called with ``(done, total)`` whenever the step reports progress.
        abandoned
            Asked a few times a second; True kills the payload.
        """
        mine, theirs = socket.socketpair()
        status, status_write = os.pipe()
        with mine, os.fdopen(status, "rb", buffering=0), order.output.open("ab") as output:
            with theirs, os.fdopen(status_write, "wb", buffering=0):
                self._request(theirs.fileno(), status_write, output.fileno())
            seen = Follower(order, output.fileno(), tell, abandoned)
            seen.follow(mine, status)
        if not seen.pid:
            self._give_up()
        return _ended(seen, order)

    def close(self) -> None:
        """Kill every payload and the forkserver; idempotent."""
        with self._lock:
            if self._control is not None:
                self._control.close()
                self._control = None
            if self._process is not None:
                self._process.wait()
                self._process = None

    def _give_up(self) -> None:
        """End a forkserver that starts nothing; the next payload gets another."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.wait()  # until it is dead it would take the next request, and lose it

    def _request(self, *descriptors: int) -> None:
        with self._lock:
            for last_try in (False, True):
                control = self._ensure()
                try:
                    socket.send_fds(control, [b"fork"], list(descriptors))
                except (BrokenPipeError, ConnectionResetError):
                    if last_try:
                        raise
                    control.close()
                    self._control = None
                else:
                    return

    def _ensure(self) -> socket.socket:
        if self._control is not None and self._process is not None and self._process.poll() is None:
            return self._control
        if self._control is not None:
            self._control.close()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "grid.farm.forkserver", str(theirs.fileno()), *self._preload],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **ONE_THREAD},
            )
        return self._control


#: A payload is one process with one thread.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}


class _Forked:
    """A child that was forked: as much of ``Popen`` as is needed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


def _fork_server() -> tuple[socket.socket, _Forked]:
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        try:
            mine.close()
            forkserver.run(theirs, ())
        finally:
            os._exit(0)
    theirs.close()
    return mine, _Forked(child)


def _ended(seen: Follower, order: Order) -> Ended:
    status = seen.status or {}
    measured: dict[str, Any] = {
        "cpu_s": round(status.get("cpu_s", seen.cpu_s), 6),
        "wall_s": round(seen.wall_s, 6),
        "peak_rss": max(seen.peak_memory, status.get("peak_rss", 0)),
        "bytes_in": seen.io.get("bytes_in", 0),
        "bytes_out": seen.io.get("bytes_out", 0),
    }
    answer = seen.answer or {}
    if seen.killed_for is None and "result" in answer and status.get("status") == 0:
        # The step may know better, for example how many bytes it read through a memory map.
        told = answer["result"].get("measured")
        known = {**measured, **told} if isinstance(told, dict) else measured
        return Ended({**answer["result"], "measured": known}, None, "", measured, "")
    error, failure = _reason(seen, order, measured["peak_rss"])
    return Ended(None, error, failure, measured, last_lines(order.output))


def _reason(seen: Follower, order: Order, peak: int) -> tuple[GridError, str]:
    host = socket.gethostname()
    facts: dict[str, Any] = {"host": host, "peak_memory": peak}
    used = f"peak memory {format_bytes(peak)} on {host}"
    if seen.killed_for is not None:
        seen.killed_for.facts.update(facts)
        return seen.killed_for, seen.failure
    if seen.answer is not None and "error" in seen.answer:
        error = from_json(seen.answer["error"])
        return error, error.failure
    if seen.status is None:
        what = "it was killed together with its forkserver" if seen.pid else "it could not be started"
        return PayloadDied(f"{what}; {used}", where=order.mark, **facts), "killed"
    code = seen.status["status"]
    if code >= 0:
        text = f"it left with exit code {code} and without a result; {used}"
        todo = "a step must return; sys.exit and os._exit lose its work"
        return PayloadDied(text, where=order.mark, todo=todo, exit_code=code, **facts), "payload"
    text = f"it was killed by signal {-code} ({signal_name(-code)}, {signal.strsignal(-code)}); {used}"
    failure = "killed" if -code in _FROM_OUTSIDE else "payload"
    return PayloadDied(text, where=order.mark, signal=-code, **facts), failure


#: Signals that somebody else sends: an operator, the kernel short of memory, a batch system.
_FROM_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
