"""What commits do to files and books, and which results are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from catalog import control, files, find, jobs, planning, status, triggers
from catalog.invariants import violations
from catalog.states import FileState, JobState, Kind
from sitecfg.errors import ClosureError, LedgerError, OutputExists, UsageError
from tests.catalog.world import counted, merged, processed, tally, written

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.catalog.world import World

A = list(range(1, 13))
B = list(range(13, 31))


def test_a_production_goes_through_and_its_books_close(world: World) -> None:
    ids = world.take_in({"a.root": A, "b.root": B})
    production = world.produce(ids)
    world.add(production, Kind.PROCESS, [(one,) for one in ids])
    for events, dropped in ((A, [5, 6]), (B, [])):
        lease, begun = world.start()
        assert world.commit(lease, processed(lease, begun, events, dropped=dropped)).state == JobState.DONE
    with world.catalog.read() as tx:
        outputs = planning.stream_outputs(tx, production, untaken=True)
        assert [(one.stream, one.source_name) for one in outputs] == [
            ("A", "test:a.root"), ("A", "test:b.root"), ("B", "test:a.root"), ("B", "test:b.root"),
        ]  # fmt: skip
        books, dropped_books = planning.books(tx, production)
    assert sum(one.events for one in books.values()) + dropped_books.events == len(A) + len(B)
    assert books[3] == tally(e for e in A + B if e % 6 == 0 and e != 6)

    in_a = [one for one in outputs if one.stream == "A"]
    world.add(production, Kind.MERGE, [tuple(one.file for one in in_a)])
    with world.catalog.read() as tx:
        assert {one.stream for one in planning.stream_outputs(tx, production, untaken=True)} == {"B"}
    lease, begun = world.start()
    assert [one.id for one in begun.inputs] == [one.file for one in in_a]
    world.commit(lease, merged(lease, begun, "A", [e for e in A + B if e % 2 == 0 and e != 6]))
    with world.catalog.read() as tx:
        assert violations(tx) == []
        assert status.job_counts(tx, production) == {"process": {"done": 2}, "merge": {"done": 1}}
        assert planning.dataset_totals(tx, production)["test:pass1.A"][0] == 1
        merged_file = find.file(tx, "test", "pass1.A--merged-1")
        assert {one.id for one in find.parents(tx, merged_file.id)} == {one.file for one in in_a}


def lose_an_event(result: dict[str, Any]) -> None:
    result["books"][0]["events"] -= 1


def swap_an_event(result: dict[str, Any]) -> None:
    result["books"][0]["fingerprint"] = f"{1:032x}"


def swap_in_the_output(result: dict[str, Any]) -> None:
    result["outputs"][0].update(counted([e + 100 for e in A if e % 2 == 0]))


def change_a_value(result: dict[str, Any]) -> None:
    result["outputs"][1]["content"] = f"{1:016x}"


def forget_a_stream(result: dict[str, Any]) -> None:
    del result["outputs"][1]


def forget_a_fingerprint(result: dict[str, Any]) -> None:
    result["outputs"][0]["fingerprint"] = None


def miscount_a_section(result: dict[str, Any]) -> None:
    result["outputs"][0]["sections"] = [[1, 1, 1]]


def book_twice(result: dict[str, Any]) -> None:
    result["books"].append({"mask": result["books"][0]["mask"], **counted([])})


@pytest.mark.parametrize(
    "spoil",
    [
        lose_an_event,
        swap_an_event,
        swap_in_the_output,
        change_a_value,
        forget_a_stream,
        forget_a_fingerprint,
        miscount_a_section,
        book_twice,
    ],
)
def test_books_that_do_not_close_are_refused_and_nothing_is_kept(
    world: World, spoil: Callable[[dict[str, Any]], None]
) -> None:
    ids = world.take_in({"a.root": A})
    production = world.produce(ids)
    world.add(production, Kind.PROCESS, [(ids[0],)])
    lease, begun = world.start()
    result = processed(lease, begun, A)
    spoil(result)
    with pytest.raises(ClosureError) as caught:
        world.commit(lease, result)
    assert caught.value.where
    with world.catalog.read() as tx:
        assert planning.stream_outputs(tx, production) == []
        assert planning.books(tx, production)[0] == {}
        assert status.one_job(tx, lease.job).state == JobState.LEASED
    assert world.fail(lease, caught.value.failure, str(caught.value)).state == JobState.READY


def test_a_stream_without_events_needs_its_empty_output(world: World) -> None:
    ids = world.take_in({"a.root": [2, 4]})
    production = world.produce(ids)
    world.add(production, Kind.PROCESS, [(ids[0],)])
    lease, begun = world.start()
    result = processed(lease, begun, [2, 4])
    with pytest.raises(ClosureError, match="one output per stream"):
        world.commit(lease, {**result, "outputs": result["outputs"][:1]})
    world.commit(lease, result)


def test_what_was_made_from_a_file_that_is_bad_by_now_is_refused(world: World) -> None:
    ids = world.take_in({"a.root": A})
    production = world.produce(ids)
    world.add(production, Kind.PROCESS, [(ids[0],)])
    lease, begun = world.start()
    with world.catalog.write() as tx:
        files.mark_bad(tx, ids[0], "a byte has flipped")
    with pytest.raises(UsageError, match="a byte has flipped"):
        world.commit(lease, processed(lease, begun, A))


def other_name(result: dict[str, Any]) -> None:
    result["outputs"][0]["url"] = "file:///pool/other.root"


def other_dataset(result: dict[str, Any]) -> None:
    result["outputs"][0]["dataset"] = "test:raw"


def other_stream(result: dict[str, Any]) -> None:
    result["outputs"][0]["stream"] = "B"


def other_parents(result: dict[str, Any]) -> None:
    result["outputs"][0]["parents"] = ["test:b.root"]


def no_checksum(result: dict[str, Any]) -> None:
    del result["outputs"][0]["adler32"]


def not_a_number(result: dict[str, Any]) -> None:
    result["outputs"][0]["events"] = "many"


@pytest.mark.parametrize(
    "spoil", [other_name, other_dataset, other_stream, other_parents, no_checksum, not_a_number]
)
def test_results_that_are_not_this_runs_are_refused(
    world: World, spoil: Callable[[dict[str, Any]], None]
) -> None:
    ids = world.take_in({"a.root": A})
    production = world.produce(ids)
    world.add(production, Kind.PROCESS, [(ids[0],)])
    lease, begun = world.start()
    result = processed(lease, begun, A)
    spoil(result)
    with pytest.raises(UsageError):
        world.commit(lease, result)


def test_a_logical_name_is_taken_once(world: World) -> None:
    ids = world.take_in({"a.root": A, "b.root": B})
    production = world.produce(ids)
    world.add(production, Kind.PROCESS, [(one,) for one in ids])
    lease, begun = world.start()
    world.commit(lease, processed(lease, begun, A))
    other, begun_b = world.start()
    result = processed(other, begun_b, B)
    for one in result["outputs"]:
        one["url"] = one["url"].replace("b.root", "a.root", 1)
        one["name"] = one["name"].replace("b.root", "a.root")
    with pytest.raises(OutputExists):
        world.commit(other, result)


def test_a_merge_that_loses_or_doubles_is_refused(world: World) -> None:
    ids = world.take_in({"a.root": A})
    production = world.produce(ids)
    world.add(production, Kind.PROCESS, [(ids[0],)])
    lease, begun = world.start()
    world.commit(lease, processed(lease, begun, A))
    with world.catalog.read() as tx:
        (output, *_) = planning.stream_outputs(tx, production)
    world.add(production, Kind.MERGE, [(output.file,)])
    with pytest.raises(LedgerError), world.catalog.write() as tx:
        jobs.add_jobs(tx, production, Kind.MERGE, [jobs.NewJob("another", (output.file,))])
    lease, begun = world.start()
    even = [e for e in A if e % 2 == 0]
    for wrong in (even[1:], [*even, even[0]], [*even[1:], 99]):
        with pytest.raises(ClosureError):
            world.commit(lease, merged(lease, begun, "A", wrong))
    with pytest.raises(ClosureError):
        world.commit(lease, merged(lease, begun, "B", even))
    world.commit(lease, merged(lease, begun, "A", even))
    with world.catalog.read() as tx:
        assert violations(tx) == []


def test_one_file_under_two_names_is_refused_at_intake(world: World) -> None:
    world.declare(["a.root", "copy.root"])
    facts = {"file": written("a.root", A)}
    lease, _ = world.start()
    world.commit(lease, facts)
    lease, _ = world.start()
    ended = world.commit(lease, facts)
    assert (ended.state, ended.failure) == (JobState.HELD, "duplicates")
    assert world.commit(lease, facts) == type(ended)(
        ended.job, ended.state, ended.failure, ended.why, repeated=True
    )
    with world.catalog.write() as tx:
        copy = find.file(tx, "test", "copy.root")
        assert copy.state == FileState.BAD
        assert "a.root" in str(copy.why)
        assert violations(tx) == []
        jobs.free(tx, jobs=[lease.job])
        assert find.file(tx, "test", "copy.root").state == FileState.CLOSED
    lease, _ = world.start()
    assert world.commit(lease, facts).state == JobState.HELD, "it is still the same file"


def test_a_file_with_an_event_twice_is_bad(world: World) -> None:
    world.declare(["a.root"])
    lease, _ = world.start()
    ended = world.commit(lease, {"file": {**written("a.root", A), "duplicates": [[1, 1, 7]]}})
    assert ended.state == JobState.HELD
    with world.catalog.read() as tx:
        assert find.file(tx, "test", "a.root").state == FileState.BAD


def test_inputs_that_hold_the_same_events_hold_the_comparison(world: World) -> None:
    ids = world.take_in({"a.root": A, "b.root": B})
    production = world.produce(ids)
    world.add(production, Kind.COMPARE, [tuple(ids)])
    lease, _ = world.start()
    assert world.commit(lease, {"duplicates": [[1, 1, 7]], "files": []}).failure == "duplicates"
    with world.catalog.write() as tx:
        control.retire(tx, find.file(tx, "test", "b.root"), "it doubles a.root")
        assert status.job_counts(tx, production) == {"compare": {"cancelled": 1}}
        assert [one.file for one in planning.inputs(tx, production)] == [ids[0]]


def test_a_menu_is_kept_once_for_all_files_that_carry_it(world: World) -> None:
    ids = world.declare(["a.root", "b.root"])
    for name in ("a.root", "b.root"):
        lease, _ = world.start()
        world.commit(lease, {"file": {**written(name, A), "menu": ["HLT_X", "HLT_Y"], "menu_hash": "h1"}})
    production = world.produce(ids)
    with world.catalog.read() as tx:
        assert triggers.paths(tx, "h1") == ("HLT_X", "HLT_Y")
        assert triggers.menus_of(tx, production) == {"h1": ["a.root", "b.root"]}
