"""Inputs that differ in branches are merged by copying, and hold what a merge by values would have made of them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grid.rootio.columns import Branch, Column
from grid.rootio.merge import MergeOptions, merge
from grid.rootio.sink import Sink
from grid.rootio.source import open_source
from grid.rootio.valuemerge import ValueMerge
from grid.rootio.verify import verify
from sitecfg.errors import CorruptFile, GridError, UnsupportedContent
from tests.grid.rootio.making import Table, counted, events, flat, jagged, read_lists, write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from grid.rootio.merge import MergeReport

BACKFILL = MergeOptions(schema="backfill")
INTEGERS = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
FAMILIES = (INTEGERS, ("f4", "f8"), ("?",))


def by_values(paths: Sequence[Path], out: Path, options: MergeOptions = BACKFILL) -> MergeReport:
    """Merge as it is done where nothing can be copied."""
    return ValueMerge(list(paths), [], out, options, None, copying=False).run({})


def branches_of(path: Path) -> list[tuple[Any, ...]]:
    with open_source(path) as source:
        info = source.info("Events")
    return [(one.name, one.title, one.dtype, one.shape, one.jagged, one.counter) for one in info.branches]


def rules(notes: Sequence[str]) -> list[str]:
    return [note for note in notes if "back-filled" in note or "widened" in note]


def answer(do: Callable[[], MergeReport]) -> MergeReport | GridError:
    try:
        return do()
    except GridError as error:
        return error


def same_answer(paths: Sequence[Path], folder: Path, options: MergeOptions = BACKFILL) -> MergeReport | None:
    """Merge in both ways; they agree in all that they say, or both refuse. Return what the copying one said."""
    wanted = answer(lambda: by_values(paths, folder / "values.root"))
    if isinstance(wanted, GridError):
        found = answer(lambda: merge(paths, folder / "copied.root", options))
        assert (type(found), str(found)) == (type(wanted), str(wanted))
        assert not (folder / "copied.root").exists()
        return None
    found = merge(paths, folder / "copied.root", options)
    assert found.output.content is None, "it was copied"
    assert found.filled == wanted.filled
    assert found.widened == wanted.widened
    assert found.output.trees == wanted.output.trees
    if options.verify == "proven":
        assert [one.fingerprint for one in found.inputs] == [one.fingerprint for one in wanted.inputs]
        assert found.duplicates == wanted.duplicates
    assert repr(read_lists(folder / "copied.root")) == repr(read_lists(folder / "values.root"))
    assert branches_of(folder / "copied.root") == branches_of(folder / "values.root")
    assert rules(found.notes) == rules(wanted.notes)
    with open_source(folder / "copied.root") as one, open_source(folder / "values.root") as other:
        assert one.record is not None
        assert other.record is not None
        for what in ("filled", "widened"):
            assert one.record.get(what) == other.record.get(what)
    verify(folder / "copied.root")
    return found


@st.composite
def tables(draw: st.DrawFn) -> list[Table]:
    """Draw some inputs: each has some of the same branches, in some type of the same family."""
    pool = draw(st.lists(st.sampled_from(FAMILIES), min_size=1, max_size=4))
    lists = draw(st.lists(st.sampled_from(FAMILIES), max_size=3))
    identity, made, first = draw(st.booleans()), [], 0
    for _ in range(draw(st.integers(2, 3))):
        n = draw(st.integers(0, 12))
        table = events(n, first=first) if identity else Table().add(flat("always", "i4"), np.arange(n))
        first += n
        values = np.random.default_rng(draw(st.integers(0, 9)))
        lowest = draw(st.sampled_from((0, 0, 0, -3)))
        counts = values.integers(0, 4, n)
        if draw(st.booleans()):
            table.add(flat("nx", draw(st.sampled_from(INTEGERS))), counts)
        for number, family in enumerate(pool):
            if draw(st.booleans()):
                shape = (2,) if number % 2 else ()
                branch = Branch(f"s{number}", f"title {n}", np.dtype(draw(st.sampled_from(family))), shape)
                filling = values.integers(lowest if branch.dtype.kind != "u" else 0, 100, (n, *shape))
                table.add(branch, Column(filling.astype(branch.dtype)))
        for number, family in enumerate(lists):
            if "nx" in table.columns and draw(st.booleans()):
                branch = counted(f"x{number}", draw(st.sampled_from(family)), "nx")
                filling = values.integers(lowest if branch.dtype.kind != "u" else 0, 100, counts.sum())
                offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
                table.add(branch, Column(filling.astype(branch.dtype), (offsets,)))
        order = draw(st.permutations(table.branches))
        made.append(Table(list(order), table.columns))
    return made


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    made=tables(),
    depth=st.sampled_from(("copied", "sealed", "proven")),
    cluster=st.sampled_from((64, 1 << 20)),
)
def test_whatever_inputs_lack_or_have_narrower_both_ways_agree(
    made: list[Table], depth: str, cluster: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [
            write(folder / f"{number}.root", {"Events": table}, cluster_bytes=cluster)
            for number, table in enumerate(made)
        ]
        options = MergeOptions(schema="backfill", verify=depth)
        if same_answer(paths, folder, options) is not None:
            merge(paths, folder / "again.root", options)
            assert (folder / "again.root").read_bytes() == (folder / "copied.root").read_bytes()


def menus(folder: Path, n: int = 3000) -> list[Path]:
    """Two files, each with trigger bits that the other lacks, and a list that one has narrower."""
    counts = np.arange(n) % 3
    lists = jagged([list(range(count)) for count in counts.tolist()], "i4")
    paths = []
    for number, kind in enumerate(("i4", "u8")):
        table = events(n, first=n * number).add(flat(f"HLT_Only{number}", "?"), np.ones(n, bool))
        table.add(flat("nBit", "u4" if number else "i4"), counts)
        table.add(counted("Bit_x", kind, "nBit"), Column(lists.values.astype(kind), lists.offsets))
        paths.append(write(folder / f"{number}.root", {"Events": table}, cluster_bytes=20_000))
    return paths


def baskets(path: Path, name: str) -> list[bytes]:
    """The packed bytes of a branch's baskets, without their keys."""
    with uproot.open(path) as file:
        branch = file["Events"][name]
        data = path.read_bytes()
        found = []
        for number in range(branch.num_baskets):
            seek = int(branch.member("fBasketSeek")[number])
            length = int.from_bytes(data[seek + 14 : seek + 16], "big")
            found.append(data[seek + length : seek + int(branch.member("fBasketBytes")[number])])
        return found


