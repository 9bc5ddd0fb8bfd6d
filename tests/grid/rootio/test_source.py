from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grid.rootio.columns import Branch, Column
from grid.rootio.planning import Weight, cut
from grid.rootio.readers import BranchReader
from grid.rootio.source import compression_name, open_source, translated
from sitecfg.errors import (
    CorruptFile,
    GridError,
    InputError,
    MissingFile,
    NotRootFile,
    TruncatedFile,
    UnsupportedContent,
)
from tests.grid.rootio.making import as_lists, events, nano, write

if TYPE_CHECKING:
    from pathlib import Path

edges = st.lists(st.integers(1, 40), min_size=1, max_size=6).map(lambda steps: np.cumsum([0, *steps]))


def weight(ends: list[int], entries: int, per_entry: float) -> Weight:
    at = np.asarray(sorted({0, entries, *(end for end in ends if end < entries)}), np.int64)
    return Weight(at, at.astype(np.float64) * per_entry)


@settings(deadline=None)
@given(
    entries=st.integers(0, 200),
    branches=st.lists(st.tuples(st.lists(st.integers(1, 199)), st.floats(0, 100)), max_size=4),
    memory=st.integers(1, 5000),
)
def test_ranges_cover_every_entry_once_and_fit(
    entries: int, branches: list[tuple[list[int], float]], memory: int
) -> None:
    weights = [weight(ends, entries, size) for ends, size in branches]
    ranges = cut(entries, weights, memory)
    covered = [entry for start, stop in ranges for entry in range(start, stop)]
    assert covered == list(range(entries))
    per_entry = sum(size for _, size in branches)
    for start, stop in ranges:
        assert stop == start + 1 or (stop - start) * per_entry <= memory * (1 + 1e-9) + 1e-6


def test_ranges_end_at_the_edge_that_most_bytes_share() -> None:
    small = Weight(np.array([0, 7, 100]), np.array([0.0, 7.0, 100.0]))
    large = Weight(np.array([0, 50, 80, 100]), np.array([0.0, 5000.0, 8000.0, 10000.0]))
    assert cut(100, [small, large], 6000) == [(0, 50), (50, 100)]


