"""Splitting by trigger bit against uproot and awkward, from files that lie on the disk."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from grid.rootio.columns import Branch, Column
from grid.rootio.sink import Sink
from grid.rootio.split import SplitRecipe, split
from grid.trigger import TriggerTable

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

COMPRESSION = "zlib:1"
CHUNK = 20_000
STREAMS = {"A": ("HLT_00", "HLT_01"), "B": ("HLT_02",), "C": ("HLT_03", "HLT_00"), "D": ("HLT_1*",)}


@dataclass(frozen=True)
class Sample:
    """Files of different events, and how much is in them."""

    paths: tuple[Path, ...]
    events: int

    @property
    def bytes(self) -> int:
        return sum(path.stat().st_size for path in self.paths)


def columns(events: int, first: int, arrays: int, bits: int) -> tuple[list[Branch], dict[str, Column]]:
    """Identity, ten collections of short-mantissa floats, trigger bits."""
    rng = np.random.default_rng(first)
    branches, held = [], {}

    def add(branch: Branch, values: Any, *offsets: Any) -> None:
        branches.append(branch)
        held[branch.name] = Column(np.asarray(values, branch.dtype), offsets)

    add(Branch("run", "", np.dtype("u4")), np.full(events, 1))
    add(Branch("luminosityBlock", "", np.dtype("u4")), np.arange(first, first + events) // 1000)
    add(Branch("event", "", np.dtype("u8")), np.arange(first, first + events))
    for counter in (f"n{number}" for number in range(10)):
        counts = rng.poisson(3, events)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        add(Branch(counter, "", np.dtype("u4")), counts)
        for number in range(arrays):
            values = rng.normal(50, 20, int(offsets[-1])).astype("f4")
            values.view("u4")[:] &= 0xFFFFE000
            add(
                Branch(f"{counter}_x{number}", "", np.dtype("f4"), jagged=1, counter=counter), values, offsets
            )
    for number in range(bits):
        add(Branch(f"HLT_{number:02}", "", np.dtype("?")), rng.random(events) < 0.15)
    return branches, held


@pytest.fixture(scope="module")
def sample(scale: float, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    folder = tmp_path_factory.mktemp("sample")
    each = max(200, int(100_000 * scale))
    paths = []
    for number in range(4):
        branches, held = columns(each, number * each, arrays=8 if scale >= 0.1 else 1, bits=20)
        paths.append(folder / f"in{number}.root")
        with Sink(paths[-1], compression=COMPRESSION) as sink:
            sink.tree("Events", branches).extend(held)
    return Sample(tuple(paths), 4 * each)


def truth(paths: tuple[Path, ...], stream: str | None) -> tuple[int, float, int]:
    """Events, a sum over an array, and a sum over event numbers, by numpy."""
    import awkward as ak
    import uproot

    events, total, numbers = 0, 0.0, 0
    for path in paths:
        with uproot.open(path) as file:
            read = file["Events"].arrays(library="ak", how=dict)
        fired = [name for name in read if stream and any(Path(name).match(glob) for glob in STREAMS[stream])]
        chosen = np.any([ak.to_numpy(read[name]) for name in fired], axis=0) if stream else slice(None)
        events += len(read["event"][chosen])
        total += float(ak.sum(ak.values_astype(read["n7_x0"][chosen], np.float64)))
        numbers += int(ak.sum(read["event"][chosen]))
    return events, total, numbers


def ours_split(source: Path, outs: dict[str, Path]) -> None:
    table = TriggerTable(name="BENCH", tag=1, streams=STREAMS)
    split(source, outs, SplitRecipe(table=table))


def uproot_split(source: Path, outs: dict[str, Path]) -> None:
    import awkward as ak
    import uproot

    with uproot.open(source) as file:
        tree = file["Events"]
        every = tree.keys()
        names = [name for name in every if not (name.startswith("n") and "_" not in name)]
        targets = {stream: uproot.recreate(path, compression=uproot.ZLIB(1)) for stream, path in outs.items()}
        made: dict[str, Any] = {}
        for chunk in tree.iterate(names, step_size=CHUNK, library="ak", how=dict):
            for stream, target in targets.items():
                fired = [n for n in names if any(Path(n).match(glob) for glob in STREAMS[stream])]
                chosen = np.any([ak.to_numpy(chunk[name]) for name in fired], axis=0)
                part = {name: array[chosen] for name, array in chunk.items()}
                if stream not in made:
                    made[stream] = target.mktree("Events", {name: array.type for name, array in part.items()})
                made[stream].extend(part)
        for target in targets.values():
            target.close()


@pytest.mark.parametrize("way", ["ours", "uproot + awkward"])
def test_split_into_4_streams(benchmark: BenchmarkFixture, way: str, sample: Sample, tmp_path: Path) -> None:
    cut = {"ours": ours_split, "uproot + awkward": uproot_split}[way]
    numbers = itertools.count()
    source = sample.paths[0]
    made: list[dict[str, Path]] = []

    def fresh() -> tuple[tuple[Path, dict[str, Path]], dict[str, Any]]:
        number = next(numbers)
        made.append({stream: tmp_path / f"{number}.{stream}.root" for stream in STREAMS})
        return (source, made[-1]), {}

    benchmark.extra_info["bytes"] = source.stat().st_size
    benchmark.pedantic(cut, setup=fresh, rounds=2)  # type: ignore[no-untyped-call]
    for stream, path in made[-1].items():
        assert truth((path,), None) == pytest.approx(truth((source,), stream))
