"""What only ROOT writes: packed numbers, baskets without offsets or in other files, odd names, weights.

A program makes the files and prints the values that ROOT itself reads; ours must be the same to the bit.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pytest

from grid.rootio.facts import file_facts
from grid.rootio.merge import merge
from grid.rootio.sink import Sink
from grid.rootio.source import open_source
from grid.rootio.split import SplitRecipe, split
from grid.rootio.truncated import Packing
from grid.trigger import TriggerTable
from sitecfg.errors import CorruptFile, UnsupportedContent, UserCodeError
from tests.grid.rootio.making import Table, counted, flat, jagged, nano
from tests.grid.rootio.root_dump import CODE

if TYPE_CHECKING:
    from pathlib import Path

judge = pytest.mark.skipif(find_spec("ROOT") is None, reason="ROOT is not installed")

MAKE = r"""
#include <TFile.h>
#include <TTree.h>
#include <TBranch.h>
#include <TH1F.h>
void begin(TTree& t, int* id) {
  t.Branch("run", &id[0], "run/I"); t.Branch("luminosityBlock", &id[1], "luminosityBlock/I");
  t.Branch("event", &id[2], "event/I");
}
void next(int* id, int i) { id[0] = -1; id[1] = i / 10; id[2] = i; }
void packed(const char* path) {
  TFile f(path, "recreate"); TTree t("Events", ""); int id[3]; begin(t, id);
  Double32_t a, b[3], g, v[10]; Float16_t c, d[4], h, k, w[10]; int n;
  t.Branch("a", &a, "a/d"); t.Branch("b", b, "b[3]/d[0,100,10]"); t.Branch("g", &g, "g/d[0,0,7]");
  t.Branch("c", &c, "c/f"); t.Branch("d", d, "d[4]/f[-5,5,8]"); t.Branch("h", &h, "h/f[0,0,9]");
  t.Branch("k", &k, "k/f[0,twopi,16]"); t.Branch("n", &n, "n/I"); t.Branch("v", v, "v[n]/d[0,10,12]");
  t.Branch("w", w, "w[n]/f");
  for (int i = 0; i < 300; i++) {
    next(id, i); a = i / 7.; g = -i / 11.; c = i / 9.; h = -i / 13.; k = i / 60.; n = i % 10;
    for (int j = 0; j < 4; j++) { if (j < 3) b[j] = i / 3. + j * .1; d[j] = -5 + i / 40. + j * .1; }
    for (int j = 0; j < 10; j++) { v[j] = i / 40. + j * .01; w[j] = -i * j * .1; }
    t.Fill();
  }
  t.Write();
}
void generated(const char* path) {
  TFile f(path, "recreate"); TTree t("Events", ""); int id[3];
  ROOT::TIOFeatures features; features.Set(ROOT::Experimental::EIOFeatures::kGenerateOffsetMap);
  t.SetIOFeatures(features); begin(t, id); t.SetAutoFlush(700);
  int n; float x[5]; unsigned char m; short y[5]; t.Branch("n", &n, "n/I"); t.Branch("x", x, "x[n]/F");
  t.Branch("m", &m, "m/b"); t.Branch("y", y, "y[m]/S");
  for (int i = 0; i < 3000; i++) {
    next(id, i); n = i % 5; m = i % 3; for (int j = 0; j < 5; j++) { x[j] = i * j; y[j] = i - j; } t.Fill();
  }
  t.Write();
}
void names(const char* path) {
  TFile f(path, "recreate"); TTree t("My Events.v2 \xc3\xa9", "a; b"); int id[3]; begin(t, id);
  float a, b[3], v[5]; int n; std::vector<float> w; t.Branch("a.b.c", &a, "a.b.c/F");
  t.Branch("with space", &a, "with space/F"); t.Branch("\xc3\xbc", &a, "\xc3\xbc/F");
  t.Branch("slash/y", &a, "y/F"); t.Branch("b[3]", b, "b[3]/F"); t.Branch("n.n", &n, "nn/I");
  t.Branch("v", v, "v[nn]/F"); if (strstr(path, "vector")) t.Branch("list", &w);
  for (int i = 0; i < 60; i++) {
    next(id, i); a = i; n = i % 5; w.assign(i % 3, i); for (int j = 0; j < 5; j++) { v[j] = i + j; b[j % 3] = i * j; }
    t.Fill();
  }
  t.Write();
}
void refused(const char* path, const char* what) {
  TFile f(path, "recreate"); TTree t(strcmp(what, "slash") ? "Events" : "ana/Events", ""); int id[3]; begin(t, id);
  int x = 0; auto b = t.Branch("x", &x, "x/I");
  if (!strcmp(what, "foreign")) b->SetFile((std::string(path) + ".other").c_str());
  if (!strcmp(what, "weight")) t.SetWeight(2.5);
  for (int i = 0; i < 30000; i++) { next(id, i); x = i; t.Fill(); }
  t.Write(); TH1F h("mdcgrid", "", 2, 0, 1); if (!strcmp(what, "histogram")) h.Write();
}
"""

RUN = """
import json, sys
import ROOT
for name in ("RIO", "Tree", "Hist"): ROOT.gSystem.Load("lib" + name)
ROOT.gInterpreter.Declare(sys.argv[1] + sys.argv[2])
folder = sys.argv[3]
values = {}
for name in ("packed", "generated", "names", "names_vector"):
    path = f"{folder}/{name}.root"
    getattr(ROOT, name.partition("_")[0])(path)
    file = ROOT.TFile(path)
    tree = file.Get(file.GetListOfKeys().At(0).GetName())
    values[name] = {}
    for branch in tree.GetListOfBranches():
        leaf = branch.GetListOfLeaves().At(0)
        if leaf.ClassName() == "TLeafElement": continue
        values[name][branch.GetName()] = [str(v) for v in ROOT.leaves(tree, branch.GetName())]
    file.Close()