@settings(deadline=None)
@given(data=st.data(), at=edges)
def test_going_forward_no_piece_is_unpacked_twice(
    data: st.DataObject, at: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> None:
    entries = int(at[-1])
    unpacked: list[int] = []

    def decode(number: int, start: int, stop: int) -> Column:
        unpacked.append(number)
        return Column(np.arange(start, stop))

    branch = Branch("x", "x", np.dtype(np.int64))
    reader = BranchReader(branch, decode, at.astype(np.int64), np.ones(len(at) - 1))
    stops = sorted({entries, *data.draw(st.lists(st.integers(1, entries)))})
    start = 0
    for stop in stops:
        assert reader.read(start, stop).values.tolist() == list(range(start, stop))
        start = stop
    assert unpacked == list(range(len(at) - 1))


def test_chunks_of_any_size_are_the_whole(tmp_path: Path) -> None:
    table = events(500, seed=3)
    write(tmp_path / "f.root", {"Events": table}, cluster_bytes=2000)
    names = [branch.name for branch in table.branches]
    with open_source(tmp_path / "f.root") as source:
        for memory in (200, 3000, 1 << 30):
            chunks = list(source.chunks("Events", names, memory))
            joined = {name: Column.concatenate([chunk.columns[name] for chunk in chunks]) for name in names}
            assert {n: c.to_awkward().to_list() for n, c in joined.items()} == as_lists(table)
            assert memory > 3000 or len(chunks) > 5


def test_branches_come_back_as_they_were_written(tmp_path: Path) -> None:
    table = nano(tmp_path / "f.root", 20, record={"stream": "A"})
    with open_source(tmp_path / "f.root") as source:
        info = source.info("Events")
        assert info.entries == 20
        assert info.refused == ()
        assert [(b.name, b.title, b.dtype, b.counter) for b in info.branches] == [
            (b.name, b.title, b.dtype, b.counter) for b in table.branches
        ]
        assert info.by_name()["nMuon"].dtype == np.uint32
        assert list(source.trees) == ["Events", "Runs", "LuminosityBlocks"]
        assert source.record == {"stream": "A"}
        assert source.others == ()
        assert source.compression == "zlib:1"


def test_histograms_and_trees_in_directories_are_seen(tmp_path: Path) -> None:
    import uproot

    with uproot.recreate(tmp_path / "f.root") as file:
        file["deep/er/tree"] = {"x": np.arange(3)}
        file["hist"] = np.histogram(np.arange(10.0))
    with open_source(tmp_path / "f.root") as source:
        assert source.tree_paths == ("deep/er/tree",)
        assert [path for path, _ in source.others] == ["hist"]
        assert source.read("deep/er/tree", ["x"], 1, 3)["x"].values.tolist() == [1, 2]
        with pytest.raises(InputError, match="no tree nope"):
            source.info("nope")


def test_a_storage_that_fails_is_not_laid_at_the_files_door(tmp_path: Path) -> None:
    path = write(tmp_path / "f.root", {"Events": events(1000)})
    with open_source(path, plain=False) as source:
        source.info("Events")
        path.unlink()
        path.symlink_to(path)
        with pytest.raises(MissingFile, match="can't be read: Too many levels of symbolic links"):
            source.read("Events", ["event", "Muon_pt"], 0, 1000)


def test_a_place_that_no_file_has_is_laid_at_the_files_door(tmp_path: Path) -> None:
    path = write(tmp_path / "f.root", {"Events": events(10)})
    with (
        path.open("rb", buffering=0) as file,
        pytest.raises(CorruptFile, match="Invalid argument"),
        translated(str(path)),
    ):
        os.pread(file.fileno(), 1, -1)


def test_a_refusal_of_a_remote_storage_is_no_corruption() -> None:
    with pytest.raises(MissingFile, match="no such right"), translated("https://there/f.root"):
        raise PermissionError("no such right")


@pytest.mark.parametrize("plain", [True, False])
def test_a_file_that_is_cut_while_it_is_open_kills_nobody(tmp_path: Path, plain: bool) -> None:
    path = write(tmp_path / "f.root", {"Events": events(10_000)}, compression="none")
    with open_source(path, plain=plain) as source:
        source.info("Events")
        os.truncate(path, 4096)
        with pytest.raises((CorruptFile, TruncatedFile), match=path.name):
            source.read("Events", ["event", "Muon_pt"], 9000, 10_000)


def test_only_the_highest_cycle_counts(real_data: Path) -> None:
    with open_source(real_data / "st2.root") as source:
        assert {path: info.entries for path, info in source.trees.items()} == {"tester": 2}


def test_an_rntuple_holds_the_same_events_as_its_tree(real_data: Path) -> None:
    with (
        open_source(real_data / "nano_dy.root") as one,
        open_source(real_data / "nano_dy_rntuple.root") as two,
    ):
        tree, ntuple = one.info("Events"), two.info("Events")
        assert ntuple.kind == "RNTuple"
        assert sorted(b.name for b in tree.branches) == sorted(b.name for b in ntuple.branches)
        other = ntuple.by_name()
        assert [b.name for b in tree.branches if not b.same_type(other[b.name])] == []
        names = [branch.name for branch in tree.branches]
        mine, theirs = one.read("Events", names, 3, 31), two.read("Events", names, 3, 31)
        assert [
            name for name in names if mine[name].content(1).tolist() != theirs[name].content(1).tolist()
        ] == []


@pytest.mark.parametrize(
    "name", ["nano_dy.root", "Run2012B_SingleMu_1000.root", "HZZ-lz4.root", "HZZ-lzma.root", "st2.root"]
)
def test_the_quick_way_finds_what_uproot_finds(real_data: Path, name: str) -> None:
    with open_source(real_data / name) as quick, open_source(real_data / name, plain=False) as slow:
        assert quick.trees == slow.trees
        assert quick.compression == slow.compression
        for path, info in quick.trees.items():
            names = [branch.name for branch in info.branches]
            mine, theirs = (one.read(path, names, 0, info.entries) for one in (quick, slow))
            assert [n for n in names if mine[n].content(1).tolist() != theirs[n].content(1).tolist()] == []


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", TruncatedFile),
        (b"not a ROOT file at all" * 20, NotRootFile),
        (b"root", InputError),
        (None, MissingFile),
    ],
)
def test_what_is_no_root_file_is_told_apart(
    tmp_path: Path, content: bytes | None, kind: type[GridError]
) -> None:
    path = tmp_path / "f.root"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(kind) as caught, open_source(path):
        pass
    assert str(path) in caught.value.where


