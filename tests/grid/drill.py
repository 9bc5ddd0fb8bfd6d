"""A farm whose input grows, so that every point comes up again and again, and kills at these points."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import psutil
from sqlalchemy import select

from catalog import find, jobs, work
from catalog.invariants import violations
from catalog.schema_work import job
from catalog.states import FileState, JobState, Kind
from grid.farm.home import read_state
from grid.submission import prepare
from tests.grid.farm.conftest import alive, open_ledger, site_of
from tests.grid.house import until
from tests.grid.matrix import MATRIX, Row
from tests.grid.scene import PATIENCE_S, STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

    from grid.farm.session import Session
    from grid.production import Production

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
        The farm; its processes were started with ``$MDCGRID_STOP_AT`` being `points`.
    points
        The folder that says where processes are held.
    raw
        Files that the input may grow by; read as far as needed.
    production
        What is submitted.
    """

    def __init__(self, session: Session, points: Path, raw: Iterator[Path], production: Production) -> None:
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
        self._declare()
        self._answered()
        self._submit()
        self._answered()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._let_go()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.catalog.close()

    def run(self, cells: Iterable[tuple[Row, str]]) -> None:
        """Kill in each cell; the first that does not go right is told, with all that were before it."""
        for row, victim in cells:
            began = time.monotonic()
            try:
                self._kill(row, victim)
            except BaseException as error:
                MATRIX.note(row, victim, "FAILED")
                error.add_note(f"the victim was: {victim} at {row}; before it: {', '.join(self._killed)}")
                raise
            MATRIX.note(row, victim, "unproven")
            self._killed.append(f"{victim} at {row} ({time.monotonic() - began:.1f} s)")

    def over(self) -> bool:
        """Whether nothing is left to do."""
        facts = self._client.get("/productions/drill")
        return bool(facts["state"] == "complete" and facts["total"]["process"] == len(self.inputs))

    # --- one cell ----------------------------------------------------------------------------------------------

    def _kill(self, row: Row, victim: str) -> None:
        bystander = None
        if victim == "payload" and row.holder != "payload":
            bystander = self._held(f"payload.begun@{row.kind or 'process'}")
        concerned = self._lead(row, bystander)
        holder = self._held(row.reached, lay=False)
        if victim == row.holder:
            target = holder
        elif victim == "payload":
            assert bystander is not None
            target = bystander
        elif victim == "worker":
            target = concerned or (_worker_of(holder) if row.holder == "payload" else self._pid("worker-0"))
        else:
            target = self._pid(victim)
        assert alive(holder)
        os.kill(target, signal.SIGKILL)
        until(lambda: not alive(target), PATIENCE_S)
        self._let_go()
        self._answered()
        with self.catalog.read() as tx:
            assert violations(tx) == []

    def _lead(self, row: Row, bystander: int | None) -> int | None:
        """See that the point will be reached as it should; return the worker that has to do with it, if one has."""
        if row.group in ("commit", "output") or row.point == "payload.done":
            before = f"{'attempt.ended' if row.group == 'commit' else 'payload.begun'}@{row.kind}"
            self._held(before)
            until(lambda: self._leased() == {row.kind}, PATIENCE_S)
            self._lay(row.reached)
            self._let_go(before)
            return None
        match row.group:
            case "fail":
                payload = self._held("payload.begun@process")
                worker = _worker_of(payload)
                self._lay(row.reached)
                os.kill(payload, signal.SIGKILL)
                return worker
            case "release" | "returns":
                others = set(self._workers()) - {_worker_of(bystander) if bystander else 0}
                self._lay(row.reached)
                os.kill(max(others), signal.SIGKILL)
                return min(set(self._workers()) - {max(others)}, default=None)
            case "renew":
                self._held("payload.begun@process")
                self._lay(row.reached)
            case "reap":
                self._lay(row.reached)
                self._lose_a_claim()
            case "sweep":
                self._lay(row.reached)
                self._plant()
            case "submit":
                self._lay(row.reached)
                self._submit()
            case "invalidate":
                self._lay(row.reached)
                self._invalidate()
            case _:
                self._lay(row.reached)
                self._declare()
        return None

    # --- points ------------------------------------------------------------------------------------------------

    def _lay(self, point: str) -> None:
        (self._points / point).touch()

    def _held(self, point: str, *, lay: bool = True) -> int:
        """Wait until a process is held at a point, with more work if it takes long; return its number."""
        before = set(self._points.glob(f"{point}=*"))
        if lay:
            self._lay(point)
            self._declare()
        else:
            before = set()
        more = time.monotonic() + MORE_WORK_S

        def found() -> Path | None:
            nonlocal more
            if time.monotonic() > more:
                more += MORE_WORK_S
                self._declare()
            return next(iter(set(self._points.glob(f"{point}=*")) - before), None)

        path: Path = until(found, PATIENCE_S)
        return int(path.name.rpartition("=")[2])

    def _let_go(self, point: str = "") -> None:
        """Hold nobody any more, at a point or at all."""
        for path in self._points.glob(f"{point}*"):
            path.unlink(missing_ok=True)

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
        def some() -> str:
            with self.catalog.read() as tx:
                found = find.files(tx, find.dataset(tx, "cdf", "drill.MUON.unmerged").id)
            return next((str(one) for one in found if one.state == FileState.ON_DISK), "")

        body = {"what": until(some, PATIENCE_S), "why": "to see what happens"}
        self._call(self._client.post, "/invalidate", body)

    def _lose_a_claim(self) -> None:
        with self.catalog.write() as tx:
            new = jobs.NewJob(f"lost claim {time.monotonic()}", (), {})
            jobs.add_jobs(tx, None, Kind.EMPTY, [new], priority=1_000_000)
            work.claim(tx, cell="nowhere", limit=1, lease_s=0.0, claimer="nobody")

    def _plant(self) -> None:
        """Put files into the pool that nobody will want any more."""
        for number in range(2):
            path = self._home.pool / f"orphan.{time.monotonic_ns()}.e{number}.00000000.root"
            path.touch()
            os.utime(path, (0, 0))

    # --- processes ---------------------------------------------------------------------------------------------

    def _pids(self) -> dict[str, int]:
        """The living processes of the farm that the supervisor has told of."""
        state = read_state(self._home.farm) or {}
        told = {name: child["pid"] for name, child in state.get("children", {}).items()}
        told["supervisor"] = state.get("pid")
        return {name: pid for name, pid in told.items() if pid and alive(pid)}

    def _pid(self, name: str) -> int:
        return int(until(lambda: self._pids().get(name), PATIENCE_S))

    def _workers(self) -> list[int]:
        names = ("worker-0", "worker-1")
        found: dict[str, int] = until(lambda: set(names) <= set(known := self._pids()) and known, PATIENCE_S)
        return [found[name] for name in names]

    def _leased(self) -> set[str]:
        with self.catalog.read() as tx:
            return set(tx.execute(select(job.c.kind).where(job.c.state == JobState.LEASED)).scalars())


def _worker_of(payload: int) -> int:
    """A payload is forked by its worker's forkserver."""
    return psutil.Process(psutil.Process(payload).ppid()).ppid()


__all__ = ["SCRIPT", "STREAMS", "Drill"]
