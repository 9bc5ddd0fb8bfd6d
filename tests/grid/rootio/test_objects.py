"""Histograms and other objects are put together as ROOT's own tool does it, or refused by name."""

from __future__ import annotations

import os
import random
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from grid.rootio.merge import MergeOptions, merge
from grid.rootio.objects.graphs import is_graph
from grid.rootio.objects.histograms import is_histogram
from grid.rootio.objects.merged import Merged
from grid.rootio.split import SplitRecipe, split
from grid.trigger import TriggerTable
from sitecfg.errors import ClosureError, GridError, SchemaMismatch, UnsupportedContent
from tests.grid.rootio.judge import dumped, hadd, needs_root, root

pytestmark = [pytest.mark.judge, needs_root]

MAKE = """
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
s = ROOT.TH1D("weighted in some", "", 4, 0, 1)
if seed % 2: s.Sumw2()
for _ in range(20): s.Fill(rng.Uniform(), 1 + seed % 2)
s.Write()
b = ROOT.TH1D("of bins alone", "", 4, 0, 1)
for i in range(4): b.SetBinContent(i + 1, seed * i)
b.Write()
l = ROOT.TH2D("labels", "", 2, 0, 2, 2, 0, 2)
for x in "ab":
    for y in "cd": l.Fill(x, y, seed)
l.Write()
f = ROOT.TH1D("with a fit", "", 10, 0, 1)
for _ in range(100): f.Fill(rng.Gaus(0.5, 0.2))
f.Fit("gaus", "Q0"); f.Write()
e = ROOT.TEfficiency("eff", "", 3, 0, 1); e.SetDirectory(ROOT.nullptr)
for _ in range(20): e.Fill(bool(rng.Uniform() > 0.5), rng.Uniform())
e.Write()
k = ROOT.TGraphAsymmErrors(2)
for i in range(2): k.SetPoint(i, seed, i); k.SetPointError(i, 1, seed, 2, 3)
k.SetName("asymmetric"); k.Write()
ROOT.TF1("function", "gaus", 0, 1).Write()
ROOT.TVectorD(3).Write("vector")
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

SMALL = '''
import ROOT, sys
from array import array
ROOT.TH1.AddDirectory(False)
folder = sys.argv[1] + "/"

def write(name, *things, option="RECREATE"):
    file = ROOT.TFile(folder + name + ".root", option)
    for thing, key, *how in things: thing.Write(key, *how)
    file.Close()

write("other", (ROOT.TH1D("weighted", "w", 5, 0, 2), "weighted"))
for name in ("one", "two"): write(name, (ROOT.TObjString(name), "note"))
narrow = ROOT.TH1C("narrow", "", 2, 0, 1); narrow.SetBinContent(1, 100)
write("narrow", (narrow, "narrow"))
near = ROOT.TGraphMultiErrors(2, 1)
write("near", (near, "of any shape"))
held, items = [ROOT.TH1D(name, name, 2, 0, 1) for name in ("x", "y")], ROOT.TList()
for h in held: h.Fill(0.3); items.Add(h)
write("list", (items, "list", 1))

def streams(name, seed, carried_by_bytes):
    file = ROOT.TFile(folder + name + ".root", "RECREATE")
    tree = ROOT.TTree("Events", "e")
    event, fired, thing = array("q", [0]), array("b", [1]), ROOT.TNamed("a", "b")
    tree.Branch("event", event, "event/L")
    for path in ("HLT_A", "HLT_B"): tree.Branch(path, fired, path + "/O")
    if carried_by_bytes: tree.Branch("thing", thing, 32000, 0)
    for number in range(4):
        event[0] = 10 * seed + number; tree.Fill()
    tree.Write()
    h = ROOT.TH1D("h", "", 3, 0, 3)
    for _ in range(seed): h.Fill(1.5)
    h.Write()
    file.Close()

for seed in (1, 2):
    streams(f"values{seed}", seed, False)
    streams(f"bytes{seed}", seed, True)

ROOT.gInterpreter.Declare("""
#include <ROOT/RNTupleModel.hxx>
#include <ROOT/RNTupleWriter.hxx>
void ntuple(const char* path) {
  auto model = ROOT::RNTupleModel::Create();
  auto event = model->MakeField<std::int64_t>("event");
  auto writer = ROOT::RNTupleWriter::Recreate(std::move(model), "Events", path);
  for (*event = 0; *event < 2; ++*event) writer->Fill();
}
""")
ROOT.ntuple(folder + "ntuple.root")
beside = ROOT.TH1D("h", "", 3, 0, 3); beside.Fill(1.5)
write("ntuple", (beside, "h"), option="UPDATE")
'''

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
            labels = [axis.GetBinLabel(i + 1) for axis in (thing.GetXaxis(), thing.GetYaxis()) for i in range(2)]
            found[name].append(labels)
            if thing.InheritsFrom("TProfile"):
                found[name].append([thing.GetBinEntries(i) for i in range(n)])
        elif thing.InheritsFrom("TGraph"):
            n = thing.GetN()
            asked = (thing.GetPointX, thing.GetPointY, thing.GetErrorX, thing.GetErrorY)
            found[name] = [[ask(i) for ask in asked] for i in range(n)]
            found[name].append([[ask(i) for ask in (thing.GetErrorXlow, thing.GetErrorYhigh)] for i in range(n)])
        elif thing.InheritsFrom("TEfficiency"):
            parts = (thing.GetPassedHistogram(), thing.GetTotalHistogram())
            found[name] = [thing.GetWeight(), [[h.GetBinContent(i) for i in range(5)] for h in parts]]
        elif thing.ClassName().startswith("TParameter"):
            found[name] = thing.GetVal()
        elif thing.ClassName() != "TObjString" or key.GetName() != "mdcgrid":
            found[name] = [thing.ClassName(), thing.GetName(), thing.GetTitle()]
found = {}
look(ROOT.TFile(sys.argv[1]), "", found)
print("DUMP" + json.dumps(found))
"""


