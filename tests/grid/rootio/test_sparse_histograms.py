"""Histograms of many dimensions add up as ROOT adds them, whichever bins each file has."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Any

import pytest

from grid.rootio.merge import MergeOptions, merge
from sitecfg.errors import CorruptFile, GridError, SchemaMismatch
from tests.grid.rootio.judge import dumped, hadd, needs_root, root

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.judge, needs_root]

#: Chunks of 8 bins, so that histograms have none, some, full ones and ones with room.
MAKE = """
import ROOT, sys
from array import array
ROOT.TH1.AddDirectory(False)
rng = ROOT.TRandom3(7)
axes = 3, array("i", [12, 5, 40]), array("d", [0, 0, -1]), array("d", [1, 2, 1])

def fill(h, times):
    for _ in range(times):
        h.Fill(array("d", [rng.Uniform(-0.1, 1.1), rng.Uniform(2), rng.Uniform(-1, 1)]), 1 + rng.Integer(3))
    return h

for number, times in enumerate([5, 0, 8, 150]):
    file = ROOT.TFile(f"{sys.argv[1]}/in{number}.root", "RECREATE", "", 0)
    for letter in "CSIFDL":
        fill(getattr(ROOT, "THnSparse" + letter)("sparse" + letter, "a;b;c", *axes, 8), times).Write()
        if letter != "L": fill(getattr(ROOT, "THn" + letter)("dense" + letter, "a;b;c", *axes), times).Write()
    for kind in (ROOT.THnSparseF, ROOT.THnF):
        weighted = kind("weighted " + kind.__name__[:9], "", *axes)
        weighted.Sumw2()
        fill(weighted, times).Write()
    items, held = ROOT.TList(), [fill(ROOT.THnSparseI(f"item{turn}", "", *axes, 8), times) for turn in range(3)]
    held.insert(1, ROOT.TH1D("between", "", 3, 0, 1))
    for one in held: items.Add(one)
    items.Write("list", 1)
    items.Clear("nodelete")
    file.Close()
for name, times, squares in (("plain", 40, False), ("squares", 30, True), ("none", 0, False), ("more", 9, True)):
    file = ROOT.TFile(f"{sys.argv[1]}/{name}.root", "RECREATE", "", 0)
    for kind in (ROOT.THnSparseF, ROOT.THnF):
        one = kind(kind.__name__[:9], "", *axes, *([8] if kind is ROOT.THnSparseF else []))
        if squares: one.Sumw2()
        fill(one, times).Write()
    file.Close()
file = ROOT.TFile(sys.argv[1] + "/other.root", "RECREATE", "", 0)
ROOT.THnSparseC("sparseC", "", 3, axes[1], axes[2], array("d", [1, 2, 2]), 8).Write()
file.Close()
file = ROOT.TFile(sys.argv[1] + "/narrow.root", "RECREATE", "", 0)
h = ROOT.THnSparseC("narrow", "", *axes)
h.SetBinContent(array("i", [1, 2, 3]), 100)
h.Write(); file.Close()
"""

DUMP = """
import ROOT, json, sys
from array import array
def look(h):
    at, bins = array("i", [0] * h.GetNdimensions()), {}
    for number in range(h.GetNbins()):
        content = h.GetBinContent(number, at)
        if content: bins[str(list(at))] = [content, h.GetBinError2(number)]
    sums = [h.GetSumw(), h.GetSumw2(), [h.GetSumwx(i) for i in range(h.GetNdimensions())]]
    return [h.ClassName(), h.GetEntries(), bins, sums]
file, found = ROOT.TFile(sys.argv[1]), {}
for key in file.GetListOfKeys():
    thing = file.Get(key.GetName())
    for one in thing if thing.InheritsFrom("TList") else [thing]:
        if one.InheritsFrom("THnBase"): found[one.GetName()] = look(one)
