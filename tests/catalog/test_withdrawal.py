"""A file that is found bad goes with all that was made from it, and the books close before and after."""

from __future__ import annotations

import pytest

from catalog import control, find, jobs, planning, productions, status, withdrawal
from catalog.audit import audit
from catalog.invariants import violations
from catalog.states import FileState, JobState, Kind, ProductionState
from sitecfg.errors import StaleLease
from tests.catalog.world import World, merged, processed, streams_of, written

EVENTS = {"a.root": list(range(1, 13)), "b.root": list(range(13, 31)), "c.root": list(range(31, 40))}


def in_a(*names: str) -> list[int]:
    return [event for name in names for event in EVENTS[name] if streams_of(event) & 1]


def process_all(world: World) -> None:
    """Run the process jobs that are ready."""
    with world.catalog.read() as tx:
        ready = len(status.jobs(tx, kinds=[Kind.PROCESS], states=[JobState.READY]))
    for _ in range(ready):
        lease, begun = world.start(kinds=(Kind.PROCESS,))
        world.commit(lease, processed(lease, begun, EVENTS[begun.inputs[0].name]))


def merge_a(world: World, *names: str, number: int = 1) -> int:
    """Merge stream A of some inputs; return the job."""
    production = number_of(world)
    with world.catalog.read() as tx:
        outputs = planning.stream_outputs(tx, production)
    of = {one.source_name: one.file for one in outputs if one.stream == "A"}
    world.add(production, Kind.MERGE, [tuple(of[f"test:{name}"] for name in names)])
    lease, begun = world.start(kinds=(Kind.MERGE,))
    world.commit(lease, merged(lease, begun, "A", in_a(*names), number))
    return lease.job


def number_of(world: World) -> int:
    with world.catalog.read() as tx:
        return productions.get(tx, "pass1").id


@pytest.fixture
def done(world: World) -> World:
    """Three inputs, processed; stream A of the first two merged."""
    ids = world.take_in(EVENTS)
    production = world.produce(ids)
    world.add(production, Kind.PROCESS, [(one,) for one in ids])
    process_all(world)
    merge_a(world, "a.root", "b.root")
    return world


def invalidate(world: World, name: str) -> set[str]:
    """Invalidate a file; return the names that went with it."""
    with world.catalog.write() as tx:
        bad = find.file(tx, "test", name)
        foreseen = withdrawal.consequences(tx, bad)
        gone = withdrawal.invalidate(tx, bad, "its magnet was off")
        assert gone == foreseen
        assert withdrawal.consequences(tx, find.files_by_id(tx, [bad.id])[bad.id]).jobs == ()
    return {one.name for one in gone.files}


def sound(world: World) -> tuple[int, int, int]:
    """Assert that all books close; return the events that went in, are merged, and wait in stream A."""
    with world.catalog.read() as tx:
        assert violations(tx) == []
        found = audit(tx, productions.get(tx, "pass1"))
    assert found.findings == ()
    stream = found.streams[0]
    assert stream.merged is not None
    assert stream.waiting is not None
    return found.events_in, stream.merged, stream.waiting


def test_a_bad_input_takes_along_all_that_was_made_from_it(done: World) -> None:
    assert sound(done) == (39, len(in_a("a.root", "b.root")), len(in_a("c.root")))
    gone = invalidate(done, "a.root")
    assert gone == {"pass1.A--a.root", "pass1.B--a.root", "pass1.A--merged-1"}
    assert sound(done) == (27, 0, len(in_a("b.root", "c.root")))
    with done.catalog.read() as tx:
        bad = find.file(tx, "test", "a.root")
        assert (bad.state, bad.why) == (FileState.BAD, "its magnet was off")
        (aside,) = find.files(tx, find.dataset(tx, "test", "pass1.A.withdrawn").id)
        assert (aside.state, aside.why) == (FileState.RETIRED, "its magnet was off")
    merge_a(done, "b.root", "c.root")
    assert sound(done) == (27, len(in_a("b.root", "c.root")), 0)


def test_a_bad_output_is_made_again_under_its_own_name(done: World) -> None:
    gone = invalidate(done, "pass1.B--b.root")
    assert gone == {"pass1.A--b.root", "pass1.B--b.root", "pass1.A--merged-1"}, "a job's outputs go together"
    assert sound(done)[0] == 21
    with done.catalog.read() as tx:
        (b,) = [one for one in planning.inputs(tx, number_of(done)) if one.name == "test:b.root"]
        assert (b.state, b.process) == (FileState.ON_DISK, None), "the planner makes the job anew"
    done.add(number_of(done), Kind.PROCESS, [(b.file,)])
    process_all(done)
    merge_a(done, "a.root", "b.root")
    assert sound(done) == (39, len(in_a("a.root", "b.root")), len(in_a("c.root")))
    with done.catalog.read() as tx:
        assert find.file(tx, "test", "pass1.B--b.root").state == FileState.ON_DISK


