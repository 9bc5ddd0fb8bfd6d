"""Writing a NanoAOD-like tree against uproot, and verifying a file against reading all of it with uproot."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from grid.rootio.columns import Branch, Column
from grid.rootio.sink import Sink
from grid.rootio.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

COUNTERS = 20
CHUNK = 1000


class Nano:
    """Counters with their float arrays, and trigger bits."""

    def __init__(self, events: int, arrays: int, bits: int) -> None:
        rng = np.random.default_rng(1)
        self.events = events
        self.branches: list[Branch] = []
        self.columns: dict[str, Column] = {}
        for counter in (f"n{number}" for number in range(COUNTERS)):
            counts = rng.poisson(3, events).astype("u4")
            offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
            self.add(Branch(counter, "", np.dtype("u4")), Column(counts))
            for number in range(arrays):
                values = rng.normal(50, 20, int(offsets[-1])).astype("f4")
                values.view("u4")[:] &= 0xFFFFE000  # a short mantissa, as NanoAOD stores
                branch = Branch(f"{counter}_x{number}", "", np.dtype("f4"), jagged=1, counter=counter)
                self.add(branch, Column(values, (offsets,)))
        for number in range(bits):
            fired = rng.random(events) < 0.02
            self.add(Branch(f"HLT_{number}", "", np.dtype("?")), Column(fired))

    def add(self, branch: Branch, column: Column) -> None:
        self.branches.append(branch)
        self.columns[branch.name] = column

    def chunks(self) -> list[dict[str, Column]]:
        return [
            {n: c.slice(a, min(a + CHUNK, self.events)) for n, c in self.columns.items()}
            for a in range(0, self.events, CHUNK)
        ]


@pytest.fixture(scope="module")
def nano(scale: float) -> Nano:
    wide = 5 if scale >= 0.1 else 1
    return Nano(max(200, int(50_000 * scale)), arrays=5 * wide, bits=100 * wide)


def total(path: Path, nano: Nano) -> list[float]:
    """Sums over a few branches, read independently."""
    import awkward as ak
    import uproot

    with uproot.open(path) as file:
        assert file["Events"].num_entries == nano.events
        return [float(ak.sum(file["Events"][name].array())) for name in ("n3", "n3_x1", "n19_x4", "HLT_77")]


def with_sink(path: Path, nano: Nano) -> None:
    with Sink(path, compression="zstd:5") as sink:
        tree = sink.tree("Events", nano.branches)
        for chunk in nano.chunks():
            tree.extend(chunk)


def with_uproot(path: Path, nano: Nano) -> None:
    """One basket per branch and call is uproot's way: it is given everything at once."""
    import awkward as ak
    import uproot

    counters = {f"n{number}" for number in range(COUNTERS)}
    data: dict[str, Any] = {
        name: column.to_awkward() for name, column in nano.columns.items() if name not in counters
    }
    groups: dict[str, Any] = {name: array for name, array in data.items() if "_x" not in name}
    for number in range(COUNTERS):
        prefix = f"n{number}_"
        members = {n.removeprefix(prefix): a for n, a in data.items() if n.startswith(prefix)}
        groups[f"{number}"] = ak.zip(members)
    with uproot.recreate(path, compression=uproot.ZSTD(5)) as file:
        file.mktree(
            "Events",
            {name: array.type for name, array in groups.items()},
            counter_name=lambda name: f"n{name}",
            field_name=lambda outer, inner: f"n{outer}_{inner}" if outer.isdecimal() else f"{outer}_{inner}",
        )
        file["Events"].extend(groups)


@pytest.mark.parametrize("way", ["ours", "uproot"])
def test_write_a_tree_like_nanoaod(benchmark: BenchmarkFixture, tmp_path: Path, nano: Nano, way: str) -> None:
    write = {"ours": with_sink, "uproot": with_uproot}[way]
    numbers = itertools.count()
    benchmark(lambda: write(tmp_path / f"{next(numbers)}.root", nano))
    path = tmp_path / "0.root"
    benchmark.extra_info["bytes"] = path.stat().st_size
    want = [float(nano.columns[name].values.sum()) for name in ("n3", "n3_x1", "n19_x4", "HLT_77")]
    assert np.allclose(total(path, nano), want, rtol=1e-4)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, nano: Nano) -> Path:
    path = tmp_path_factory.mktemp("written") / "a.root"
    with_sink(path, nano)
    return path


def read_all(path: Path) -> int:
    import uproot

    with uproot.open(path) as file:
        for _ in file["Events"].iterate(step_size="50 MB", library="np"):
            pass
        return int(file["Events"].num_entries)


def verify_all(path: Path) -> int:
    return verify(path).trees[0].entries


@pytest.mark.parametrize("way", ["ours", "uproot reads all"])
def test_verify_a_file(benchmark: BenchmarkFixture, written: Path, nano: Nano, way: str) -> None:
    benchmark.extra_info["bytes"] = written.stat().st_size
    prove = {"ours": verify_all, "uproot reads all": read_all}[way]
    assert benchmark(prove, written) == nano.events
