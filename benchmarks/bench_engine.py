"""Merging and splitting files that ROOT made, against ROOT's own ways, uproot, and what the machine allows."""

from __future__ import annotations

import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

from benchmarks import SCALE
from benchmarks.race import Command, ours, race
from benchmarks.samples import Sample, Samples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_benchmark.fixture import BenchmarkFixture

    Ways = dict[str, Callable[[Path], Sequence[Command]]]

_ROOT = find_spec("ROOT")
pytestmark = pytest.mark.skipif(_ROOT is None, reason="ROOT is not installed: pip install --pre root")

FULL: Final = SCALE >= 0.1
ROUNDS: Final = 3 if FULL else 1
GB: Final = 1 << 30
#: Kind and codec of what is merged, and bytes in all at full size.
MERGED: Final = {
    ("raw", "lz4:4"): GB,
    ("nano", "lz4:4"): GB,
    ("raw", "zstd:5"): GB,
    ("nano", "zstd:5"): GB,
    ("raw ntuple", "zstd:5"): GB,
    ("nano ntuple", "zstd:5"): GB,
    ("raw", "zlib:1"): GB // 4,
    ("nano", "zlib:1"): GB // 4,
    ("raw", "lzma:1"): GB // 4,
    ("nano", "lzma:1"): GB // 4,
    ("raw", "none"): GB // 4,
    ("nano", "none"): GB // 4,
    ("objects", "lz4:4"): GB // 4,
}
#: Of what is split: one file of it.
SPLIT: Final = {
    ("raw", "lz4:4"): GB,
    ("nano", "lz4:4"): GB,
    ("raw", "zstd:5"): GB,
    ("nano", "zstd:5"): GB,
    ("raw ntuple", "zstd:5"): GB,
    ("nano ntuple", "zstd:5"): GB,
}
FILES: Final = 8 if FULL else 2
INPUTS: Final = (1, 10, 100) if FULL else (1, 2)
BRANCHES: Final = (10, 100, 1500, 5000) if FULL else (10,)
DEPTHS: Final = ("sealed", "proven") if FULL else ("sealed",)
#: Four streams that overlap; together most events.
STREAMS: Final = {
    "raw": {
        "A": ["HLT_00", "HLT_01"],
        "B": ["HLT_02"],
        "C": ["HLT_03", "HLT_00"],
        "D": ["HLT_10", "HLT_11"],
    },
    "nano": {
        "A": ["HLT_PFJet25"],
        "B": ["HLT_SinglePhoton10_Eta3p1ForPPRef"],
        "C": ["HLT_Mu8", "HLT_Mu12"],
        "D": ["HLT_Ele20_WPTight_Gsf", "HLT_PFJet40"],
    },
}
#: A branch of each kind that is added up.
LOOKED_AT: Final = {"raw": "Hit_time", "nano": "GenPart_pt", "objects": "tracks.fPx", "wide": "x7"}


def chosen(sizes: dict[tuple[str, str], int]) -> list[Any]:
    """Return kinds and codecs to measure with; in tests the first only."""
    return [pytest.param(*one, id=" ".join(one)) for one in (sizes if FULL else [*sizes][:1])]


