"""The process that payloads are forked from, with the heavy libraries loaded already.

``python -m grid.farm.forkserver FD MODULE…`` serves one worker over a socket. A fork costs milliseconds where a
new interpreter with uproot, awkward and numba costs a second. It has one thread, so that forking is safe.

When the worker is gone its socket ends, and the forkserver kills every payload with all that it started. A
payload that dies is reaped here, with what it used, and whatever it left behind is killed.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import selectors
import signal
import socket
import sys
from typing import TYPE_CHECKING

from grid.farm import leash

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PRELOAD", "Forkserver", "run"]

#: What payloads need and what takes long to load.
PRELOAD = (
    "numpy",
    "numba",
    "awkward",
    "uproot",
    "uproot.behaviors.RNTuple",
    "grid.farm.child",
    "grid.rootio.facts",
    "grid.rootio.merge",
    "grid.rootio.readers",
    "grid.rootio.repeats",
    "grid.rootio.split",
    "grid.rootio.verify",
    "grid.steps.compare",
    "grid.steps.intake",
    "grid.steps.merge",
    "grid.steps.process",
    "grid.steps.usercode",
    "grid.storage.fetch",
    "grid.storage.publish",
    "grid.trigger",
)
#: Descriptors that come with each request: the payload's channel, the status pipe, the output file.
DESCRIPTORS = 3


class Forkserver:
    """Forks payloads on request and reports how each ended.

    Parameters
    ----------
    control
        The socket to the worker; every message on it asks for one payload.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        #: Status pipe by process id of the living payloads.
        self._payloads: dict[int, int] = {}

    def serve(self) -> None:
        """Serve until the worker is gone; leaves no process behind."""
        woken, wake = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fd == woken:
                        os.read(woken, 4096)
                        self._reap()
                    elif not self._start():
                        self._end()
                        return

    def _start(self) -> bool:
        """Fork one payload; return False when nobody asks any more."""
        message, descriptors, _, _ = socket.recv_fds(self._control, 16, DESCRIPTORS)
        if not message:
            return False
        channel, status, output = descriptors
        parent = os.getpid()
        process = os.fork()
        if process == 0:
            _become_payload(parent, channel, output, close=[status, *self._payloads.values()])
        os.close(channel)
        os.close(output)
        self._payloads[process] = status
        _tell(status, {"pid": process})
        return True

    def _reap(self) -> None:
        while True:
            try:
                # Look before reaping: while the dead leader is unreaped, its group's number can't be reused.
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            if found.si_pid in self._payloads:
                leash.kill_group(found.si_pid)
            _, status, usage = os.wait4(found.si_pid, 0)
            pipe = self._payloads.pop(found.si_pid, None)
            if pipe is None:
                continue
            # What a payload leaves behind comes to us when it is dead, and not before: it adopts as we do.
            leash.kill_descendants(spare=frozenset(self._payloads))
            _tell(
                pipe,
                {
                    "status": os.waitstatus_to_exitcode(status),
                    "cpu_s": usage.ru_utime + usage.ru_stime,
                    "peak_rss": usage.ru_maxrss * 1024,
                },
            )
            os.close(pipe)

    def _end(self) -> None:
        for process in self._payloads:
            leash.kill_group(process)
        # Killing a parent makes its children ours: repeat until nobody is left.
        while leash.kill_descendants():
            try:
                os.wait()
            except ChildProcessError:
                return


def _tell(pipe: int, facts: dict[str, object]) -> None:
    # A worker that stopped listening is ending.
    with contextlib.suppress(BrokenPipeError):
        os.write(pipe, json.dumps(facts).encode() + b"\n")


def _become_payload(parent: int, channel: int, output: int, close: list[int]) -> None:
    """Turn the forked process into a payload; never returns."""
    code = 1
    try:
        leash.die_with_parent(parent)
        leash.adopt_orphans()
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in close:
            os.close(descriptor)
        os.dup2(output, 1)
        os.dup2(output, 2)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        from grid.farm.child import run

        code = run(socket.socket(fileno=channel))
    finally:
        os._exit(code)


def run(control: socket.socket, modules: Sequence[str]) -> None:
    """Load modules and serve."""
    leash.adopt_orphans()
    for number in (signal.SIGINT, signal.SIGTERM):
        # A terminal's or an operator's signal to the group is the worker's to act on.
        signal.signal(number, signal.SIG_IGN)
    for module in modules:
        importlib.import_module(module)
    Forkserver(control).serve()


if __name__ == "__main__":
    run(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
