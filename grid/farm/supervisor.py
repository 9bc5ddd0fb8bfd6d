"""The process that keeps a home's farm running, and ends it when nobody needs it any more.

It starts each of the farm's processes and starts it again on *any* exit. It returns the leases of a worker that
it saw die, at once. Should it be killed itself, the kernel kills the rest.
"""

from __future__ import annotations

import logging
import os
import queue
import secrets
import selectors
import shutil
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from grid.farm import leash
from grid.farm.home import Home, read_state, write_private, write_state
from grid.farm.locks import FileLock
from grid.farm.payload import ONE_THREAD
from grid.farm.process import Executed, Supervised
from grid.farm.startup import complaint, forget_complaint, reporting, settings
from grid.farm.zygote import Nursery
from sitecfg.errors import ConfigError, GridError, InstallError, SchemaRevision, UsageError
from sitecfg.points import reach

if TYPE_CHECKING:
    from grid.farm.process import Launch
    from sitecfg.models import Site

__all__ = ["Supervisor", "main"]

_log = logging.getLogger(__name__)
#: The number under which a process that is started afresh finds the socket that it was given.
GIVEN = 3
#: How often the supervisor looks around when no process ends, seconds.
TICK_S = 0.2
#: What a dead worker left behind gets this long to end by itself, seconds.
ORPHANS_S = 1.0
#: How often the supervisor looks for such orphans when no process of its own has died, seconds.
SWEEP_S = 5.0
#: How long a port that the settings name may be busy: as when the gateway before is ending. Seconds.
PORT_S = 5.0
#: Callers that may wait at once while no gateway answers.
BACKLOG = 1024
#: How long the gateway may take to end, seconds.
FAREWELL_S = 3.0


class Supervisor:
    """Keeps the processes of one home.

    Parameters
    ----------
    home
        The home; the caller holds its supervisor lock.
    site
        The settings.
    """

    def __init__(self, home: Home, site: Site) -> None:
        self._home = home
        self._site = site
        self._mark = secrets.token_hex(3)
        self._stopping = False
        self._listener = self._listen()
        self._gateway = self._module(
            "gateway", ["grid.farm.gateway", str(GIVEN), str(os.getpid()), str(home.root)], self._listener
        )
        self._children = [self._gateway]
        self._sweep_at = time.monotonic() + SWEEP_S
        self._returns = _Returns(home)
        #: Names of dead processes whose working files are still there.
        self._dead: list[str] = []
        for name in _died_with_the_last(home):
            self._bury(name)

    def run(self) -> None:
        """Run until the last client has left or somebody says stop; leaves no process behind."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        clients, slots = FileLock(self._home.clients_lock), FileLock(self._home.slots_lock)
        with clients, slots, selectors.DefaultSelector() as selector:
            try:
                while not self._stopping and self._needed(clients):
                    self._look_after(selector)
                    for key, _ in selector.select(TICK_S):
                        selector.unregister(key.fd)
                        os.close(key.fd)
                    self._sweep()
                    if len(self._children) == 1 and self._slots_wanted(slots):
                        self._add_slots()
            finally:
                self._end()

    def _needed(self, clients: FileLock) -> bool:
        if self._home.stop.exists():
            _log.info("told to stop")
            return False
        if not self._home.stay.exists() and clients.alone():
            _log.info("no client is left")
            return False
        return True

    def _stop(self, _signal: int, _frame: object) -> None:
        self._stopping = True

    def _listen(self) -> socket.socket:
        """Listen where the last gateway of this home did, if that was not long ago and the place is free."""
        before = read_state(self._home.gateway) or {}
        host, wanted = self._site.gateway.host, self._site.gateway.port
        listener = _listen_at(host, wanted) if wanted else _listen_like_before(host, before.get("port", 0))
        port = listener.getsockname()[1]
        state = {
            "url": f"http://{host}:{port}",
            "port": port,
            "token": before.get("token") or secrets.token_urlsafe(32),
        }
        write_state(self._home.gateway, state)
        return listener

    def _module(self, name: str, arguments: list[str], given: socket.socket) -> Supervised:
        """Return a process that is started afresh."""
        forget_complaint(name, self._home)
        return self._supervised(name, Executed(arguments, {given.fileno(): GIVEN}))

    def _fork(self, name: str, role: str, nursery: Nursery) -> Supervised:
        """Return a process that is forked by the zygote."""

        def launch(name: str, output: int) -> int:
            return nursery.order(role, self._home.root, name, output)

        forget_complaint(role, self._home)
        return self._supervised(name, launch)

    def _supervised(self, name: str, launch: Launch) -> Supervised:
        return Supervised(name, launch, self._home.log, self._mark)

    def _slots_wanted(self, slots: FileLock) -> bool:
        if self._home.stay.exists():
            return True
        if slots.alone():
            slots.free()
            return False
        return True

    def _add_slots(self) -> None:
        nursery = Nursery()
        self._children.append(
            self._module(
                "zygote",
                ["grid.farm.zygote", str(GIVEN), str(os.getpid()), str(self._home.root)],
                nursery.theirs,
            )
        )
        if self._site.workers.executor == "dask":
            from grid.farm.keys import make_pem

            write_private(self._home.dask_keys, make_pem())
            self._children.append(self._fork("scheduler", "scheduler", nursery))
            self._children += [
                self._fork(f"worker-{number}", "worker", nursery)
                for number in range(self._site.workers.number)
            ]
        self._children.append(self._fork("dispatcher", "dispatcher", nursery))

    def _look_after(self, selector: selectors.BaseSelector) -> None:
        """Start what should run, and note what has appeared and what has died."""
        changed = False
        for child in self._children:
            if child.died():
                changed = True
                _log.warning("%s ended with %s", child.incarnation, child.last_exit)
                self._sweep_at = time.monotonic() + ORPHANS_S
                self._bury(child.incarnation)
                self._heed(child.name)
            news = child.appeared()
            if child.due:
                news = self._start(child)
            watched = child.descriptor() if news else None
            if watched is not None:
                selector.register(watched, selectors.EVENT_READ)
            changed |= news
        if changed:
            self._tell()

    def _sweep(self) -> None:
        """End what dead processes left behind and did not end by itself in time."""
        if time.monotonic() < self._sweep_at or any(child.starting for child in self._children):
            return  # later: who is being born looks like an orphan
        mine = frozenset(child.pid for child in self._children if child.pid is not None)
        left = leash.kill_descendants(spare=mine)
        _reap_adopted(mine)
        if not left:
            self._tidy()
        self._sweep_at = time.monotonic() + (TICK_S if left else SWEEP_S)

    def _start(self, child: Supervised) -> bool:
        try:
            child.start()
        except OSError as error:
            _log.warning("%s can't be started: %s", child.name, error)
            return False
        return True

    def _bury(self, name: str) -> None:
        self._returns.add(name)
        self._dead.append(name)

    def _tidy(self) -> None:
        """Remove what dead workers were working on, once nothing of them lives."""
        for name in self._dead:
            shutil.rmtree(self._site.scratch / name, ignore_errors=True)
        self._dead.clear()

    def _heed(self, name: str) -> None:
        """Stop, and pass the reason on, if a process says that starting it again won't help."""
        error = complaint(name.partition("-")[0], self._home)
        if isinstance(error, (InstallError, SchemaRevision, UsageError)):
            raise error

    def _tell(self) -> None:
        children = {
            child.name: {
                "pid": child.pid,
                "name": child.incarnation,
                "starts": child.starts,
                "last_exit": child.last_exit,
            }
            for child in self._children
        }
        state = {
            "pid": os.getpid(),
            "stopped": False,
            "executor": self._site.workers.executor,
            "children": children,
        }
        try:
            write_state(self._home.farm, state)
        except OSError as error:
            # A full disk must not end a farm whose merges may make space.
            _log.warning("the state can't be written: %s", error)

    def _end(self) -> None:
        """Stop everything: first what claims and runs, then the leases go back, then the gateway."""
        running = [child for child in self._children if child is not self._gateway]
        for child in reversed(running):
            child.end(signal.SIGKILL, FAREWELL_S)
            self._bury(child.incarnation)
        self._returns.close(FAREWELL_S if running else 0.0)
        self._gateway.end(signal.SIGTERM, FAREWELL_S)
        deadline = time.monotonic() + FAREWELL_S
        while leash.kill_descendants() and time.monotonic() < deadline:
            _reap_adopted(frozenset())
            time.sleep(0.01)
        self._tidy()
        self._listener.close()
        home = self._home
        shutil.rmtree(home.scratch / "dask-scratch-space", ignore_errors=True)
        for path in (home.gateway, home.dask, home.dask_keys, home.stay, home.stop):
            path.unlink(missing_ok=True)
        write_state(self._home.farm, {"pid": os.getpid(), "stopped": True, "children": {}})