def test_a_bad_merged_file_is_merged_again_from_the_same_inputs(done: World) -> None:
    assert invalidate(done, "pass1.A--merged-1") == {"pass1.A--merged-1"}
    assert sound(done) == (39, 0, len(in_a(*EVENTS)))
    merge_a(done, *EVENTS)
    assert sound(done) == (39, len(in_a(*EVENTS)), 0)


def test_jobs_that_were_to_read_what_is_withdrawn_are_given_up(done: World) -> None:
    with done.catalog.read() as tx:
        waiting = [one.file for one in planning.stream_outputs(tx, number_of(done)) if one.stream == "B"]
    (job,) = done.add(number_of(done), Kind.MERGE, [tuple(waiting)])
    invalidate(done, "c.root")
    with done.catalog.read() as tx:
        assert status.one_job(tx, job).state == JobState.CANCELLED
    sound(done)


def test_another_productions_files_go_too(done: World) -> None:
    with done.catalog.read() as tx:
        merged_file = find.file(tx, "test", "pass1.A--merged-1")
    second = done.produce([merged_file.id], name="pass2")
    done.add(second, Kind.PROCESS, [(merged_file.id,)])
    lease, begun = done.start(kinds=(Kind.PROCESS,))
    done.commit(lease, processed(lease, begun, in_a("a.root", "b.root")))
    with done.catalog.write() as tx:
        productions.set_production_state(tx, second, ProductionState.COMPLETE)
    gone = invalidate(done, "a.root")
    assert {name for name in gone if name.startswith("pass2")} == {
        "pass2.A--pass1.A--merged-1",
        "pass2.B--pass1.A--merged-1",
    }
    with done.catalog.read() as tx:
        assert productions.get(tx, "pass2").state == ProductionState.ACTIVE
        assert violations(tx) == []
        assert audit(tx, productions.get(tx, "pass2")).events_in == 0


def test_a_production_is_withdrawn_whole(done: World) -> None:
    with done.catalog.write() as tx:
        gone = withdrawal.withdraw(tx, productions.get(tx, "pass1"), "wrong constants")
    assert len(gone.files) == 7
    assert sound(done) == (0, 0, 0)


def test_a_production_over_withdrawn_files_takes_what_comes_instead(done: World) -> None:
    with done.catalog.write() as tx:
        raw, dataset = find.file(tx, "test", "pass1.A--merged-1"), find.dataset(tx, "test", "pass1.A")
    second = done.produce([raw.id], name="pass2")
    invalidate(done, raw.name)
    with done.catalog.write() as tx:
        productions.set_production_state(tx, second, ProductionState.STALLED, why="it was withdrawn")
        assert productions.forget_withdrawn_inputs(tx, second, dataset.id) == 0, (
            "nothing is there instead yet"
        )
    merge_a(done, *EVENTS)
    with done.catalog.write() as tx:
        productions.set_production_state(tx, number_of(done), ProductionState.COMPLETE)
    with done.catalog.write() as tx:
        assert productions.add_dataset_inputs(tx, second, dataset.id) == 1
        assert productions.forget_withdrawn_inputs(tx, second, dataset.id) == 1
        assert productions.forget_withdrawn_inputs(tx, second, dataset.id) == 0
        (one,) = planning.inputs(tx, second)
    assert (one.name, one.state) == ("test:pass1.A--merged-1", FileState.ON_DISK)


def test_an_input_that_was_given_up_is_not_taken_again_when_its_output_goes(done: World) -> None:
    with done.catalog.write() as tx:
        control.retire(tx, find.file(tx, "test", "a.root"), "not wanted any more")
        assert len(planning.inputs(tx, number_of(done))) == 3, "what it became stays"
    invalidate(done, "pass1.A--a.root")
    with done.catalog.read() as tx:
        assert {one.name for one in planning.inputs(tx, number_of(done))} == {"test:b.root", "test:c.root"}
    sound(done)


def test_what_is_bad_before_anybody_looked_into_it_stays_bad(world: World) -> None:
    (number,) = world.declare(["a.root"])
    lease, _ = world.start(kinds=(Kind.INTAKE,))
    with world.catalog.write() as tx:
        withdrawal.invalidate(tx, find.file(tx, "test", "a.root"), "no beam")
    with pytest.raises(StaleLease):
        world.commit(lease, {"file": written("a.root", [1, 2])})
    with world.catalog.read() as tx:
        one = find.files_by_id(tx, [number])[number]
        assert (one.state, one.why) == (FileState.BAD, "no beam")
        assert violations(tx) == []


def test_what_an_operator_found_bad_is_not_freed_with_the_job_that_found_it_bad_before(world: World) -> None:
    world.declare(["a.root"])
    lease, _ = world.start(kinds=(Kind.INTAKE,))
    world.fail(lease, "source-bad")
    with world.catalog.write() as tx:
        withdrawal.invalidate(tx, find.file(tx, "test", "a.root"), "no beam")
        assert jobs.free(tx, jobs=[lease.job]) == []
        assert find.file(tx, "test", "a.root").state == FileState.BAD
