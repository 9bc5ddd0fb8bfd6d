"""A farm whose input grows, so that every point comes up again and again, and kills at these points."""

from __future__ import annotations

import logging
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import psutil
from sqlalchemy import select

from catalog import find, jobs, work
from catalog.invariants import violations
from catalog.schema_work import job
from catalog.states import FileState, JobState, Kind
from grid.submission import prepare
from tests.grid.farm.conftest import alive, open_ledger, site_of
from tests.grid.holding import Points, kill, number, pid
from tests.grid.house import until
from tests.grid.matrix import Row, note
from tests.grid.scene import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from collections.abc import Set as AbstractSet
    from pathlib import Path
    from types import TracebackType

    from catalog.rows import File
    from grid.farm.session import Session
    from grid.production import Production

_log = logging.getLogger(__name__)
SCRIPT = """
from grid import Production
from grid.trigger import TriggerTable

def same(events, conditions):
    return events

production = Production(
    name="drill", input="cdf:raw", process=same, split=TriggerTable("PHYSICS", 1, {streams!r}), scope="cdf"
)
"""
#: A point that was not reached after so long gets more work, seconds.
MORE_WORK_S = 4.0


class Drill:
    """Kills at points, one cell after the other, in one farm with one production.

    Parameters
    ----------
    session
        The farm; its processes were started with ``$MDCGRID_STOP_AT``.
    points
        Where they can be held.
    raw
        Files that the input may grow by; read as far as needed.
    production
        What is submitted.
    """

    def __init__(self, session: Session, points: Points, raw: Iterator[Path], production: Production) -> None:
        self._home = session.home
        self._client = session.client
        self._points = points
        self._raw = raw
        self._production = production
        self.catalog = open_ledger(session.home).catalog
        self.inputs: list[Path] = []
        self._threads = ThreadPoolExecutor(8)
        self._calls: list[Future[Any]] = []
        self._killed: list[str] = []
        #: What makes a process come to the points of a group; any other point is reached by more work.
        self._causes: dict[str, Callable[[], object]] = {
            # An earlier kill may have lost a claim already: then the reaper is held, and the ledger with it.
            "reap": partial(self._call, self._lose_a_claim),
            "sweep": self._plant,
            "submit": self._submit,
            "invalidate": self._invalidate,
        }
        self._declare()
        self._answered()
        self._submit()
        self._answered()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._points.let_go()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.catalog.close()

    def run(self, cells: Iterable[tuple[Row, str]]) -> None:
        """Kill in each cell; the first that does not go right is told, with all that were before it."""
        for row, victim in cells:
            began = time.monotonic()
            try:
                self._kill(row, victim)
            except BaseException as error:
                note(row, victim, "FAILED")
                error.add_note(f"the victim was: {victim} at {row}; before it: {', '.join(self._killed)}")
                raise
            note(row, victim, "unproven")
            self._killed.append(f"{victim} at {row}")
            _log.info("%s at %s: %.1f s", victim, row, time.monotonic() - began)

    def finish(self) -> None:
        """Wait until nothing is left to do, for as long as something is being done."""
        while not self._over(before := self._client.get("/productions/drill")):
            until(partial(self._moved, before), PATIENCE_S)

    def _over(self, facts: dict[str, Any]) -> bool:
        return bool(facts["state"] == "complete" and facts["total"]["process"] == len(self.inputs))

    def _moved(self, before: dict[str, Any]) -> bool:
        return bool(self._client.get("/productions/drill") != before)

    # --- one cell ----------------------------------------------------------------------------------------------

    def _kill(self, row: Row, victim: str) -> None:
        bystander = None
        if victim == "payload" and row.holder != "payload":
            bystander = self._hold(f"payload.begun@{row.kind or 'process'}")
        concerned = self._lead(row, bystander)
        holder = self._held(row.reached)
        target = self._target(row, victim, holder, concerned, bystander)
        assert alive(holder)
        kill(target)
        self._points.let_go()
        self._answered()
        with self.catalog.read() as tx:
            assert violations(tx) == []

    def _target(
        self, row: Row, victim: str, holder: int, concerned: int | None, bystander: int | None
    ) -> int:
        """Say which process is to die."""
        if victim == row.holder:
            return holder
        if bystander is not None:
            return bystander
        if victim != "worker":
            return pid(self._home, victim)
        return concerned or (_worker_of(holder) if row.holder == "payload" else self._workers()[0])

    def _lead(self, row: Row, bystander: int | None) -> int | None:
        """See that the point will be reached as it should; return the worker that has to do with it, if one has."""
        if row.group in ("commit", "output") or row.point == "payload.done":
            before = f"{'attempt.ended' if row.group == 'commit' else 'payload.begun'}@{row.kind}"
            self._hold(before)
            until(lambda: self._leased() == {row.kind}, PATIENCE_S)
            self._points.lay(row.reached)
            self._points.let_go(before)
            return None
        worker = None
        causes: Callable[[], object]
        match row.group:
            case "fail":
                payload = self._hold("payload.begun@process")
                worker, causes = _worker_of(payload), partial(kill, payload)
            case "release" | "returns" | "fork":
                workers = self._workers()
                if bystander is not None and _worker_of(bystander) == workers[0]:
                    workers.reverse()
                causes, worker = partial(kill, workers[0]), workers[1]
            case "renew":
                self._hold("payload.begun@process")
                causes = self._declare
            case group:
                causes = self._causes.get(group, self._declare)
        self._points.lay(row.reached)
        causes()
        return worker

    # --- points ------------------------------------------------------------------------------------------------

    def _hold(self, point: str) -> int:
        """Hold one more process at a point; return its number."""
        before = self._points.marks(point)
        self._points.lay(point)
        self._declare()
        return self._held(point, before)

    def _held(self, point: str, before: AbstractSet[Path] = frozenset()) -> int:
        """Wait until a process is held at a point, with more work if it takes long; return its number."""
        more = time.monotonic() + MORE_WORK_S

        def found() -> set[Path]:
            nonlocal more
            if time.monotonic() > more:
                more += MORE_WORK_S
                self._declare()
            return self._points.marks(point) - before

        return number(until(found, PATIENCE_S).pop())

    # --- work --------------------------------------------------------------------------------------------------

    def _call(self, what: Callable[..., Any], *arguments: Any) -> None:
        """Call from a thread: who is held may be the one who answers."""
        self._calls.append(self._threads.submit(what, *arguments))

    def _answered(self) -> None:
        for call in self._calls:
            call.result(PATIENCE_S)
        self._calls.clear()

    def _declare(self) -> None:
        path = next(self._raw)
        self.inputs.append(path)
        files = [{"name": path.name, "url": path.as_uri()}]
        self._call(self._client.post, "/declare", {"dataset": "cdf:raw", "files": files})

    def _submit(self) -> None:
        body = prepare(self._production, lambda _name, _tag: {}, site_of(self._home))
        self._call(self._client.post, "/submit", body)

    def _invalidate(self) -> None:
        def some() -> File | None:
            with self.catalog.read() as tx:
                found = find.files(tx, find.dataset(tx, "cdf", "drill.MUON.unmerged").id)
            return next((one for one in found if one.state == FileState.ON_DISK), None)

        file: File = until(some, PATIENCE_S)
        body = {"what": str(file), "why": "to see what happens", "file": file.id}
        self._call(self._client.post, "/invalidate", body)

    def _lose_a_claim(self) -> None:
        with self.catalog.write() as tx:
            new = jobs.NewJob(f"lost claim {time.monotonic()}", (), {})
            jobs.add_jobs(tx, None, Kind.EMPTY, [new], priority=1_000_000)
            work.claim(tx, cell="nowhere", limit=1, lease_s=0.0, claimer="nobody")

    def _plant(self) -> None:
        """Put files into the pool that nobody will want any more."""
        for epoch in range(2):
            path = self._home.pool / f"orphan.{time.monotonic_ns()}.e{epoch}.00000000.root"
            path.touch()
            os.utime(path, (0, 0))

    def _leased(self) -> set[str]:
        with self.catalog.read() as tx:
            return set(tx.execute(select(job.c.kind).where(job.c.state == JobState.LEASED)).scalars())

    def _workers(self) -> list[int]:
        return [pid(self._home, name) for name in ("worker-0", "worker-1")]


def _worker_of(payload: int) -> int:
    """A payload is forked by its worker's forkserver."""
    return psutil.Process(psutil.Process(payload).ppid()).ppid()
