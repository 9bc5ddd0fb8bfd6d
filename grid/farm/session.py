"""Join the farm of a home, or start one there that lasts as long as somebody needs it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from grid.farm.client import GatewayClient
from grid.farm.home import Home, read_state
from grid.farm.locks import FileLock
from grid.farm.startup import complaint, forget_complaint, running
from sitecfg.errors import GatewayUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Session", "attach", "down", "running", "up"]

Need = Literal["gateway", "farm"]
#: How long starting a farm may take, seconds.
START_S = 60.0
#: How long stopping one may take, seconds.
STOP_S = 30.0
#: How often a session looks whether the supervisor still lives, seconds.
LOOK_EVERY_S = 0.5
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Session:
    """A farm that is there for as long as the session lasts."""

    home: Home
    client: GatewayClient


@contextmanager
def attach(place: Path, need: Need = "gateway", *, patience_s: float = START_S) -> Iterator[Session]:
    """Join the farm of a home, or start it; when the last one leaves, it stops.

    The farm does not depend on how its clients end: a ``kill -9`` of the last one stops it too. Should its
    supervisor be killed, it is started again while the session lasts.

    Parameters
    ----------
    place
        The home's folder; made if it isn't there.
    need
        ``"gateway"`` to ask and to write, ``"farm"`` to have jobs run as well.
    patience_s
        How long to wait for the gateway to answer.

    Raises
    ------
    GridError
        Why the farm can't start, as the process that could not go on put it.
    """
    home = Home(place.absolute())
    home.prepare()
    deadline = time.monotonic() + patience_s
    with ExitStack() as stack:
        present = stack.enter_context(FileLock(home.clients_lock))
        if not present.shared(patience_s=patience_s):
            raise GatewayUnreachable("a farm is stopping here and does not end", where=str(place))
        if need == "farm":
            slots = stack.enter_context(FileLock(home.slots_lock))
            slots.shared(patience_s=patience_s)
        client = stack.enter_context(GatewayClient.of_home(home))
        _ensure(home, client, deadline)
        guardian = _Guardian(home)
        try:
            yield Session(home, client)
        finally:
            guardian.close()
            stack.close()
            _wait_for_end(home)


def up(place: Path, *, patience_s: float = START_S) -> dict[str, Any]:
    """Start a farm that stays up without clients, or make the one that runs stay. Idempotent.

    Returns
    -------
    dict
        The farm's state once all its processes run (or when the time is up): the supervisor's process id, and its
        processes.
    """
    home = Home(place.absolute())
    home.prepare()
    deadline = time.monotonic() + patience_s
    with attach(place, "farm", patience_s=patience_s):
        home.stay.touch()
        while not _all_run(state := read_state(home.farm) or {}) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
    return state


def _all_run(state: dict[str, Any]) -> bool:
    """Whether the supervisor has told of all processes, and each has a number; the gateway is always the first."""
    children = state.get("children", {})
    return len(children) > 1 and all(child["pid"] for child in children.values())


def down(place: Path, *, patience_s: float = STOP_S) -> bool:
    """Stop the farm, whoever uses it; running attempts return their leases. Idempotent.

    Returns
    -------
    bool
        Whether there was anything to stop.
    """
    home = Home(place.absolute())
    if not running(home):
        return False
    deadline = time.monotonic() + patience_s
    while running(home):
        home.stop.touch()
        if time.monotonic() > deadline:
            raise GatewayUnreachable(
                "the farm does not stop", where=str(place), todo="read log/supervisor.log"
            )
        time.sleep(0.1)
    return True


def _start(home: Home) -> None:
    """Start a supervisor; harmless when one lives."""
    forget_complaint("supervisor", home)
    forget_complaint("gateway", home)
    with (home.log / "supervisor.log").open("ab") as log:
        # It leaves this process at once, so this returns at once. "-P": what lies in the user's folder is not ours.
        subprocess.run(
            [sys.executable, "-P", "-m", "grid.farm.supervisor", str(home.root)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        )


def _ensure(home: Home, client: GatewayClient, deadline: float) -> None:
    started = False
    while True:
        if started:
            for name in ("supervisor", "gateway"):
                error = complaint(name, home)
                if error is not None:
                    raise error
        if not running(home):
            _start(home)
            started = True
        try:
            client.health(answer_s=0.5, patience_s=0.0)
        except GatewayUnreachable:
            if time.monotonic() > deadline:
                raise
        else:
            return


class _Guardian:
    """Starts the supervisor again when it was killed, for as long as the session lasts."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="guardian", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(LOOK_EVERY_S):
            state = read_state(self._home.farm)
            if running(self._home) or (state is not None and state["stopped"]):
                continue
            if complaint("supervisor", self._home) is None:
                _start(self._home)


def _wait_for_end(home: Home) -> None:
    """Wait for a farm that has nobody left to stop; returns at once when somebody else needs it."""
    deadline = time.monotonic() + STOP_S
    while running(home) and time.monotonic() < deadline:
        with FileLock(home.clients_lock) as lock:
            # Exclusive is refused and shared is granted: others are here. Both refused: it is stopping.
            if home.stay.exists() or (not lock.alone() and lock.shared()):
                return
        time.sleep(_POLL_S)
