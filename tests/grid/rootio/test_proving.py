"""A merge at the depth proven unpacks everything once, while it copies, and finds what only then can be found."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid.rootio.facts import file_facts
from grid.rootio.format.baskets import entry_offsets
from grid.rootio.merge import MergeOptions, merge
from grid.rootio.verbatim import baskets, sums
from grid.rootio.verbatim.baskets import baskets_of
from grid.rootio.verbatim.inputs import Input
from grid.rootio.verbatim.template import Template
from kernels.baskets import Lie
from sitecfg.errors import CorruptFile, DuplicateEvents, SchemaMismatch
from tests.grid.rootio.making import nano

if TYPE_CHECKING:
    from pathlib import Path


def basket(path: Path, branch: bytes) -> tuple[int, int]:
    """Return where the first basket of a branch lies, and its size."""
    with Input(path) as source:
        entry = source.trees["Events"]
        template = Template(
            source.unpacked(entry), entry.key.length, entry.class_name, source.streamers.classes, ""
        )
        found = baskets_of(template.view(), "")
        number = next(n for n, one in enumerate(template.branches) if one.name == branch)
        first = int(np.flatnonzero(found.branches == number)[0])
        return int(found.seeks[first]), int(found.nbytes[first])


@pytest.mark.parametrize("compression", ["zlib:1", "lz4:1", "zstd:5", "lzma:1"])
def test_a_flipped_bit_is_found_by_the_checksums_of_what_is_unpacked(
    tmp_path: Path, compression: str
) -> None:
    nano(tmp_path / "in.root", 3000, seed=1, compression=compression)
    seek, size = basket(tmp_path / "in.root", b"nMuon")
    good = (tmp_path / "in.root").read_bytes()
    for place in (size // 3, size // 2, size - 3):
        data = bytearray(good)
        data[seek + place] ^= 0x10
        (tmp_path / "bad.root").write_bytes(data)
        with pytest.raises(CorruptFile, match="a basket of branch 'nMuon'"):
            merge([tmp_path / "in.root", tmp_path / "bad.root"], tmp_path / "out.root")
        assert not (tmp_path / "out.root").exists()


def test_baskets_are_the_same_in_groups_of_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nano(tmp_path / "in.root", 100, cluster_bytes=500)

    def read() -> list[Any]:
        with Input(tmp_path / "in.root") as source:
            entry = source.trees["Events"]
            classes = source.streamers.classes
            template = Template(source.unpacked(entry), entry.key.length, "TTree", classes, "")
            found = baskets_of(template.view(), "")
        columns = found.seeks, found.nbytes, found.firsts, found.entries, found.branches
        return [(column.dtype, column.tolist()) for column in columns]

    whole = read()
    assert len(whole[0][1]) > 50
    for few in (1, 25):
        monkeypatch.setattr(baskets, "_TOGETHER", few)
        assert read() == whole


def test_entries_are_the_same_in_groups_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.arange(60, dtype=np.uint8)
    begins, sizes, counts = np.array([0, 10, 10, 40]), np.array([10, 0, 30, 20]), np.array([5, 0, 3, 20])
    lie = Lie(begins, sizes, sizes, counts, np.zeros(4, np.int64), np.zeros(4, np.bool_))

    def added(few: int) -> list[list[int]]:
        monkeypatch.setattr(sums, "_TOGETHER", few)
        held = sums.EntrySums(20, ["a", "b"], rounds=2)
        assert held.add_baskets(np.array([0, 1, 1, 0]), np.array([0, 0, 5, 0]), data, lie) == -1
        return [words.tolist() for words in held.sealed(0, 20)]

    assert added(1) == added(6) == added(1 << 20)


def test_entry_offsets_that_do_not_rise_are_found(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 300, seed=1, compression="none")
    seek, size = basket(tmp_path / "in.root", b"Muon_pt")
    data = bytearray((tmp_path / "in.root").read_bytes())
    last = seek + size - 8  # the last offset; behind it one more word
    data[last : last + 4] = bytes(4)
    (tmp_path / "bad.root").write_bytes(data)
    merge([tmp_path / "bad.root"], tmp_path / "sealed.root", MergeOptions(verify="sealed"))
    with pytest.raises(CorruptFile, match="entry offsets are out of order"):
        merge([tmp_path / "bad.root"], tmp_path / "out.root")


@pytest.mark.parametrize("verify", ["sealed", "proven"])
def test_events_are_told_apart_without_reading_the_others(tmp_path: Path, verify: str) -> None:
    nano(tmp_path / "a.root", 50, seed=1)
    nano(tmp_path / "b.root", 50, seed=1, first=25)
    paths = [tmp_path / "a.root", tmp_path / "b.root"]
    report = merge(paths, tmp_path / "out.root", MergeOptions(verify=verify))
    assert report.duplicates.events == 25
    assert report.output.fingerprint == file_facts(tmp_path / "out.root").fingerprint
    assert report.output.sections == file_facts(tmp_path / "out.root").sections
    with pytest.raises(DuplicateEvents):
        merge(paths, tmp_path / "strict.root", MergeOptions(verify=verify, duplicates="refuse"))


def test_members_of_objects_can_tell_events_apart(real_data: Path, tmp_path: Path) -> None:
    names = ("EventInfoAuxDyn.runNumber", "EventInfoAuxDyn.eventNumber")
    report = merge(
        [real_data / "PHYSLITE_example.root"] * 2, tmp_path / "out.root", MergeOptions(identity=names)
    )
    assert (report.duplicates.by, report.duplicates.events) == (names, 100)
    assert report.verified == "proven"
    assert report.covered is not None
    assert 0 < report.covered < 2 * (real_data / "PHYSLITE_example.root").stat().st_size


def test_parallel_trees_of_other_lengths_are_refused(tmp_path: Path) -> None:
    from tests.grid.rootio.making import Table, events, flat, write

    other = Table().add(flat("more", "i4"), list(range(6)))
    write(tmp_path / "in.root", {"Events": events(5), "Other": other})
    with pytest.raises(SchemaMismatch, match="differ in length"):
        merge([tmp_path / "in.root"], tmp_path / "out.root", MergeOptions(event_trees=("Events", "Other")))


def test_small_files_need_neither_uproot_nor_a_compiler(tmp_path: Path) -> None:
    from tests.grid.rootio.making import events, write

    for number in (0, 1):
        write(tmp_path / f"in{number}.root", {"Events": events(20, first=20 * number)})
    code = """
