"""Replies are lost, cut short and late, and requests come twice: every call may be repeated without harm."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from catalog import control, find, jobs, productions, status, work
from catalog.engine import Catalog
from catalog.leases import Lease
from catalog.states import Kind
from grid.farm.client import GatewayClient
from grid.farm.gateway import assembly
from grid.farm.gateway.calls import CLAIM_S, calls
from sitecfg.errors import GatewayUnreachable, StaleLease
from sitecfg.names import Name, physical_name
from tests.catalog.databases import PostgreSQL
from tests.catalog.world import SCOPE, Clock, World, counted, written
from tests.grid.farm.bad_requests import held
from tests.grid.farm.conftest import Ledger, make_home, serve
from tests.grid.farm.test_gateway_refusals import dump
from tests.services.lossy import FAULTS, LossyProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from grid.farm.home import Home


class Stage:
    """A gateway behind a proxy, on a clock that stands still, and work that no case has touched yet."""

    def __init__(self, catalog: Catalog, proxy: LossyProxy) -> None:
        self.catalog, self.proxy = catalog, proxy
        self.clock = Clock(catalog)
        self.world = World(catalog, self.clock)
        self.client = GatewayClient.at(proxy.url, "token", patience_s=20)
        self._numbers = itertools.count(1)

    def number(self) -> int:
        return next(self._numbers)

    def job(self) -> int:
        """A new job that does nothing, claimed before all others."""
        number = self.number()
        with self.catalog.write() as tx:
            (job,) = jobs.add_jobs(tx, None, Kind.EMPTY, [jobs.NewJob(f"job {number}", ())], priority=number)
        return job

    def lease(self, *, begun: bool = True) -> Lease:
        """Such a job, claimed, and begun if wanted."""
        job = self.job()
        with self.catalog.write() as tx:
            (claim,) = work.claim(tx, cell="c", limit=1, lease_s=100)
        assert claim.job == job
        lease = Lease(job, claim.epoch, f"{job:032x}")
        if begun:
            self.world.begin(lease, worker=f"w{job}")
        return lease

    def submit(self) -> tuple[str, str]:
        """A production over a dataset of one file; returns its name, and the file's."""
        number = self.number()
        self.client.post("/declare", declared(number))
        self.client.post("/submit", submitted(number))
        return f"pass{number}", f"{SCOPE}:f{number}.root"

    def process(self) -> tuple[str, str]:
        """A production that has committed its process job; returns its name, and that of its output."""
        production, source = self.submit()
        events = [1, 2, 3]
        with self.catalog.write() as tx:
            taken = find.file(tx, SCOPE, Name.parse(source).name)
            control.prioritize_file(tx, taken, self.number())
        lease, _ = self.world.start(kinds=(Kind.INTAKE,))
        self.world.commit(lease, {"file": written(taken.name, events)})
        with self.catalog.write() as tx:
            number = productions.get(tx, production).id
            new = jobs.NewJob("x", (taken.id,))
            jobs.add_jobs(tx, number, Kind.PROCESS, [new], priority=self.number())
        lease, _ = self.world.start(kinds=(Kind.PROCESS,))
        name = f"{production}.all--{taken.name}"
        output = {
            **written(name, events),
            "stream": "all",
            "dataset": f"{SCOPE}:{production}.all",
            "name": name,
            "url": f"file:///pool/{physical_name(name, lease.epoch, lease.runner)}",
        }
        self.world.commit(lease, {"books": [{"mask": 1, **counted(events)}], "outputs": [output]})
        return production, f"{SCOPE}:{name}"


def declared(number: int) -> dict[str, Any]:
    files = [{"name": f"f{number}.root", "url": f"file:///f{number}.root"}]
    return {"dataset": f"{SCOPE}:raw{number}", "files": files}


def submitted(number: int) -> dict[str, Any]:
    return {"name": f"pass{number}", "scope": SCOPE, "recipe": {"inputs": f"{SCOPE}:raw{number}"}}


def held_by_nobody(stage: Stage) -> dict[str, Any]:
    lease = stage.lease()
    stage.world.fail(lease, "config")
    return {"job": lease.job}


def paused(stage: Stage) -> dict[str, Any]:
    _, file = stage.submit()
    stage.client.post("/pause", {"what": file, "why": "x"})
    return {"what": file}


