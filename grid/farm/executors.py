"""Two ways to get an attempt into a slot: through Dask, or by a thread of this very process.

Neither keeps anything that matters: an executor may be thrown away at any moment, with all that it knows.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, Self

from grid.farm import cluster
from grid.farm.attempt import run_attempt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from distributed import Future

    from grid.farm.home import Home

__all__ = ["DaskExecutor", "Executor", "LocalExecutor"]

_log = logging.getLogger(__name__)
#: Jobs whose durations make the mean.
RECENT = 64
#: Seconds that connecting to the scheduler may take.
CONNECT_S = 5

Claim = tuple[int, int]


class Executor(Protocol):
    """Runs claimed jobs."""

    slots: int

    def start(self, claims: Sequence[Claim]) -> None:
        """Have the claims run; returns at once."""
        ...

    def alive(self) -> bool:
        """Whether it can still run anything; if not, throw it away."""
        ...

    def in_flight(self) -> int:
        """Return how many claims were started and are not over."""
        ...

    def mean_s(self) -> float | None:
        """Return how long jobs took lately, in seconds."""
        ...

    def wait(self, timeout: float) -> list[Claim]:
        """Wait until a claim is over; return those that did not reach a slot, as far as it is known."""
        ...


class _Tally:
    """Counts what is in flight. Thread-safe."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._changed = threading.Condition()
        self._started: dict[Claim, float] = {}
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._undone: list[Claim] = []
        self._over = 0

    def in_flight(self) -> int:
        with self._changed:
            return len(self._started)

    def mean_s(self) -> float | None:
        with self._changed:
            # What waited for a slot took as long as its slot's share of the jobs before it.
            return sum(self._recent) / len(self._recent) if self._recent else None

    def wait(self, timeout: float) -> list[Claim]:
        with self._changed:
            if not self._over:
                self._changed.wait(timeout)
            self._over = 0
            undone, self._undone = self._undone, []
            return undone

    def _begun(self, claims: Sequence[Claim]) -> None:
        now = time.monotonic()
        with self._changed:
            self._started.update(dict.fromkeys(claims, now))

    def _ended(self, claim: Claim, *, done: bool) -> None:
        with self._changed:
            started = self._started.pop(claim)
            if done:
                ahead = max(1.0, (len(self._started) + 1) / self.slots)
                self._recent.append((time.monotonic() - started) / ahead)
            else:
                self._undone.append(claim)
            self._over += 1
            self._changed.notify_all()


class LocalExecutor(_Tally):
    """Runs attempts in threads of this process, on this process's node.

    Parameters
    ----------
    slots
        Attempts at a time.
    """

    def __init__(self, slots: int) -> None:
        super().__init__(slots)
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="slot")

    def start(self, claims: Sequence[Claim]) -> None:
        """Have the claims run; returns at once."""
        self._begun(claims)
        for claim in claims:
            self._threads.submit(self._run, claim)

    def alive(self) -> bool:
        """Return True: it lives as long as its process."""
        return True

    def _run(self, claim: Claim) -> None:
        try:
            run_attempt(*claim)
        except Exception:  # noqa: BLE001 -- a thread that dies silently is a slot that is lost
            _log.exception("the attempt of job %d epoch %d broke", *claim)
            self._ended(claim, done=False)
        else:
            self._ended(claim, done=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)


class DaskExecutor(_Tally):
    """Runs attempts on the workers of a home's Dask scheduler.

    Raises ``OSError`` when the scheduler can't be reached.

    Parameters
    ----------
    home
        Where the scheduler's address stands.
    slots
        Attempts at a time, over all workers.
    """

    def __init__(self, home: Home, slots: int) -> None:
        import dask
        from distributed import Client

        super().__init__(slots)
        dask.config.set(cluster.SETTINGS)
        self._client: Any = Client(  # type: ignore[no-untyped-call]
            cluster.address(home),
            security=cluster.security(home),
            timeout=CONNECT_S,
            set_as_default=False,
            name="dispatcher",
        )

    def start(self, claims: Sequence[Claim]) -> None:
        """Have the claims run; returns at once."""
        from dask._task_spec import Task
        from distributed import fire_and_forget

        self._begun(claims)
        cluster.forget_names()
        keys = [f"att-{job}-{epoch}" for job, epoch in claims]
        # Marked as the start of a graph, a task waits at the scheduler until a slot is free. Any other would be given
        # to a worker at once, and wait there for as long as what runs there takes.
        graph = {
            key: Task(key, run_attempt, *claim, _data_producer=True)
            for key, claim in zip(keys, claims, strict=True)
        }
        futures = self._client.get(graph, keys, sync=False, retries=0)
        # Should this process die, the scheduler must go on knowing which slots are busy.
        fire_and_forget(futures)  # type: ignore[no-untyped-call]
        for claim, future in zip(claims, futures, strict=True):
            future.add_done_callback(lambda future, claim=claim: self._hear(claim, future))

    def alive(self) -> bool:
        """Whether the scheduler is connected."""
        return bool(self._client.status == "running")

    def _hear(self, claim: Claim, future: Future[Any]) -> None:
        done = future.status == "finished"
        if not done:
            _log.warning("Dask gave up job %d epoch %d: %s", *claim, future.status)
        # An unreleased result, even None, binds the scheduler's memory to a worker.
        future.release()  # type: ignore[no-untyped-call]
        self._ended(claim, done=done)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close(timeout=2)