def dump(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = dumped(DUMP, path)
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("objects")
    paths = [folder / f"in{seed}.root" for seed in (1, 2, 3)]
    body = indent(MAKE, "    ")
    root(
        f"import ROOT, sys\nROOT.TH1.AddDirectory(False)\nfor seed, out in enumerate(sys.argv[1:], start=1):\n{body}",
        *paths,
    )
    return paths


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    root(SMALL, folder)
    return folder


@pytest.fixture(scope="module")
def theirs(made: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("theirs") / "out.root"
    hadd("-f", out, *made)
    return dump(out)


def close(mine: Any, other: Any) -> bool:
    if isinstance(mine, list):
        return len(mine) == len(other) and all(map(close, mine, other))
    return bool(mine == pytest.approx(other, rel=1e-6) if isinstance(mine, float) else mine == other)


@pytest.mark.parametrize("verify", ["sealed", "proven"])
def test_all_that_adds_up_is_what_hadd_makes_of_it(
    made: list[Path], theirs: dict[str, Any], tmp_path: Path, verify: str
) -> None:
    report = merge(made, tmp_path / "ours.root", MergeOptions(verify=verify))
    mine = dump(tmp_path / "ours.root")
    assert mine.keys() == theirs.keys() | {"empty"}
    assert {name for name, what in theirs.items() if not close(mine[name], what)} == set()
    assert report.output.events == 0


def test_a_merge_of_merges_is_the_merge(made: list[Path], theirs: dict[str, Any], tmp_path: Path) -> None:
    merge(made[:2], tmp_path / "two.root")
    merge([tmp_path / "two.root", made[2]], tmp_path / "again.root")
    again = dump(tmp_path / "again.root")
    assert again.keys() == theirs.keys() | {"empty"}
    assert {name for name, what in theirs.items() if not close(again[name], what)} == set()


def test_other_axes_are_refused_and_named(made: list[Path], small: Path, tmp_path: Path) -> None:
    with pytest.raises(SchemaMismatch, match=r"fXaxis\.fXmax is 2\.0 instead of 1\.0"):
        merge([made[0], small / "other.root"], tmp_path / "out.root")
    assert not (tmp_path / "out.root").exists()
    report = merge([made[0], small / "other.root"], tmp_path / "out.root", MergeOptions(on_refused="drop"))
    assert [path for path, _, _ in report.dropped_branches] == ["weighted"]


def test_what_is_not_the_same_in_all_and_has_no_rule_is_refused(small: Path, tmp_path: Path) -> None:
    with pytest.raises(SchemaMismatch, match="note: this TObjString differs"):
        merge([small / "one.root", small / "two.root"], tmp_path / "out.root")


def test_a_sum_that_its_type_cannot_hold_is_refused(small: Path, tmp_path: Path) -> None:
    with pytest.raises(SchemaMismatch, match=r"too large for its type in bin 1: 100 \+ 100"):
        merge([small / "narrow.root"] * 2, tmp_path / "out.root")


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


def test_lists_of_histograms_are_added_item_by_item(small: Path, tmp_path: Path) -> None:
    look = "import ROOT, sys; f = ROOT.TFile(sys.argv[1]); print([h.GetBinContent(1) for h in f.Get('list')])"
    merge([small / "list.root"] * 2, tmp_path / "out.root")
    assert "[2.0, 2.0]" in root(look, tmp_path / "out.root")


def streams_of(source: Path, folder: Path) -> list[Path]:
    """Split a file into two streams of all its events."""
    outputs = {stream: folder / f"{stream}_{source.name}" for stream in ("a", "b")}
    table = TriggerTable(name="TEST", tag=1, streams={"a": ("HLT_A",), "b": ("HLT_B",)})
    split(source, outputs, SplitRecipe(table=table, identity=("event",)))
    return list(outputs.values())


def entries_of(path: Path) -> float:
    entries: float = dump_histograms(path)["h"][2]
    return entries


@pytest.mark.parametrize("how", ["values", "bytes"])
def test_objects_of_one_original_file_are_added_once(small: Path, tmp_path: Path, how: str) -> None:
    a1, b1 = streams_of(small / f"{how}1.root", tmp_path)
    a2, b2 = streams_of(small / f"{how}2.root", tmp_path)
    assert [entries_of(path) for path in (a1, b1, a2, b2)] == [1, 1, 2, 2]

    def merged(name: str, *paths: Path, **said: Any) -> Path:
        merge(paths, tmp_path / f"{name}.root", MergeOptions(identity=("event",), **said))
        return tmp_path / f"{name}.root"

    a = merged("a", a1, a2)
    assert entries_of(a) == 3, "one stream of two files"
    assert entries_of(merged("both", a, b1, b2)) == 3, "the other stream's are the same"
    assert entries_of(merged("all", a, b1, b2, side="concat")) == 6, "unless all are asked for"
    with pytest.raises(SchemaMismatch, match="is there already, some is not"):
        merged("partly", b1, a)
    assert entries_of(merged("anyway", b1, a, side="concat")) == 4


def test_objects_that_were_changed_since_are_not_believed(small: Path, tmp_path: Path) -> None:
    a, b = streams_of(small / "values1.root", tmp_path)
    other = """
import ROOT, sys
file = ROOT.TFile(sys.argv[1], "UPDATE"); h = file.Get("h"); h.Fill(1.5); h.Write(); file.Close()
"""
    root(other, b)
    with pytest.raises(SchemaMismatch, match="should be those of an earlier input"):
        merge([a, b], tmp_path / "out.root", MergeOptions(identity=("event",)))


def test_an_output_that_reads_back_otherwise_does_not_stay(
    made: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = Merged.body
    monkeypatch.setattr(Merged, "body", lambda self, length: bytes(body(self, length)[:-1]) + os.urandom(1))
    with pytest.raises(ClosureError, match=r"what was written is not sound|is not what the inputs add up to"):
        merge(made, tmp_path / "out.root")
    assert not (tmp_path / "out.root").exists()


def test_histograms_beside_an_rntuple_are_added_at_every_depth(small: Path, tmp_path: Path) -> None:
    for verify in ("copied", "sealed", "proven"):
        for refused in ("refuse", "drop"):
            out = tmp_path / f"{verify}{refused}.root"
            report = merge([small / "ntuple.root"] * 2, out, MergeOptions(verify=verify, on_refused=refused))
            assert entries_of(out) == 2
            assert (report.output.trees, report.dropped_branches) == ({"Events": 4}, ())


def test_what_is_written_about_merging_names_a_rule_for_each_class() -> None:
    text = (Path(__file__).parents[3] / "docs" / "merging.md").read_text("utf-8")
    said = {}
    for line in text.splitlines():
        if line.startswith("| T"):
            classes, rule, _ = line.strip("|").split("|")
            said.update({name.strip(): rule.strip() for name in classes.split(",")})
    added = {name for name, rule in said.items() if rule.startswith("contents") or "appended" in rule}
    ours = {name for name in said if is_histogram(name) or is_graph(name) or name == "THn"}
    assert ours | {"TH1", "TH2", "TH3"} == added
    assert said["THnSparse"].startswith("bins at the same place are added")
    assert all(is_histogram(name + letter) for name in ("TH1", "TH2", "TH3") for letter in "CSIFDL")


def test_what_nobody_can_add_is_refused_by_name(small: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedContent, match="a TGraphMultiErrors can't be added") as caught:
        merge([small / "near.root"] * 2, tmp_path / "out.root")
    assert "near.root: of any shape" in caught.value.where
