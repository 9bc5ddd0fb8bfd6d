"""Memory follows the chunk, not the file."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest

from grid.rootio.columns import Branch
from grid.rootio.facts import file_facts
from grid.rootio.gather import gatherer
from grid.rootio.merge import MergeOptions, merge
from grid.rootio.split import SplitRecipe, split
from grid.trigger import TriggerTable
from tests.grid.rootio.making import Table, counted, flat, jagged, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EVENTS, WIDTH = 20_000, 400
MEMORY = 2 << 20


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 MB of values."""
    table = Table().add(flat("event", "u8"), np.arange(EVENTS))
    branch = Branch("adc", "adc", np.dtype("f8"), (WIDTH,))
    table.add(branch, np.random.default_rng(1).integers(0, 9, (EVENTS, WIDTH)).astype("f8"))
    return write(tmp_path_factory.mktemp("large") / "in.root", {"t": table}, cluster_bytes=1 << 20)


def facts(source: Path, _: Path) -> None:
    file_facts(source, identity=("event",), memory_bytes=MEMORY)


def cut(source: Path, out: Path) -> None:
    split(source, {"all": out}, SplitRecipe(identity=("event",), memory_bytes=MEMORY))


def join(source: Path, out: Path) -> None:
    merge([source], out, MergeOptions(identity=("event",), memory_bytes=MEMORY))


@pytest.mark.parametrize(("what", "megabytes"), [(facts, 20), (cut, 60), (join, 60)])
def test_memory_stays_far_below_the_file(
    large: Path, tmp_path: Path, what: Callable[[Path, Path], None], megabytes: int
) -> None:
    what(large, tmp_path / "warm.root")
    tracemalloc.start()
    try:
        what(large, tmp_path / "out.root")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < megabytes << 20


def test_what_streams_hold_back_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many streams of many branches, none of which fills a basket: 16 times 80 times 14 kB."""
    monkeypatch.setattr(gatherer, "_HELD", 2 << 20)
    table = (
        Table().add(flat("event", "u8"), np.arange(2000)).add(flat("HLT_most", "?"), np.arange(2000) < 1200)
    )
    lists = jagged([[1.0]] * 2000, "f4")
    table.add(flat("n", "i4"), np.ones(2000))
    for number in range(80):
        table.add(counted(f"x{number}", "f4", "n"), lists)
    source = write(tmp_path / "in.root", {"t": table})
    streams = {f"s{number}": ("HLT_most",) for number in range(16)}
    recipe = SplitRecipe(table=TriggerTable(name="T", tag=1, streams=streams), identity=("event",))
    split(source, {name: tmp_path / f"warm {name}.root" for name in streams}, recipe)
    monkeypatch.setattr(gatherer, "_SECTION", 200_000)
    tracemalloc.start()
    try:
        report = split(source, {name: tmp_path / f"{name}.root" for name in streams}, recipe)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert {one.events for one in report.outputs} == {1200}
    assert peak < 12 << 20
