"""Events that several files hold are found exactly, and named, with little in memory."""

from __future__ import annotations

import resource
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grid.rootio import duplicates
from grid.rootio.duplicates import Finder
from kernels import fingerprint, reference
from sitecfg.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def found(folder: Path, files: list[list[NDArray[Any]]], names: tuple[str, ...]) -> duplicates.Duplicates:
    with Finder(names, folder) as finder:
        for number, columns in enumerate(files):
            finder.add(f"file {number}", columns, fingerprint.event_keys(columns))
        return finder.find()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6)), max_size=8), max_size=5),
    st.sampled_from([1, 1 << 20]),
)
def test_duplicates_are_those_of_all_events_together(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[list[tuple[int, int]]], in_memory: int
) -> None:
    files = [
        [np.array([row[k] for row in rows], dtype) for k, dtype in ((0, np.uint32), (1, np.int64))]
        for rows in drawn
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_IN_MEMORY", in_memory)
        answer = found(tmp_path_factory.getbasetemp(), files, ("run", "event"))
    rows = [row for one in drawn for row in one]
    columns = [np.array([row[k] for row in rows], np.int64) for k in (0, 1)]
    pairs = reference.duplicates(columns).tolist() if rows else []
    assert answer.events == len(pairs)
    owner = [number for number, one in enumerate(drawn) for _ in one]
    within = [place for one in drawn for place in range(len(one))]
    assert answer.first == tuple(
        f"run {rows[a][0]}, event {rows[a][1]}: "
        f"file {owner[a]} entry {within[a]} and file {owner[b]} entry {within[b]}"
        for a, b in pairs[:20]
    )
    between = sorted((owner[a], owner[b]) for a, b in pairs)
    assert answer.files == tuple(
        (f"file {a}", f"file {b}", between.count((a, b))) for a, b in sorted(set(between))
    )


def test_hashes_that_are_equal_by_chance_are_no_duplicates(tmp_path: Path) -> None:
    with Finder(("event",), tmp_path) as finder:
        finder.add("one", [np.arange(5)], np.zeros((5, 2), np.uint64))
        finder.add("other", [np.array([7, 3])], np.zeros((2, 2), np.uint64))
        assert finder.find().first == ("event 3: one entry 3 and other entry 1",)


def test_a_disk_that_takes_no_more_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_IN_MEMORY", 1)
    events = np.arange(100)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Finder(("event",), tmp_path) as finder:
        finder.add("file", [events], fingerprint.event_keys([events]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (900, before[1]))
        try:
            with pytest.raises(OutputError, match="can't be written"):
                finder.add("another", [events], fingerprint.event_keys([events]))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_what_identifies_events_is_not_held_in_memory(tmp_path: Path) -> None:
    events = np.arange(100_000)
    found(tmp_path, [[events, events]], ("run", "event"))
    tracemalloc.start()
    try:
        answer = found(tmp_path, [[events + 100_000 * number] * 4 for number in range(20)], ("event",) * 4)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not answer.events
    assert peak < 2_000_000 * 24 + (8 << 20)  # 64 MB of columns
    assert not list(tmp_path.iterdir())