def of_a_worker(stage: Stage) -> dict[str, Any]:
    return {"worker": f"w{stage.lease().job}"}


def new_table(stage: Stage) -> dict[str, Any]:
    return {"name": "T", "tag": stage.number(), "streams": {"A": ["HLT_x"]}}


def new_production(stage: Stage) -> dict[str, Any]:
    number = stage.number()
    stage.client.post("/declare", declared(number))
    return submitted(number)


def dataset_to_close(stage: Stage) -> dict[str, Any]:
    number = stage.number()
    stage.client.post("/declare", declared(number))
    return {"what": f"{SCOPE}:raw{number}", "state": "closed"}


def output_by_number(stage: Stage) -> dict[str, Any]:
    """As the command names it: what is made in its place will have its name."""
    _, name = stage.process()
    with stage.catalog.read() as tx:
        return {"what": name, "why": "x", "file": find.file(tx, SCOPE, Name.parse(name).name).id}


@dataclass(frozen=True)
class Call:
    """A call for which nothing but ``body`` was prepared; what is answered at first, and when it comes again."""

    name: str
    body: Callable[[Stage], dict[str, Any]]
    first: dict[str, Any]
    again: dict[str, Any]

    @property
    def path(self) -> str:
        return f"/{self.name.split()[0]}"


def failure(kind: str) -> Callable[[Stage], dict[str, Any]]:
    return lambda stage: held(stage.lease(), failure=kind, message="x")


ACTIVE = {"state": "active"}
CALLS = [
    Call(
        "begin", lambda s: held(s.lease(begun=False), host="h", pid=1, worker="w"), {"spec": {}}, {"spec": {}}
    ),
    Call("renew", lambda s: {"leases": [held(s.lease())]}, {"lost": []}, {"lost": []}),
    Call("commit", lambda s: held(s.lease(), result={}), {"repeated": False}, {"repeated": True}),
    Call("fail for now", failure("payload"), {"state": "ready"}, {"state": "ready", "repeated": True}),
    Call("fail for good", failure("config"), {"state": "held"}, {"state": "held", "repeated": True}),
    Call("release", lambda s: {"leases": [held(s.lease())]}, {"released": 1}, {"released": 0}),
    Call("release all", of_a_worker, {"released": 1}, {"released": 0}),
    Call("triggers", new_table, {"state": "draft"}, {"state": "draft"}),
    Call("declare", lambda s: declared(s.number()), {"new": 1, "known": 0}, {"new": 0, "known": 1}),
    Call("submit", new_production, {"new": True, **ACTIVE}, {"new": False, **ACTIVE}),
    Call("retry", held_by_nobody, {"freed": 1}, {"freed": 0}),
    Call("pause a production", lambda s: {"what": s.submit()[0], "why": "x"}, {"paused": 0}, {"paused": 0}),
    Call("pause a file", lambda s: {"what": s.submit()[1], "why": "x"}, {"paused": 1}, {"paused": 0}),
    Call("resume", paused, {"resumed": 1}, {"resumed": 0}),
    Call("priority", lambda s: {"what": s.submit()[1], "priority": 0}, {"jobs": 1}, {"jobs": 1}),
    Call("cancel a file", lambda s: {"what": s.submit()[1], "why": "x"}, {"cancelled": 1}, {"cancelled": 0}),
    Call(
        "cancel and withdraw",
        lambda s: {"what": s.process()[0], "why": "x", "withdraw": True},
        {"cancelled": 0},
        {"cancelled": 0, "withdrawn": []},
    ),
    Call("invalidate an input", lambda s: {"what": s.submit()[1], "why": "x"}, {"jobs": 0}, {"jobs": 0}),
    Call("invalidate an output", output_by_number, {"jobs": 1}, {"jobs": 0, "withdrawn": []}),
    Call("dataset", dataset_to_close, {"was": "open"}, {"was": "closed"}),
]
#: It gives other jobs to whoever asks again: what becomes of those that nobody heard of has tests of its own.
APART = {"/claim"}


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    home = make_home(tmp_path_factory.mktemp("lossy") / "home", lease=60)
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("empty_catalog"), home.catalog)
        url = f"sqlite:///{home.catalog}"
    else:
        url = PostgreSQL(request.getfixturevalue("postgres")).catalog()
    with Catalog.open(url, clock=Clock.QUERY) as catalog:
        found = serve(home, Ledger(catalog), routes=assembly.routes(home))
        # The clock is there before the gateway's reaper asks for the time.
        with LossyProxy(found.port) as proxy:
            stage = Stage(catalog, proxy)
            with found, stage.client:
                yield stage


