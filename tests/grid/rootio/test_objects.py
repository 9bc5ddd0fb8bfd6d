"""Histograms and other objects are put together as ROOT's own tool does it, or refused by name."""

from __future__ import annotations

import json
import random
import sys
from typing import TYPE_CHECKING, Any

import pytest

from grid.rootio.merge import MergeOptions, merge
from sitecfg.errors import GridError, SchemaMismatch, UnsupportedContent
from tests.grid.rootio.judge import hadd, needs_root, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.judge, needs_root]

MAKE = """
import ROOT, sys
out, seed = sys.argv[1], int(sys.argv[2])
rng = ROOT.TRandom3(seed)
file = ROOT.TFile(out, "RECREATE")
for letter in "CSIFDL":
    h = getattr(ROOT, "TH1" + letter)("h1" + letter, "a;b;c", 10, 0, 1)
    for _ in range(20): h.Fill(rng.Uniform(-0.1, 1.1))
    h.Write()
w = ROOT.TH1D("weighted", "w", 5, 0, 1); w.Sumw2()
for _ in range(50): w.Fill(rng.Uniform(), rng.Uniform(0, 3))
w.Write()
v = ROOT.TH2F("h2", "two", 4, 0, 1, 3, -1, 1)
for _ in range(60): v.Fill(rng.Uniform(), rng.Uniform(-1, 1), 2.0)
v.Write()
t = ROOT.TH3D("h3", "three", 2, 0, 1, 2, 0, 1, 2, 0, 1)
for _ in range(30): t.Fill(rng.Uniform(), rng.Uniform(), rng.Uniform())
t.Write()
p = ROOT.TProfile("prof", "p", 4, 0, 1)
q = ROOT.TProfile2D("prof2", "p", 3, 0, 1, 2, 0, 1)
for _ in range(40):
    p.Fill(rng.Uniform(), rng.Gaus()); q.Fill(rng.Uniform(), rng.Uniform(), rng.Gaus(), 0.5)
p.Write(); q.Write()
g = ROOT.TGraphErrors(3)
for i in range(3): g.SetPoint(i, i, rng.Uniform()); g.SetPointError(i, 0.1, rng.Uniform())
g.SetName("graph"); g.Write()
inner = file.mkdir("a").mkdir("b"); inner.cd()
d = ROOT.TH1D("deep", "deep", 3, 0, 1); d.Fill(rng.Uniform()); d.Write()
file.cd()
file.mkdir("empty")
ROOT.TObjString("the same in all").Write("note")
ROOT.TNamed("named", "a title").Write()
ROOT.TParameter(float)("sum", 1.5, "+").Write()
ROOT.TParameter(int)("most", seed, "M").Write()
h = ROOT.TH1D("again", "old", 2, 0, 1); h.Write()
h.Fill(0.2); h.Write()
file.Close()
"""

DUMP = """
import ROOT, json, sys
ROOT.TH1.AddDirectory(False)
def stats(h):
    s = __import__("array").array("d", [0.0] * 13); h.GetStats(s); return list(s)
def look(folder, path, found):
    for key in folder.GetListOfKeys():
        name = path + key.GetName()
        thing = folder.Get(key.GetName())
        if thing.InheritsFrom("TDirectory"):
            found[name] = "directory"; look(thing, name + "/", found)
        elif thing.InheritsFrom("TH1"):
            n = thing.GetNcells()
            found[name] = [thing.ClassName(), [thing.GetBinContent(i) for i in range(n)],
                           [thing.GetBinError(i) for i in range(n)], thing.GetEntries(), stats(thing), thing.GetTitle()]
            if thing.InheritsFrom("TProfile"):
                found[name].append([thing.GetBinEntries(i) for i in range(n)])
        elif thing.InheritsFrom("TGraph"):
            n = thing.GetN()
            asked = (thing.GetPointX, thing.GetPointY, thing.GetErrorX, thing.GetErrorY)
            found[name] = [[ask(i) for ask in asked] for i in range(n)]
        elif thing.ClassName().startswith("TParameter"):
            found[name] = thing.GetVal()
        elif thing.ClassName() != "TObjString" or key.GetName() != "mdcgrid":
            found[name] = [thing.ClassName(), thing.GetName(), thing.GetTitle()]
found = {}
look(ROOT.TFile(sys.argv[1]), "", found)
print("DUMP" + json.dumps(found))
"""


def root(code: str, *words: object) -> str:
    return run([sys.executable, "-c", code, *map(str, words)])


