"""Ask the gateway: every call to the ledger that is not made inside the gateway goes through here."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from grid.farm.home import read_state
from grid.farm.startup import complaint, running
from grid.farm.wire import Wire
from sitecfg.errors import GatewayUnreachable, from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Self

    from grid.farm.home import Home

__all__ = ["GatewayClient", "Lease"]

#: Seconds that a call waits for its answer; a transaction may queue behind others on a slow disk.
ANSWER_S = 60.0
#: Seconds between two tries to connect: the first, and the longest.
FIRST_WAIT_S = 0.02
LONGEST_WAIT_S = 0.5

#: A job, its epoch, and the start token (None before the attempt has begun).
Lease = tuple[int, int, str | None]


class GatewayClient:
    """Speaks to a gateway over HTTP with kept-alive connections. Thread-safe.

    Every call may be repeated without harm, so a lost connection is tried again, with growing pauses, until
    `patience_s` have passed. Whatever the gateway refuses is raised as the :class:`~sitecfg.errors.GridError`
    that it was there.

    Parameters
    ----------
    find
        Returns address and token, or None when no gateway is known; asked again after a lost connection, because
        a restarted farm may have moved.
    patience_s
        How long a call tries to reach the gateway, unless it says otherwise.
    """

    def __init__(self, find: Callable[[], tuple[str, str] | None], *, patience_s: float = 30.0) -> None:
        self._find = find
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._wire: Wire | None = None

    @classmethod
    def at(cls, url: str, token: str, *, patience_s: float = 30.0) -> Self:
        """Return a client for a known address."""
        return cls(lambda: (url, token), patience_s=patience_s)

    @classmethod
    def of_home(cls, home: Home, *, patience_s: float = 30.0) -> Self:
        """Return a client for the gateway of a home; its address is read from the home's state file."""

        def find() -> tuple[str, str] | None:
            state = read_state(home.gateway)
            if state is not None and {"url", "token"} <= set(state):
                return state["url"], state["token"]
            error = None if running(home) else complaint("supervisor", home)
            if error is not None:
                raise error
            return None

        return cls(find, patience_s=patience_s)

    def get(self, path: str, *, patience_s: float | None = None) -> Any:
        """Return the answer to ``GET path``."""
        return self._ask("GET", path, None, patience_s)

    def post(self, path: str, body: dict[str, Any] | None = None, *, patience_s: float | None = None) -> Any:
        """Return the answer to ``POST path`` with a JSON body."""
        return self._ask("POST", path, body or {}, patience_s)

    def health(self, *, answer_s: float = ANSWER_S, patience_s: float | None = None) -> dict[str, Any]:
        """Ask whether the gateway is well: its process id, its daemons and what last went wrong in them.

        A gateway that is being started already accepts connections; `answer_s` bounds the wait for its answer.
        """
        answer: dict[str, Any] = self._ask("GET", "/health", None, patience_s, answer_s)
        return answer

    def claim(
        self,
        cell: str,
        limit: int,
        *,
        most: int | None = None,
        claimer: str | None = None,
        wait_s: float = 0.0,
        patience_s: float = 0.0,
    ) -> list[tuple[int, int]]:
        """Lease up to `limit` ready jobs; waits up to `wait_s` for the first. Returns (job, epoch) pairs.

        No more are given than make `most` live leases of the cell, whoever holds them: an attempt whose dispatcher
        died still fills its slot. What is claimed stands under the name of `claimer` until it is begun:
        ``release(worker=claimer)`` returns it. A claim whose answer was lost is best returned that way too.
        """
        body = {"cell": cell, "claimer": claimer, "limit": limit, "most": most, "wait_s": wait_s}
        answer = self._ask("POST", "/claim", body, patience_s, again=False)
        return [(one["job"], one["epoch"]) for one in answer["claims"]]

    def begin(self, job: int, epoch: int, runner: str, *, host: str, pid: int, worker: str) -> dict[str, Any]:
        """Bind a claim to one start; returns ``kind``, ``spec``, ``limits`` and ``lease_s``.

        Raises
        ------
        StaleLease
            Another start has it, or the claim ran out.
        """
        body = {"job": job, "epoch": epoch, "runner": runner, "host": host, "pid": pid, "worker": worker}
        answer: dict[str, Any] = self.post("/begin", body)
        return answer

    def renew(
        self, leases: Iterable[tuple[int, int, str]], *, patience_s: float | None = None
    ) -> set[tuple[int, int, str]]:
        """Renew leases in one request and return those that are lost."""
        body = {"leases": [_lease(lease) for lease in leases]}
        answer = self.post("/renew", body, patience_s=patience_s)
        return {(one["job"], one["epoch"], one["runner"]) for one in answer["lost"]}

    def commit(
        self, job: int, epoch: int, runner: str, result: dict[str, Any], *, patience_s: float | None = None
    ) -> None:
        """Make a result true. The same result again is accepted.

        Raises
        ------
        StaleLease
            The job is somebody else's by now; nothing of this result counts.
        ClosureError
            The books don't close; nothing was recorded.
        """
        body = {"job": job, "epoch": epoch, "runner": runner, "result": result}
        self.post("/commit", body, patience_s=patience_s)

    def fail(
        self,
        job: int,
        epoch: int,
        runner: str,
        *,
        failure: str,
        message: str,
        measured: dict[str, Any],
        last_lines: str = "",
        blamed: str | None = None,
        patience_s: float | None = None,
    ) -> None:
        """Report that an attempt failed; the ledger decides what happens to its job.

        `blamed` names the input at fault, for a job that has several.
        """
        body = {
            "job": job,
            "epoch": epoch,
            "runner": runner,
            "failure": failure,
            "message": message,
            "measured": measured,
            "last_lines": last_lines,
            "blamed": blamed,
        }
        self.post("/fail", body, patience_s=patience_s)

    def release(
        self, *, leases: Iterable[Lease] = (), worker: str | None = None, patience_s: float | None = None
    ) -> int:
        """Return leases, or all that a worker holds, so that the jobs are ready at once; returns how many."""
        body = {"leases": [_lease(lease) for lease in leases], "worker": worker}
        return int(self.post("/release", body, patience_s=patience_s)["released"])

    def close(self) -> None:
        """Close the connections."""
        self._forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        patience_s: float | None,
        answer_s: float = ANSWER_S,
        *,
        again: bool = True,
    ) -> Any:
        deadline = time.monotonic() + (self._patience_s if patience_s is None else patience_s)
        pause = FIRST_WAIT_S
        while True:
            try:
                wire = self._connected()
                status, answer = wire.ask(method, path, body, answer_s=answer_s, again=again)
                if status != 200:
                    raise from_json(answer if isinstance(answer, dict) else {})
            except GatewayUnreachable as error:  # or its database: the gateway says so
                self._forget()
                if time.monotonic() + pause > deadline:
                    error.todo = error.todo or "look at log/gateway.log in the home"
                    raise
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_WAIT_S)
            else:
                return answer

    def _connected(self) -> Wire:
        with self._lock:
            if self._wire is None:
                known = self._find()
                if known is None:
                    raise GatewayUnreachable("no gateway is running")
                self._wire = Wire(*known)
            return self._wire

    def _forget(self) -> None:
        """Look for the gateway anew at the next call."""
        with self._lock:
            wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()


def _lease(lease: Lease) -> dict[str, Any]:
    job, epoch, runner = lease
    return {"job": job, "epoch": epoch, "runner": runner}
