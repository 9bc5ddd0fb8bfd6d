"""Branches of several leaves (``x/I:y[3]/F``): one branch, a structured value per entry, as ROOT lays it out."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from grid.rootio.columns import Branch, Column
from grid.rootio.merge import merge
from grid.rootio.source import open_source
from grid.rootio.split import SplitRecipe, split
from sitecfg.errors import SchemaMismatch, UnsupportedContent, UserCodeError
from tests.grid.rootio.making import Table, events, write

if TYPE_CHECKING:
    from pathlib import Path

HIT = np.dtype([("layer", "i1"), ("time", "f8"), ("charge", "u2"), ("cov", "f4", (2, 3)), ("good", "?")])
TITLE = "layer/B:time/D:charge/s:cov[2][3]/F:good/O"

ROOT_RUN = r"""
import json, sys, warnings
warnings.simplefilter("ignore")
import ROOT
ROOT.gInterpreter.Declare('''
#pragma pack(push, 1)
struct Hit { Char_t layer; Double_t time; UShort_t charge; Float_t cov[2][3]; Bool_t good; };
#pragma pack(pop)
void make(const char* path, const char* other) {
  TFile f(path, "recreate"); TTree t("Events", ""); UInt_t run = 1, section = 1; ULong64_t event; Hit hit;
  struct { Int_t n; Char_t text[8]; } odd = {3, "abc"};
  t.Branch("run", &run, "run/i"); t.Branch("luminosityBlock", &section, "luminosityBlock/i");
  t.Branch("event", &event, "event/l");
  t.Branch("hit", &hit, "layer/B:time/D:charge/s:cov[2][3]/F:good/O");
  if (*other) t.Branch("odd", &odd, other);
  for (event = 0; event < 3000; event++) {
    hit = {Char_t(event), event * .25, UShort_t(event * 50), {}, event % 3 == 0};
    for (int k = 0; k < 6; k++) hit.cov[k / 3][k % 3] = event + k * .5;
    t.Fill();
  }
  t.Write();
}
std::vector<std::string> leaves(const char* path) {
  TFile f(path); auto t = (TTree*)f.Get("Events"); std::vector<std::string> found;
  for (auto leaf : TRangeDynCast<TLeaf>(t->GetListOfLeaves()))
    found.push_back(Form("%s %s %s %s %d %d %d", leaf->GetBranch()->GetTitle(), leaf->GetName(), leaf->GetTitle(),
      leaf->GetTypeName(), leaf->GetLen(), leaf->GetOffset(), leaf->IsUnsigned()));
  return found;
}
std::string hits(const char* path) {
  TFile f(path); auto t = (TTree*)f.Get("Events"); Hit hit; t->SetBranchAddress("hit", &hit); std::string all;
  for (Long64_t i = 0; i < t->GetEntries(); i++) {
    t->GetEntry(i);
    for (size_t k = 0; k < sizeof hit; k++) all += Form("%02x", ((unsigned char*)&hit)[k]);
  }
  return all;
}''')
if sys.argv[1] == "make":
    ROOT.make(sys.argv[2], sys.argv[3])
else:
    print(json.dumps([[str(x) for x in ROOT.leaves(sys.argv[2])], str(ROOT.hits(sys.argv[2]))]))
