"""ROOT itself reads what the sink writes, value by value, and hadd merges it without losing any."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from grid.rootio.columns import Branch, Column
from grid.rootio.sink import Sink
from grid.rootio.verify import verify
from tests.grid.rootio.every_type import EveryType
from tests.grid.rootio.judge import hadd, needs_root, run

pytestmark = [pytest.mark.judge, needs_root]
HERE = Path(__file__).parent
ENTRIES = 300


def dump(path: Path, tree: str) -> dict[str, dict[str, Any]]:
    out = path.with_suffix(".json")
    said = run([sys.executable, str(HERE / "root_dump.py"), str(path), tree, str(out)])
    assert "Error" not in said, said
    lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    return {line["name"]: line for line in lines}


def spelled(column: Column, branch: Branch) -> list[str]:
    """What root_dump.py prints for each entry."""
    if not column.offsets:
        return [row.tobytes().hex() for row in column.values]
    if branch.counter is not None or (branch.text and "string" not in branch.typename and not branch.jagged):
        starts = column.offsets[0]
        return [column.values[a:b].tobytes().hex() for a, b in pairwise(starts)]
    form = "'{}'" if branch.text else "{}"
    return [_nested(column, form, 0, i) for i in range(len(column))]


def _nested(column: Column, form: str, level: int, index: int) -> str:
    start, stop = (int(edge) for edge in column.offsets[level][index : index + 2])
    if level + 1 == len(column.offsets):
        values = column.values[start:stop]
        if form != "{}":
            return str(form.format(values.tobytes().hex()))
        return "[" + "".join(value.tobytes().hex() + "," for value in values) + "]"
    return "[" + "".join(_nested(column, form, level + 1, i) + "," for i in range(start, stop)) + "]"


@pytest.fixture(scope="module")
def sample() -> EveryType:
    return EveryType(ENTRIES)


def write(path: Path, sample: EveryType, compression: str, **options: Any) -> None:
    with Sink(path, compression=compression, **options) as sink:
        tree = sink.tree("one/Events", sample.branches, basket_bytes=4000, cluster_bytes=80_000)
        tree.extend(sample.columns)
        sink.tree("Empty", sample.branches)


@pytest.mark.parametrize("compression", ["zstd:5", "zlib:1", "lz4:4", "lz4:1", "lzma:1", "none"])
def test_root_reads_every_value(tmp_path: Path, sample: EveryType, compression: str) -> None:
    write(tmp_path / "a.root", sample, compression)
    found = dump(tmp_path / "a.root", "one/Events")
    for branch in sample.branches:
        if branch.name == "nested_strings":
            continue
        said = found[branch.name]
        assert said["title"] == branch.title
        assert said["counter"] == branch.counter
        assert said["values"] == spelled(sample.columns[branch.name], branch), branch.name


def test_root_reads_a_file_with_large_positions_and_an_empty_tree(tmp_path: Path, sample: EveryType) -> None:
    write(tmp_path / "a.root", sample, "zstd:5", big_from=30_000)
    found = dump(tmp_path / "a.root", "one/Events")
    for name in ("flat_u8", "counted_f8", "string", "vector_i2"):
        branch = next(branch for branch in sample.branches if branch.name == name)
        assert found[name]["values"] == spelled(sample.columns[name], branch)
    empty = dump(tmp_path / "a.root", "Empty")
    assert len(empty) == len(sample.branches) - 1
    assert all(line["values"] == [] for line in empty.values())


@pytest.mark.parametrize("mode", ["-f", "-ff", "-fk"])
def test_hadd_merges_our_files_whole(tmp_path: Path, sample: EveryType, mode: str) -> None:
    # with -f, hadd unpacks and packs what is not in its own compression; else it copies baskets
    compression = "lz4:4" if mode == "-f" else "zlib:1"
    write(tmp_path / "a.root", sample, compression)
    write(tmp_path / "b.root", sample, compression, big_from=30_000)
    hadd(mode, tmp_path / "c.root", tmp_path / "a.root", tmp_path / "b.root")
    with uproot.open(tmp_path / "c.root") as file:
        tree = file["one/Events"]
        assert tree.num_entries == 2 * ENTRIES
        assert file["Empty"].num_entries == 0
        for branch in sample.branches:
            if branch.name == "letters":
                continue  # ROOT stores an empty text as nothing, which uproot misreads
            want = sample.columns[branch.name].to_awkward(text=branch.text)
            got = tree[branch.name].array()
            assert ak.to_list(got) == 2 * ak.to_list(want), branch.name
    letters = next(branch for branch in sample.branches if branch.name == "letters")
    found = dump(tmp_path / "c.root", "one/Events")["letters"]
    assert found["values"] == 2 * spelled(sample.columns["letters"], letters)


def test_root_reads_2700_branches_with_many_counters(tmp_path: Path) -> None:
    counts = np.arange(20) % 4
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    branches, columns = [], {}
    for number in range(100):
        branches.append(Branch(f"n{number}", "", np.dtype("u4")))
        columns[f"n{number}"] = Column(counts.astype("u4"))
    for number in range(2600):
        name = f"x{number}"
        branches.append(Branch(name, f"title {number}", np.dtype("f4"), jagged=1, counter=f"n{number % 100}"))
        columns[name] = Column(np.arange(offsets[-1], dtype="f4") + number, (offsets,))
    with Sink(tmp_path / "a.root", compression="lz4:1") as sink:
        sink.tree("Events", branches, cluster_bytes=1 << 16).extend(columns)
    found = dump(tmp_path / "a.root", "Events")
    assert len(found) == 2700
    for branch in branches[::97]:
        assert found[branch.name]["values"] == spelled(columns[branch.name], branch)
        assert found[branch.name]["counter"] == branch.counter


@pytest.mark.slow
def test_a_tree_and_an_entry_beyond_2_gb_are_read_by_everyone(tmp_path: Path) -> None:
    """Numbers at both ends of 2.3 GB, then an entry of 200 MB."""
    width, lot, turns = 1 << 17, 20, 115
    branches = [Branch("x", "", np.dtype("f8"), (width,)), Branch("v", "", np.dtype("u1"), jagged=1)]
    with Sink(tmp_path / "a.root", compression="none") as sink:
        tree = sink.tree("Events", branches)
        for turn in range(turns):
            numbers = np.full((lot, width), turn, "f8")
            tree.extend(
                {"x": Column(numbers), "v": Column(np.zeros(0, "u1"), (np.zeros(lot + 1, np.int64),))}
            )
        large = Column(np.arange(200 << 20, dtype="u1"), (np.array([0, 200 << 20]),))
        tree.extend({"x": Column(np.full((1, width), 7.0)), "v": large})
    assert sink.written is not None
    assert sink.written.bytes > 2_400_000_000
    entries = turns * lot + 1
    with uproot.open(tmp_path / "a.root") as file:
        assert file["Events"].num_entries == entries
        assert file["Events/x"].array(entry_start=entries - 2)[:, -1].tolist() == [turns - 1, 7]
        assert len(file["Events/v"].array(entry_start=entries - 1)[0]) == 200 << 20
    code = (
        "import ROOT, sys; f = ROOT.TFile(sys.argv[1]); t = f.Get('Events'); n = t.GetEntries();"
        "t.GetEntry(n - 2); print(n, t.x[5]); t.GetEntry(n - 1);"
        "print(t.x[6], t.v.size(), ord(t.v[(200 << 20) - 1]))"
    )
    said = run([sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "a.root")])
    assert said.split() == [str(entries), str(turns - 1.0), "7.0", str(200 << 20), "255"]
    assert verify(tmp_path / "a.root").trees[0].entries == entries
