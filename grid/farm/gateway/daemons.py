"""Run the daemons: step functions over the catalog, each in a thread, woken by commits or by the clock."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog.engine import Catalog
    from grid.farm.gateway.bell import Bell

__all__ = ["Daemon", "Daemons"]

_log = logging.getLogger(__name__)
#: Pause between two steps of a daemon, so that a storm of commits is answered by few of them, seconds.
BREATH_S = 0.05
#: Pause after a step that failed: the first, and the longest.
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


class Daemon(Protocol):
    """Something that looks after the catalog. Each step is idempotent and may be killed anywhere."""

    name: str

    def step(self, catalog: Catalog) -> float | None:
        """Do what there is to do; return the seconds until it wants to run again, None: only when woken."""
        ...


class Daemons:
    """Runs every daemon until closed.

    One whose step raises is tried again with growing pauses, and says so in :meth:`state`: an error in the
    planner must not take the ledger away from the attempts that are running.

    Parameters
    ----------
    daemons
        What to run.
    catalog
        What they look after.
    bell
        Wakes them; their steps ring it for the claims that wait.
    """

    def __init__(self, daemons: Sequence[Daemon], catalog: Catalog, bell: Bell) -> None:
        self._catalog = catalog
        self._bell = bell
        self._closing = threading.Event()
        self._state: dict[str, dict[str, Any]] = {}
        self._threads = [
            threading.Thread(target=self._run, args=(daemon,), name=daemon.name, daemon=True)
            for daemon in daemons
        ]
        for thread in self._threads:
            thread.start()

    def state(self) -> dict[str, dict[str, Any]]:
        """Return for each daemon how many steps it made, how long the last took, and what last went wrong."""
        return {name: dict(state) for name, state in self._state.items()}

    def close(self) -> None:
        """Let the steps that run end, and stop."""
        self._closing.set()
        self._bell.ring()
        for thread in self._threads:
            thread.join()

    def _run(self, daemon: Daemon) -> None:
        state = self._state.setdefault(daemon.name, {"steps": 0, "failures": 0, "error": None})
        pause = FIRST_PAUSE_S
        while not self._closing.is_set():
            seen = self._bell.count
            started = time.monotonic()
            try:
                wanted = daemon.step(self._catalog)
            except Exception as error:  # noqa: BLE001 -- one daemon's fault must not end the others
                _log.exception("the daemon %s failed", daemon.name)
                state["failures"] += 1
                state["error"] = f"{type(error).__name__}: {error}"
                self._closing.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
                continue
            took = time.monotonic() - started
            state.update(steps=state["steps"] + 1, seconds=took, error=None)
            pause = FIRST_PAUSE_S
            self._bell.whisper()
            self._closing.wait(max(BREATH_S, min(took, 1.0)))
            self._bell.wait(seen, wanted)