for what in ("foreign", "weight", "slash", "histogram"):
    ROOT.refused(f"{folder}/{what}.root", what)
json.dump(values, open(f"{folder}/values.json", "w"))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    command = [sys.executable, "-W", "ignore", "-c", RUN, CODE, MAKE, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def entries(column: Any) -> list[np.ndarray[Any, Any]]:
    if not column.offsets:
        return [np.asarray(row) for row in column.values]
    starts = column.offsets[0]
    return [column.values[a:b] for a, b in pairwise(starts)]


def check(path: Path, wanted: dict[str, list[str]]) -> None:
    with open_source(path) as source:
        (tree,) = source.tree_paths
        assert source.info(tree).refused == ()
        assert set(source.info(tree).by_name()) - {"list"} == set(wanted)
        for chunk in source.chunks(tree, list(wanted), 1 << 30):
            for name, expected in wanted.items():
                assert [row.tobytes().hex() for row in entries(chunk.columns[name])] == expected, name


@pytest.mark.judge
@judge
@pytest.mark.parametrize("name", ["packed", "generated", "names", "names_vector"])
def test_values_are_those_that_root_reads(made: Path, name: str, tmp_path: Path) -> None:
    wanted = json.loads((made / "values.json").read_text())[name]
    path = made / f"{name}.root"
    check(path, wanted)
    report = split(path, {"all": tmp_path / "all.root"}, SplitRecipe(keep=("keep *",)))
    check(tmp_path / "all.root", wanted)
    merge([tmp_path / "all.root"], tmp_path / "merged.root")
    check(tmp_path / "merged.root", wanted)
    assert bool(report.notes) == (name == "packed")


@pytest.mark.judge
@judge
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("foreign", "x .its baskets lie in another file"),
        ("weight", "<Weight> .the weight of a tree can't be carried: 2.5"),
        ("slash", "a slash in the name of a tree"),
        ("histogram", "mdcgrid .TH1F.: the record of a file has its name"),
    ],
)
def test_what_would_be_lost_is_refused_by_name(made: Path, name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedContent, match=words) as caught:
        split(made / f"{name}.root", {"all": tmp_path / "all.root"}, SplitRecipe(keep=("keep *",)))
    assert f"{name}.root" in caught.value.where
    assert not (tmp_path / "all.root").exists()


def test_packed_numbers_unpack_as_root_defines_them() -> None:
    data = np.frombuffer(b"\x00\x00\x02\x00\x00\x00\x03\xff", np.uint8)
    assert Packing(np.dtype("f8"), 0.0, 10.24).unpack(data).tolist() == [50.0, 1023 / 10.24]
    # a quarter and minus a quarter: exponent 125, the sign above 13 bits
    data = np.frombuffer(bytes([125, 0x00, 0x00, 125, 0x20, 0x00]), np.uint8)
    found = Packing(np.dtype("f4"), bits=12).unpack(data)
    assert found.dtype == np.float32
    assert found.tolist() == [0.25, -0.25]