def test_a_directory_and_a_truncated_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFile), open_source(tmp_path):
        pass
    nano(tmp_path / "f.root")
    data = (tmp_path / "f.root").read_bytes()
    (tmp_path / "cut.root").write_bytes(data[:-10])
    with pytest.raises(TruncatedFile, match=f"should have {len(data)} bytes, but has {len(data) - 10}"):
        open_source(tmp_path / "cut.root")


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [("crashed.root", TruncatedFile, "never closed"), ("long.root", UnsupportedContent, "CS")],
)
def test_real_files_that_cant_be_read_say_why(
    real_data: Path, name: str, kind: type[GridError], words: str
) -> None:
    with pytest.raises(kind, match=words), open_source(real_data / name) as source:
        source.trees  # noqa: B018 -- reading the headers is what is tested


@settings(deadline=None, max_examples=60)
@given(position=st.floats(0, 1), value=st.integers(0, 255))
def test_a_changed_byte_never_ends_in_a_foreign_error(
    tmp_path_factory: pytest.TempPathFactory, position: float, value: int
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    nano(folder / "f.root", 30)
    data = bytearray((folder / "f.root").read_bytes())
    data[int(position * (len(data) - 1))] = value
    (folder / "f.root").write_bytes(data)
    with suppress(InputError), open_source(folder / "f.root") as source:
        source.record  # noqa: B018 -- reading is what is tested
        for path, info in source.trees.items():
            source.read(path, [branch.name for branch in info.branches], 0, info.entries)


@pytest.mark.parametrize("compression", ["zlib:1", "zstd:5", "lz4:4", "lzma:1"])
@pytest.mark.parametrize("plain", [True, False])
def test_a_basket_that_does_not_unpack_is_named(tmp_path: Path, compression: str, plain: bool) -> None:
    import uproot

    nano(tmp_path / "f.root", 2000, compression=compression)
    with uproot.open(tmp_path / "f.root") as file:
        branch = file["Events"]["event"]
        seek, size = int(branch.member("fBasketSeek")[0]), int(branch.member("fBasketBytes")[0])
    data = bytearray((tmp_path / "f.root").read_bytes())
    data[seek + size // 2 : seek + size] = bytes(size - size // 2)
    (tmp_path / "f.root").write_bytes(data)
    with (
        open_source(tmp_path / "f.root", plain=plain) as source,
        pytest.raises(CorruptFile) as caught,
    ):
        source.read("Events", ["event"], 0, 2000)
    file_name, _, key = caught.value.where.partition(": ")
    assert (file_name, key.rpartition("/")[2]) == (str(tmp_path / "f.root"), "event")


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    import uproot

    with uproot.recreate(tmp_path / "f.root") as file:
        file["mdcgrid"] = "no json"
    with open_source(tmp_path / "f.root") as source, pytest.raises(CorruptFile, match="no JSON"):
        source.record  # noqa: B018


@pytest.mark.parametrize(
    ("code", "name"),
    [(0, "none"), (1, "zlib:1"), (101, "zlib:1"), (404, "lz4:4"), (505, "zstd:5"), (209, "lzma:9")],
)
def test_compression_names(code: int, name: str) -> None:
    assert compression_name(code) == name