def test_only_what_a_rule_changes_is_packed_again(tmp_path: Path) -> None:
    paths = menus(tmp_path)
    found = same_answer(paths, tmp_path)
    assert found is not None
    out = tmp_path / "copied.root"
    for name in ("event", "Muon_pt", "nMuon", "MET_pt", "HLT_Jet80_v3"):
        assert baskets(out, name) == baskets(paths[0], name) + baskets(paths[1], name)
    assert found.filled == {str(paths[0]): ("HLT_Only1",), str(paths[1]): ("HLT_Only0",)}
    assert found.widened == {
        str(paths[0]): {"Bit_x": "int32 to uint64"},
        str(paths[1]): {"nBit": "uint32 to int32"},
    }
    changed = baskets(paths[0], "Bit_x")
    assert len(changed) > 1
    assert baskets(out, "Bit_x")[: len(changed)] != changed
    assert baskets(out, "Bit_x")[-1] == baskets(paths[1], "Bit_x")[-1]


def test_made_baskets_are_no_larger_than_the_branch_says(tmp_path: Path) -> None:
    table = events(40_000).add(flat("x", "f8"), np.ones(40_000))
    with Sink(tmp_path / "0.root", compression="zlib:1") as sink:
        sink.tree("Events", table.branches, basket_bytes=8192).extend(table.columns)
    write(tmp_path / "1.root", {"Events": events(40_000, first=40_000)})
    assert same_answer([tmp_path / "0.root", tmp_path / "1.root"], tmp_path) is not None
    with uproot.open(tmp_path / "copied.root") as file:
        branch = file["Events"]["x"]
        sizes = [branch.basket(number).uncompressed_bytes for number in range(branch.num_baskets)]
    assert len(sizes) == 80
    assert max(sizes) <= 8192 + len("a key and its names, which count here") * 2


def test_an_event_of_both_files_is_found_whatever_its_types(tmp_path: Path) -> None:
    """Events without identity are told apart by what they hold once it is filled and widened."""
    for name, kind in (("a", "i2"), ("b", "i8")):
        table = Table().add(flat("x", kind), [1, 2, 3]).add(flat(f"only_{name}", "i4"), [0, 0, 7])
        write(tmp_path / f"{name}.root", {"Events": table})
    found = same_answer([tmp_path / "a.root", tmp_path / "b.root"], tmp_path)
    assert found is not None
    assert found.duplicates.events == 2


def test_nothing_is_made_up_that_tells_events_apart(tmp_path: Path) -> None:
    write(tmp_path / "a.root", {"Events": events(3)})
    table = events(3, first=5)
    table.branches = [one for one in table.branches if one.name != "luminosityBlock"]
    del table.columns["luminosityBlock"]
    write(tmp_path / "b.root", {"Events": table})
    paths = [tmp_path / "a.root", tmp_path / "b.root"]
    for depth in ("copied", "sealed", "proven"):
        assert same_answer(paths, tmp_path, MergeOptions(schema="backfill", verify=depth)) is None


