"""What the sink writes is what readers read; its bytes follow from its arguments and entries alone."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pytest
import uproot
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from grid.rootio.columns import Branch, Column
from grid.rootio.sink import Sink
from grid.rootio.verify import verify
from sitecfg.errors import (
    ClosureError,
    ConfigError,
    OutputExists,
    SchemaMismatch,
    UnsupportedContent,
    UsageError,
)
from tests.grid.rootio.every_type import EveryType

if TYPE_CHECKING:
    from pathlib import Path

COMPRESSIONS = ("zstd:5", "zlib:1", "zlib:9", "lz4:1", "lz4:9", "lzma:1", "none")


def branch(name: str, kind: str, **options: Any) -> Branch:
    return Branch(name, "", np.dtype(kind), **options)


def numbers(*values: float, kind: str = "i4") -> Column:
    return Column(np.array(values, kind))


def write(path: Path, sample: EveryType, step: int = 77, **options: Any) -> bytes:
    with Sink(path, **options) as sink:
        tree = sink.tree(
            "Events", sample.branches, title="all of them", basket_bytes=3000, cluster_bytes=40_000
        )
        for start in range(0, sample.entries, step):
            tree.extend(sample.slice(start, min(start + step, sample.entries)))
    return path.read_bytes()


def assert_holds(tree: Any, sample: EveryType, start: int, stop: int) -> None:
    assert tree.num_entries == stop - start
    for one in sample.branches:
        want = sample.columns[one.name].slice(start, stop).to_awkward(text=one.text)
        got = tree[one.name].array()
        assert ak.to_list(got) == ak.to_list(want), one.name
        assert tree[one.name].title == one.title


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_uproot_reads_every_type_in_every_compression(tmp_path: Path, compression: str) -> None:
    sample = EveryType(250)
    write(tmp_path / "a.root", sample, compression=compression)
    with uproot.open(tmp_path / "a.root") as file:
        assert file["Events"].title == "all of them"
        assert_holds(file["Events"], sample, 0, 250)
        assert len(file["Events"].keys()) == len(sample.branches)
    assert verify(tmp_path / "a.root").trees[0].entries == 250


def test_the_bytes_do_not_depend_on_chunks_threads_or_the_path(tmp_path: Path) -> None:
    sample = EveryType(200)
    first = write(tmp_path / "a.root", sample, seed=b"s", threads=1)
    for number, (step, threads) in enumerate([(200, 2), (3, 1), (133, 3)]):
        assert write(tmp_path / f"b{number}.root", sample, step, seed=b"s", threads=threads) == first
    assert write(tmp_path / "c.root", sample, seed=b"t") != first
    assert write(tmp_path / "d.root", sample, seed=b"s", date=1 << 26) != first


def test_what_close_tells_is_what_lies_on_the_disk(tmp_path: Path) -> None:
    with Sink(tmp_path / "a.root") as sink:
        sink.tree("d/e/t", [branch("x", "i4")]).extend({"x": numbers(1, 2, 3)})
    data = (tmp_path / "a.root").read_bytes()
    assert sink.written is not None
    assert sink.written.bytes == len(data)
    assert sink.written.adler32 == f"{zlib.adler32(data):08x}"
    assert sink.written.xxh3 == xxhash.xxh3_128_hexdigest(data)
    assert sink.close() == sink.written


def test_trees_lie_in_their_directories_and_empty_ones_keep_their_branches(tmp_path: Path) -> None:
    sample = EveryType(40)
    with Sink(tmp_path / "a.root") as sink:
        top = sink.tree("Events", sample.branches)
        deep = sink.tree("one/two/Events", sample.branches)
        sink.tree("one/none", sample.branches)
        sink.tree("nothing", [])
        deep.extend(sample.slice(0, 30))
        top.extend(sample.columns)
        deep.extend(sample.slice(30, 40))
        top.extend(sample.slice(5, 5))
    with uproot.open(tmp_path / "a.root") as file:
        assert_holds(file["Events"], sample, 0, 40)
        assert_holds(file["one/two/Events"], sample, 0, 40)
        assert_holds(file["one/none"], sample, 0, 0)
        assert file["nothing"].num_entries == 0
    found = {tree.path: tree.entries for tree in verify(tmp_path / "a.root").trees}
    assert found == {"Events": 40, "one/two/Events": 40, "one/none": 0, "nothing": 0}


def test_the_record_is_what_it_was_when_the_file_was_closed(tmp_path: Path) -> None:
    with Sink(tmp_path / "a.root", record={"a": 1}) as sink:
        sink.record = {"b": "x" * 1000, "a": ["\N{GREEK SMALL LETTER MU}", None]}
    with uproot.open(tmp_path / "a.root") as file:
        assert json.loads(str(file["mdcgrid"])) == sink.record


def test_a_counter_that_is_left_out_follows_from_its_arrays(tmp_path: Path) -> None:
    branches = [branch("x", "f4", jagged=1, counter="n"), branch("n", "u2")]
    with Sink(tmp_path / "a.root") as sink:
        tree = sink.tree("t", branches)
        tree.extend({"x": Column(np.arange(3, dtype="f4"), (np.array([0, 2, 2, 3]),))})
    with uproot.open(tmp_path / "a.root") as file:
        assert file["t/n"].array().tolist() == [2, 0, 1]
        assert file["t/x"].array().tolist() == [[0, 1], [], [2]]
        assert file["t/n"].interpretation.numpy_dtype == np.dtype("u2")


@given(
    lists=st.lists(st.lists(st.lists(st.binary(max_size=300), max_size=3), max_size=3), max_size=20),
    steps=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    cluster=st.integers(1, 5000),
)
@settings(max_examples=25, deadline=None)
def test_nested_strings_of_any_shape_come_back(
    tmp_path_factory: pytest.TempPathFactory, lists: list[list[list[bytes]]], steps: list[int], cluster: int
) -> None:
    one = branch("s", "u1", jagged=2, text=True)
    levels: list[Any] = [lists, [w for e in lists for w in e], [w for e in lists for ws in e for w in ws]]
    offsets = tuple(np.cumsum([0, *(len(part) for part in level)], dtype=np.int64) for level in levels)
    column = Column(np.frombuffer(b"".join(levels[2]), np.uint8), offsets)
    path = tmp_path_factory.mktemp("s") / "a.root"
    with Sink(path) as sink:
        tree = sink.tree("t", [one], cluster_bytes=cluster, basket_bytes=100)
        at = 0
        while at < len(lists):
            stop = min(at + steps[at % len(steps)], len(lists))
            tree.extend({"s": column.slice(at, stop)})
            at = stop
    with uproot.open(path) as file:
        got = ak.to_list(ak.without_parameters(file["t/s"].array()))
    assert got == [[[list(word) for word in words] for words in entry] for entry in lists]


def test_clusters_end_where_the_bytes_say_and_a_large_entry_has_its_own(tmp_path: Path) -> None:
    branches = [branch("x", "f8", jagged=1)]
    sizes = [10, 10, 10_000, 10, 10]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    with Sink(tmp_path / "a.root") as sink:
        tree = sink.tree("t", branches, cluster_bytes=1000, basket_bytes=500)
        tree.extend({"x": Column(np.arange(offsets[-1], dtype="f8"), (offsets,))})
    with uproot.open(tmp_path / "a.root") as file:
        entries = file["t/x"].member("fBasketEntry")[: file["t/x"].num_baskets + 1].tolist()
        assert entries == [0, 2, 3, 5]
        assert ak.to_list(ak.num(file["t/x"].array())) == sizes
        assert file["t"].member("fClusterRangeEnd").tolist() == [2]
        assert file["t"].member("fClusterSize").tolist() == [3]


def test_a_file_beyond_the_small_positions_has_large_ones(tmp_path: Path) -> None:
    sample = EveryType(150)
    with Sink(tmp_path / "a.root", big_from=20_000) as sink:
        sink.tree("early/Events", sample.branches, cluster_bytes=50_000).extend(sample.columns)
        sink.tree("late/Events", sample.branches).extend(sample.columns)
    data = (tmp_path / "a.root").read_bytes()
    assert struct.unpack_from(">i", data, 4)[0] > 1_000_000
    with uproot.open(tmp_path / "a.root") as file:
        assert_holds(file["early/Events"], sample, 0, 150)
        assert_holds(file["late/Events"], sample, 0, 150)
    assert verify(tmp_path / "a.root").trailing_bytes == 0


def test_an_unfinished_file_is_no_root_file_and_is_taken_away(tmp_path: Path) -> None:
    def fail() -> None:
        with Sink(tmp_path / "a.root") as sink:
            tree = sink.tree("t", [branch("x", "f8")], cluster_bytes=1 << 20)
            tree.extend({"x": Column(np.random.default_rng(1).normal(size=1 << 20))})
            assert (tmp_path / "a.root").read_bytes()[:4] != b"root"
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not (tmp_path / "a.root").exists()


def test_bytes_that_change_under_the_writer_are_no_fault_of_the_input(tmp_path: Path) -> None:
    path = tmp_path / "a.root"
    sink = Sink(path)
    sink.tree("Events", [branch("x", "i4")]).extend({"x": numbers(1, 2, 3)})
    path.unlink()
    path.write_bytes(b"something else")
    with pytest.raises(
        ClosureError, match="reads back differently"
    ):  # CorruptFile would quarantine the input
        sink.close()
    assert not path.exists()


def test_nothing_is_overwritten_and_wrong_words_are_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(OutputExists):
        Sink(tmp_path / "taken")
    for spelled in ("zstd:17", "brotli", "none:3", "zlib:-1", ""):
        with pytest.raises(ConfigError):
            Sink(tmp_path / "a.root", compression=spelled)
    assert not (tmp_path / "a.root").exists()
    with Sink(tmp_path / "b.root") as sink:
        sink.tree("a/b", [])
        for name in ("a/b", "a", "", "a/b/c"):
            with pytest.raises(UsageError):
                sink.tree(name, [])


@pytest.mark.parametrize(
    "branches",
    [
        [branch("x", "f4", jagged=1, counter="n")],
        [branch("n", "f4"), branch("x", "f4", jagged=1, counter="n")],
        [branch("x", "f2")],
        [branch("x", "f4"), branch("x", "f4")],
        [branch("x", "f4", jagged=1, shape=(3,))],
        [branch("n", "i4"), branch("x", "f4", jagged=2, counter="n")],
        [branch("x", "f4", shape=(0,))],
        [branch("x", "M8[s]")],
    ],
)
def test_a_branch_that_cannot_be_written_is_named(tmp_path: Path, branches: list[Branch]) -> None:
    with Sink(tmp_path / "a.root") as sink, pytest.raises(UnsupportedContent, match=r"'[xn]'"):
        sink.tree("t", branches)


@pytest.mark.parametrize(
    "columns",
    [
        {"n": numbers(1, 2), "x": Column(np.zeros(2, "f4"), (np.array([0, 1, 2]),))},
        {"n": numbers(1, 1), "x": Column(np.zeros(2, "f8"), (np.array([0, 1, 2]),))},
        {"n": numbers(1, 1), "x": Column(np.zeros(3, "f4"), (np.array([0, 1, 2]),))},
        {"n": numbers(1, -1), "x": Column(np.zeros(0, "f4"), (np.array([0, 1, 0]),))},
        {"n": numbers(1), "x": Column(np.zeros(2, "f4"), (np.array([0, 1, 2]),))},
        {"n": numbers(1, 1)},
        {"n": numbers(1, 1), "x": Column(np.zeros(2, "f4"), (np.array([0, 1, 2]),)), "y": numbers(1, 2)},
        {"n": numbers(1, 1), "x": Column(np.zeros(2, "f4"))},
    ],
)
def test_columns_that_do_not_fit_are_refused_and_change_nothing(
    tmp_path: Path, columns: dict[str, Column]
) -> None:
    branches = [branch("n", "i4"), branch("x", "f4", jagged=1, counter="n")]
    good = {"n": numbers(2, 0), "x": Column(np.arange(2, dtype="f4"), (np.array([0, 2, 2]),))}
    with Sink(tmp_path / "a.root") as sink:
        tree = sink.tree("t", branches)
        tree.extend(good)
        with pytest.raises(SchemaMismatch):
            tree.extend(columns)
        tree.extend(good)
        assert tree.entries == 4
    with uproot.open(tmp_path / "a.root") as file:
        assert file["t/x"].array().tolist() == [[0, 1], [], [0, 1], []]


def test_what_is_too_long_or_too_large_for_the_format_is_refused(tmp_path: Path) -> None:
    with Sink(tmp_path / "a.root") as sink:
        for branches in ([branch("x" * 40_000, "i4")], [branch("x", "f8", shape=(1 << 28,))]):
            with pytest.raises(UnsupportedContent):
                sink.tree("t", branches)
        with pytest.raises(UnsupportedContent):
            sink.tree("t", [], title="x" * 40_000)
        long = branch("y" * 5000, "i4")
        sink.tree("t" * 300, [long], title="z" * 5000).extend({long.name: numbers(1)})
    assert verify(tmp_path / "a.root").trees[0].entries == 1
    with uproot.open(tmp_path / "a.root") as file:
        assert file["t" * 300][long.name].array().tolist() == [1]


def test_memory_is_bounded_by_the_cluster_not_by_the_file(tmp_path: Path) -> None:
    chunk = {"x": Column(np.arange(50_000, dtype="f8"))}
    with Sink(tmp_path / "a.root", compression="lz4:1") as sink:
        tree = sink.tree("t", [branch("x", "f8")], cluster_bytes=1 << 20)
        tree.extend(chunk)
        tracemalloc.start()
        for _ in range(200):
            tree.extend(chunk)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert tree.entries == 201 * 50_000
    assert peak < 16 << 20


def test_changing_an_array_after_extend_changes_nothing(tmp_path: Path) -> None:
    values = np.arange(10, dtype="u1")
    with Sink(tmp_path / "a.root") as sink:
        sink.tree("t", [branch("x", "u1")]).extend({"x": Column(values)})
        values[:] = 0
    with uproot.open(tmp_path / "a.root") as file:
        assert file["t/x"].array().tolist() == list(range(10))
