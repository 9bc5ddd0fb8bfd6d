"""Merging by copying baskets as they are: any tree, every byte where it belongs, nothing wrong let through."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from grid.rootio.format.described import Streamers
from grid.rootio.image import Image
from grid.rootio.merge import MergeOptions, merge
from grid.rootio.sink import Sink
from grid.rootio.verbatim.checking import Job
from grid.rootio.verbatim.copier import Copier
from grid.rootio.verbatim.copying import chunks_of
from grid.rootio.verbatim.inputs import Input
from grid.rootio.verbatim.tree import MergedTree
from sitecfg.errors import ClosureError, CorruptFile, GridError, UnsupportedContent, UsageError
from tests.grid.rootio.judge import hadd, needs_root, run
from tests.grid.rootio.making import nano

if TYPE_CHECKING:
    from pathlib import Path

TREES = [
    "HZZ-lz4.root",
    "HZZ-lzma.root",
    "HZZ-uncompressed.root",
    "PHYSLITE_example.root",
    "Run2012B_SingleMu_1000.root",
    "Tuple_1.root",
    "nano_dy.root",
    "nano_dy_empty.root",
    "nano_tt_v15.root",
    "orca6_sample.root",
    "st2.root",
    "test_cmssw.root",
    "uproot-HZZ-zstd.root",
    "uproot-hepdata-example.root",
    "uproot-stl_containers.root",
]
#: Packed with ROOT's first algorithm, which uproot can't read.
OLD = ["BAC85D5487F19A3B6755584FBC29B3AF_100.root", "long.root"]
#: Without the dictionaries of their classes, ROOT aborts when it reads an entry of these as they are.
CRASHING = ["test_cmssw.root", "uproot-stl_containers.root"]
#: At most so many branches of a tree are compared, spread over all of them.
COMPARED = 120


def copied(sources: list[Path], out: Path) -> dict[str, int]:
    """Copy all trees of all inputs, whatever else these hold; return the entries of each."""
    with Sink(out) as sink:
        copier = Copier(sink, depth="sealed")
        for path in sources:
            with Input(path) as source:
                copier.add(copier.prepare(source, list(source.trees)))
        copier.finish()
        return copier.entries


@pytest.mark.parametrize("name", TREES)
def test_trees_of_real_files_are_copied_value_by_value(real_data: Path, tmp_path: Path, name: str) -> None:
    trees = copied([real_data / name] * 2, tmp_path / "out.root")
    compared = 0
    with uproot.open(real_data / name) as before, uproot.open(tmp_path / "out.root") as after:
        for path, entries in trees.items():
            assert entries == 2 * before[path].num_entries == after[path].num_entries
            assert before[path].keys(recursive=True) == after[path].keys(recursive=True)
            names = before[path].keys(recursive=True)
            for branch in names[:: len(names) // COMPARED + 1]:
                try:
                    once = before[path][branch].array()
                except Exception:  # noqa: BLE001 -- what uproot can't read of the original says nothing
                    continue
                twice = after[path][branch].array()
                assert ak.array_equal(ak.concatenate([once, once]), twice, equal_nan=True), branch
                compared += 1
    assert compared


def test_the_same_inputs_give_the_same_bytes(real_data: Path, tmp_path: Path) -> None:
    for out in ("a.root", "b.root"):
        merge(
            [real_data / "HZZ-lz4.root"] * 2,
            tmp_path / out,
            MergeOptions(verify="sealed"),
        )
    assert (tmp_path / "a.root").read_bytes() == (tmp_path / "b.root").read_bytes()


def test_a_merge_of_merges_is_the_merge(real_data: Path, tmp_path: Path) -> None:
    one = real_data / "Run2012B_SingleMu_1000.root"
    options = MergeOptions(verify="sealed")
    merge([one, one], tmp_path / "two.root", options)
    merge([tmp_path / "two.root", one], tmp_path / "deep.root", options)
    merge([one, one, one], tmp_path / "flat.root", options)
    with uproot.open(tmp_path / "deep.root") as deep, uproot.open(tmp_path / "flat.root") as flat:
        for name in flat["Events"].keys():  # noqa: SIM118 -- a tree is no dict
            assert ak.array_equal(deep["Events"][name].array(), flat["Events"][name].array(), equal_nan=True)


def test_what_was_not_asked_for_is_not_claimed(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 30, seed=1)
    for verify in ("copied", "sealed", "proven"):
        out = tmp_path / f"{verify}.root"
        report = merge([tmp_path / "in.root"], out, MergeOptions(verify=verify))
        assert report.verified == verify
        assert (report.output.fingerprint is not None) == (verify != "copied")
        assert report.output.events == 30


def test_inputs_that_can_only_be_unpacked_are_proven_whatever_was_asked(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 30, seed=1)
    options = MergeOptions(verify="copied", compression="lz4:1")
    assert merge([tmp_path / "in.root"], tmp_path / "out.root", options).verified == "proven"


def test_what_only_the_events_can_tell_is_not_promised_without_them(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 30, seed=1)
    with pytest.raises(UsageError, match="found by looking"):
        merge(
            [tmp_path / "in.root"],
            tmp_path / "out.root",
            MergeOptions(verify="copied", duplicates="refuse"),
        )
    for wrong in (
        MergeOptions(verify="sealed", identity=("no",)),
        MergeOptions(verify="proven", identity=("no",)),
        MergeOptions(verify="sealed", event_trees=("No",)),
    ):
        with pytest.raises(GridError):
            merge([tmp_path / "in.root"], tmp_path / "out.root", wrong)
    assert not (tmp_path / "out.root").exists()


def clusters(path: Path) -> list[int]:
    """Where the clusters of a tree begin, by the rule that ROOT has for it."""
    with uproot.open(path) as file:
        tree = file["Events"]
        entries, flush = tree.num_entries, tree.member("fAutoFlush")
        ranges = list(zip(tree.member("fClusterRangeEnd"), tree.member("fClusterSize"), strict=True))
    starts, at = [], 0
    for end, size in [*ranges, (entries - 1, flush)]:
        starts += list(range(at, end + 1, size)) if size > 0 else [at] * (end >= at)
        at = end + 1
    return starts


@settings(deadline=None, max_examples=15)
@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=5), cluster=st.sampled_from([500, 1500, 10**6])
)
def test_clusters_stay_where_they_were(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], cluster: int
) -> None:
    folder = tmp_path_factory.mktemp("clusters")
    paths, wanted, first = [], [], 0
    for number, size in enumerate(sizes):
        paths.append(folder / f"{number}.root")
        nano(paths[-1], size, seed=number, first=first, run=number + 1, cluster_bytes=cluster)
        wanted += [first + start for start in clusters(paths[-1])] if size else []
        first += size
    merge(paths, folder / "out.root", MergeOptions(verify="copied"))
    assert clusters(folder / "out.root") == wanted


def baskets(path: Path, tree: str = "events") -> list[tuple[int, int, int]]:
    """Position, key length and size of each basket."""
    with uproot.open(path) as file:
        return [
            (int(branch.member("fBasketSeek")[i]), branch.basket_key(i).fKeylen, branch.basket_key(i).fNbytes)
            for _, branch in file[tree].iteritems(recursive=True)
            for i in range(branch.num_baskets)
        ]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (3, "another size"),
        (9, "another|packed|larger|goes on|ends"),
        (15, "another length"),
        (25, "lies elsewhere"),
        (33, "another directory"),
        (35, "name of another"),
    ],
)
def test_a_key_that_contradicts_its_tree_is_found(
    real_data: Path, tmp_path: Path, place: int, words: str
) -> None:
    data = bytearray((real_data / "HZZ-lz4.root").read_bytes())
    seek, _, _ = baskets(real_data / "HZZ-lz4.root")[7]
    data[seek + place] ^= 1
    (tmp_path / "bad.root").write_bytes(data)
    with pytest.raises(CorruptFile, match=words) as caught:
        merge([tmp_path / "bad.root"], tmp_path / "out.root", MergeOptions(verify="copied"))
    assert "bad.root" in str(caught.value)
    assert not (tmp_path / "out.root").exists()


def test_a_branch_that_got_a_new_name_is_carried_and_told(real_data: Path, tmp_path: Path) -> None:
    data = (real_data / "HZZ-uncompressed.root").read_bytes()
    with uproot.open(real_data / "HZZ-uncompressed.root") as file:
        key = file.key("events")
        begin, end = key.fSeekKey, key.fSeekKey + key.fNbytes
    tree = data[begin:end].replace(b"Jet_Px", b"Jet_PX")
    (tmp_path / "in.root").write_bytes(data[:begin] + tree + data[end:])
    report = merge([tmp_path / "in.root"] * 2, tmp_path / "out.root", MergeOptions(verify="sealed"))
    assert "in.root: the baskets of these branches have other names: Jet_Px" in "".join(report.notes).replace(
        "Jet_PX", "Jet_Px"
    )
    with uproot.open(tmp_path / "out.root") as file:
        assert file["events"]["Jet_PX"].num_entries == 2 * 2421


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "in.root"
    nano(path, 400, seed=3, compression="lz4:4")
    return path


@settings(deadline=None)
@given(which=st.integers(0, 10**6), where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_bit_that_flips_in_what_a_checksum_covers_is_found(
    packed: Path, tmp_path_factory: pytest.TempPathFactory, which: int, where: float, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    data = bytearray(packed.read_bytes())
    found = [one for one in baskets(packed, "Events") if data[one[0] + one[1] :][:2] == b"L4"]
    seek, key, size = found[which % len(found)]
    data[seek + key + 9 + int(where * (size - key - 9))] ^= 1 << bit
    (folder / "bad.root").write_bytes(data)
    with pytest.raises(CorruptFile, match="xxh64"):
        merge([folder / "bad.root"], folder / "out.root", MergeOptions(verify="sealed"))


def test_an_input_that_changes_while_it_is_copied_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    nano(tmp_path / "in.root", 30, seed=1)
    real = Image.read_into

    def spoil(self: Image, at: int, buffer: bytearray, what: str) -> None:
        real(self, at, buffer, what)
        with self.path.open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(Image, "read_into", spoil)
    with pytest.raises(CorruptFile, match="changed while"):
        merge([tmp_path / "in.root"], tmp_path / "out.root", MergeOptions(verify="copied"))
    assert not (tmp_path / "out.root").exists()


@pytest.mark.parametrize("name", ["st2.root", "Tuple_1.root", "long.root", "uproot-stl_containers.root"])
def test_bytes_that_are_anything_end_in_our_own_errors(real_data: Path, tmp_path: Path, name: str) -> None:
    chance = random.Random(name)
    for _ in range(100):
        data = bytearray((real_data / name).read_bytes())
        first = chance.choice([0, len(data) * 7 // 10])  # descriptions stand towards the end
        for _ in range(chance.choice([1, 4])):
            data[chance.randrange(first, len(data))] = chance.randrange(256)
        (tmp_path / "bad.root").write_bytes(data)
        out = tmp_path / "out.root"
        try:
            merge([tmp_path / "bad.root"] * 2, out, MergeOptions(verify=chance.choice(["copied", "sealed"])))
        except GridError:
            assert not out.exists()
        else:
            out.unlink()


def test_a_tree_whose_branches_are_not_described_is_not_taken_for_an_empty_one(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Input.streamers.func  # type: ignore[attr-defined]

    def told(self: Input) -> Streamers:
        found = real(self)
        renamed = [
            replace(
                one,
                members=tuple(
                    replace(member, name="fElse") if member.name == "fBasketSeek" else member
                    for member in one.members
                ),
            )
            for one in found.classes
        ]
        return Streamers(tuple(renamed), found.rules)

    monkeypatch.setattr(Input, "streamers", property(told))
    with pytest.raises(UnsupportedContent, match="described in a way"):
        copied([real_data / "HZZ-lz4.root"], tmp_path / "out.root")


def test_branches_that_nobody_can_read_are_proven_too(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = MergedTree.body

    def body(self: MergedTree, key_length: int) -> bytearray:
        kept, self._baskets = self._baskets, [part.copy() for part in self._baskets]
        number = [branch.name for branch in self.template.branches].index(b"vector_set_int32")
        first, second = (part["branch"] == number for part in self._baskets)
        self._baskets[0]["seek"][first] = self._baskets[1]["seek"][second]
        try:
            return right(self, key_length)
        finally:
            self._baskets = kept

    monkeypatch.setattr(MergedTree, "body", body)
    with pytest.raises(ClosureError):
        merge([real_data / "uproot-stl_containers.root"] * 2, tmp_path / "out.root")
    assert not (tmp_path / "out.root").exists()


def test_baskets_in_another_file_are_refused_by_name(real_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedContent, match="lie in another file"):
        copied([real_data / "alice_ESDs.root"], tmp_path / "out.root")


@given(
    gaps=st.lists(st.tuples(st.integers(0, 20 << 20), st.integers(1, 20 << 20)), max_size=30),
    rest=st.integers(0, 40 << 20),
)
def test_stretches_cover_a_file_and_hold_baskets_whole(gaps: list[tuple[int, int]], rest: int) -> None:
    seeks, sizes, at = [], [], 0
    for gap, size in gaps:
        seeks.append(at + gap)
        sizes.append(size)
        at += gap + size
    none = np.zeros(0, np.int64)
    job = Job(np.array(seeks, np.int64), np.array(sizes, np.int64), none, none, none, [], none, none)
    chunks = list(chunks_of(job, at + rest))
    assert [chunk.begin for chunk in chunks[1:]] == [chunk.end for chunk in chunks[:-1]]
    assert (chunks[0].begin, chunks[-1].end) == (0, at + rest) if chunks else at + rest == 0
    held = [number for chunk in chunks for number in range(chunk.first, chunk.stop)]
    assert held == list(range(len(seeks)))
    for chunk in chunks:
        assert chunk.end - chunk.begin <= max([8 << 20, *sizes])
        for number in range(chunk.first, chunk.stop):
            assert chunk.begin <= seeks[number] <= seeks[number] + sizes[number] <= chunk.end


READ = """
import sys, ROOT
ROOT.gErrorIgnoreLevel = ROOT.kError
def sizes(path, tree):
    file = ROOT.TFile(path)
    found = file.Get(tree)
    return [found.GetEntry(i) for i in range(found.GetEntries())]
before, after, *trees = sys.argv[1:]
for tree in trees:
    assert sizes(before, tree) * 2 == sizes(after, tree), tree
"""


@pytest.mark.judge
@needs_root
@pytest.mark.parametrize("name", [name for name in TREES if name not in CRASHING] + OLD)
def test_root_reads_as_much_of_each_entry_and_hadd_takes_it(
    real_data: Path, tmp_path: Path, name: str
) -> None:
    trees = copied([real_data / name] * 2, tmp_path / "out.root")
    run([sys.executable, "-c", READ, str(real_data / name), str(tmp_path / "out.root"), *trees])
    hadd("-ff", tmp_path / "again.root", tmp_path / "out.root", tmp_path / "out.root")