def test_files_of_one_schema_are_copied_though_they_could_not_be_united(tmp_path: Path) -> None:
    """Two branches with one name: nobody could say which of them another file lacks."""
    table = events(3).add(flat("twin_a", "i4"), [1, 2, 3]).add(flat("twin_b", "i4"), [4, 5, 6])
    path = write(tmp_path / "a.root", {"Events": table}, compression="none")
    path.write_bytes(path.read_bytes().replace(b"twin_b", b"twin_a"))
    merge([path, path], tmp_path / "strict.root")
    report = merge([path, path], tmp_path / "filled.root", BACKFILL)
    assert report.output.events == 6
    assert (tmp_path / "strict.root").read_bytes() == (tmp_path / "filled.root").read_bytes()
    write(tmp_path / "b.root", {"Events": events(1, first=7)})
    with pytest.raises(UnsupportedContent, match="twin_a"):
        merge([path, tmp_path / "b.root"], tmp_path / "out.root", BACKFILL)


def damaged(path: Path, name: str, at: int, flip: int) -> None:
    """Change a byte of the first basket of a branch: of what is behind its key."""
    with uproot.open(path) as file:
        seek = int(file["Events"][name].member("fBasketSeek")[0])
    data = bytearray(path.read_bytes())
    data[seek + int.from_bytes(data[seek + 14 : seek + 16], "big") + at] ^= flip
    path.write_bytes(data)


@pytest.mark.parametrize("order", ["ab", "ba"])
@pytest.mark.parametrize("member", [b"fAutoSave", b"fMaximum", b"fBasketSize", b"fIsUnsigned"])
def test_a_file_that_describes_its_classes_otherwise_is_merged_or_refused(
    member: bytes, order: str, tmp_path: Path
) -> None:
    write(tmp_path / "a.root", {"Events": events(3)}, compression="none")
    write(tmp_path / "b.root", {"Events": events(2, first=5).add(flat("HLT_New", "?"), [1, 1])})
    data = (tmp_path / "a.root").read_bytes()
    (tmp_path / "a.root").write_bytes(data.replace(member, member[:-1] + b"X"))
    paths = [tmp_path / f"{name}.root" for name in order]
    found = answer(lambda: merge(paths, tmp_path / "out.root", BACKFILL))
    if isinstance(found, GridError):
        assert not (tmp_path / "out.root").exists()
    else:
        assert read_lists(tmp_path / "out.root")["event"] == (
            [0, 1, 2, 5, 6] if order == "ab" else [5, 6, 0, 1, 2]
        )


@pytest.mark.parametrize("name", ["Bit_x", "nBit"])
def test_damage_in_what_is_unpacked_is_found_at_every_depth(name: str, tmp_path: Path) -> None:
    paths = menus(tmp_path, 300)
    damaged(paths[0], name, 40, 0x55)
    for depth in ("copied", "sealed", "proven"):
        with pytest.raises(CorruptFile, match=r"0\.root"):
            merge(paths, tmp_path / "out.root", MergeOptions(schema="backfill", verify=depth))
        assert not (tmp_path / "out.root").exists()


def with_counts(path: Path, counts: Sequence[int], lists: list[list[int]] | None, kind: str) -> Path:
    """A file whose counter was changed after it was written; it may have a list that is counted."""
    table = events(2, first=10).add(flat("n", "i4"), [1, 2])
    if lists is not None:
        table.add(counted("x", kind, "n"), jagged(lists, kind))
    write(path, {"Events": table}, compression="none")
    data = path.read_bytes()
    with uproot.open(path) as file:
        seek = int(file["Events"]["n"].member("fBasketSeek")[0])
    begin = seek + int.from_bytes(data[seek + 14 : seek + 16], "big")
    path.write_bytes(data[:begin] + np.array(counts, ">i4").tobytes() + data[begin + 8 :])
    return path


def counted_file(path: Path) -> Path:
    lists = jagged([[7]], "i4")
    table = events(1).add(flat("n", "i4"), [1]).add(counted("x", "i4", "n"), lists)
    return write(path, {"Events": table.add(counted("y", "i4", "n"), lists)})


def test_a_list_that_is_widened_is_held_against_its_counter(tmp_path: Path) -> None:
    bad = with_counts(tmp_path / "bad.root", [2, 2], [[1], [2, 3]], "i2")
    with pytest.raises(CorruptFile, match=r"bad\.root: Events/x: .*not as many values as its counter n says"):
        merge([counted_file(tmp_path / "good.root"), bad], tmp_path / "out.root", BACKFILL)
    assert not (tmp_path / "out.root").exists()


@pytest.mark.parametrize(
    ("counts", "error", "words"),
    [
        ([-1, 2], CorruptFile, "n counts -1 values"),
        ([1, 1 << 28], UnsupportedContent, "would have 268435456 values"),
    ],
)
def test_a_counter_makes_no_list_that_nobody_could_hold(
    counts: list[int], error: type[GridError], words: str, tmp_path: Path
) -> None:
    bad = with_counts(tmp_path / "bad.root", counts, None, "i4")
    with pytest.raises(error, match=rf"bad\.root.*{words}"):
        merge([counted_file(tmp_path / "good.root"), bad], tmp_path / "out.root", BACKFILL)
    assert not (tmp_path / "out.root").exists()
