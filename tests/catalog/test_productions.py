"""Productions, and what their planner is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from catalog import control, find, jobs, planning, productions, runs, status, work
from catalog.invariants import violations
from catalog.states import JobState, Kind, ProductionState
from sitecfg.errors import NotFound, RecipeChanged, StaleLease
from tests.catalog.world import processed, written

if TYPE_CHECKING:
    from tests.catalog.world import World


def test_the_same_recipe_is_the_same_production_and_another_is_refused(world: World) -> None:
    with world.catalog.write() as tx:
        first = productions.submit_production(tx, "s", "p", recipe={"merge": 1}, recipe_hash="a")
        assert productions.submit_production(tx, "s", "p", recipe={"merge": 1}, recipe_hash="a") == first
        with pytest.raises(RecipeChanged, match="merge") as caught:
            productions.submit_production(tx, "s", "p", recipe={"merge": 2}, recipe_hash="b")
        assert caught.value.facts == {"changed": ["merge"], "recipe": {"merge": 1}}
        productions.submit_production(tx, "s", "pass1", recipe={}, recipe_hash="c")
        with pytest.raises(NotFound, match="did you mean pass1"):
            productions.get(tx, "pas1")


def test_jobs_are_told_what_their_kind_shares_and_then_their_own(world: World) -> None:
    ids = world.take_in({"a.root": [1]})
    production = world.produce(ids, shared={"process": {"merge": 1, "table": "T"}})
    with world.catalog.write() as tx:
        jobs.add_jobs(tx, production, Kind.PROCESS, [jobs.NewJob("a", (ids[0],), {"merge": 2})])
    _, begun = world.start()
    assert (begun.production, begun.key, begun.spec) == ("pass1", "a", {"merge": 2, "table": "T"})


def test_the_planner_sees_inputs_with_the_states_of_their_jobs(world: World) -> None:
    ids = world.take_in({"b.root": [1, 2], "a.root": [3]})
    (late,) = world.declare(["c.root"])
    production = world.produce([*ids, late])
    world.add(production, Kind.PROCESS, [(ids[0],)])
    with world.catalog.read() as tx:
        told = {one.name: one for one in planning.inputs(tx, production)}
        sections = planning.input_sections(tx, production)
    assert list(told) == ["test:a.root", "test:b.root", "test:c.root"]
    assert (told["test:b.root"].process, told["test:a.root"].process) == ("ready", None)
    assert (told["test:c.root"].intake, told["test:c.root"].state) == ("ready", "closed")
    assert (told["test:a.root"].first, told["test:c.root"].first) == ((1, 2), None)
    assert sections == {ids[0]: ((1, 1),), ids[1]: ((1, 2),)}


def test_files_that_share_a_run_section_are_found(world: World) -> None:
    ids = world.declare(["a.root", "b.root", "c.root"])
    for name, section in (("a", 1), ("b", 1), ("c", 2)):
        lease, _ = world.start()
        world.commit(lease, {"file": written(f"{name}.root", [1], section=section)})
    production = world.produce(ids)
    with world.catalog.read() as tx:
        assert runs.shared_sections(tx, production) == [runs.Shared(1, 1, (ids[0], ids[1]))]
        assert runs.runs(tx) == [runs.RunInfo(1, 2)]


def test_processing_inputs_that_were_never_compared_is_a_violation(world: World) -> None:
    ids = world.declare(["a.root", "b.root"])
    for name, events in (("a.root", [1]), ("b.root", [2])):
        lease, _ = world.start()
        world.commit(lease, {"file": written(name, events)})
    production = world.produce(ids)
    world.add(production, Kind.PROCESS, [(one,) for one in ids])
    for events in ([1], [2]):
        lease, begun = world.start()
        world.commit(lease, processed(lease, begun, events))
    with world.catalog.read() as tx:
        (found,) = violations(tx)
    assert (found.invariant, "never compared" in found.sentence) == ("I2", True)
    world.add(production, Kind.COMPARE, [tuple(ids)])
    lease, _ = world.start()
    world.commit(lease, {"duplicates": []})
    with world.catalog.read() as tx:
        assert violations(tx) == []


def test_a_whole_dataset_becomes_input_and_later_files_too(world: World) -> None:
    world.declare(["a.root"])
    production = world.produce([])
    with world.catalog.write() as tx:
        raw = find.dataset(tx, "test", "raw").id
        assert productions.add_dataset_inputs(tx, production, raw) == 1
    world.declare(["b.root"])
    with world.catalog.write() as tx:
        assert productions.add_dataset_inputs(tx, production, raw) == 1
        assert productions.add_dataset_inputs(tx, production, raw) == 0
        assert planning.input_totals(tx, production) == {"closed": (2, 0, 0)}
        assert planning.input_states(tx, production, raw) == {"closed": 2}


def test_only_a_productions_own_inputs_are_counted(world: World) -> None:
    a, _ = world.take_in({"a.root": [1], "b.root": [2]})
    (c,) = world.declare(["c.root"])
    production = world.produce([a, c])
    with world.catalog.read() as tx:
        raw = find.dataset(tx, "test", "raw").id
        assert planning.input_states(tx, production, raw) == {"on_disk": 1, "closed": 1}


def test_a_cancelled_production_has_no_jobs_left_and_stays_cancelled(world: World) -> None:
    ids = world.take_in({"a.root": [1], "b.root": [2]})
    production = world.produce(ids)
    world.add(production, Kind.PROCESS, [(one,) for one in ids])
    lease, begun = world.start()
    with world.catalog.write() as tx:
        one = productions.get(tx, "pass1")
        assert len(control.cancel(tx, one, "enough")) == 2
        assert control.cancel(tx, one, "enough") == []
        assert not productions.set_production_state(tx, production, ProductionState.ACTIVE)
        assert status.job_counts(tx, production) == {"process": {"cancelled": 2}}
        assert violations(tx) == []
        assert work.claim(tx, cell="c", limit=9, lease_s=1) == []
    with pytest.raises(StaleLease):
        world.commit(lease, processed(lease, begun, [1]))


def test_freeing_a_production_frees_its_inputs_intakes_too(world: World) -> None:
    ids = world.declare(["a.root"])
    lease, _ = world.start()
    world.fail(lease, "source-bad", "no ROOT file")
    production = world.produce(ids)
    with world.catalog.write() as tx:
        assert jobs.free(tx, production=production) == [lease.job]
        assert status.one_job(tx, lease.job).state == JobState.READY


def test_what_attempts_used_is_added_up(world: World) -> None:
    ids = world.take_in({"a.root": [1]})
    production = world.produce(ids)
    world.add(production, Kind.PROCESS, [(ids[0],)])
    lease, _ = world.start()
    world.fail(lease, "killed")
    world.clock.advance(100)
    lease, begun = world.start()
    with world.catalog.read() as tx:
        assert [one.host for one in status.running(tx)] == ["host"]
        assert status.live_leases(tx) == {"here": 1}
    world.commit(lease, processed(lease, begun, [1]))
    with world.catalog.read() as tx:
        used = status.used(tx, production)
        assert status.failures(tx, production) == {"killed": 1}
    assert (used.attempts, used.cpu_s, used.peak_rss, used.bytes_in) == (2, 1.5, 10**8, 1000)