def dump(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(root(DUMP, path).partition("DUMP")[2].splitlines()[0])
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("objects")
    paths = [folder / f"in{seed}.root" for seed in (1, 2, 3)]
    for seed, path in enumerate(paths, start=1):
        root(MAKE, path, seed)
    return paths


def close(mine: Any, other: Any) -> bool:
    if isinstance(mine, list):
        return len(mine) == len(other) and all(map(close, mine, other))
    return bool(mine == pytest.approx(other, rel=1e-6) if isinstance(mine, float) else mine == other)


@pytest.mark.parametrize("verify", ["sealed", "proven"])
def test_all_that_adds_up_is_what_hadd_makes_of_it(made: list[Path], tmp_path: Path, verify: str) -> None:
    report = merge(made, tmp_path / "ours.root", MergeOptions(verify=verify))
    hadd("-f", tmp_path / "theirs.root", *made)
    mine, theirs = dump(tmp_path / "ours.root"), dump(tmp_path / "theirs.root")
    assert mine.keys() == theirs.keys() | {"empty"}
    assert {name for name, what in theirs.items() if not close(mine[name], what)} == set()
    assert report.output.events == 0


def test_a_merge_of_merges_is_the_merge(made: list[Path], tmp_path: Path) -> None:
    merge(made, tmp_path / "all.root")
    merge(made[:2], tmp_path / "two.root")
    merge([tmp_path / "two.root", made[2]], tmp_path / "again.root")
    one, two = dump(tmp_path / "all.root"), dump(tmp_path / "again.root")
    assert one.keys() == two.keys()
    assert {name for name in one if not close(one[name], two[name])} == set()


def test_other_axes_are_refused_and_named(made: list[Path], tmp_path: Path) -> None:
    other = """
import ROOT, sys
file = ROOT.TFile(sys.argv[1], "RECREATE")
ROOT.TH1D("weighted", "w", 5, 0, 2).Write()
file.Close()
"""
    root(other, tmp_path / "other.root")
    with pytest.raises(SchemaMismatch, match=r"fXaxis\.fXmax is 2\.0 instead of 1\.0"):
        merge([made[0], tmp_path / "other.root"], tmp_path / "out.root")
    assert not (tmp_path / "out.root").exists()
    report = merge([made[0], tmp_path / "other.root"], tmp_path / "out.root", MergeOptions(on_refused="drop"))
    assert [path for path, _, _ in report.dropped_branches] == ["weighted"]


def test_what_is_not_the_same_in_all_and_has_no_rule_is_refused(tmp_path: Path) -> None:
    code = """
import ROOT, sys
file = ROOT.TFile(sys.argv[1], "RECREATE")
ROOT.TObjString(sys.argv[2]).Write("note")
file.Close()
"""
    for name in ("one", "two"):
        root(code, tmp_path / f"{name}.root", name)
    with pytest.raises(SchemaMismatch, match="note: this TObjString differs"):
        merge([tmp_path / "one.root", tmp_path / "two.root"], tmp_path / "out.root")


def test_a_sum_that_its_type_cannot_hold_is_refused(tmp_path: Path) -> None:
    code = """
import ROOT, sys
file = ROOT.TFile(sys.argv[1], "RECREATE")
h = ROOT.TH1C("small", "", 2, 0, 1); h.SetBinContent(1, 100); h.Write()
file.Close()
"""
    root(code, tmp_path / "in.root")
    with pytest.raises(SchemaMismatch, match=r"too large for its type in bin 1: 100 \+ 100"):
        merge([tmp_path / "in.root"] * 2, tmp_path / "out.root", MergeOptions(side="concat"))


def test_histograms_beside_a_tree_are_added(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "uproot-hepdata-example.root"
    report = merge([source] * 2, tmp_path / "out.root")
    assert report.output.trees == {"ntuple": 150000}
    before, after = dump_histograms(source), dump_histograms(tmp_path / "out.root")
    assert before.keys() == after.keys() == {"hpx", "hpxpy", "hprof"}
    assert close(after["hpx"], [2.0 * value for value in before["hpx"]])
    assert close(after["hpxpy"], [2.0 * value for value in before["hpxpy"]])


def dump_histograms(path: Path) -> dict[str, Any]:
    import uproot

    with uproot.open(path) as file:
        return {
            key.partition(";")[0]: file[key].values(flow=True).ravel().tolist()
            for key, kind in file.classnames().items()
            if kind.startswith(("TH", "TProfile"))
        }


def test_bytes_that_are_anything_end_in_our_own_errors(made: list[Path], tmp_path: Path) -> None:
    good = made[0].read_bytes()
    chance = random.Random(5)
    for _ in range(150):
        data = bytearray(good)
        for _ in range(chance.choice([1, 3])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        (tmp_path / "bad.root").write_bytes(data)
        out = tmp_path / "out.root"
        try:
            merge([made[1], tmp_path / "bad.root"], out, MergeOptions(on_refused="drop"))
        except GridError:
            assert not out.exists()
        else:
            out.unlink()


def test_lists_of_histograms_are_added_item_by_item(tmp_path: Path) -> None:
    code = """
import ROOT, sys
file = ROOT.TFile(sys.argv[1], "RECREATE")
items = ROOT.TList()
for name in ("x", "y"):
    h = ROOT.TH1D(name, name, 2, 0, 1); h.SetDirectory(0); h.Fill(0.3); items.Add(h)
items.Write("list", 1)
file.Close()
"""
    look = "import ROOT, sys; f = ROOT.TFile(sys.argv[1]); print([h.GetBinContent(1) for h in f.Get('list')])"
    root(code, tmp_path / "in.root")
    merge([tmp_path / "in.root"] * 2, tmp_path / "out.root")
    assert "[2.0, 2.0]" in root(look, tmp_path / "out.root")


def test_what_nobody_can_add_is_refused_by_name(real_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedContent, match="no rule for a THnSparse") as caught:
        merge([real_data / "freidt_CDMeson_0001.root"] * 2, tmp_path / "out.root")
    assert "freidt_Hist" in caught.value.where