import sys
from pathlib import Path
from grid.rootio.merge import merge
folder = Path(sys.argv[1])
report = merge([folder / "in0.root", folder / "in1.root"], folder / "out.root")
assert report.verified == "proven" and report.output.fingerprint
print(*{"uproot", "awkward", "numba", "dask", "pandas"} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


@given(lengths=st.lists(st.integers(0, 5), max_size=8), key_length=st.integers(30, 100))
def test_offsets_say_where_entries_are(lengths: list[int], key_length: int) -> None:
    places = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    size, entries = int(places[-1]), len(lengths)
    table = np.array([entries + 1, *(places[:-1] + key_length), 0], ">i4").tobytes()
    assert entry_offsets(bytes(size) + table, size, entries, key_length).tolist() == places.tolist()
    with pytest.raises(ValueError, match="entry offsets"):
        entry_offsets(bytes(size) + table[:3], size, entries, key_length)


@given(width=st.integers(0, 5), entries=st.integers(0, 5))
def test_entries_of_one_size_need_no_offsets(width: int, entries: int) -> None:
    found = entry_offsets(bytes(width * entries), width * entries, entries, 77)
    assert found.tolist() == [width * number for number in range(entries + 1)]


@pytest.mark.parametrize("said", [5, "run", [1], {"a": 1}, ["gone"]])
def test_a_record_that_says_nonsense_of_identities_is_not_believed(tmp_path: Path, said: object) -> None:
    from tests.grid.rootio.making import events, write

    write(tmp_path / "in.root", {"Events": events(5)}, record={"identity": said})
    report = merge([tmp_path / "in.root"], tmp_path / "out.root")
    assert report.duplicates.by == ("run", "luminosityBlock", "event")
