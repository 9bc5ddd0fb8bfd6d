"""Runs, sections and events are numbers of up to 64 bits: exact as far as books can hold them, else refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from grid.rootio.facts import file_facts
from grid.rootio.merge import merge
from grid.rootio.sink import Sink
from grid.rootio.split import split
from sitecfg.errors import UnsupportedContent
from tests.grid.rootio.making import Table, flat

if TYPE_CHECKING:
    from pathlib import Path


def written(path: Path, runs: list[int], events: list[int], kind: str) -> Path:
    table = Table().add(flat("run", kind), np.array(runs, kind))
    table.add(flat("luminosityBlock", "u4"), np.ones(len(runs), "u4"))
    table.add(flat("event", kind), np.array(events, kind))
    with Sink(path) as sink:
        sink.tree("Events", table.branches).extend(table.columns)
    return path


def test_large_and_negative_numbers_stay_exact(tmp_path: Path) -> None:
    near = 1 << 53
    path = written(tmp_path / "a.root", [-3, near, near + 1], [-(1 << 63), near, near + 1], "i8")
    assert file_facts(path).sections == ((-3, 1, 1), (near, 1, 1), (near + 1, 1, 1))
    assert not file_facts(path).duplicates


def test_a_run_beyond_what_books_hold_is_refused_by_name(tmp_path: Path) -> None:
    path = written(tmp_path / "a.root", [1 << 63], [1], "u8")
    for attempt in (
        lambda: file_facts(path),
        lambda: split(path, {"all": tmp_path / "out.root"}),
        lambda: merge([path], tmp_path / "out.root"),
    ):
        with pytest.raises(UnsupportedContent, match=f"run {1 << 63} is beyond") as caught:
            attempt()
        assert caught.value.where == f"{path}: Events/run"
    assert [one.name for one in tmp_path.iterdir()] == ["a.root"]


def test_repeated_events_are_named_by_their_own_numbers(tmp_path: Path) -> None:
    path = written(tmp_path / "a.root", [1, 1], [(1 << 64) - 1] * 2, "u8")
    (first,) = merge([path], tmp_path / "out.root").duplicates.first
    assert f"event {(1 << 64) - 1}:" in first
