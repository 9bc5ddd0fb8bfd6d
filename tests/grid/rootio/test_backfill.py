"""Files whose branches differ are merged by explicit rules, and what was made up is told."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid.rootio.merge import MergeOptions, merge
from grid.rootio.planning import groups
from grid.rootio.source import open_source
from sitecfg.errors import SchemaMismatch, UnsupportedContent, UsageError
from tests.grid.rootio.making import counted, events, flat, jagged, read_lists, write

if TYPE_CHECKING:
    from pathlib import Path

BACKFILL = MergeOptions(schema="backfill")


def test_missing_trigger_bits_become_false_whatever_the_order(tmp_path: Path) -> None:
    write(tmp_path / "a.root", {"Events": events(3).add(flat("HLT_New", "?"), [True, False, True])})
    write(tmp_path / "b.root", {"Events": events(2, first=10)})
    for order, bits in (("ab", [True, False, True, False, False]), ("ba", [False, False, True, False, True])):
        paths = [tmp_path / f"{name}.root" for name in order]
        with pytest.raises(SchemaMismatch, match="HLT_New"):
            merge(paths, tmp_path / "strict.root")
        report = merge(paths, tmp_path / f"{order}.root", BACKFILL)
        assert read_lists(tmp_path / f"{order}.root")["HLT_New"] == bits
        assert report.filled == {str(tmp_path / "b.root"): ("HLT_New",)}
        assert any("back-filled: HLT_New" in note for note in report.notes)
        with open_source(tmp_path / f"{order}.root") as source:
            assert source.record is not None
            assert source.record["filled"] == [{"Events": ["HLT_New"]}]
        rest = [read_lists(path) for path in paths]
        merged = read_lists(tmp_path / f"{order}.root")
        assert all(merged[name] == rest[0][name] + rest[1][name] for name in rest[1] if name in rest[0])


def test_lists_that_are_missing_are_empty_and_narrow_numbers_widened(tmp_path: Path) -> None:
    wide = events(2).add(flat("level", "i8"), [1 << 40, -1])
    narrow = events(2, first=5).add(flat("level", "i2"), [7, -7])
    write(tmp_path / "a.root", {"Events": wide})
    write(tmp_path / "b.root", {"Events": narrow})
    merge([tmp_path / "b.root", tmp_path / "a.root"], tmp_path / "out.root", BACKFILL)
    assert read_lists(tmp_path / "out.root")["level"] == [7, -7, 1 << 40, -1]
    with open_source(tmp_path / "out.root") as source:
        assert source.info("Events").by_name()["level"].dtype == np.dtype("i8")


def test_signed_numbers_become_unsigned_ones_unless_one_is_negative(tmp_path: Path) -> None:
    bits = [1 << 63, 5]
    write(tmp_path / "a.root", {"Events": events(2).add(flat("bits", "u8"), bits)})
    write(tmp_path / "b.root", {"Events": events(2, first=5).add(flat("bits", "i4"), [(1 << 31) - 1, 0])})
    merge([tmp_path / "b.root", tmp_path / "a.root"], tmp_path / "out.root", BACKFILL)
    assert read_lists(tmp_path / "out.root")["bits"] == [(1 << 31) - 1, 0, *bits]
    lists = jagged([[1], [], [2, -3]], "i4")
    table = events(3, first=5).add(flat("n", "i4"), lists.counts).add(counted("many", "i4", "n"), lists)
    write(tmp_path / "c.root", {"Events": table})
    wide = jagged([[], [7]], "u8")
    table = events(2).add(flat("n", "i4"), wide.counts).add(counted("many", "u8", "n"), wide)
    write(tmp_path / "d.root", {"Events": table})
    for paths in ([tmp_path / "c.root", tmp_path / "d.root"], [tmp_path / "d.root", tmp_path / "c.root"]):
        with pytest.raises(UnsupportedContent, match=r"c\.root: Events: many is -3 in entry 2, .*uint64"):
            merge(paths, tmp_path / "refused.root", BACKFILL)
        assert not (tmp_path / "refused.root").exists()


def test_widening_keeps_numbers_that_are_none(tmp_path: Path) -> None:
    write(tmp_path / "a.root", {"Events": events(2).add(flat("x", "f4"), [np.nan, np.inf])})
    write(tmp_path / "b.root", {"Events": events(1, first=5).add(flat("x", "f8"), [1e300])})
    merge([tmp_path / "a.root", tmp_path / "b.root"], tmp_path / "out.root", BACKFILL)
    assert repr(read_lists(tmp_path / "out.root")["x"]) == "[nan, inf, 1e+300]"


def test_a_counter_that_is_missing_says_how_long_the_lists_are(tmp_path: Path) -> None:
    """Lists that one file counts by another branch than the others."""
    for name, counter, lists in (("a", "n", [[1], [2, 3]]), ("b", "nx", [[4, 5], [], [6]])):
        column = jagged(lists, "i4")
        table = events(len(lists), first=10 * ord(name)).add(flat(counter, "i4"), column.counts)
        write(tmp_path / f"{name}.root", {"Events": table.add(counted("x", "i4", counter), column)})
    merge([tmp_path / "a.root", tmp_path / "b.root"], tmp_path / "out.root", BACKFILL)
    found = read_lists(tmp_path / "out.root")
    assert found["x"] == [[1], [2, 3], [4, 5], [], [6]]
    assert found["n"] == [1, 2, 2, 0, 1]
    assert found["nx"] == [0, 0, 2, 0, 1]


def test_what_no_rule_brings_together_is_named(tmp_path: Path) -> None:
    write(
        tmp_path / "a.root", {"Events": events(2).add(flat("x", "i4"), [1, 2]).add(flat("y", "f4"), [1, 2])}
    )
    write(
        tmp_path / "b.root",
        {"Events": events(2, first=5).add(flat("x", "f4"), [1, 2]).add(flat("y", "i4"), [1, 2])},
    )
    with pytest.raises(SchemaMismatch, match=r"x \(.*a\.root: Events\), y \("):
        merge([tmp_path / "a.root", tmp_path / "b.root"], tmp_path / "out.root", BACKFILL)
    assert not (tmp_path / "out.root").exists()
    with pytest.raises(UsageError, match="schema"):
        merge([tmp_path / "a.root"], tmp_path / "out.root", MergeOptions(schema="guess"))


def test_files_of_one_schema_are_copied_all_the_same(tmp_path: Path) -> None:
    for number in (0, 1):
        write(tmp_path / f"{number}.root", {"Events": events(20, first=20 * number)})
    paths = [tmp_path / "0.root", tmp_path / "1.root"]
    merge(paths, tmp_path / "strict.root")
    merge(paths, tmp_path / "filled.root", BACKFILL)
    assert (tmp_path / "strict.root").read_bytes() == (tmp_path / "filled.root").read_bytes()


@given(sizes=st.lists(st.integers(0, 100), max_size=20), limit=st.integers(1, 150))
def test_groups_hold_every_file_once_and_no_more_than_they_may(sizes: list[int], limit: int) -> None:
    shared = groups(sizes, limit)
    assert [n for first, stop in shared for n in range(first, stop)] == list(range(len(sizes)))
    for first, stop in shared:
        assert sum(sizes[first:stop]) <= limit or stop == first + 1
    for (first, stop), (_, after) in itertools.pairwise(shared):
        assert after > stop > first
        assert sum(sizes[first : stop + 1]) > limit
