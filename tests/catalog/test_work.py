"""The ledger's protocol, call by call."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from catalog import find, jobs, status, work
from catalog.leases import Lease
from catalog.states import FileState, JobState, Kind
from sitecfg.errors import LedgerError, StaleLease
from tests.catalog.world import LEASE_S, written

if TYPE_CHECKING:
    from tests.catalog.world import World

EVENTS = [1, 2, 3, 4, 5, 6]


def result(name: str = "a.root") -> dict[str, object]:
    return {"file": written(name, EVENTS), "measured": {"cpu_s": 1.0, "peak_rss": 5}, "notes": ["fine"]}


def state(world: World, job: int) -> status.Job:
    with world.catalog.read() as tx:
        return status.one_job(tx, job)


def test_a_job_goes_from_ready_to_done(world: World) -> None:
    (file_id,) = world.declare(["a.root"])
    lease, begun = world.start()
    assert begun.kind == Kind.INTAKE
    assert [one.name for one in begun.inputs] == ["a.root"]
    assert begun.inputs[0].urls == ("file:///raw/a.root",)
    ended = world.commit(lease, result())
    assert (ended.state, ended.repeated) == (JobState.DONE, False)
    with world.catalog.read() as tx:
        assert find.file(tx, "test", "a.root").state == FileState.ON_DISK
        (attempt,) = status.attempts(tx, lease.job)
        assert find.sections(tx, file_id) == [(1, 1, 6)]
    assert (attempt.outcome, attempt.cpu_s, attempt.peak_rss) == ("done", 1.0, 5)


def test_claims_go_by_priority_then_age_and_leave_what_is_not_due(world: World) -> None:
    ids = world.declare(["a.root", "b.root"])
    production = world.produce(ids)
    with world.catalog.write() as tx:
        urgent = jobs.add_jobs(tx, production, Kind.PROCESS, [jobs.NewJob("x", (ids[0],))], priority=5)
        claims = work.claim(tx, cell="c", limit=2, lease_s=10)
        assert claims[0].job == urgent[0]
        assert len(claims) == 2
        assert len(work.claim(tx, cell="c", limit=5, lease_s=10)) == 1
        assert work.claim(tx, cell="c", limit=5, lease_s=10) == []


def test_only_the_first_start_of_a_claim_begins(world: World) -> None:
    world.declare(["a.root"])
    lease, begun = world.start()
    assert world.begin(lease) == begun, "the same run asks again: its reply was lost"
    with pytest.raises(StaleLease):
        world.begin(Lease(lease.job, lease.epoch, uuid4().hex))


def test_an_old_claim_or_a_forged_epoch_opens_nothing(world: World) -> None:
    world.declare(["a.root"])
    with world.catalog.write() as tx:
        (old,) = work.claim(tx, cell="c", limit=1, lease_s=LEASE_S)
    world.clock.advance(LEASE_S + 1)
    with world.catalog.write() as tx:
        work.reap(tx)
        (new,) = work.claim(tx, cell="c", limit=1, lease_s=LEASE_S)
    with pytest.raises(StaleLease):
        world.begin(Lease(old.job, old.epoch, uuid4().hex))
    lease = Lease(new.job, new.epoch, uuid4().hex)
    world.begin(lease)
    forged = Lease(lease.job, lease.epoch + 1, lease.runner)
    with world.catalog.write() as tx:
        assert work.renew(tx, [forged], lease_s=LEASE_S).lost == (forged,)
    with pytest.raises(StaleLease):
        world.commit(forged, result())
    with pytest.raises(StaleLease):
        world.fail(forged, "payload")


def test_another_start_token_opens_nothing(world: World) -> None:
    """Dask may start one task twice: both copies know the epoch, and only one of them began it."""
    world.declare(["a.root"])
    lease, _ = world.start()
    other = Lease(lease.job, lease.epoch, uuid4().hex)
    with world.catalog.write() as tx:
        assert work.renew(tx, [other], lease_s=LEASE_S).lost == (other,)
    with pytest.raises(StaleLease):
        world.commit(other, result())
    with pytest.raises(StaleLease):
        world.fail(other, "payload")
    assert state(world, lease.job).state == JobState.LEASED
    assert world.commit(lease, result()).state == JobState.DONE


def test_a_repeated_commit_is_told_so_and_another_result_is_refused(world: World) -> None:
    world.declare(["a.root"])
    lease, _ = world.start()
    world.commit(lease, result())
    assert world.commit(lease, result()).repeated
    with pytest.raises(StaleLease):
        world.commit(lease, {**result(), "notes": ["other"]})
    with pytest.raises(StaleLease):
        world.fail(lease, "payload")


def test_a_lease_that_ran_out_belongs_to_the_next_claimer(world: World) -> None:
    world.declare(["a.root"])
    old, _ = world.start()
    world.clock.advance(LEASE_S + 1)
    with world.catalog.write() as tx:
        assert work.reap(tx) == [old.job]
        assert work.reap(tx) == []
    new, _ = world.start()
    assert new.epoch == old.epoch + 1
    for call in (
        lambda: world.commit(old, result()),
        lambda: world.fail(old, "payload"),
        lambda: world.begin(old),
    ):
        with pytest.raises(StaleLease):
            call()
    with world.catalog.write() as tx:
        assert work.renew(tx, [old, new], lease_s=LEASE_S) == work.Renewed(kept=(new,), lost=(old,))
    world.commit(new, result())
    with world.catalog.read() as tx:
        assert [one.outcome for one in status.attempts(tx, new.job)] == ["lost", "done"]


@pytest.mark.parametrize("call", ["renew", "commit"])
def test_a_reaped_lease_that_nobody_claimed_is_still_its_holders(world: World, call: str) -> None:
    world.declare(["a.root"])
    lease, _ = world.start()
    world.clock.advance(LEASE_S + 1)
    with world.catalog.write() as tx:
        work.reap(tx)
        if call == "renew":
            assert work.renew(tx, [lease], lease_s=LEASE_S).kept == (lease,)
            assert work.claim(tx, cell="c", limit=9, lease_s=1) == []
    assert world.commit(lease, result()).state == JobState.DONE


def test_what_was_to_happen_by_a_clock_that_was_set_back_is_brought_back(world: World) -> None:
    world.declare(["a.root", "b.root"])
    world.clock.advance(3600)
    lost, _ = world.start()
    failed, _ = world.start()
    retried = world.fail(failed, "killed")
    world.clock.advance(-3600)
    with world.catalog.write() as tx:
        assert work.claim(tx, cell="c", limit=9, lease_s=LEASE_S) == [], "nothing would be due for an hour"
        for _ in range(2):
            work.pull_back(tx, lease_s=LEASE_S, delay_s=0.0)
        assert [one.job for one in work.claim(tx, cell="c", limit=9, lease_s=LEASE_S)] == [retried.job]
    world.clock.advance(LEASE_S + 1)
    with world.catalog.write() as tx:
        assert set(work.reap(tx)) == {lost.job, retried.job}


def test_a_wait_that_is_no_longer_than_it_may_be_stays(world: World) -> None:
    world.declare(["a.root"])
    lease, _ = world.start()
    run_at = world.fail(lease, "killed").run_at
    with world.catalog.write() as tx:
        work.pull_back(tx, lease_s=LEASE_S, delay_s=300.0)
    assert state(world, lease.job).run_at == run_at


def test_renewing_keeps_a_lease(world: World) -> None:
    world.declare(["a.root"])
    lease, _ = world.start()
    for _ in range(3):
        world.clock.advance(LEASE_S * 0.9)
        with world.catalog.write() as tx:
            assert work.reap(tx) == []
            work.renew(tx, [lease], lease_s=LEASE_S)


def test_a_dead_workers_leases_are_free_at_once_and_not_its_any_more(world: World) -> None:
    world.declare(["a.root", "b.root"])
    dead, _ = world.start()
    with world.catalog.write() as tx:
        (claim,) = work.claim(tx, cell="c", limit=1, lease_s=LEASE_S)
    other = Lease(claim.job, claim.epoch, uuid4().hex)
    world.begin(other, worker="w2")
    with world.catalog.write() as tx:
        assert work.give_back(tx, worker="w1") == [dead.job]
        assert work.give_back(tx, worker="w1") == []
        assert work.renew(tx, [dead, other], lease_s=1).lost == (dead,)
    with pytest.raises(StaleLease):
        world.commit(dead, result())
    assert state(world, dead.job).state == JobState.READY


def test_a_claim_that_nobody_began_can_be_given_back_but_not_one_that_was(world: World) -> None:
    world.declare(["a.root"])
    with world.catalog.write() as tx:
        (claim,) = work.claim(tx, cell="c", limit=1, lease_s=LEASE_S)
        assert work.give_back(tx, [Lease(claim.job, claim.epoch)]) == [claim.job]
    lease, _ = world.start()
    with world.catalog.write() as tx:
        assert work.give_back(tx, [Lease(lease.job, lease.epoch)]) == []


def test_failures_are_tried_again_later_then_held_until_freed(world: World) -> None:
    world.declare(["a.root"])
    for attempt in range(3):
        lease, _ = world.start()
        ended = world.fail(lease, "payload", f"raised {attempt}")
        assert world.fail(lease, "payload").repeated
        if attempt < 2:
            assert ended.state == JobState.READY
            with world.catalog.write() as tx:
                assert work.claim(tx, cell="c", limit=1, lease_s=1) == [], "not before its delay is over"
            world.clock.advance(100)
    assert ended.state == JobState.HELD
    assert state(world, lease.job).why == "raised 2"
    with world.catalog.write() as tx:
        assert jobs.free(tx, jobs=[lease.job]) == [lease.job]
        assert jobs.free(tx, jobs=[lease.job]) == []
    lease, _ = world.start()
    assert world.fail(lease, "payload").state == JobState.READY, "the budget is anew"


def test_kills_and_lost_leases_never_hold_a_job(world: World) -> None:
    world.declare(["a.root"])
    for _ in range(25):
        lease, _ = world.start()
        assert world.fail(lease, "killed").state == JobState.READY
        world.clock.advance(1000)
        lease, _ = world.start()
        world.clock.advance(LEASE_S + 1)
        with world.catalog.write() as tx:
            work.reap(tx)
    assert state(world, lease.job).state == JobState.READY


def test_a_damaged_input_is_quarantined_and_looked_at_again_when_freed(world: World) -> None:
    world.declare(["a.root"])
    lease, _ = world.start()
    assert world.fail(lease, "source-bad", "no ROOT file").state == JobState.HELD
    with world.catalog.write() as tx:
        bad = find.file(tx, "test", "a.root")
        assert (bad.state, bad.why, bad.urls) == (FileState.BAD, "no ROOT file", ())
        jobs.free(tx, jobs=[lease.job])
        assert find.file(tx, "test", "a.root").state == FileState.CLOSED
    lease, _ = world.start()
    assert world.commit(lease, result()).state == JobState.DONE


def test_a_file_has_one_live_job_of_a_kind_in_a_production(world: World) -> None:
    ids = world.take_in({"a.root": EVENTS, "b.root": [7]})
    production = world.produce(ids)
    made = world.add(production, Kind.PROCESS, [(ids[0],)])
    with pytest.raises(LedgerError, match="another live process job"):
        world.add(production, Kind.PROCESS, [tuple(ids)])
    with world.catalog.write() as tx:
        jobs.cancel(tx, made, "not wanted")
    assert len(world.add(production, Kind.PROCESS, [tuple(ids)])) == 1


def test_a_cancelled_run_cannot_commit(world: World) -> None:
    world.declare(["a.root"])
    lease, _ = world.start()
    with world.catalog.write() as tx:
        assert jobs.cancel(tx, [lease.job], "not wanted") == [lease.job]
    with pytest.raises(StaleLease):
        world.commit(lease, result())