print("DUMP" + json.dumps(found))
"""


def dump(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = dumped(DUMP, path)
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sparse")
    root(MAKE, folder)
    return folder


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (1, 3, 0), (3, 2), (2, 0), (1, 1)])
def test_bins_add_up_as_root_adds_them(made: Path, tmp_path: Path, order: tuple[int, ...]) -> None:
    inputs = [made / f"in{number}.root" for number in order]
    merge(inputs, tmp_path / "ours.root")
    hadd("-f", tmp_path / "theirs.root", *inputs)
    mine, theirs = dump(tmp_path / "ours.root"), dump(tmp_path / "theirs.root")
    assert mine.keys() == theirs.keys()
    assert len(mine) == 6 + 5 + 2 + 3
    each = [dump(path) for path in inputs]
    for name, (kind, entries, bins, sums) in mine.items():
        assert [kind, entries, bins] == theirs[name][:3], name
        # ROOT leaves the sums as the first histogram had them
        assert sums[0] == pytest.approx(sum(one[name][3][0] for one in each)), name
        assert sums[2] == pytest.approx([sum(one[name][3][2][i] for one in each) for i in range(3)]), name


def test_a_merge_of_merges_is_the_merge(made: Path, tmp_path: Path) -> None:
    one, two, three = (made / f"in{number}.root" for number in (0, 3, 2))
    merge([one, two, three], tmp_path / "at_once.root")
    merge([one, two], tmp_path / "two.root")
    merge([tmp_path / "two.root", three], tmp_path / "again.root")
    assert dump(tmp_path / "again.root") == dump(tmp_path / "at_once.root")


@pytest.mark.parametrize(
    "order",
    [
        ("plain", "squares"),
        ("squares", "plain"),
        ("none", "squares"),
        ("more", "none"),
        ("plain", "none", "squares", "more"),
    ],
)
def test_squares_that_only_some_have_are_those_of_weights_1_in_the_others(
    made: Path, tmp_path: Path, order: tuple[str, ...]
) -> None:
    inputs = [made / f"{name}.root" for name in order]
    merge(inputs, tmp_path / "ours.root")
    hadd("-f", tmp_path / "theirs.root", *inputs)
    mine, theirs = dump(tmp_path / "ours.root"), dump(tmp_path / "theirs.root")
    each = [dump(path) for path in inputs]
    for name, (kind, entries, bins, sums) in mine.items():
        squares: dict[str, float] = {}
        for one in each:
            for at, (content, square) in one[name][2].items():
                known = one[name][3][1] >= 0
                squares[at] = squares.get(at, 0) + (square if known else content)
        assert {at: square for at, (_, square) in bins.items()} == pytest.approx(squares)
        assert [kind, entries] == theirs[name][:2]
        assert {at: content for at, (content, _) in bins.items()} == {
            at: content for at, (content, _) in theirs[name][2].items()
        }
        # ROOT forgets the squares of a dense histogram that comes first and has none
        if name.startswith("THnSparse") or order[0] != "plain":
            assert bins == theirs[name][2]
        # who has no squares has no sums: then there are none of all
        assert sums[0] == (0 if "plain" in order else pytest.approx(sum(one[name][3][0] for one in each)))
    merge([tmp_path / "ours.root", made / "more.root"], tmp_path / "again.root")
    assert dump(tmp_path / "again.root").keys() == mine.keys()


def test_other_axes_are_refused_and_named(made: Path, tmp_path: Path) -> None:
    with pytest.raises(SchemaMismatch, match=r"axis 2\.fXmax is 2\.0 instead of 1\.0"):
        merge([made / "in0.root", made / "other.root"], tmp_path / "out.root")


def test_a_sum_that_its_type_cannot_hold_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(SchemaMismatch, match=r"too large for its type in bin 0: 100 \+ 100"):
        merge([made / "narrow.root"] * 2, tmp_path / "out.root")


def test_bins_that_contradict_themselves_are_refused(made: Path, tmp_path: Path) -> None:
    good = (made / "narrow.root").read_bytes()
    told = good.index(struct.pack(">iq", 16384, 1)) + 4
    for number in (0, 2, -1, 1 << 40):
        data = bytearray(good)
        struct.pack_into(">q", data, told, number)
        (tmp_path / "bad.root").write_bytes(data)
        with pytest.raises(CorruptFile, match=f"its 1 bins are not {number} different ones"):
            merge([made / "other.root", tmp_path / "bad.root"], tmp_path / "out.root")


@pytest.mark.parametrize("number", [-1, 0, 1, 1 << 30])
def test_a_dense_one_whose_numbers_are_miscounted_is_refused(made: Path, tmp_path: Path, number: int) -> None:
    data = bytearray((made / "in0.root").read_bytes())
    bins = (12 + 2) * (5 + 2) * (40 + 2)
    # a vector of as many bytes, behind the count of these and a version
    at = data.index(struct.pack(">I", 0x40000000 | 2 + 4 + bins)) + 6
    assert data[at : at + 4] == struct.pack(">i", bins)
    struct.pack_into(">i", data, at, number)
    (tmp_path / "bad.root").write_bytes(data)
    with pytest.raises(CorruptFile, match=f"a vector in it says that it has {number} numbers"):
        merge([made / "in2.root", tmp_path / "bad.root"], tmp_path / "out.root")


def test_bytes_that_are_anything_end_in_our_own_errors(made: Path, tmp_path: Path) -> None:
    good = (made / "in0.root").read_bytes()
    chance = random.Random(5)
    for _ in range(150):
        data = bytearray(good)
        for _ in range(chance.choice([1, 3])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        (tmp_path / "bad.root").write_bytes(data)
        out = tmp_path / "out.root"
        try:
            merge([made / "in2.root", tmp_path / "bad.root"], out, MergeOptions(on_refused="drop"))
        except GridError:
            assert not out.exists()
        else:
            out.unlink()


def test_real_ones_add_up(real_data: Path, tmp_path: Path) -> None:
    inputs = [real_data / f"freidt_CDMeson_000{number}.root" for number in (0, 1)]
    merge(inputs, tmp_path / "ours.root")
    hadd("-f", tmp_path / "theirs.root", *inputs)
    mine, theirs = dump(tmp_path / "ours.root"), dump(tmp_path / "theirs.root")
    assert [found[:3] for found in mine.values()] == [found[:3] for found in theirs.values()]
    assert mine.keys() == theirs.keys() == {"GapRun", "CDMeson_Mother"}