"""


def ask_root(*arguments: str) -> str:
    command = [sys.executable, "-c", ROOT_RUN, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def hits(n: int) -> np.ndarray[Any, Any]:
    values = np.zeros(n, HIT)
    at = np.arange(n)
    values["layer"], values["time"], values["charge"] = at.astype("i1"), at * 0.25, (at * 50).astype("u2")
    values["cov"] = (at[:, None] + np.arange(6) * 0.5).reshape(n, 2, 3)
    values["good"] = at % 3 == 0
    return values


def with_hits(n: int, dtype: np.dtype[Any] = HIT) -> Table:
    title = TITLE if dtype == HIT else "one of them is missing"
    return events(n).add(Branch("hit", title, dtype), Column(hits(n)[list(dtype.names or ())].astype(dtype)))


def read(path: Path) -> np.ndarray[Any, Any]:
    with open_source(path) as source:
        info = source.info("Events")
        assert info.refused == ()
        assert (info.by_name()["hit"].dtype, info.by_name()["hit"].title) == (HIT, TITLE)
        return source.read("Events", ["hit"], 0, info.entries)["hit"].values


def test_a_leaf_list_goes_through_split_and_merge(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.root", {"Events": with_hits(500)}, cluster_bytes=5000)
    assert read(whole).tobytes() == hits(500).tobytes()
    report = split(whole, {"all": tmp_path / "all.root"}, SplitRecipe(memory_bytes=4000))
    assert not report.dropped_branches
    merge([tmp_path / "all.root"], tmp_path / "merged.root")
    assert read(tmp_path / "merged.root").tobytes() == hits(500).tobytes()


def test_user_code_sees_records_and_may_keep_or_change_them(tmp_path: Path) -> None:
    import awkward as ak

    def chosen(found: Any, _: Any) -> Any:
        assert found.hit.time[3] == 0.75
        late = found[found.hit.good]
        return ak.with_field(late, ak.with_field(late.hit, late.hit.time * 2, "time"), "hit")

    whole = write(tmp_path / "a.root", {"Events": with_hits(90)})
    split(whole, {"all": tmp_path / "all.root"}, process=chosen)
    wanted = hits(90)[::3].copy()
    wanted["time"] *= 2
    assert read(tmp_path / "all.root").tobytes() == wanted.tobytes()


def test_user_code_cant_change_its_fields(tmp_path: Path) -> None:
    import awkward as ak

    def without(found: Any, _: Any) -> Any:
        return ak.with_field(found, found.hit[["layer", "time"]], "hit")

    whole = write(tmp_path / "a.root", {"Events": with_hits(9)})
    with pytest.raises(UserCodeError, match="hit"):
        split(whole, {"all": tmp_path / "all.root"}, process=without)


def test_other_leaves_are_another_schema(tmp_path: Path) -> None:
    shorter = np.dtype([(name, HIT[name]) for name in (HIT.names or ())[:-1]])
    paths = [
        write(tmp_path / "a.root", {"Events": with_hits(5)}),
        write(tmp_path / "b.root", {"Events": with_hits(5, shorter)}),
    ]
    with pytest.raises(SchemaMismatch, match="hit is struct"):
        merge(paths, tmp_path / "out.root")


@pytest.mark.judge
@pytest.mark.skipif(find_spec("ROOT") is None, reason="ROOT is not installed")
def test_root_reads_the_same_leaves_and_bytes(tmp_path: Path) -> None:
    ask_root("make", str(tmp_path / "a.root"), "")
    assert read(tmp_path / "a.root").tobytes() == hits(3000).tobytes()
    split(tmp_path / "a.root", {"all": tmp_path / "all.root"})
    merge([tmp_path / "all.root"], tmp_path / "merged.root")
    seen = [json.loads(ask_root("read", str(tmp_path / name))) for name in ("a.root", "merged.root")]
    assert seen[0] == seen[1]
    assert seen[0][1] == hits(3000).tobytes().hex()


@pytest.mark.judge
@pytest.mark.skipif(find_spec("ROOT") is None, reason="ROOT is not installed")
@pytest.mark.parametrize(
    ("leaves", "words"),
    [
        ("n/I:text/C", r"odd .one of its leaves is no plain number with a name of its own: text .TLeafC"),
        ("n/I:text[n]/B", r"odd .one of its leaves varies in length: text"),
        ("n/I:n/I", r"odd .one of its leaves is no plain number with a name of its own: n .TLeafI"),
    ],
)
def test_leaves_that_cant_be_carried_are_named(tmp_path: Path, leaves: str, words: str) -> None:
    ask_root("make", str(tmp_path / "a.root"), leaves)
    with pytest.raises(UnsupportedContent, match=words):
        split(tmp_path / "a.root", {"all": tmp_path / "all.root"}, SplitRecipe(keep=("keep *",)))
