"""The process that the farm's processes are forked from, with the heavy libraries loaded already.

``python -m grid.farm.zygote FD PARENT HOME NAME`` serves the supervisor over a socket. Loading Dask, uproot, awkward
and numba takes seconds of CPU; a worker that was killed is back in a fraction of one. It has one thread, so that
forking is safe.

What it forks does not become its child but the supervisor's, who inherits orphans. So nothing depends on it: when
it is killed the others live on, and the supervisor starts another.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

from grid.farm import leash
from grid.farm.forkserver import PRELOAD as FOR_PAYLOADS
from grid.farm.startup import reporting
from grid.installation import require_own_packages
from sitecfg.points import reach

__all__ = ["PRELOAD", "Nursery"]

#: What workers, dispatchers and payloads need, and what takes long to load.
PRELOAD = (
    *FOR_PAYLOADS,
    "distributed",
    "grid.farm.processes",
    "grid.farm.dispatcher",
    "grid.farm.node",
)
#: Descriptors that come with each order: where the process id goes, and the log.
DESCRIPTORS = 2
ORDER_BYTES = 65_536


class Nursery:
    """The supervisor's end: has processes forked. Start one zygote for it with :meth:`descriptor`'s socket."""

    def __init__(self) -> None:
        self._mine, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def order(self, role: str, home: Path, name: str, output: int) -> int:
        """Have a process forked; see :class:`grid.farm.process.Launch`. It comes when the zygote is ready."""
        here, there = os.pipe()
        order = json.dumps({"role": role, "home": str(home), "name": name, "parent": os.getpid()})
        try:
            socket.send_fds(self._mine, [order.encode()], [there, output])
        finally:
            os.close(there)
        return here


def serve(control: socket.socket) -> None:
    """Fork what is asked for until nobody asks any more."""
    # What lives now lives in every child: keep the collector from touching (and so copying) its pages.
    gc.freeze()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, ORDER_BYTES, DESCRIPTORS)
        if not message:
            return
        between = os.fork()
        if between == 0:
            if os.fork() == 0:
                _become(json.loads(message), *descriptors, control=control)
            os._exit(0)
        os.waitpid(between, 0)
        for descriptor in descriptors:
            os.close(descriptor)


def _become(order: dict[str, str | int], told: int, output: int, *, control: socket.socket) -> None:
    """Turn the forked process into one of the farm's; never returns."""
    code = 1
    try:
        supervisor = int(order["parent"])
        for _ in range(2000):
            if os.getppid() == supervisor:
                break
            time.sleep(0.0005)  # the process between is ending
        leash.die_with_parent(supervisor)
        control.close()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for old, new in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(old, new)
        os.close(output)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        leash.call_me(str(order["name"]))
        reach("fork.untold")
        os.write(told, str(os.getpid()).encode())
        os.close(told)
        from grid.farm.processes import run

        code = run(str(order["role"]), Path(str(order["home"])), str(order["name"]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main(descriptor: int, parent: int) -> None:
    """Load everything and serve."""
    leash.die_with_parent(parent)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    require_own_packages()
    for module in PRELOAD:
        importlib.import_module(module)
    from kernels.warm import warm

    warm()
    serve(socket.socket(fileno=descriptor))


if __name__ == "__main__":
    with reporting("zygote", Path(sys.argv[3])):
        main(int(sys.argv[1]), int(sys.argv[2]))