@pytest.fixture(scope="module")
def samples(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """Those of earlier runs, if pytest keeps a cache."""
    cache = getattr(request.config, "cache", None)
    folder = cache.mkdir("samples") if cache else tmp_path_factory.mktemp("samples")
    return Samples(folder, lambda: request.getfixturevalue("real_data") / "nano_dy.root")


def program(name: str, *words: str | Path) -> Command:
    """Return one of our programs."""
    return Command([sys.executable, str(Path(__file__).with_name(name)), *map(str, words)])


def hadd(out: Path, *inputs: Path) -> Command:
    assert _ROOT is not None
    assert _ROOT.origin is not None
    home = Path(_ROOT.origin).parent
    environ = {"LD_LIBRARY_PATH": str(home / "lib")}
    words = [str(home / "bin" / "hadd"), "-v", "0", "-ff", str(out), *map(str, inputs)]
    return Command(words, environ=environ)


def cat(out: Path, *inputs: Path) -> Command:
    return Command(["cat", *map(str, inputs)], stdout=out)


def merge(verify: str, paths: Sequence[Path], folder: Path) -> list[Command]:
    return ours(folder, "merge", "--quiet", "--verify", verify, str(folder / "o.root"), *map(str, paths))


def total(paths: Sequence[Path], branch: str, cut: Sequence[str] = ()) -> tuple[int, int, float]:
    """Return the number of events, the sum of theirs, and that of a branch's values, as uproot reads them."""
    import awkward as ak
    import uproot

    events, numbers, values = 0, 0, 0.0
    for path in paths:
        with uproot.open(path) as file:
            tree = file["Events"]
            fired: Any = slice(None)
            if cut:
                fired = np.any([tree[name].array(library="np") for name in cut], axis=0)
            number = ak.to_numpy(tree["event"].array()[fired])
            events += len(number)
            numbers += int(number.sum())
            found = tree[branch].array()[fired]
            values += float(ak.sum(ak.values_astype(found, np.float64)))
    return events, numbers, values


@pytest.mark.parametrize(("kind", "codec"), chosen(MERGED))
def test_merge(
    benchmark: BenchmarkFixture, samples: Samples, tmp_path: Path, scale: float, kind: str, codec: str
) -> None:
    """Each is a command of its own, its start included."""
    paths = samples.files(Sample.of_bytes(kind, codec, FILES, MERGED[kind, codec] * scale))
    branch = LOOKED_AT[kind.split(maxsplit=1)[0]]
    want = total(paths, branch)

    def check(name: str, folder: Path) -> None:
        if name.startswith("cat"):
            assert (folder / "o.root").stat().st_size == sum(path.stat().st_size for path in paths)
        else:
            assert total([folder / "o.root"], branch) == pytest.approx(want)

    ways: Ways = {
        "sealed": partial(merge, "sealed", paths),
        "proven": partial(merge, "proven", paths),
        "hadd -ff": lambda folder: [hadd(folder / "o.root", *paths)],
        "hadd -ff, all read": lambda folder: [
            hadd(folder / "o.root", *paths),
            program("peers.py", "read all", codec, folder / "o.root"),
        ],
        "cat": lambda folder: [cat(folder / "o.root", *paths)],
        "cat, sync": lambda folder: [
            cat(folder / "o.root", *paths),
            Command(["sync", str(folder / "o.root")]),
        ],
    }
    against = ("hadd -ff", "cat", "hadd -ff, all read")
    race(benchmark, ways, paths, tmp_path, check, rounds=ROUNDS, against=against)


@pytest.mark.parametrize(("kind", "codec"), chosen(SPLIT))
def test_split_into_4_streams(
    benchmark: BenchmarkFixture, samples: Samples, tmp_path: Path, scale: float, kind: str, codec: str
) -> None:
    """The output is packed as the input is, but for uproot's lz4, which packs as level 1.

    In tests, ROOT's ways that need its compiler are left out: it takes many times longer than they.
    """
    source = samples.files(Sample.of_bytes(kind, codec, FILES, SPLIT[kind, codec] * scale))[0]
    streams = STREAMS[kind.split(maxsplit=1)[0]]
    branch = LOOKED_AT[kind.split(maxsplit=1)[0]]
    want = {stream: total([source], branch, paths) for stream, paths in streams.items()}
    table = tmp_path / "table.toml"
    table.write_text('name = "BENCH"\ntag = 1\n[streams]\n')
    with table.open("a") as file:
        file.writelines(f"{stream} = {paths}\n" for stream, paths in streams.items())

    def files(folder: Path) -> dict[str, Path]:
        return {stream: folder / f"{source.stem}.{stream}.root" for stream in streams}

    def mine(folder: Path) -> list[Command]:
        return ours(folder, "split", "--quiet", "--table", str(table), "--out", str(folder), str(source))

    def peer(way: str, folder: Path) -> list[Command]:
        outs = [f"{path}={'|'.join(streams[stream])}" for stream, path in files(folder).items()]
        return [program("peers.py", way, codec, source, *outs)]

    def packing(folder: Path) -> list[Command]:
        return [program("packing.py", codec, folder / "timed.json", source, *files(kept).values())]

    kept = tmp_path / "kept"
    kept.mkdir()

    def check(name: str, folder: Path) -> None:
        for stream, path in files(folder).items() if name != "codecs alone" else ():
            assert total([path], branch) == pytest.approx(want[stream])
            if name == "ours":
                path.rename(kept / path.name)

    names = ["Snapshot", "CopyTree", "CloneTree", "uproot"] if FULL else ["CopyTree", "uproot"]
    if kind.endswith("ntuple"):
        names = ["Snapshot", "uproot"]
    ways: Ways = {"ours": mine, **{name: partial(peer, name) for name in names}}
    if not kind.endswith("ntuple"):
        ways["codecs alone"] = packing
    against = [way for way in ways if way != "ours"]
    race(benchmark, ways, [source], tmp_path, check, rounds=ROUNDS, against=against)


def test_start(benchmark: BenchmarkFixture, samples: Samples, tmp_path: Path) -> None:
    """How long the smallest things take."""
    paths = samples.files(Sample("wide", "lz4:4", files=2, events=200, branches=10))

    def check(name: str, folder: Path) -> None:
        if name != "merge --help":
            assert total([folder / "o.root"], "x7") == pytest.approx(total(paths, "x7"))

    ways: Ways = {
        "merge --help": lambda folder: ours(folder, "merge", "--help"),
        "merge of two small files, sealed": partial(merge, "sealed", paths),
        "merge of two small files, proven": partial(merge, "proven", paths),
        "hadd -ff": lambda folder: [hadd(folder / "o.root", *paths)],
    }
    rounds = 3 * ROUNDS if FULL else 1
    race(benchmark, ways, paths, tmp_path, check, rounds=rounds, against=["hadd -ff"])


@pytest.mark.parametrize("verify", DEPTHS)
def test_merge_of_more_inputs(
    benchmark: BenchmarkFixture, samples: Samples, tmp_path: Path, scale: float, verify: str
) -> None:
    sample = Sample(
        "wide", "lz4:4", files=INPUTS[-1], events=max(200, int(2000 * scale)), branches=BRANCHES[0]
    )
    paths = samples.files(sample)

    def check(name: str, folder: Path) -> None:
        assert total([folder / "o.root"], "x7")[0] == int(name.split(maxsplit=1)[0]) * sample.events

    ways: Ways = {f"{number} inputs": partial(merge, verify, paths[:number]) for number in INPUTS}
    race(benchmark, ways, paths, tmp_path, check, rounds=ROUNDS, against=[])


@pytest.mark.parametrize("verify", DEPTHS)
def test_merge_of_more_branches(
    benchmark: BenchmarkFixture, samples: Samples, tmp_path: Path, scale: float, verify: str
) -> None:
    events = max(200, int(8000 * scale))
    made = {
        number: samples.files(Sample("wide", "lz4:4", files=2, events=events, branches=number))
        for number in BRANCHES
    }

    def check(name: str, folder: Path) -> None:
        assert total([folder / "o.root"], "x7") == pytest.approx(
            total(made[int(name.split(maxsplit=1)[0])], "x7")
        )

    ways: Ways = {f"{number} branches": partial(merge, verify, paths) for number, paths in made.items()}
    inputs = [path for paths in made.values() for path in paths]
    race(benchmark, ways, inputs, tmp_path, check, rounds=ROUNDS, against=[])
