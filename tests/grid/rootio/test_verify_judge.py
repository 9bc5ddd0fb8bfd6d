"""What ROOT and hadd write is proven, whatever they write; and a flip in it is no surprise."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from grid.rootio.verify import verify
from tests.grid.rootio.judge import hadd

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.judge,
    pytest.mark.skipif(find_spec("ROOT") is None, reason="ROOT is not installed"),
]

CODE = """
#include <ROOT/RNTupleModel.hxx>
#include <ROOT/RNTupleWriter.hxx>
#include <ROOT/TIOFeatures.hxx>
void trees(const char* path, int compression) {
  TFile f(path, "RECREATE", "", compression);
  int n; float x[50]; std::vector<float> v; std::string s; char c[300]; TLorentzVector lv;
  struct { int a; float b; double d; } st;
  TTree t("t", "flushed and saved on the way"); t.SetAutoFlush(100); t.SetAutoSave(250);
  t.Branch("n", &n, "n/I"); t.Branch("x", x, "x[n]/F"); t.Branch("v", &v); t.Branch("s", &s);
  t.Branch("c", (void*)c, "c/C", 2000); t.Branch("lv", &lv); t.Branch("st", &st, "a/I:b/F:d/D");
  TTree u("u", "offsets are generated"); ROOT::TIOFeatures io;
  io.Set(ROOT::Experimental::EIOFeatures::kGenerateOffsetMap); u.SetIOFeatures(io);
  u.Branch("n", &n, "n/I"); u.Branch("x", x, "x[n]/F");
  TTree w("w", "branches of different lengths");
  auto wn = w.Branch("n", &n, "n/I"); auto wm = w.Branch("m", &n, "m/I");
  TNtuple nt("nt", "nt", "a:b:c");
  TTree mem("mem", "never flushed"); mem.Branch("n", &n, "n/I"); mem.Branch("v", &v);
  TTree ar("ar", "clones"); TClonesArray ca("TLorentzVector"); ar.Branch("ca", &ca);
  ar.Branch("whole", "TLorentzVector", &lv, 32000, 0);
  for (int i = 0; i < 1000; i++) {
    n = i % 50; for (int k = 0; k < n; k++) x[k] = i * k;
    v.assign(n / 2, i); s = std::string(i % 300, 'a'); memset(c, 'b', i % 250); c[i % 250] = 0;
    lv.SetPxPyPzE(i, 1, 2, 3); st = {i, 1.f * i, 2. * i};
    ca.Clear(); for (int k = 0; k < i % 5; k++) new (ca[k]) TLorentzVector(k, 0, 0, i);
    t.Fill(); u.Fill(); nt.Fill(i, i, i); wn->Fill(); if (i % 2) wm->Fill(); if (i < 20) mem.Fill(); ar.Fill();
    if (i == 600) t.AutoSave();
    if (i == 300) f.Write();
  }
  w.SetEntries(1000);
  TH1F h("h", "h", 100, 0, 1); f.Write();
  f.mkdir("d/e/f"); f.cd("d/e"); TNamed name("name", std::string(70000, 'x').c_str()); name.Write();
  f.Delete("h;1"); f.Close();
}
void ntuple(const char* path, int compression) {
  auto m = ROOT::RNTupleModel::Create();
  auto a = m->MakeField<int>("a"); auto v = m->MakeField<std::vector<float>>("v");
  auto s = m->MakeField<std::string>("s"); auto b = m->MakeField<bool>("b");
  auto vv = m->MakeField<std::vector<std::vector<int>>>("vv");
  ROOT::RNTupleWriteOptions o; o.SetCompression(compression); o.SetApproxZippedClusterSize(20000);
  o.SetMaxUnzippedPageSize(4096); o.SetMaxUnzippedClusterSize(80000); o.SetInitialUnzippedPageSize(64);
  TFile f(path, "RECREATE");
  {
    auto w = ROOT::RNTupleWriter::Append(std::move(m), "nt", f, o);
    for (int i = 0; i < 5000; i++) {
      *a = i; v->assign(i % 7, i * .5); *s = std::string(i % 9, 'q'); *b = i % 3;
      vv->assign(i % 3, std::vector<int>(i % 4, i)); w->Fill();
      if (i % 2000 == 1999) w->CommitCluster(true);
    }
  }
  f.Close();
}
"""
ENTRIES = {"t": 1000, "u": 1000, "w": 1000, "nt": 1000, "mem": 20, "ar": 1000}


def make(function: str, *calls: tuple[Path, int]) -> None:
    lines = [f"ROOT.{function}({str(path)!r}, {compression})" for path, compression in calls]
    program = f"import ROOT; ROOT.gInterpreter.Declare({CODE!r}); {'; '.join(lines)}"
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=250)


def test_all_that_a_tree_can_be_is_proven(tmp_path: Path) -> None:
    files = {compression: tmp_path / f"{compression}.root" for compression in (101, 404, 505, 207, 0)}
    make("trees", *((path, compression) for compression, path in files.items()))
    for path in files.values():
        found = verify(path)
        assert {tree.path: tree.entries for tree in found.trees} == ENTRIES
        assert "older cycles" in found.notes[0]
    assert verify(files[0]).bytes_covered == 0
    for mode in ("-f", "-ff"):
        out = tmp_path / f"merged{mode}.root"
        hadd(mode, out, files[505], files[101])
        assert {tree.path: tree.entries for tree in verify(out).trees} == {
            k: 2 * n for k, n in ENTRIES.items()
        }


def test_all_pages_of_an_ntuple_are_proven(tmp_path: Path) -> None:
    files = {compression: tmp_path / f"{compression}.root" for compression in (101, 404, 505, 207, 0)}
    make("ntuple", *((path, compression) for compression, path in files.items()))
    for path in files.values():
        found = verify(path)
        assert [(tree.kind, tree.entries) for tree in found.trees] == [("RNTuple", 5000)]
        assert found.bytes_covered > 0.9 * found.bytes
