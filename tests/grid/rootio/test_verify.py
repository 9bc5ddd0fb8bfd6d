"""A sound file is proven, a broken one is refused by name: quickly, with little memory, and never otherwise."""

from __future__ import annotations

import json
import random
import struct
import time
import tracemalloc
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
import zstandard

from grid.rootio.columns import Branch, Column
from grid.rootio.format.unpack import blocks_of
from grid.rootio.image import Image
from grid.rootio.ntuple import read_ntuple
from grid.rootio.sink import Sink
from grid.rootio.structure import read_skeleton
from grid.rootio.verify import Depth, verify
from sitecfg.errors import (
    CorruptFile,
    InputError,
    MissingFile,
    NotRootFile,
    TruncatedFile,
    UnsupportedContent,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: What each real file that can't be proven is refused with.
REFUSED: dict[str, type[InputError]] = {
    "BAC85D5487F19A3B6755584FBC29B3AF_100.root": UnsupportedContent,
    "long.root": UnsupportedContent,
    "crashed.root": TruncatedFile,
}
#: Small real files of different kinds, to be broken.
VICTIMS = (
    "st2.root",
    "Tuple_1.root",
    "uproot-stl_containers.root",
    "Run2012BC_DoubleMuParked_Muons_rntuple_1000evts.root",
    "HZZ-lz4.root",
    "uproot-HZZ-zstd.root",
    "HZZ-uncompressed.root",
    "test_full_mc_evt_1.rtraw",
)


def small_file(path: Path, compression: str = "lz4:1") -> Path:
    branches = [
        Branch("n", "", np.dtype("u4")),
        Branch("x", "", np.dtype("f4"), jagged=1, counter="n"),
        Branch("s", "", np.dtype("u1"), text=True, typename="std::string"),
    ]
    starts = np.arange(0, 42, 2)
    columns = {
        "n": Column(np.full(20, 2, "u4")),
        "x": Column(np.arange(40, dtype="f4"), (starts,)),
        "s": Column(np.full(40, 65, "u1"), (starts,)),
    }
    with Sink(path, compression=compression, record={"a": 1}) as sink:
        tree = sink.tree("a/b/t", branches, cluster_bytes=150)
        tree.extend(columns)
        sink.tree("empty", branches)
    return path


def entries_of(real_data: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for entry in json.loads((real_data / "MANIFEST.json").read_text("utf-8"))["entries"]:
        yield real_data / entry["name"], entry


def test_every_real_file_is_proven_or_refused_by_name(real_data: Path) -> None:
    for path, entry in entries_of(real_data):
        if path.name in REFUSED:
            with pytest.raises(REFUSED[path.name]):
                verify(path)
            continue
        found = verify(path)
        wanted = {name.split(";")[0]: tree for name, tree in entry["trees"].items()}
        highest = {
            name: max(
                (key for key in entry["trees"] if key.split(";")[0] == name),
                key=lambda key: int(key.split(";")[1]),
            )
            for name in wanted
        }
        assert {tree.path: tree.entries for tree in found.trees} == {
            name: entry["trees"][key]["entries"] for name, key in highest.items()
        }, path.name
        assert found.bytes == entry["size"]
        assert 0 <= found.bytes_covered <= found.bytes
        assert json.loads(json.dumps(found.to_json()))["bytes_not_covered"] == found.bytes_not_covered


@pytest.mark.parametrize("name", VICTIMS)
def test_a_broken_real_file_is_refused_quickly_and_never_otherwise(
    real_data: Path, tmp_path: Path, name: str
) -> None:
    whole = (real_data / name).read_bytes()
    chance = random.Random(name)
    words = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4), b"\x40\x00\x00\x01", b"\x80\x00\x00\x00")
    path = tmp_path / "broken.root"
    for turn in range(60):
        data = bytearray(whole)
        place = chance.randrange(len(data) - 4)
        if turn % 3 == 0:
            del data[place:]
        elif turn % 3 == 1:
            data[place] ^= 1 << chance.randrange(8)
        else:
            data[place : place + 4] = chance.choice(words)
        path.write_bytes(data)
        begun, seen = time.monotonic(), None
        try:
            verify(path)
            assert turn % 3, f"cut at {place}"
        except InputError as error:
            seen = error
        assert seen is None or str(path) in seen.where
        assert time.monotonic() - begun < 20