def _listen_at(host: str, port: int) -> socket.socket:
    """Listen at a port; the gateway before may still be ending there."""
    deadline = time.monotonic() + PORT_S
    while True:
        try:
            return socket.create_server((host, port), backlog=BACKLOG)
        except OSError as error:
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"the gateway can't listen there: {error.strerror}",
                    where=f"{host}:{port}",
                    todo="end what uses the port, or change gateway.host and gateway.port (0: any free one)",
                ) from error
        time.sleep(TICK_S)


def _listen_like_before(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=BACKLOG)
    except OSError:
        return _listen_at(host, 0)


def _died_with_the_last(home: Home) -> list[str]:
    """Return the names of the processes that a supervisor had when it was killed; the kernel killed them too."""
    state = read_state(home.farm)
    if state is None or state["stopped"]:
        return []
    return [child["name"] for child in state["children"].values()]


class _Returns:
    """Returns the leases of dead workers, from a thread, for as long as it takes."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._names: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="returns", daemon=True)
        self._thread.start()

    def add(self, worker: str) -> None:
        self._names.put(worker)

    def close(self, timeout: float) -> None:
        self._names.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        from grid.farm.client import GatewayClient

        with GatewayClient.of_home(self._home) as client:
            while (name := self._names.get()) is not None:
                reach("returns.begun")
                try:
                    count = client.release(worker=name)
                except GridError as error:
                    _log.warning("the leases of %s are left to run out: %s", name, error)
                else:
                    _log.info("returned %d leases of %s", count, name)
                reach("returns.ended")


def _reap_adopted(spare: frozenset[int]) -> None:
    """Bury the orphans that this process inherited; its own children are buried by who started them."""
    for child in psutil.Process().children():
        if child.pid not in spare:
            try:
                os.waitpid(child.pid, os.WNOHANG)
            except ChildProcessError:
                continue


def main(place: str) -> None:
    """Supervise a home, unless somebody does already; leaves the process and session that started it.

    When the process that was started ends, the lock is held: by the process that goes on.
    """
    home = Home(Path(place))
    home.prepare()
    with FileLock(home.supervisor_lock) as lock, reporting("supervisor", home.root):
        if not lock.alone():
            return
        if os.fork():
            os._exit(0)
        os.setsid()
        os.chdir(home.root)
        for old in (home.stay, home.stop):
            old.unlink(missing_ok=True)
        forget_complaint("supervisor", home)
        leash.adopt_orphans()
        os.environ.update(ONE_THREAD)
        Supervisor(home, settings(home)).run()


if __name__ == "__main__":
    main(sys.argv[1])
