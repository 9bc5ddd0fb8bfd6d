"""What an operator does to work that exists, and what it never does: touch a run, or unbalance a book."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from catalog import control, find, jobs, planning, productions, status, withdrawal, work
from catalog.audit import audit
from catalog.invariants import violations
from catalog.states import FileState, Kind, ProductionState
from sitecfg.errors import DuplicateEvents, UsageError
from tests.catalog.world import World, processed, written

if TYPE_CHECKING:
    from catalog.rows import Production

A, B, C = list(range(1, 7)), list(range(7, 13)), list(range(13, 20))


@pytest.fixture
def busy(world: World) -> World:
    """A production with three inputs, whose process jobs are ready."""
    ids = world.take_in({"a.root": A, "b.root": B, "c.root": C})
    production = world.produce(ids)
    world.add(production, Kind.PROCESS, [(one,) for one in ids])
    return world


def pass1(world: World) -> Production:
    with world.catalog.read() as tx:
        return productions.get(tx, "pass1")


def counts(world: World) -> dict[str, int]:
    with world.catalog.read() as tx:
        assert violations(tx) == []
        return status.job_counts(tx, pass1(world).id)["process"]


def claimed(world: World, limit: int = 9) -> list[int]:
    with world.catalog.write() as tx:
        return [one.job for one in work.claim(tx, cell="here", limit=limit, lease_s=100.0)]


def test_nothing_of_a_paused_production_starts_and_what_runs_ends_well(busy: World) -> None:
    lease, begun = busy.start()
    with busy.catalog.write() as tx:
        assert control.pause(tx, pass1(busy), "the tape drive is needed") == 2
        assert control.pause(tx, pass1(busy), "the tape drive is needed") == 0
    assert claimed(busy) == []
    busy.commit(lease, processed(lease, begun, A))
    assert counts(busy) == {"done": 1, "paused": 2}
    with busy.catalog.read() as tx:
        one = productions.get(tx, "pass1")
        assert (one.state, one.why) == ("paused", "the tape drive is needed")
    with busy.catalog.write() as tx:
        assert control.resume(tx, pass1(busy)) == 2
        assert control.resume(tx, pass1(busy)) == 0
    assert pass1(busy).state == ProductionState.ACTIVE
    assert len(claimed(busy)) == 2


def test_a_run_that_fails_during_a_pause_waits_for_its_end(busy: World) -> None:
    lease, _ = busy.start()
    with busy.catalog.write() as tx:
        control.pause(tx, pass1(busy), "later")
    busy.fail(lease, "killed")
    busy.clock.advance(10_000)
    assert claimed(busy) == []
    with busy.catalog.write() as tx:
        control.resume(tx, pass1(busy))
    assert len(claimed(busy)) == 3


def test_another_production_goes_on_while_one_is_paused(busy: World) -> None:
    with busy.catalog.read() as tx:
        raw = [one.file for one in planning.inputs(tx, pass1(busy).id)]
    other = busy.produce(raw, name="pass2")
    made = busy.add(other, Kind.PROCESS, [(one,) for one in raw])
    with busy.catalog.write() as tx:
        control.pause(tx, pass1(busy), "later")
    assert claimed(busy) == made


def test_a_production_that_is_over_is_not_paused(busy: World) -> None:
    with busy.catalog.write() as tx:
        control.cancel(tx, pass1(busy), "enough")
    with pytest.raises(UsageError, match="cancelled"), busy.catalog.write() as tx:
        control.pause(tx, pass1(busy), "later")


def test_a_file_is_paused_alone(busy: World) -> None:
    with busy.catalog.read() as tx:
        b = find.file(tx, "test", "b.root")
    with busy.catalog.write() as tx:
        assert control.pause_file(tx, b) == 1
    assert len(claimed(busy)) == 2
    with busy.catalog.write() as tx:
        control.pause(tx, productions.get(tx, "pass1"), "later")
        assert control.resume_file(tx, b) == 0, "its production is paused too"
        control.resume(tx, productions.get(tx, "pass1"))
    assert len(claimed(busy)) == 1


def test_priority_goes_before_age(busy: World) -> None:
    with busy.catalog.read() as tx:
        c = find.file(tx, "test", "c.root")
        raw = [one.file for one in planning.inputs(tx, pass1(busy).id)]
    other = busy.produce(raw, name="pass2")
    second = busy.add(other, Kind.PROCESS, [(one,) for one in raw])
    with busy.catalog.write() as tx:
        assert control.prioritize(tx, productions.get(tx, "pass2"), 5) == 3
        assert control.prioritize_file(tx, c, 7) == 2
        assert productions.get(tx, "pass2").priority == 5
    first = claimed(busy, 2)
    with busy.catalog.read() as tx:
        assert {status.one_job(tx, one).key for one in first} == {str(c.id)}
    assert claimed(busy, 2) == second[:2]


def test_a_retired_input_is_dropped_where_it_is_not_processed_and_kept_where_it_is(busy: World) -> None:
    lease, begun = busy.start()
    busy.commit(lease, processed(lease, begun, A))
    with busy.catalog.write() as tx:
        a, b = find.file(tx, "test", "a.root"), find.file(tx, "test", "b.root")
        assert control.retire(tx, a, "not wanted") == []
        assert len(control.retire(tx, b, "not wanted")) == 1
        assert control.retire(tx, b, "not wanted") == []
        assert find.file(tx, "test", "b.root").state == FileState.RETIRED
        assert {one.file for one in planning.inputs(tx, pass1(busy).id)} == {a.id, b.id + 1}
        raw = find.dataset(tx, "test", "raw")
        assert productions.add_dataset_inputs(tx, pass1(busy).id, raw.id) == 0, "it does not come back"
        assert audit(tx, productions.get(tx, "pass1")).closes
    assert counts(busy) == {"done": 1, "ready": 1, "cancelled": 1}


def test_an_output_is_not_retired(busy: World) -> None:
    lease, begun = busy.start()
    busy.commit(lease, processed(lease, begun, A))
    with pytest.raises(UsageError, match="a production made"), busy.catalog.write() as tx:
        control.retire(tx, find.file(tx, "test", "pass1.A--a.root"), "not wanted")


def test_a_bad_input_that_is_put_aside_holds_nothing_up_and_does_not_come_back(busy: World) -> None:
    with busy.catalog.write() as tx:
        b = find.file(tx, "test", "b.root")
        withdrawal.invalidate(tx, b, "no beam")
        productions.set_production_state(tx, pass1(busy).id, ProductionState.STALLED, why="b.root is bad")
    with busy.catalog.write() as tx:
        control.retire(tx, b, "go on without it")
        one = productions.get(tx, "pass1")
        assert (one.state, one.why) == (ProductionState.ACTIVE, None)
        assert productions.add_dataset_inputs(tx, one.id, find.dataset(tx, "test", "raw").id) == 0
        assert len(planning.inputs(tx, one.id)) == 2


def test_one_file_under_two_names_is_put_aside_under_one_of_them(world: World) -> None:
    """And once nothing made of the other is there, its bytes may come in again."""
    for name in ("a.root", "b.root", "c.root"):
        world.declare([name])
        with world.catalog.write() as tx:
            if name == "c.root":
                control.retire(tx, find.file(tx, "test", "a.root"), "b.root is to be the one")
        lease, _ = world.start(kinds=(Kind.INTAKE,))
        state = world.commit(lease, {"file": written("the same", [1, 2])}).state
        assert state == ("held" if name == "b.root" else "done")
        with world.catalog.write() as tx:
            if name == "b.root":
                control.retire(tx, find.file(tx, "test", name), "once is enough")
                assert find.file(tx, "test", name).state == FileState.RETIRED


def test_what_is_retired_keeps_its_bytes_out_while_something_of_it_is_there(busy: World) -> None:
    lease, begun = busy.start()
    busy.commit(lease, processed(lease, begun, A))
    busy.declare(["again.root"])
    with busy.catalog.write() as tx:
        control.retire(tx, find.file(tx, "test", "a.root"), "not wanted")
    lease, _ = busy.start(kinds=(Kind.INTAKE,))
    ended = busy.commit(lease, {"file": written("a.root", A, section=1)})
    assert (ended.state, ended.failure) == ("held", "duplicates")


def test_what_a_job_found_bad_stays_so_while_its_bytes_are_there_under_another_name(busy: World) -> None:
    lease, _ = busy.start()
    busy.fail(lease, "source-bad")
    busy.declare(["again.root"])
    again, _ = busy.start(kinds=(Kind.INTAKE,))
    assert busy.commit(again, {"file": written("a.root", A)}).state == "done"
    with pytest.raises(DuplicateEvents, match=r"come in as again\.root"), busy.catalog.write() as tx:
        jobs.free(tx, jobs=[lease.job])
    with busy.catalog.write() as tx:
        control.retire(tx, find.file(tx, "test", "again.root"), "a.root is right after all")
        assert jobs.free(tx, jobs=[lease.job]) == [lease.job]
        assert find.file(tx, "test", "a.root").state == FileState.ON_DISK
