"""Run one step in a process of its own, watch it, and tell how it ended in words."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from grid.farm import forkserver, leash
from grid.farm.watchdog import judge, memory_of
from sitecfg.errors import GridError, LimitExceeded, PayloadDied, from_json
from sitecfg.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from grid.farm.watchdog import Limits

__all__ = ["Ended", "Order", "PayloadServer"]

#: Seconds between two looks at a payload's memory.
LOOK_EVERY = 0.2
#: A payload's output file is cut when it gets longer than this, bytes.
OUTPUT_LIMIT = 16_000_000
#: How much of its end goes into the report of a failure.
LAST_LINES = 50
LAST_BYTES = 8_000


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


@dataclass(slots=True)
class _Watched:
    """What is known of a running payload; filled line by line."""

    started: float
    heard: float
    pid: int = 0
    progress: tuple[int, int] = (0, 0)
    peak_rss: int = 0
    io: dict[str, int] = field(default_factory=dict)
    answer: dict[str, Any] | None = None
    status: dict[str, Any] | None = None
    killed_for: GridError | None = None
    failure: str = ""


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
        output = os.open(order.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            with theirs:
                self._request(theirs.fileno(), status_write, output)
            os.close(status_write)
            with mine:
                watched = _watch(mine, status, output, order, tell, abandoned)
        finally:
            os.close(status)
            os.close(output)
        return _ended(watched, order)

    def close(self) -> None:
        """Kill every payload and the forkserver; idempotent."""
        with self._lock:
            if self._control is not None:
                self._control.close()
                self._control = None
            if self._process is not None:
                self._process.wait()
                self._process = None

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


def _watch(
    channel: socket.socket,
    status: int,
    output: int,
    order: Order,
    tell: Callable[[int, int], None] | None,
    abandoned: Callable[[], bool],
) -> _Watched:
    """Follow a payload until the forkserver says that it is dead, or is dead itself."""
    now = time.monotonic()
    watched = _Watched(started=now, heard=now)
    sent = json.dumps(
        {
            "kind": order.kind,
            "spec": order.spec,
            "scratch": str(order.scratch),
            "mark": order.mark,
            "seed": order.seed,
        }
    ).encode()
    waiting = memoryview(sent + b"\n")
    lines = {channel.fileno(): bytearray(), status: bytearray()}
    channel.setblocking(False)
    look = now + LOOK_EVERY
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ | selectors.EVENT_WRITE)
        selector.register(status, selectors.EVENT_READ)
        while status in lines:
            for key, events in selector.select(max(0.0, look - time.monotonic())):
                if events & selectors.EVENT_WRITE:
                    waiting = _send(channel, waiting)
                    if not waiting:
                        selector.modify(channel, selectors.EVENT_READ)
                if events & selectors.EVENT_READ and not _read(key.fd, lines[key.fd], watched, tell):
                    selector.unregister(key.fd)
                    del lines[key.fd]
            if time.monotonic() >= look:
                look = time.monotonic() + LOOK_EVERY
                _look(watched, order, output, abandoned)
        # Dead: what it said last may still stand in the socket.
        while channel.fileno() in lines and _read(channel.fileno(), lines[channel.fileno()], watched, tell):
            pass
    return watched


def _send(channel: socket.socket, waiting: memoryview) -> memoryview:
    try:
        return waiting[channel.send(waiting) :]
    except BlockingIOError:
        return waiting
    except (BrokenPipeError, ConnectionResetError):
        return waiting[:0]  # it died before it read its order; the status will say so


def _read(
    descriptor: int, buffer: bytearray, watched: _Watched, tell: Callable[[int, int], None] | None
) -> bool:
    """Take what there is; return False at the end."""
    try:
        piece = os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        piece = b""
    buffer += piece
    if b"\n" in piece:
        *whole, rest = buffer.split(b"\n")
        buffer[:] = rest
        for line in whole:
            _hear(json.loads(line), watched, tell)
    return bool(piece)


def _hear(message: dict[str, Any], watched: _Watched, tell: Callable[[int, int], None] | None) -> None:
    if "progress" in message:
        done, total = message["progress"]
        if (done, total) != watched.progress:
            watched.progress = (done, total)
            watched.heard = time.monotonic()
        if tell is not None:
            tell(done, total)
    elif "pid" in message:
        watched.pid = message["pid"]
        watched.heard = time.monotonic()
    elif "io" in message:
        watched.io = message["io"]
    elif "status" in message:
        watched.status = message
    else:
        watched.answer = message


def _look(watched: _Watched, order: Order, output: int, abandoned: Callable[[], bool]) -> None:
    if not watched.pid or watched.status is not None:
        return
    now = time.monotonic()
    memory = memory_of(watched.pid, limit=order.limits.memory)
    watched.peak_rss = max(watched.peak_rss, memory)
    watched.io = _bytes_moved(watched.pid) or watched.io
    overrun = judge(order.limits, memory=memory, wall_s=now - watched.started, quiet_s=now - watched.heard)
    if watched.killed_for is None and overrun is not None:
        watched.failure = overrun.failure
        watched.killed_for = LimitExceeded(overrun.what, where=order.mark, peak_memory=watched.peak_rss)
    elif watched.killed_for is None and abandoned():
        watched.failure = "lease"
        watched.killed_for = PayloadDied("its lease is no longer held", where=order.mark)
    if watched.killed_for is not None:
        leash.kill_group(watched.pid)
    if os.fstat(output).st_size > OUTPUT_LIMIT:
        _cut(order.output, output)


def _cut(path: Path, output: int) -> None:
    """Keep a talkative payload's output bounded; it is appended to, so cutting it is safe."""
    kept = _last_bytes(path)
    os.ftruncate(output, 0)
    os.write(output, b"[the payload printed too much: what stood here was cut]\n" + kept.encode())