def write(path: Path, trees: dict[str, Table]) -> Path:
    with Sink(path, compression="none") as sink:
        for name, table in trees.items():
            sink.tree(name, table.branches).extend(table.columns)
    return path


@pytest.mark.parametrize(("kind", "most"), [("u1", 127), ("u2", 32767), ("i1", 127), ("u4", 200)])
def test_a_counter_beyond_what_root_reads_is_refused(tmp_path: Path, kind: str, most: int) -> None:
    table = (
        Table().add(flat("n", kind), [1, most]).add(counted("x", "f4", "n"), jagged([[1], [2] * most], "f4"))
    )
    write(tmp_path / "a.root", {"Events": table})
    if kind == "u4":
        return
    more = (
        Table()
        .add(flat("n", kind.replace("i", "u")), [most + 1])
        .add(counted("x", "f4", "n"), jagged([[2] * (most + 1)], "f4"))
    )
    with pytest.raises(UnsupportedContent, match=f"counts up to {most + 1}"):
        write(tmp_path / "b.root", {"Events": more})
    assert not (tmp_path / "b.root").exists()


def test_a_tree_without_branches_and_bits_that_are_none_are_told(tmp_path: Path) -> None:
    bits = Table().add(flat("run", "u4"), [1, 1]).add(flat("luminosityBlock", "u4"), [1, 1])
    bits.add(flat("event", "u8"), [1, 2]).add(flat("HLT_A", "?"), [True, False]).add(
        flat("HLT_B", "i4"), [1, 0]
    )
    source = write(tmp_path / "a.root", {"Events": bits, "MetaData": Table()})
    table = TriggerTable("T", 1, {"S": ("HLT_*",)})
    report = split(source, {"S": tmp_path / "s.root"}, SplitRecipe(table))
    assert report.outputs[0].events == 1
    assert ("MetaData", "", "no branch of the tree is left") in report.dropped_branches
    assert any("HLT_B (int32_t)" in note for note in report.notes)
    assert any("HLT_B" in note for note in file_facts(source).notes)
    merged = merge([source], tmp_path / "m.root")
    assert ("MetaData", "", "no branch of the tree is left") in merged.dropped_branches


def test_an_array_that_contradicts_its_counter_is_told(tmp_path: Path) -> None:
    table = Table().add(flat("n", "u4"), [1, 2]).add(counted("x", "f4", "n"), jagged([[1], [2, 3]], "f4"))
    path = write(tmp_path / "a.root", {"Events": table})
    data = path.read_bytes()
    basket = data.index(b"\0\0\0\1\0\0\0\2")
    path.write_bytes(data[: basket + 7] + b"\1" + data[basket + 8 :])
    with open_source(path) as source, pytest.raises(CorruptFile, match="not as many values as its counter n"):
        source.read("Events", ["n", "x"], 0, 2)


@pytest.mark.parametrize(
    "answer", [sys.exit, partial(ak.to_backend, backend="typetracer")], ids=["exit", "typetracer"]
)
def test_odd_answers_of_user_code_are_its_errors(tmp_path: Path, answer: Any) -> None:
    nano(tmp_path / "a.root", 20)
    with pytest.raises(UserCodeError):
        split(tmp_path / "a.root", {"all": tmp_path / "b.root"}, process=lambda events, _: answer(events))
    assert not (tmp_path / "b.root").exists()


def test_a_branch_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedContent, match="it has no name"):
        write(tmp_path / "a.root", {"Events": Table().add(flat("", "f4"), [1.0])})


def test_a_name_that_is_no_utf_8_is_carried(tmp_path: Path) -> None:
    """Old files name things in Latin-1."""
    events = Table().add(flat("run", "u4"), [1, 1]).add(flat("luminosityBlock", "u4"), [1, 1])
    events.add(flat("event", "u8"), [1, 2]).add(flat("muon??", "f4"), [1.5, 2.5])
    path = write(tmp_path / "a.root", {"Events": events})
    path.write_bytes(path.read_bytes().replace(b"muon??", b"muon\xe9\xff"))
    split(path, {"all": tmp_path / "b.root"})
    merge([tmp_path / "b.root", path], tmp_path / "c.root")
    for one, values in (("b.root", [1.5, 2.5]), ("c.root", [1.5, 2.5] * 2)):
        with open_source(tmp_path / one) as source:
            name = source.trees["Events"].branches[-1].name
            assert name.encode("utf-8", "surrogateescape") == b"muon\xe9\xff"
            assert source.read("Events", [name], 0, len(values))[name].values.tolist() == values
