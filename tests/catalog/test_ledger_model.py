"""The ledger against a plain-Python oracle, under every order of calls that hypothesis thinks of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from catalog import jobs, status, work
from catalog.engine import Catalog
from catalog.invariants import violations
from catalog.leases import Lease
from catalog.states import JobState, Kind
from sitecfg.errors import StaleLease
from sitecfg.failures import Action, decide
from tests.catalog.world import LEASE_S, Clock, World, written

if TYPE_CHECKING:
    from tests.catalog.databases import Databases

FAILURES = ("payload", "killed", "transient", "source-bad", "config")


@dataclass
class Oracle:
    """What a job should be: no SQL, no cleverness."""

    state: str = "ready"
    epoch: int = 0
    runner: str | None = None
    run_at: float = 0.0
    lease_until: float = 0.0
    worker: str | None = None
    committed: tuple[int, str, int] | None = None
    failed: dict[tuple[int, str], str] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)

    def held_by(self, lease: Lease) -> bool:
        return (self.epoch, self.runner) == (lease.epoch, lease.runner) and self.state in ("leased", "ready")


class LedgerMachine(RuleBasedStateMachine):
    """Runs come and go, replies are lost, leases run out, workers die, operators interfere."""

    runs = Bundle("runs")
    claims = Bundle("claims")

    def __init__(self, databases: Databases) -> None:
        super().__init__()
        self.catalog = Catalog.open(databases.catalog(), clock=Clock.QUERY)
        self.clock = Clock(self.catalog)
        self.world = World(self.catalog, self.clock)
        self.at = 1_000_000.0
        self.tokens = 0
        self.world.declare([f"{n}.root" for n in range(4)])
        with self.catalog.read() as tx:
            self.jobs = {one.id: Oracle(run_at=self.at) for one in status.jobs(tx)}

    def teardown(self) -> None:
        self.reap()
        with self.catalog.read() as tx:
            assert violations(tx) == []
        self.catalog.close()

    @rule(target=claims, limit=st.integers(1, 3))
    def claim(self, limit: int) -> Any:
        due = [n for n, one in sorted(self.jobs.items()) if one.state == "ready" and one.run_at <= self.at]
        with self.catalog.write() as tx:
            claimed = work.claim(tx, cell="c", limit=limit, lease_s=LEASE_S)
        assert [one.job for one in claimed] == due[:limit]
        for one in claimed:
            oracle = self.jobs[one.job]
            oracle.state, oracle.runner, oracle.worker = "leased", None, None
            oracle.epoch += 1
            oracle.lease_until = self.at + LEASE_S
            assert one.epoch == oracle.epoch
        return multiple(*((one.job, one.epoch) for one in claimed))

    @rule(target=runs, claim=claims, worker=st.sampled_from(["w1", "w2"]))
    def begin(self, claim: tuple[int, int], worker: str) -> Any:
        self.tokens += 1
        lease = Lease(*claim, f"{self.tokens:032x}")
        oracle = self.jobs[lease.job]
        free = (oracle.state, oracle.epoch, oracle.runner) == ("leased", lease.epoch, None)
        if free:
            assert self.world.begin(lease, worker=worker).job == lease.job
            oracle.runner, oracle.worker = lease.runner, worker
            oracle.lease_until = self.at + LEASE_S
        else:
            with pytest.raises(StaleLease):
                self.world.begin(lease, worker=worker)
        return lease

    @rule(lease=runs)
    def begin_again(self, lease: Lease) -> None:
        oracle = self.jobs[lease.job]
        if oracle.held_by(lease):
            self.world.begin(lease, worker="w1")
            oracle.state, oracle.lease_until = "leased", self.at + LEASE_S
        else:
            with pytest.raises(StaleLease):
                self.world.begin(lease, worker="w1")

    @rule(leases=st.lists(runs, max_size=3, unique=True))
    def renew(self, leases: list[Lease]) -> None:
        with self.catalog.write() as tx:
            renewed = work.renew(tx, leases, lease_s=LEASE_S)
        assert list(renewed.kept) == [one for one in leases if self.jobs[one.job].held_by(one)]
        assert list(renewed.lost) == [one for one in leases if not self.jobs[one.job].held_by(one)]
        for one in renewed.kept:
            self.jobs[one.job].state = "leased"
            self.jobs[one.job].lease_until = self.at + LEASE_S

    @rule(lease=runs, variant=st.integers(0, 1), times=st.integers(1, 2))
    def commit(self, lease: Lease, variant: int, times: int) -> None:
        """Commit, and again when the reply is lost."""
        oracle = self.jobs[lease.job]
        result = {"file": written(f"{lease.job}.root", range(3 + variant))}
        for _ in range(times):
            mine = (lease.epoch, lease.runner, variant)
            if oracle.held_by(lease):
                assert not self.world.commit(lease, result).repeated
                oracle.state, oracle.committed = "done", mine
            elif oracle.committed == mine:
                assert self.world.commit(lease, result).repeated
            else:
                with pytest.raises(StaleLease):
                    self.world.commit(lease, result)

    @rule(lease=runs, failure=st.sampled_from(FAILURES), times=st.integers(1, 2))
    def fail(self, lease: Lease, failure: str, times: int) -> None:
        oracle = self.jobs[lease.job]
        for _ in range(times):
            if oracle.held_by(lease):
                ended = self.world.fail(lease, failure)
                oracle.failures[failure] = oracle.failures.get(failure, 0) + 1
                decision = decide(failure, oracle.failures[failure])
                oracle.state = "ready" if decision.action is Action.RETRY else "held"
                oracle.runner, oracle.run_at = None, self.at + decision.delay_s
                oracle.failed[lease.epoch, lease.runner] = failure
                assert (ended.state, ended.repeated) == (oracle.state, False)
            elif (lease.epoch, lease.runner) in oracle.failed:
                ended = self.world.fail(lease, failure)
                assert (ended.state, ended.repeated) == (oracle.state, True)
            else:
                with pytest.raises(StaleLease):
                    self.world.fail(lease, failure)

    @rule(seconds=st.sampled_from([1.0, LEASE_S / 2, LEASE_S + 1, 1000.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.at += seconds

    @rule()
    def reap(self) -> None:
        with self.catalog.write() as tx:
            reaped = work.reap(tx)
        late = {n for n, one in self.jobs.items() if one.state == "leased" and one.lease_until < self.at}
        assert set(reaped) == late
        for number in late:
            self.jobs[number].state, self.jobs[number].run_at = "ready", self.at

    @rule(worker=st.sampled_from(["w1", "w2"]))
    def worker_dies(self, worker: str) -> None:
        with self.catalog.write() as tx:
            returned = work.give_back(tx, worker=worker)
        mine = {n for n, one in self.jobs.items() if one.state == "leased" and one.worker == worker}
        assert set(returned) == mine
        self._ready(mine)

    @rule(claim=consumes(claims))
    def return_claim(self, claim: tuple[int, int]) -> None:
        oracle = self.jobs[claim[0]]
        free = (oracle.state, oracle.epoch, oracle.runner) == ("leased", claim[1], None)
        with self.catalog.write() as tx:
            returned = work.give_back(tx, [Lease(*claim)])
        assert returned == ([claim[0]] if free else [])
        self._ready(returned)

    @rule(number=st.integers(1, 4))
    def free(self, number: int) -> None:
        with self.catalog.write() as tx:
            freed = jobs.free(tx, jobs=[number])
        assert freed == ([number] if self.jobs[number].state == "held" else [])
        self._ready(freed)
        for one in freed:
            self.jobs[one].failures.clear()

    @rule(number=st.integers(1, 4))
    def hold(self, number: int) -> None:
        with self.catalog.write() as tx:
            held = jobs.hold(tx, [number], "an operator looks")
        assert held == (self.jobs[number].state == "ready")
        if held:
            self.jobs[number].state, self.jobs[number].runner = "held", None

    def _ready(self, numbers: Any) -> None:
        for number in numbers:
            oracle = self.jobs[number]
            oracle.state, oracle.runner, oracle.worker, oracle.run_at = "ready", None, None, self.at

    @invariant()
    def the_catalog_says_what_the_oracle_says(self) -> None:
        with self.catalog.read() as tx:
            for one in status.jobs(tx):
                oracle = self.jobs[one.id]
                assert (one.state, one.epoch) == (oracle.state, oracle.epoch)
                if one.state == JobState.READY:
                    assert one.run_at == oracle.run_at
                if one.state == JobState.LEASED:
                    assert one.lease_until == oracle.lease_until
            assert status.job_counts(tx, None)[Kind.INTAKE] == {
                state: count
                for state in JobState
                if (count := sum(one.state == state for one in self.jobs.values()))
            }


def test_the_ledger_is_what_the_oracle_says(databases: Databases) -> None:
    run_state_machine_as_test(
        lambda: LedgerMachine(databases),  # type: ignore[arg-type]  # any callable that makes one will do
        settings=settings(
            max_examples=15, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
