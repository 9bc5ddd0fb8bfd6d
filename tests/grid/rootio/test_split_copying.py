"""Splitting by the bytes of entries: any type, every stream what its events say, nothing wrong let through."""

from __future__ import annotations

import json
import random
import sys
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from grid.rootio import split as splitting
from grid.rootio.books import total
from grid.rootio.facts import file_facts
from grid.rootio.gather import filling, gatherer
from grid.rootio.gather.branch import BranchCut
from grid.rootio.gather.gatherer import Gatherer
from grid.rootio.gather.unpacked import Entries
from grid.rootio.merging import CantCopy
from grid.rootio.split import SplitRecipe, split
from grid.trigger import TriggerTable
from sitecfg.errors import ClosureError, CorruptFile, GridError
from tests.grid.rootio.judge import needs_root, run
from tests.grid.rootio.making import PATHS, as_lists, events, nano, read_lists, write

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

#: At most so many branches of a tree are compared, spread over all of them.
COMPARED = 150


@pytest.fixture(autouse=True)
def only_the_quick_way(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Refuse to split by values, so that a test can't pass by them."""
    if "values" not in request.keywords:

        def refused(*_: object) -> None:
            raise AssertionError("values were looked at")

        monkeypatch.setattr(splitting, "_Split", refused)


def table(**streams: tuple[str, ...]) -> TriggerTable:
    return TriggerTable(name="TEST", tag=1, streams=streams)


def outs(folder: Path, names: Any) -> dict[str, Path]:
    return {name: folder / f"{name}.root" for name in names}


def same(before: Path, after: Path, chosen: Any, tree: str = "Events") -> int:
    """Compare branches by uproot; return how many it could read."""
    compared = 0
    with uproot.open(before) as one, uproot.open(after) as two:
        names = one[tree].keys(recursive=True)
        assert two[tree].keys(recursive=True) == names
        assert two[tree].num_entries == len(chosen)
        for name in names[:: len(names) // COMPARED + 1]:
            try:
                whole = one[tree][name].array()
            except Exception:  # noqa: BLE001 -- what uproot can't read of the original says nothing
                continue
            assert ak.array_equal(whole[chosen], two[tree][name].array(), equal_nan=True), name
            compared += 1
    return compared


@pytest.mark.parametrize(
    "name",
    [
        "Run2012B_SingleMu_1000.root",
        pytest.param("nano_dy.root", marks=pytest.mark.slow),
        pytest.param("nano_tt_v15.root", marks=pytest.mark.slow),
        pytest.param("nano_dy_empty.root", marks=pytest.mark.slow),
    ],
)
def test_every_branch_of_every_file_with_trigger_bits_splits(
    tmp_path: Path, real_data: Path, name: str
) -> None:
    menu = file_facts(real_data / name).menu
    streams = {"odd": tuple(menu[::2]), "few": tuple(menu[:1]), "all": tuple(menu)}
    report = split(real_data / name, outs(tmp_path, streams), SplitRecipe(table=table(**streams)))
    assert report.dropped_branches == ()
    with uproot.open(real_data / name) as file:
        bits = {path: file["Events"][path].array(library="np") for path in menu}
    for output in report.outputs:
        fired = np.any([bits[path] for path in streams[output.stream]], axis=0)
        assert same(real_data / name, output.path, np.flatnonzero(fired))


@settings(deadline=None, max_examples=15)
@given(
    n=st.integers(0, 120),
    seed=st.integers(0, 99),
    cluster=st.sampled_from([200, 1000, 1 << 20]),
    compression=st.sampled_from(["none", "lz4:1", "zstd:5", "zlib:1"]),
    streams=st.dictionaries(
        st.sampled_from("abcd"), st.sets(st.sampled_from(PATHS), min_size=1).map(tuple), min_size=1
    ),
    repacked=st.sampled_from([None, "zstd:1"]),
    bounds=st.sampled_from([{}, {"_SECTION": 500}, {"_SECTION": 500, "_HELD": 100}, {"_BUNDLE": 50}]),
)
def test_random_files_are_cut_as_numpy_says(
    tmp_path_factory: pytest.TempPathFactory,
    n: int,
    seed: int,
    cluster: int,
    compression: str,
    streams: dict[str, tuple[str, ...]],
    repacked: str | None,
    bounds: dict[str, int],
) -> None:
    folder = tmp_path_factory.mktemp("split")
    made = nano(folder / "in.root", n, seed, compression=compression, cluster_bytes=cluster)
    how = SplitRecipe(table=table(**streams), compression=repacked)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in bounds.items():
            patch.setattr(gatherer, name, value)
        report = split(folder / "in.root", outs(folder, streams), how)
    for output in report.outputs:
        fired = np.any([made.columns[path].values for path in streams[output.stream]], axis=0)
        assert read_lists(output.path) == as_lists(made.take(np.flatnonzero(fired)))
        facts = file_facts(output.path)
        assert (output.fingerprint, output.sections, output.trees) == (
            facts.fingerprint,
            facts.sections,
            facts.trees,
        )
        assert read_lists(output.path, "Runs") == read_lists(folder / "in.root", "Runs")


def test_a_stream_with_everything_has_the_baskets_of_the_input(tmp_path: Path) -> None:
    made = events(400)
    made.columns[PATHS[0]].values[:] = True
    write(tmp_path / "in.root", {"Events": made}, cluster_bytes=2000, compression="zlib:9")
    streams = {"all": (PATHS[0],), "few": (PATHS[2],)}
    split(tmp_path / "in.root", outs(tmp_path, streams), SplitRecipe(table=table(**streams)))
    with uproot.open(tmp_path / "in.root") as one, uproot.open(tmp_path / "all.root") as two:
        for name in one["Events"].keys():  # noqa: SIM118 -- a tree is no dict
            before, after = one["Events"][name], two["Events"][name]
            assert before.num_baskets > 2
            assert before.entry_offsets == after.entry_offsets
            for number in range(before.num_baskets):
                assert before.basket(number).raw_data.tobytes() == after.basket(number).raw_data.tobytes()
    with uproot.open(tmp_path / "few.root") as file:
        assert max(branch.num_baskets for branch in file["Events"].branches) == 1, "small baskets are joined"


def test_sixty_four_streams(tmp_path: Path) -> None:
    made = nano(tmp_path / "in.root", 90, cluster_bytes=1000)
    streams = {f"s{number:02}": (PATHS[number % 3],) for number in range(64)}
    report = split(tmp_path / "in.root", outs(tmp_path, streams), SplitRecipe(table=table(**streams)))
    for output in report.outputs:
        fired = made.columns[streams[output.stream][0]].values
        assert read_lists(output.path) == as_lists(made.take(np.flatnonzero(fired)))


def test_outputs_are_the_same_bytes_again(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 200, cluster_bytes=2000)
    sums = []
    for name, memory in (("one", 1 << 27), ("two", 1500)):
        (tmp_path / name).mkdir()
        streams = {"mu": (PATHS[1],), "jet": (PATHS[2],)}
        how = SplitRecipe(table=table(**streams), memory_bytes=memory)
        report = split(tmp_path / "in.root", outs(tmp_path / name, streams), how)
        sums.append([output.xxh3 for output in report.outputs])
    assert sums[0] == sums[1]


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bits_end_in_our_errors_or_change_nothing(tmp_path: Path, seed: int) -> None:
    made = nano(tmp_path / "in.root", 120, compression="none", cluster_bytes=3000)
    data = bytearray((tmp_path / "in.root").read_bytes())
    place = random.Random(seed)
    for _ in range(3):
        data[place.randrange(300, len(data))] ^= 1 << place.randrange(8)
    (tmp_path / "bad.root").write_bytes(data)
    streams = {"a": (PATHS[0],), "b": (PATHS[1],)}
    try:
        split(tmp_path / "bad.root", outs(tmp_path, streams), SplitRecipe(table=table(**streams)))
    except AssertionError as error:
        assert "values were looked at" in str(error)  # noqa: PT017 -- the other way is left to try
    except GridError:
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.root", "in.root"]
    else:
        for stream, (path,) in streams.items():
            found = read_lists(tmp_path / f"{stream}.root")
            assert list(found) == list(as_lists(made)), path


def test_what_was_not_written_as_gathered_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nano(tmp_path / "in.root", 60, compression="none")
    right = Gatherer._write

    def wrong(self: Any, number: int, stream: int, basket: Any) -> None:
        if number == 5:
            payload = bytearray(basket.payload)
            payload[0] ^= 1
            basket = type(basket)(bytes(payload), basket.unpacked, basket.entries, basket.last)
        right(self, number, stream, basket)

    monkeypatch.setattr(Gatherer, "_write", wrong)
    streams = {"a": (PATHS[0],)}
    with pytest.raises(ClosureError, match="entry 0 of Events does not hold what was gathered"):
        split(tmp_path / "in.root", outs(tmp_path, streams), SplitRecipe(table=table(**streams)))
    assert [path.name for path in tmp_path.iterdir()] == ["in.root"]


def test_the_books_say_what_the_values_say(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 400)
    streams = {"a": (PATHS[0],), "b": (PATHS[1], PATHS[2])}
    report = split(tmp_path / "in.root", outs(tmp_path, streams), SplitRecipe(table=table(**streams)))
    assert total(report.books).content == file_facts(tmp_path / "in.root").content
    for bit, output in enumerate(report.outputs):
        assert output.content == total(report.books, bit).content == file_facts(output.path).content
        assert output.events


def test_a_list_that_its_counter_contradicts_is_refused(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 60, compression="none")
    with uproot.open(tmp_path / "in.root") as file:
        counter = file["Events"]["nMuon"]
        counts, key = counter.array(library="np"), counter.basket(0)
        at = (tmp_path / "in.root").read_bytes().index(counts[: key.num_entries].astype(">u4").tobytes())
    data = bytearray((tmp_path / "in.root").read_bytes())
    data[at + 3] ^= 1
    (tmp_path / "bad.root").write_bytes(data)
    with pytest.raises(CorruptFile, match="not as many values as its counter nMuon says") as caught:
        split(tmp_path / "bad.root", outs(tmp_path, {"a": ()}), SplitRecipe(table=table(a=(PATHS[0],))))
    assert "Events/Muon_" in caught.value.where
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.root", "in.root"]


def test_offsets_of_an_output_that_contradict_its_basket_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nano(tmp_path / "in.root", 400)
    listed = filling._list
    monkeypatch.setattr(filling, "_list", lambda offsets: listed(offsets[::-1]))
    streams = {"a": (PATHS[0],)}
    with pytest.raises(ClosureError, match="its entries do not lie one behind the other"):
        split(tmp_path / "in.root", outs(tmp_path, streams), SplitRecipe(table=table(**streams)))
    assert [path.name for path in tmp_path.iterdir()] == ["in.root"]


@pytest.mark.parametrize("wrong", [[1, 0, 2], [0, 0, 2], [0, 1, 3]], ids=["swapped", "twice", "another"])
@pytest.mark.parametrize("branch", ["MET_pt", "Muon_pt", "event"])
def test_entries_that_were_gathered_wrong_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: list[int], branch: str
) -> None:
    nano(tmp_path / "in.root", 400)
    take, gather = Entries.take, BranchCut._gather
    at_work: list[BranchCut] = []

    def gathered(self: BranchCut, *args: Any) -> None:
        at_work.append(self)
        gather(self, *args)

    def taken(self: Entries, index: NDArray[np.int64]) -> Entries:
        if at_work[-1].of.what == branch:
            index = np.concatenate([index[wrong], index[3:]])
        return take(self, index)

    # one thread, so that the branch at work is the one that takes
    monkeypatch.setattr(gatherer, "THREADS", 1)
    monkeypatch.setattr(BranchCut, "_gather", gathered)
    monkeypatch.setattr(Entries, "take", taken)
    streams = {"a": (PATHS[0],)}
    with pytest.raises(ClosureError, match=r"entry \d+ of Events does not hold what was gathered for it"):
        split(tmp_path / "in.root", outs(tmp_path, streams), SplitRecipe(table=table(**streams)))
    assert [path.name for path in tmp_path.iterdir()] == ["in.root"]


#: Trees of many types, made and read by ROOT: bit `pass` decides; baskets are small, so that most are cut.
MAKE = """
import json, sys, ROOT
ROOT.gInterpreter.Declare('''
#include <map>
#include <string>
#include <vector>
#include "TClonesArray.h"
#include "TLorentzVector.h"
#include "TNamed.h"
#include "TObjArray.h"
#include "TH1F.h"
#include "TTree.h"
#include "TFile.h"
void make(const char* path, int compression, int basket, int n, int split) {
  TFile file(path, "RECREATE", "", compression);
  TTree tree("Events", "all kinds");
  ULong64_t event; UInt_t run = 1, luminosityBlock; Bool_t pass; Int_t nx; Float_t x[20]; Double32_t d; char text[30];
  struct { Int_t a; Float_t b[3]; } list; Short_t fixed[4][2];
  std::vector<float> vf; std::string s; std::vector<std::string> vs;
  std::map<std::string, double> m;
  TLorentzVector* p4 = new TLorentzVector; TClonesArray* clones = new TClonesArray("TLorentzVector");
  TObjArray* objects = new TObjArray; objects->SetOwner(); TNamed* named = new TNamed;
  tree.Branch("event", &event); tree.Branch("run", &run); tree.Branch("luminosityBlock", &luminosityBlock);
  tree.Branch("pass", &pass, "pass/O"); tree.Branch("nx", &nx); tree.Branch("x", x, "x[nx]/F");
  tree.Branch("d", &d, "d/d[0,0,12]"); tree.Branch("text", text, "text/C"); tree.Branch("list", &list, "a/I:b[3]/F");
  tree.Branch("fixed", fixed, "fixed[4][2]/S"); tree.Branch("vf", &vf, basket);
  tree.Branch("s", &s, basket); tree.Branch("vs", &vs, basket); tree.Branch("m", &m, basket, 0);
  tree.Branch("p4", &p4, basket, split); tree.Branch("clones", &clones, basket, split);
  tree.Branch("objects", "TObjArray", &objects, basket, 0); tree.Branch("named", &named, basket, split);
  for (auto* b : *tree.GetListOfBranches()) ((TBranch*)b)->SetBasketSize(basket);
  tree.SetBasketSize("*", basket);
  for (int i = 0; i < n; i++) {
    event = i; luminosityBlock = 1 + i / 50; pass = (i % 7 == 0) || (i > 150 && i < 300); nx = i % 20;
    for (int k = 0; k < nx; k++) x[k] = i + k / 16.f;
    d = i / 8.; snprintf(text, 30, "%s%d", i % 3 ? "text" : "", i % 5 ? i : 0);
    list.a = i; for (int k = 0; k < 3; k++) list.b[k] = i * k; for (int k = 0; k < 8; k++) (&fixed[0][0])[k] = i + k;
    vf.assign(i % 4, i); s = std::string(i % 300, 'a' + i % 26);
    vs.assign(i % 3, s); m.clear(); if (i % 2) m["k" + std::to_string(i)] = 2. * i;
    p4->SetPxPyPzE(i, 2 * i, 3 * i, 4 * i); clones->Clear();
    for (int k = 0; k < i % 3; k++) new ((*clones)[k]) TLorentzVector(i, k, 0, 1);
    objects->Delete(); for (int k = 0; k < i % 4; k++) objects->Add(new TNamed(Form("n%d", i), "t"));
    if (i % 5 == 0) { auto* h = new TNamed("both", "b"); objects->Add(h); objects->Add(h->Clone()); }
    named->SetNameTitle(TString::Format("name %d", i), "title");
    tree.Fill();
  }
  tree.Write();
}
std::string entry(TTree* tree, TObjArray* objects, TNamed* named,
                  std::map<std::string, double>* m, TLorentzVector* p4, TClonesArray* clones) {
  std::string out = std::string(named->GetName()) + ";";
  for (auto* o : *objects) out += std::string(o->ClassName()) + o->GetName() + o->GetTitle() + ",";
  for (auto& one : *m) out += one.first + std::to_string(one.second) + ",";
  out += std::to_string(p4->Pz());
  for (int k = 0; k < clones->GetEntriesFast(); k++) out += std::to_string(((TLorentzVector*)(*clones)[k])->Py());
  for (auto* b : *tree->GetListOfLeaves()) {
    auto* leaf = (TLeaf*)b;
    if (leaf->IsA() == TClass::GetClass("TLeafElement")) continue;
    if (leaf->IsA() == TClass::GetClass("TLeafC")) { out += (const char*)leaf->GetValuePointer(); continue; }
    for (int k = 0; k < leaf->GetLen(); k++) out += "|" + std::to_string(leaf->GetValue(k));
  }
  return out;
}
std::vector<std::string> all(const char* path) {
  TFile file(path); auto* tree = (TTree*)file.Get("Events");
  TObjArray* objects = nullptr; TNamed* named = nullptr; std::map<std::string, double>* m = nullptr;
  TLorentzVector* p4 = nullptr; TClonesArray* clones = nullptr;
  std::vector<float>* vf = nullptr; std::string* s = nullptr;
  std::vector<std::string>* vs = nullptr;
  tree->SetBranchAddress("objects", &objects); tree->SetBranchAddress("named", &named);
  tree->SetBranchAddress("m", &m); tree->SetBranchAddress("p4", &p4);
  tree->SetBranchAddress("clones", &clones); tree->SetBranchAddress("vf", &vf);
  tree->SetBranchAddress("s", &s); tree->SetBranchAddress("vs", &vs);
  std::vector<std::string> out;
  for (Long64_t i = 0; i < tree->GetEntries(); i++) {
    if (tree->GetEntry(i) <= 0) return {"unreadable"};
    std::string one = entry(tree, objects, named, m, p4, clones);
    for (float v : *vf) one += "f" + std::to_string(v);
    one += *s; for (auto& t : *vs) one += t;
    out.push_back(one);
  }
  return out;
}
''')
if sys.argv[1] == "make":
    ROOT.make(sys.argv[2], *map(int, sys.argv[3:]))
else:
    for path in sys.argv[2:]:
        print("SAID", json.dumps([str(one) for one in ROOT.all(path)]))
"""


def all_kinds(path: Path, compression: int, basket: int, n: int, split_level: int) -> None:
    run([sys.executable, "-c", MAKE, "make", str(path), *map(str, (compression, basket, n, split_level))])


def read_all_kinds(*paths: Path) -> list[list[str]]:
    said = run([sys.executable, "-c", MAKE, "read", *map(str, paths)])
    assert "Error" not in said, said
    return [json.loads(line[5:]) for line in said.splitlines() if line.startswith("SAID ")]


@needs_root
@pytest.mark.parametrize(
    ("compression", "basket", "split_level"),
    [
        (505, 1500, 99),
        pytest.param(404, 400, 0, marks=pytest.mark.slow),
        pytest.param(101, 32000, 99, marks=pytest.mark.slow),
        pytest.param(0, 1500, 0, marks=pytest.mark.slow),
    ],
)
def test_root_reads_every_type_as_it_was(
    tmp_path: Path, compression: int, basket: int, split_level: int
) -> None:
    all_kinds(tmp_path / "in.root", compression, basket, 400, split_level)
    how = SplitRecipe(table=table(some=("pass",)), menu_prefix="pass")
    split(tmp_path / "in.root", {"some": tmp_path / "some.root"}, how)
    split(tmp_path / "in.root", {"all": tmp_path / "all.root"}, SplitRecipe())
    before, some, whole = read_all_kinds(*(tmp_path / f"{name}.root" for name in ("in", "some", "all")))
    chosen = [i for i in range(400) if i % 7 == 0 or 150 < i < 300]
    assert len(before) == 400
    assert whole == before
    assert some == [before[i] for i in chosen]


def test_what_cant_be_gathered_is_left_to_the_other_way(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 10)
    with pytest.raises(AssertionError, match="values were looked at"):
        split(tmp_path / "in.root", outs(tmp_path, ["all"]), SplitRecipe(keep=("drop MET_*",)))
    assert issubclass(CantCopy, Exception)