def _bytes_moved(process: int) -> dict[str, int]:
    try:
        with open(f"/proc/{process}/io") as lines:  # noqa: PTH123 -- not a file to talk about paths for
            counts = dict(line.split(": ") for line in lines)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return {}
    return {"bytes_in": int(counts["rchar"]), "bytes_out": int(counts["wchar"])}


def _ended(watched: _Watched, order: Order) -> Ended:
    status = watched.status or {}
    measured: dict[str, Any] = {
        "cpu_s": round(status.get("cpu_s", 0.0), 6),
        "wall_s": round(time.monotonic() - watched.started, 6),
        "peak_rss": max(watched.peak_rss, status.get("peak_rss", 0)),
        "bytes_in": watched.io.get("bytes_in", 0),
        "bytes_out": watched.io.get("bytes_out", 0),
    }
    answer = watched.answer or {}
    if watched.killed_for is None and "result" in answer and status.get("status") == 0:
        # The step may know better, for example how many bytes it read through a memory map.
        told = answer["result"].get("measured")
        known = {**measured, **told} if isinstance(told, dict) else measured
        return Ended({**answer["result"], "measured": known}, None, "", measured, "")
    error, failure = _reason(watched, order, measured)
    return Ended(None, error, failure, measured, _last_bytes(order.output))


def _reason(watched: _Watched, order: Order, measured: dict[str, Any]) -> tuple[GridError, str]:
    if watched.killed_for is not None:
        return watched.killed_for, watched.failure
    if watched.answer is not None and "error" in watched.answer:
        error = from_json(watched.answer["error"])
        return error, error.failure
    facts = {"host": socket.gethostname(), "peak_memory": measured["peak_rss"]}
    peak = f"peak memory {format_bytes(measured['peak_rss'])} on {facts['host']}"
    if watched.status is None:
        return PayloadDied("it was killed together with its forkserver", where=order.mark, **facts), "killed"
    code = watched.status["status"]
    if code >= 0:
        text = f"it left with exit code {code} and without a result; {peak}"
        todo = "a step must return; sys.exit and os._exit lose its work"
        return PayloadDied(text, where=order.mark, todo=todo, exit_code=code, **facts), "payload"
    number = signal.Signals(-code)
    text = f"it was killed by signal {-code} ({number.name}, {signal.strsignal(number)}); {peak}"
    failure = "killed" if number in _FROM_OUTSIDE else "payload"
    return PayloadDied(text, where=order.mark, signal=-code, **facts), failure


#: Signals that somebody else sends: an operator, the kernel short of memory, a batch system.
_FROM_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


def _last_bytes(path: Path) -> str:
    """Return the last lines of a payload's output."""
    try:
        with path.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - LAST_BYTES))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-LAST_LINES:])