@pytest.mark.parametrize("compression", ["lz4:1", "none", "zlib:1"])
def test_no_cut_and_no_flipped_bit_leads_anywhere_but_to_a_named_refusal(
    tmp_path: Path, compression: str
) -> None:
    whole = small_file(tmp_path / "a.root", compression).read_bytes()
    path = tmp_path / "b.root"
    for size in range(0, len(whole), len(whole) // 200):
        path.write_bytes(whole[:size])
        with pytest.raises(TruncatedFile):
            verify(path)
    harmless = 0
    places = range(0, len(whole), len(whole) // 400)
    for place in places:
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        try:
            verify(path)
            harmless += 1
        except InputError:
            pass
    assert harmless < len(places) if compression == "none" else harmless < 0.5 * len(places)


@pytest.mark.parametrize(
    ("name", "head", "depth"),
    [
        ("HZZ-lz4.root", b"L4\x01", "sealed"),
        ("HZZ-lz4.root", b"L4\x01", "proven"),
        ("HZZ-lzma.root", b"XZ\x00", "proven"),
    ],
)
def test_a_flipped_bit_under_a_checksum_is_always_found(
    real_data: Path, tmp_path: Path, name: str, head: bytes, depth: Depth
) -> None:
    whole = (real_data / name).read_bytes()
    blocks = [at for at in range(len(whole)) if whole.startswith(head, at) and whole[at - 2 : at] != b"7z"]
    chance = random.Random(1)
    path = tmp_path / "broken.root"
    for block in blocks[:40]:
        size = int.from_bytes(whole[block + 3 : block + 6], "little")
        data = bytearray(whole)
        data[block + 9 + chance.randrange(size)] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        with pytest.raises(CorruptFile):
            verify(path, depth)


def test_what_each_depth_covers(real_data: Path, tmp_path: Path) -> None:
    for name in ("HZZ-lz4.root", "HZZ-lzma.root", "nano_dy_rntuple.root"):
        copied, sealed, proven = (verify(real_data / name, depth) for depth in get_args(Depth))
        assert copied.trees == sealed.trees == proven.trees
        assert copied.bytes_covered <= sealed.bytes_covered <= proven.bytes_covered
        assert (sealed.bytes_covered > copied.bytes_covered) == (name != "HZZ-lzma.root")
    data = bytearray((real_data / name).read_bytes())
    with Image(real_data / name) as image:
        found = read_ntuple(image, read_skeleton(image).newest()["Events"])
        pages = found.pages(found.footer.groups[0])
    data[int(pages.offsets[5]) + int(pages.sizes[5]) - 1] ^= 1
    (tmp_path / name).write_bytes(data)
    verify(tmp_path / name, "copied")
    for depth in ("sealed", "proven"):
        with pytest.raises(CorruptFile, match="xxh3"):
            verify(tmp_path / name, depth)


def test_depth_copied_does_not_unpack(tmp_path: Path) -> None:
    path = small_file(tmp_path / "a.root")
    assert verify(path, "copied").bytes_covered < verify(path).bytes_covered
    data = bytearray(path.read_bytes())
    place = data.index(b"L4")
    data[place + 12] ^= 1  # in the checksum of the first packed block
    path.unlink()
    path.write_bytes(data)
    with pytest.raises(CorruptFile, match="xxh64"):
        verify(path)


def test_progress_reaches_the_end_and_never_passes_it(tmp_path: Path) -> None:
    path = small_file(tmp_path / "a.root")
    calls: list[tuple[int, int]] = []
    verify(path, progress=lambda done, total: calls.append((done, total)))
    assert calls == sorted(calls)
    assert calls[-1][0] <= calls[-1][1] == path.stat().st_size


def test_what_is_no_root_file_is_told_from_what_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content, kind in ((b"", TruncatedFile), (b"ro", TruncatedFile), (b"PK\x03\x04" * 99, NotRootFile)):
        path.write_bytes(content)
        with pytest.raises(kind):
            verify(path)
    with pytest.raises(MissingFile):
        verify(tmp_path / "none")
    with pytest.raises(MissingFile):
        verify(tmp_path)


def test_bytes_behind_the_end_are_told(tmp_path: Path) -> None:
    path = small_file(tmp_path / "a.root")
    data = path.read_bytes()
    (tmp_path / "b.root").write_bytes(data + b"more")
    found = verify(tmp_path / "b.root")
    assert found.trailing_bytes == 4
    assert "4 bytes follow" in found.notes[0]


def test_a_directory_that_holds_itself_is_refused(tmp_path: Path) -> None:
    path = small_file(tmp_path / "a.root")
    data = bytearray(path.read_bytes())
    # the two records of the directories a and a/b: give b the list of keys of a
    first = data.index(b"\x0aTDirectory\x01a\x01a") + len(b"\x0aTDirectory\x01a\x01a")
    second = data.index(b"\x0aTDirectory\x01b\x01b") + len(b"\x0aTDirectory\x01b\x01b")
    data[second + 26 : second + 30] = data[first + 26 : first + 30]
    (tmp_path / "b.root").write_bytes(data)
    with pytest.raises(CorruptFile, match="holds itself"):
        verify(tmp_path / "b.root")


def test_a_list_that_claims_a_billion_keys_is_refused(tmp_path: Path) -> None:
    path = small_file(tmp_path / "a.root", "none")
    data = bytearray(path.read_bytes())
    (seek_keys,) = struct.unpack_from(">i", data, 100 + data[115] + 15 + 26 - 1)
    length = data[seek_keys + 15]
    data[seek_keys + length : seek_keys + length + 4] = b"\x3f\xff\xff\xff"
    (tmp_path / "b.root").write_bytes(data)
    tracemalloc.start()
    with pytest.raises(CorruptFile, match="can't hold"):
        verify(tmp_path / "b.root")
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_two_records_on_the_same_bytes_are_refused(tmp_path: Path) -> None:
    path = small_file(tmp_path / "a.root", "none")
    data = bytearray(path.read_bytes())
    # the second basket of n is told to lie where the first does
    places = [at for at in range(len(data)) if data.startswith(b"\x07TBasket\x01n\x01t", at)][:2]
    first, second = (struct.unpack_from(">q", data, at - 16)[0] for at in places)
    data = data.replace(struct.pack(">q", second), struct.pack(">q", first))
    (tmp_path / "b.root").write_bytes(data)
    with pytest.raises(CorruptFile):
        verify(tmp_path / "b.root")


def test_a_bomb_is_unpacked_block_by_block() -> None:
    full = 0xFFFFFF
    packed = zstandard.ZstdCompressor().compress(bytes(full))
    block = b"ZS\x01" + len(packed).to_bytes(3, "little") + full.to_bytes(3, "little") + packed
    tracemalloc.start()
    made = sum(len(b.data) for b in blocks_of(memoryview(block * 12), full * 12, "bomb"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert made == full * 12
    assert peak < 4 * full
    # the frame says more than the block may hold
    small = b"ZS\x01" + len(packed).to_bytes(3, "little") + (100).to_bytes(3, "little") + packed
    with pytest.raises(CorruptFile):
        list(blocks_of(memoryview(small), 100, "bomb"))
