"""Files that must not pass, each from a sound one, with the class of failure and the words that say why."""

from __future__ import annotations

import contextlib
import gzip
import os
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import uproot
import xxhash

from grid.mock.sample import make_sample
from grid.rootio.image import Image
from grid.rootio.structure import read_skeleton

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Spoiled:
    """What is done to a sound file, the class of the failure that follows, and a word of the reason."""

    do: Callable[[Path], None]
    failure: str
    said: str


def damage(change: Callable[[bytearray], object]) -> Callable[[Path], None]:
    """Change the bytes of a file."""

    def do(path: Path) -> None:
        data = bytearray(path.read_bytes())
        change(data)
        path.write_bytes(data)

    return do


def replace(data: bytes) -> Callable[[Path], None]:
    return lambda path: _ignore(path.write_bytes(data))


def instead(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Put something else where the file was."""

    def do(path: Path) -> None:
        path.unlink()
        make(path)

    return do


def at(region: Callable[[Path], int], mask: int = 1) -> Callable[[Path], None]:
    """Change bits of one byte."""

    def do(path: Path) -> None:
        place = region(path)
        data = bytearray(path.read_bytes())
        data[place] ^= mask
        path.write_bytes(data)

    return do


def write_at(region: Callable[[Path], int], word: bytes) -> Callable[[Path], None]:
    def do(path: Path) -> None:
        place = region(path)
        data = bytearray(path.read_bytes())
        data[place : place + len(word)] = word
        path.write_bytes(data)

    return do


# --- where things lie ----------------------------------------------------------------------------------------------


def tree_key(path: Path) -> int:
    with Image(path) as image:
        return next(one.key.seek for one in read_skeleton(image).entries if one.path == "Events")


def tree_body(path: Path) -> int:
    with Image(path) as image:
        return next(
            one.key.seek + one.key.length + one.key.packed_bytes // 2
            for one in read_skeleton(image).entries
            if one.path == "Events"
        )


def streamers(path: Path) -> int:
    with Image(path) as image:
        key = image.key(read_skeleton(image).header.seek_info, "streamers")
        return key.seek + key.length + key.packed_bytes // 2


def key_list(path: Path) -> int:
    """A letter of a name in the list of keys; the last one there is a title."""
    data = path.read_bytes()
    return data.rindex(b"LuminosityBlocks", 0, data.rindex(b"LuminosityBlocks"))


def schema(path: Path) -> int:
    """A letter of a field's name in the head of an RNTuple."""
    return path.read_bytes().index(b"luminosityBlock")


def half_way(path: Path) -> int:
    return path.stat().st_size // 2


def basket(path: Path, branch: str = "MET_pt") -> int:
    """Where the key of a branch's first basket lies."""
    with uproot.open(path) as file:
        return int(file["Events"][branch].member("fBasketSeek")[0])


def basket_body(path: Path) -> int:
    """The middle of a basket that was packed."""
    place = basket(path, "run")
    size, _, _, _, length = struct.unpack_from(">ihiih", path.read_bytes(), place)
    return place + int(length + (size - length) // 2)


def plus(region: Callable[[Path], int], offset: int) -> Callable[[Path], int]:
    return lambda path: region(path) + offset


# --- what is done --------------------------------------------------------------------------------------------------


def unclosed(path: Path) -> None:
    """As ROOT leaves a file whose writer died: no list of keys, no streamers, an end that was never written."""
    with Image(path) as image:
        header = read_skeleton(image).header
    data = bytearray(path.read_bytes()[: header.seek_info])
    data[12:16] = struct.pack(">i", len(data))
    data[16:24] = bytes(8)
    data[37:45] = bytes(8)
    seek_keys = header.begin + header.nbytes_name + 2 + 8 + 8 + 4 + 4
    data[seek_keys : seek_keys + 4] = bytes(4)
    path.write_bytes(data)


def without_trees(path: Path) -> None:
    path.unlink()
    with uproot.recreate(path) as file:
        file["h"] = np.histogram(np.arange(10.0))


def without_identity(path: Path) -> None:
    path.unlink()
    with uproot.recreate(path) as file:
        file.mktree("Other", {"x": "f4"}).extend({"x": np.arange(10, dtype="f4")})


def pack(path: Path) -> None:
    path.write_bytes(gzip.compress(path.read_bytes()))


def events_twice(path: Path) -> None:
    with uproot.open(path) as file:
        columns = file["Events"].arrays(["run", "luminosityBlock", "event", "HLT_Mu17_v3"], library="np")
    columns["event"][3] = columns["event"][7]
    columns["luminosityBlock"][3] = columns["luminosityBlock"][7]
    path.unlink()
    with uproot.recreate(path) as file:
        file.mktree("Events", {name: one.dtype for name, one in columns.items()}).extend(columns)


def cycles(path: Path) -> None:
    """Half-way results that their writer saved, and the last one."""
    path.unlink()
    with uproot.recreate(path) as file:
        for n in (10, 20, 30):
            columns = {"run": np.full(n, 5, "u4"), "luminosityBlock": np.ones(n, "u4"), "event": np.arange(n)}
            file.mktree("Events", {name: one.dtype for name, one in columns.items()}).extend(columns)


def nothing(path: Path) -> None:
    path.unlink()
    make_sample(path.parent / "none", files=1, events=0)[0].path.rename(path)


def ntuple(path: Path, compression: Any = None) -> None:
    path.unlink()
    n = 300
    with uproot.recreate(path, compression=compression) as file:
        file.mkrntuple(
            "Events",
            {
                "run": np.full(n, 9, "u4"),
                "luminosityBlock": np.full(n, 1, "u4"),
                "event": np.arange(n, dtype="u8"),
                "pt": ak.unflatten(np.arange(2.0 * n), np.full(n, 2)),
            },
        )


def bomb(path: Path) -> None:
    """Baskets of a few kilobytes that unpack to hundreds of megabytes."""
    n = 40_000_000
    path.unlink()
    with uproot.recreate(path, compression=uproot.ZSTD(1)) as file:
        kinds = {"run": "u1", "luminosityBlock": "u1", "event": "u8"}
        file.mktree("Events", kinds).extend({name: np.zeros(n, kind) for name, kind in kinds.items()})


def endless_page(path: Path) -> None:
    """An RNTuple whose list of pages promises billions of values, under a checksum that is right."""
    ntuple(path)
    data = bytearray(path.read_bytes())
    start, stop = _page_list(bytes(data))
    place = data.index(struct.pack("<i", 300), start, stop)
    data[place : place + 4] = struct.pack("<i", 0x7FFFFFFF)
    data[stop - 8 : stop] = struct.pack("<Q", xxhash.xxh3_64_intdigest(data[start : stop - 8]))
    path.write_bytes(data)


def _page_list(data: bytes) -> tuple[int, int]:
    """The envelope of kind 3 that is sound."""
    for start in range(len(data) - 16):
        kind, size = data[start] | data[start + 1] << 8, int.from_bytes(data[start + 2 : start + 8], "little")
        if kind == 3 and 16 < size <= len(data) - start:
            told = int.from_bytes(data[start + size - 8 : start + size], "little")
            if told == xxhash.xxh3_64_intdigest(data[start : start + size - 8]):
                return start, start + size
    raise AssertionError


def _socket(path: Path) -> None:
    # The name of a socket may not be long.
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)


def _ignore(_: object) -> None: ...


_BIG = struct.pack(">i", 0x7FFFFFFF)


def of_ntuple(change: Callable[[Path], None]) -> Callable[[Path], None]:
    def do(path: Path) -> None:
        ntuple(path, uproot.ZLIB(1))
        change(path)

    return do


#: By the name of the file.
SPOILED = {
    "truncated": Spoiled(damage(lambda data: data.__delitem__(slice(-700, None))), "corrupt", "should have"),
    "cut-in-header": Spoiled(damage(lambda data: data.__delitem__(slice(60, None))), "corrupt", "60 bytes"),
    "zero-length": Spoiled(replace(b""), "corrupt", "empty"),
    "zeros": Spoiled(replace(bytes(9000)), "source-bad", "no ROOT file"),
    "text": Spoiled(replace(b"run,event\n1,2\n" * 50), "source-bad", "no ROOT file"),
    "text-of-root": Spoiled(replace(b"root:x:0:0:root:/root:/bin/bash\n" * 9), "source-bad", "no ROOT file"),
    "hdf5": Spoiled(replace(b"\x89HDF\r\n\x1a\n" + bytes(500)), "source-bad", "no ROOT file"),
    "packed": Spoiled(pack, "source-bad", "no ROOT file"),
    "folder": Spoiled(instead(lambda path: path.mkdir()), "missing", "no file, but a folder"),
    "pipe": Spoiled(instead(os.mkfifo), "missing", "no file"),
    "socket": Spoiled(instead(_socket), "missing", "no file"),
    "device": Spoiled(instead(lambda path: path.symlink_to("/dev/zero")), "missing", "no file"),
    "loop": Spoiled(instead(lambda path: path.symlink_to(path.name)), "missing", "symbolic links"),
    "gone": Spoiled(instead(lambda _: None), "missing", "no such file"),
    "unclosed": Spoiled(unclosed, "corrupt", "never closed"),
    "no-tree": Spoiled(without_trees, "unsupported", "no tree"),
    "no-identity": Spoiled(without_identity, "unsupported", "identify an event"),
    "events-twice": Spoiled(events_twice, "duplicates", "more than once"),
    "flip-header": Spoiled(at(lambda _: 38), "corrupt", "streamer info"),
    "flip-end": Spoiled(at(lambda _: 13, 0x40), "corrupt", "should have"),
    "flip-tree-key": Spoiled(at(plus(tree_key, 28)), "corrupt", "Events"),
    "flip-tree": Spoiled(at(tree_body), "corrupt", "does not unpack"),
    "flip-basket-key": Spoiled(at(plus(basket, 3)), "corrupt", "MET_pt"),
    "flip-basket": Spoiled(at(basket_body), "corrupt", "run"),
    "flip-streamers": Spoiled(at(streamers), "corrupt", "streamer info"),
    "flip-key-list": Spoiled(at(key_list), "corrupt", "contradict"),
    "flip-schema": Spoiled(of_ntuple(at(schema)), "corrupt", "Events"),
    "flip-page": Spoiled(of_ntuple(at(half_way)), "corrupt", "Events"),
    "huge-basket": Spoiled(write_at(plus(basket, 6), _BIG), "corrupt", "larger than its object"),
    "huge-key": Spoiled(write_at(tree_key, _BIG), "corrupt", "2147483647 bytes long"),
    "huge-tree": Spoiled(write_at(plus(tree_key, 6), _BIG), "unsupported", "takes 2147483647 bytes"),
    "endless-page": Spoiled(endless_page, "corrupt", "Events"),
}


def odd_names(path: Path) -> None:
    """Give some branches names that are no UTF-8: one of a trigger path, one of what looks like a path, one other."""
    with uproot.open(path) as file:
        events = file["Events"].arrays(["run", "luminosityBlock", "event"], library="np")
    count = len(events["event"])
    odd = {
        "HLT_Q_v1": np.ones(count, np.bool_),
        "HLT_R_v1": np.ones(count, "f4"),
        "S_v1": np.ones(count, "f4"),
    }
    columns = {**events, **odd}
    with uproot.recreate(path, compression=None) as file:
        tree = file.mktree("Events", {name: column.dtype for name, column in columns.items()})
        tree.extend(columns)
    damage(lambda data: data.__setitem__(slice(None), data.replace(b"_v1", b"\xff\x80\xe9")))(path)


#: What is odd, and sound.
SOUND: dict[str, Callable[[Path], None]] = {
    "as-it-was": lambda _: None,
    "trailing-bytes": damage(lambda data: data.extend(b"tail" * 100)),
    "no-events": nothing,
}
