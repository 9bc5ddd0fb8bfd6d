"""Histograms whose bins are polygons add up as ROOT adds them, where the polygons are the same."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest

from grid.rootio.merge import MergeOptions, merge
from grid.rootio.split import SplitRecipe, split
from sitecfg.errors import CorruptFile, SchemaMismatch, UnsupportedContent
from tests.grid.rootio.judge import dumped, hadd, needs_root, root

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.judge, needs_root]

#: A bin with two parts, one outside of all cells, and one over many cells.
MAKE = """
import ROOT, sys
ROOT.gInterpreter.Declare('''
#include "TH2Poly.h"
#include "TProfile2Poly.h"
#include "TMultiGraph.h"
#include "TFile.h"
#include "TTree.h"
#include "TRandom3.h"
void bins(TH2Poly &h, double top) {
  h.AddBin(-5., -5., 0., 0.);
  h.AddBin(0., 0., 5., top);
  double x[] = {5, 9, 9, 5}, y[] = {5, 5, 9, 8};
  h.AddBin(4, x, y);
  auto many = new TMultiGraph;
  for (int turn = 0; turn < 2; ++turn) {
    double u[] = {-9. + 4 * turn, -7. + 4 * turn, -7. + 4 * turn, -9. + 4 * turn}, v[] = {6, 6, 8, 8};
    many->Add(new TGraph(4, u, v));
  }
  h.AddBin(many);
  h.AddBin(20., 20., 30., 30.);
}
void make(const char *path, int entries, bool weights, bool squares, double top) {
  TH1::AddDirectory(false);
  TFile file(path, "RECREATE", "", 0);
  static TRandom3 rng(5);
  TH2Poly h("poly", "", -10, 10, -10, 10);
  TProfile2Poly p("profile", "", -10, 10, -10, 10);
  bins(h, top);
  bins(p, top);
  if (squares) h.Sumw2();
  for (int entry = 0; entry < entries; ++entry) {
    double x = rng.Uniform(-12, 12), y = rng.Uniform(-12, 12), w = weights ? rng.Uniform(0.5, 2) : 1;
    h.Fill(x, y, w);
    p.Fill(x, y, rng.Gaus(5, 1), w);
  }
  h.Write(); p.Write();
  TList both;
  both.Add(&h);
  both.Write("list", 1);
  TTree tree("Events", "");
  ULong64_t event = 0;
  tree.Branch("event", &event);
  for (; event < 3; ++event) tree.Fill();
  tree.Write();
}
''')
for number, told in enumerate([(300, 0, 0, 5), (200, 1, 1, 5), (0, 0, 0, 5), (100, 0, 0, 5), (50, 0, 0, 5.5)]):
    ROOT.make(f"{sys.argv[1]}/in{number}.root", *told)
"""

DUMP = """
import ROOT, json, sys
def look(h):
    found = []
    for turn in (*range(-9, 0), *range(1, h.GetNumberOfBins() + 1)):
        found.append([h.GetBinContent(turn), h.GetBinError(turn) if h.GetBinContent(turn) else 0])
        if h.ClassName() == "TProfile2Poly": found[-1] += [h.GetBinEntries(turn), h.GetBinEntriesVW(turn)]
    where = [h.FindBin(x, y) for x, y in ((-1, -1), (1, 1), (6, 6), (-8, 7), (-4, 7), (0, 9), (11, 0))]
    return [h.GetEntries(), h.GetSumw2N(), h.GetMean(1), h.GetStdDev(2), h.Integral(), found, where]
file = ROOT.TFile(sys.argv[1])
found = {name: look(file.Get(name)) for name in ("poly", "profile")}
found["list"] = look(file.Get("list").At(0))
print("DUMP" + json.dumps(found))
"""


def dump(path: Path) -> Any:
    return dumped(DUMP, path)


def flat(value: Any) -> list[float]:
    return [number for one in value for number in flat(one)] if isinstance(value, list) else [value]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("polygons")
    root(MAKE, folder)
    return folder


@pytest.mark.parametrize("order", [(0, 3), (0, 1, 2), (1, 0, 3), (2, 0)])
def test_polygons_add_up_as_root_adds_them(made: Path, tmp_path: Path, order: tuple[int, ...]) -> None:
    inputs = [made / f"in{number}.root" for number in order]
    merge(inputs, tmp_path / "ours.root")
    hadd("-f", tmp_path / "theirs.root", *inputs)
    mine, theirs = dump(tmp_path / "ours.root"), dump(tmp_path / "theirs.root")
    for name in ("poly", "profile"):
        assert flat(mine[name]) == pytest.approx(flat(theirs[name]), nan_ok=True), name
    assert mine["list"] == mine["poly"]
    assert mine["poly"][0] > 20


def test_one_alone_is_as_it_was(made: Path, tmp_path: Path) -> None:
    split(made / "in1.root", {"all": tmp_path / "all.root"}, SplitRecipe(identity=("event",)))
    assert dump(tmp_path / "all.root") == dump(made / "in1.root")
    merge([made / "in1.root"], tmp_path / "out.root")
    assert dump(tmp_path / "out.root") == dump(made / "in1.root")


def test_other_polygons_are_refused_and_named(made: Path, tmp_path: Path) -> None:
    inputs = [made / "in0.root", made / "in4.root"]
    with pytest.raises(SchemaMismatch, match=r"this TH2Poly differs .* polygon 2 is"):
        merge(inputs, tmp_path / "out.root")
    report = merge(inputs, tmp_path / "out.root", MergeOptions(on_refused="drop"))
    assert {path for path, _, _ in report.dropped_branches} == {"poly", "profile", "list"}


@pytest.mark.parametrize("count", [-1, 624, 626, 1 << 30])
def test_cells_that_are_miscounted_are_refused(made: Path, tmp_path: Path, count: int) -> None:
    data = bytearray((made / "in0.root").read_bytes())
    at = data.index(struct.pack(">iii", 25, 25, 625)) + 8
    struct.pack_into(">i", data, at, count)
    (tmp_path / "bad.root").write_bytes(data)
    with pytest.raises((CorruptFile, UnsupportedContent), match="poly"):
        merge([tmp_path / "bad.root", made / "in0.root"], tmp_path / "out.root")


def test_polygons_that_are_miscounted_are_corrupt(made: Path, tmp_path: Path) -> None:
    data = bytearray((made / "in0.root").read_bytes())
    at = data.index(b"TH2PolyBin\0") + len(b"TH2PolyBin\0") + 6 + 10 + 1
    assert data[at : at + 4] == struct.pack(">i", 1)
    struct.pack_into(">i", data, at, 7)
    (tmp_path / "bad.root").write_bytes(data)
    with pytest.raises(CorruptFile, match="its 5 polygons are not numbered from 1 on"):
        merge([tmp_path / "bad.root", made / "in0.root"], tmp_path / "out.root")


def test_bins_that_nobody_counted_are_kept_but_not_added(made: Path, tmp_path: Path) -> None:
    data = bytearray((made / "in0.root").read_bytes())
    # TH1's fNcells, before its axes
    at = data.index(struct.pack(">i", 14), data.index(b"\x04poly\x00"))
    struct.pack_into(">i", data, at, 625)
    (tmp_path / "old.root").write_bytes(data)
    merge([tmp_path / "old.root"], tmp_path / "alone.root")
    with pytest.raises(UnsupportedContent, match="fNcells does not count its 5 bins"):
        merge([made / "in0.root", tmp_path / "old.root"], tmp_path / "out.root")