@pytest.mark.parametrize("fault", FAULTS)
def test_each_call_may_be_repeated_whatever_became_of_its_reply(stage: Stage, fault: str) -> None:
    """After the first delivery the catalog holds what one clean call makes of it; nothing later changes that."""
    for call in CALLS:
        body = call.body(stage)
        seen: list[Any] = []
        with stage.proxy.doing([fault], lambda: seen.append(dump(stage.catalog))):  # noqa: B023
            answer = stage.client.post(call.path, body)
        expected = call.first if fault in ("slow", "late") else call.again
        assert expected.items() <= answer.items(), call.name
        assert len(seen) == (1 if fault == "slow" else 2), call.name
        assert seen[0] == seen[-1] == dump(stage.catalog), call.name


def test_no_route_that_changes_something_is_left_out(home: Home) -> None:
    routes: list[Any] = [*calls(), *assembly.routes(home)]
    assert {route.path for route in routes if route.methods - {"GET", "HEAD"}} == {
        call.path for call in CALLS
    } | APART


def test_reading_changes_nothing(stage: Stage) -> None:
    production, _ = stage.process()
    before = dump(stage.catalog)
    for path in (
        "/health",
        "/productions",
        f"/productions/{production}",
        f"/productions/{production}/report",
        f"/datasets/{SCOPE}:{production}.all",
    ):
        for fault in FAULTS:
            with stage.proxy.doing([fault]):
                stage.client.get(path)
    assert dump(stage.catalog) == before


@pytest.mark.parametrize("fault", ["drop", "truncate", "late"])
def test_a_claim_whose_reply_is_lost_runs_out_and_its_job_is_done_once(stage: Stage, fault: str) -> None:
    job = stage.job()
    with stage.proxy.doing([fault]), pytest.raises(GatewayUnreachable):
        stage.client.claim("cell", 1)
    stage.client.health()  # what was late has arrived by now
    lost = Lease(job, 1, "f" * 32)
    with stage.catalog.write() as tx:
        assert job not in work.reap(tx)
    stage.clock.advance(CLAIM_S + 1)
    with stage.catalog.write() as tx:
        assert job in work.reap(tx)
    ((claimed, epoch),) = stage.client.claim("cell", 1)
    assert (claimed, epoch) == (job, 2)
    with pytest.raises(StaleLease):
        stage.client.begin(job, lost.epoch, lost.runner, host="h", pid=1, worker="w")
    stage.client.begin(job, epoch, "a" * 32, host="h", pid=1, worker="w")
    stage.client.commit(job, epoch, "a" * 32, {})
    with stage.catalog.read() as tx:
        assert [one.outcome for one in status.attempts(tx, job)] == ["done"]


def test_a_claim_that_arrives_twice_is_returned_by_name(stage: Stage) -> None:
    """As the dispatcher does with what it may have been given without hearing of it."""
    before, after = stage.job(), stage.job()
    with stage.proxy.doing(["repeat"]):
        assert stage.client.claim("cell", 1, claimer="dispatcher.7") == [(before, 1)]
    assert stage.client.release(worker="dispatcher.7") == 2
    assert stage.client.claim("cell", 2) == [(after, 2), (before, 2)]


def test_what_comes_again_after_the_story_is_over_changes_nothing(stage: Stage) -> None:
    """A request of the ledger that got stuck somewhere may arrive at any later time."""
    story: list[tuple[str, dict[str, Any]]] = []
    for call in CALLS[:7]:
        body = call.body(stage)
        stage.client.post(call.path, body)
        story.append((call.path, body))
    for path, body in [entry for entry in story if entry[0] in ("/begin", "/renew")]:
        lease = body["leases"][0] if path == "/renew" else body
        stage.client.commit(lease["job"], lease["epoch"], lease["runner"], {})
    before = dump(stage.catalog)
    for path, body in reversed(story):
        with contextlib.suppress(StaleLease):
            stage.client.post(path, body)
    assert dump(stage.catalog) == before
