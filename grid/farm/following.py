"""Follow one payload process: hear what it says, look at what it uses, kill it when it has gone too far."""

from __future__ import annotations

import json
import os
import selectors
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grid.farm import leash
from grid.farm.watchdog import judge, memory_of
from sitecfg.errors import GridError, LimitExceeded, PayloadDied

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from grid.farm.payload import Order

__all__ = ["Follower", "bytes_moved", "last_lines"]

#: Seconds between two looks at a payload.
LOOK_EVERY_S = 0.2
#: A payload's output file is cut when it gets longer than this, bytes.
OUTPUT_LIMIT = 16_000_000
#: How long a payload may take to start, and to die once it was killed; then it is given up. Seconds.
START_S = 120.0
DEATH_S = 20.0
#: A payload that says so much in one line is not understood, bytes.
LONGEST_LINE = 100_000_000
#: How much of the end of its output goes into the report of a failure.
LAST_LINES = 50
LAST_BYTES = 8_000


class Follower:
    """What is known of one payload.

    Parameters
    ----------
    order
        What it was asked to do.
    output
        Descriptor of the file that it prints to.
    tell
        Called with ``(done, total)`` whenever it reports progress.
    abandoned
        Asked at each look; True kills it.
    """

    def __init__(
        self,
        order: Order,
        output: int,
        tell: Callable[[int, int], None] | None,
        abandoned: Callable[[], bool],
    ) -> None:
        self._order = order
        self._output = output
        self._tell = tell
        self._abandoned = abandoned
        self._started = self._heard = time.monotonic()
        self._progress: tuple[int, int] | None = None
        self._killed_at = 0.0
        self._lines: dict[int, bytearray] = {}
        self._status = -1
        #: Its process id, 0 while there is none.
        self.pid = 0
        #: What it used so far: bytes of memory at most, seconds of CPU, and bytes moved.
        self.peak_memory = 0
        self.cpu_s = 0.0
        self.io: dict[str, int] = {}
        #: ``{"result": …}`` or ``{"error": …}``, once it said so.
        self.answer: dict[str, Any] | None = None
        #: How its process ended, by the forkserver: ``status``, ``cpu_s``, ``peak_rss``.
        self.status: dict[str, Any] | None = None
        #: Why we killed it, and the class of that failure.
        self.killed_for: GridError | None = None
        self.failure = ""

    @property
    def wall_s(self) -> float:
        """Seconds since it was asked for."""
        return time.monotonic() - self._started

    def follow(self, channel: socket.socket, status: int) -> None:
        """Send the order and follow the payload until it is dead, or beyond reach.

        Parameters
        ----------
        channel
            To the payload: the order goes out, progress and the answer come in.
        status
            A pipe from the forkserver: the process id and the end come in.
        """
        waiting = memoryview(json.dumps(self._order.to_json()).encode() + b"\n")
        self._status = status
        self._lines = {channel.fileno(): bytearray(), status: bytearray()}
        channel.setblocking(False)
        look = time.monotonic() + LOOK_EVERY_S
        with selectors.DefaultSelector() as selector:
            selector.register(channel, selectors.EVENT_READ | selectors.EVENT_WRITE)
            selector.register(status, selectors.EVENT_READ)
            while status in self._lines and not self._beyond_reach():
                for key, events in selector.select(max(0.0, look - time.monotonic())):
                    if events & selectors.EVENT_WRITE:
                        waiting = _send(channel, waiting)
                        if not waiting:
                            selector.modify(channel, selectors.EVENT_READ)
                    if events & selectors.EVENT_READ and not self._read(key.fd):
                        selector.unregister(key.fd)
                        del self._lines[key.fd]
                if time.monotonic() >= look:
                    look = time.monotonic() + LOOK_EVERY_S
                    self._look()
        # What it said last may still stand in the socket.
        while channel.fileno() in self._lines and self._read(channel.fileno()):
            pass

    def _beyond_reach(self) -> bool:
        """Whether it can't be started, or can't even be killed (as when its storage hangs)."""
        if self.killed_for is not None:
            return time.monotonic() - self._killed_at > DEATH_S
        return not self.pid and self.wall_s > START_S

    def _read(self, descriptor: int) -> bool:
        """Take what there is; return False at the end."""
        try:
            piece = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return False
        buffer = self._lines[descriptor]
        buffer += piece
        if b"\n" in piece:
            *whole, rest = buffer.split(b"\n")
            buffer[:] = rest
            for line in whole:
                self._hear(json.loads(line)) if descriptor == self._status else self._listen(bytes(line))
        if len(buffer) > LONGEST_LINE:
            self._misunderstood(f"{len(buffer)} bytes without an end")
            buffer.clear()
        return bool(piece)

    def _hear(self, message: dict[str, Any]) -> None:
        """Take what the forkserver says."""
        if "pid" in message:
            self.pid = message["pid"]
            self._started = self._heard = time.monotonic()
        else:
            self.status = message

    def _listen(self, line: bytes) -> None:
        """Take what the payload says; the user's code lives in its process, and may have said it."""
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        match message:
            case {"progress": [int(done), int(total)]}:
                if (done, total) != self._progress:
                    self._progress = (done, total)
                    self._heard = time.monotonic()
                if self._tell is not None:
                    self._tell(done, total)
            case {"io": dict(io)} if all(isinstance(count, int) for count in io.values()):
                self.io = io
            case {"result": dict()} | {"error": dict()}:
                self.answer = message
            case _:
                self._misunderstood(repr(line[:100]))

    def _misunderstood(self, said: str) -> None:
        error = PayloadDied(
            f"what it told its worker is not to be understood: {said}",
            where=self._order.mark,
            todo="its code wrote to a descriptor that it did not open, or changed json: mend that",
        )
        self._kill(error, "payload")

    def _look(self) -> None:
        if self._abandoned():
            self._kill(PayloadDied("its lease is no longer held", where=self._order.mark), "lease")
        elif self.killed_for is not None:
            self._kill(self.killed_for, self.failure)  # its process id may not have been known before
        if not self.pid or self.status is not None:
            return
        limits = self._order.limits
        memory = memory_of(self.pid, limit=limits.memory)
        self.peak_memory = max(self.peak_memory, memory)
        self.cpu_s = max(self.cpu_s, cpu_seconds(self.pid))
        self.io = bytes_moved(self.pid) or self.io
        quiet_s = time.monotonic() - self._heard
        overrun = judge(limits, memory=memory, wall_s=self.wall_s, quiet_s=quiet_s)
        if overrun is not None:
            error = LimitExceeded(overrun.what, where=self._order.mark, todo=overrun.todo)
            self._kill(error, overrun.failure)
        if os.fstat(self._output).st_size > OUTPUT_LIMIT:
            self._cut()

    def _kill(self, reason: GridError, failure: str) -> None:
        if self.killed_for is None:
            self.killed_for, self.failure = reason, failure
            self._killed_at = time.monotonic()
        if self.pid and self.status is None:
            leash.kill_group(self.pid)

    def _cut(self) -> None:
        """Keep a talkative payload's output bounded; it is appended to, so cutting it is safe."""
        kept = last_lines(self._order.output)
        os.ftruncate(self._output, 0)
        os.write(self._output, b"[it printed too much: what stood here was cut]\n" + kept.encode())


def bytes_moved(process: int | str) -> dict[str, int]:
    """Return what a process has read and written, by the kernel's count; empty when that can't be seen."""
    try:
        lines = Path(f"/proc/{process}/io").read_text().splitlines()
    except OSError:
        return {}
    counts = dict(line.split(": ") for line in lines)
    return {"bytes_in": int(counts["rchar"]), "bytes_out": int(counts["wchar"])}


def cpu_seconds(process: int) -> float:
    """Return the CPU time of a process and of its children that have ended; 0 when it is gone."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return 0.0
    # utime, stime, cutime and cstime are fields 14 to 17; what stands before ")" may hold blanks.
    return sum(map(int, text.rpartition(")")[2].split()[11:15])) / os.sysconf("SC_CLK_TCK")


def last_lines(path: Path) -> str:
    """Return the end of a payload's output."""
    try:
        with path.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - LAST_BYTES))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-LAST_LINES:])


def _send(channel: socket.socket, waiting: memoryview) -> memoryview:
    try:
        return waiting[channel.send(waiting) :]
    except BlockingIOError:
        return waiting
    except (BrokenPipeError, ConnectionResetError):
        return waiting[:0]  # it died before it read its order; the status will say so
