"""The plan of a production is a pure function; these are its rules."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from grid.farm.plan import Fate, Input, Merge, Output, Standing, group_outputs, plan, sharing


def done(name: str, *sections: tuple[int, int], process: Fate = Fate.ABSENT) -> Input:
    return Input(name, Fate.DONE, process, sections)


def test_nothing_is_processed_before_every_input_has_been_taken_in() -> None:
    """A file that is still being checked could share events with any other."""
    answer = plan([done("a", (1, 1)), Input("b", Fate.WAITING)], [], streams=["S"], compared={}, target=10)
    assert answer.standing is Standing.ACTIVE
    assert not answer.process


def test_inputs_that_share_a_section_are_compared_before_their_jobs_exist() -> None:
    inputs = [done("a", (1, 1)), done("b", (1, 1), (1, 2)), done("c", (7, 1))]
    first = plan(inputs, [], streams=["S"], compared={}, target=10)
    assert [group.files for group in first.compare] == [("a", "b")]
    assert [job.file for job in first.process] == ["c"]
    key = first.compare[0].key
    assert [
        job.file for job in plan(inputs, [], streams=["S"], compared={key: Fate.DONE}, target=10).process
    ] == [
        "a",
        "b",
        "c",
    ]


def test_duplicates_bar_their_files_and_let_the_others_go_on() -> None:
    inputs = [done("a", (1, 1)), done("b", (1, 1)), done("c", (7, 1), process=Fate.DONE)]
    key = plan(inputs, [], streams=[], compared={}, target=10).compare[0].key
    out = Output("c.S", "c", "S", 5)
    answer = plan(inputs, [out], streams=["S"], compared={key: Fate.HELD}, target=10)
    assert not answer.process
    assert [merge.files for merge in answer.merge] == [("c.S",)]
    after = plan(inputs, [replace(out, taken=True)], streams=["S"], compared={key: Fate.HELD}, target=10)
    assert after.standing is Standing.STALLED
    assert "same events" in " ".join(after.reasons)


def test_a_bad_input_stalls_the_production_and_nothing_else() -> None:
    inputs = [Input("a", Fate.HELD, why="is bad: it is cut short"), done("b", (1, 1), process=Fate.DONE)]
    answer = plan(inputs, [Output("b.S", "b", "S", 1, taken=True)], streams=["S"], compared={}, target=10)
    assert answer.standing is Standing.STALLED
    assert answer.reasons == ("a is bad: it is cut short",)


def test_it_is_complete_when_everything_is_processed_and_merged() -> None:
    inputs = [done("a", (1, 1), process=Fate.DONE)]
    outputs = [Output("a.S", "a", "S", 1, taken=True)]
    assert (
        plan(inputs, outputs, streams=["S"], compared={}, target=10, merges_waiting=1).standing
        is Standing.ACTIVE
    )
    assert plan(inputs, outputs, streams=["S"], compared={}, target=10).standing is Standing.COMPLETE
    assert plan(inputs, [], streams=["S"], compared={}, target=None).standing is Standing.COMPLETE


def test_a_group_closes_at_the_target_and_waits_for_gaps() -> None:
    a, b, c = (Output(name, name, "S", 6) for name in "abc")
    assert [
        m.files for m in group_outputs("S", [(a, False), (b, False), (None, True), (c, False)], target=10)
    ] == [("a",)]
    assert [
        m.files for m in group_outputs("S", [(a, False), (b, False), (None, False), (c, False)], target=12)
    ] == [
        ("a", "b"),
        ("c",),
    ]


def test_late_inputs_make_another_file_never_a_second_merge() -> None:
    a, c = Output("a", "a", "S", 6, taken=True), Output("c", "c", "S", 6, taken=True)
    late = Output("b", "b", "S", 1)
    assert [m.files for m in group_outputs("S", [(a, False), (late, False), (c, False)], target=100)] == [
        ("b",)
    ]


def test_files_connected_through_others_are_one_group() -> None:
    files = [done("a", (1, 1)), done("b", (1, 2)), done("c", (1, 1), (1, 2)), done("d", (2, 1))]
    assert sharing(files) == [("a", "b", "c")]


@given(
    sizes=st.lists(st.integers(0, 50), max_size=30),
    order=st.randoms(use_true_random=False),
    target=st.integers(1, 100),
)
def test_groups_do_not_depend_on_who_was_first(sizes: list[int], order: object, target: int) -> None:
    """Outputs arrive in any order, a plan after each: the groups are those of a single plan at the end."""
    outputs = [Output(f"o{i:03}", f"o{i:03}", "S", size) for i, size in enumerate(sizes)]
    arrivals = list(range(len(outputs)))
    order.shuffle(arrivals)  # type: ignore[attr-defined]
    taken: set[str] = set()
    present: set[int] = set()
    made: list[Merge] = []
    for arrival in arrivals:
        present.add(arrival)
        sequence = [
            (replace(one, taken=one.name in taken), False) if i in present else (None, True)
            for i, one in enumerate(outputs)
        ]
        groups = group_outputs("S", sequence, target=target)
        made += groups
        taken |= {name for group in groups for name in group.files}
    at_once = group_outputs("S", [(one, False) for one in outputs], target=target)
    assert sorted(made, key=lambda m: m.files) == at_once
    assert [name for group in at_once for name in group.files] == [one.name for one in outputs]
    by_name = {one.name: one.bytes for one in outputs}
    for group in at_once:
        assert len(group.files) == 1 or sum(by_name[name] for name in group.files) <= target


def test_a_merge_reads_only_so_many_inputs() -> None:
    outputs = [(Output(f"{i}", f"{i}", "S", 0), False) for i in range(5)]
    groups = group_outputs("S", outputs, target=10**9, max_inputs=2)
    assert [m.files for m in groups] == [("0", "1"), ("2", "3"), ("4",)]
