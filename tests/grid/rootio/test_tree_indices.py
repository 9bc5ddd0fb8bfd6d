"""The index of a tree goes with its entries: ROOT finds every event of a merged or split file by it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from grid.rootio.format.objects import BYTE_COUNT, NEW_CLASS, named, text, versioned
from grid.rootio.merge import MergeOptions, merge
from grid.rootio.split import SplitRecipe, split
from grid.rootio.verbatim.treeindex import read_index
from grid.rootio.verify import verify
from grid.trigger import TriggerTable
from sitecfg.errors import CorruptFile, UnsupportedContent
from tests.grid.rootio.judge import dumped, hadd, needs_root, root

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.judge, needs_root]

MAKE = """
import ROOT, sys
from array import array
rng = ROOT.TRandom3(3)
def make(name, first, entries, *index, compression=101):
    file = ROOT.TFile(f"{sys.argv[1]}/{name}.root", "RECREATE", "", compression)
    tree = ROOT.TTree("Events", "e")
    run, section, event = array("I", [1]), array("I", [2]), array("Q", [0])
    fired, x = [array("b", [0]) for _ in "AB"], array("f", [0])
    tree.Branch("run", run, "run/i"); tree.Branch("luminosityBlock", section, "luminosityBlock/i")
    tree.Branch("event", event, "event/l"); tree.Branch("x", x, "x/F")
    for letter, bit in zip("AB", fired): tree.Branch("HLT_" + letter, bit, f"HLT_{letter}/O")
    for number in range(entries):
        run[0] = 1 + number % 3; event[0] = first + (number * 37) % 1000; x[0] = number
        for bit in fired: bit[0] = rng.Integer(2)
        tree.Fill()
    if index: tree.BuildIndex(*index)
    tree.Write(); file.Close()
make("one", 0, 300, "run", "event")
make("two", 1000, 200, "run", "event")
make("plain", 2000, 50)
make("empty", 3000, 0)
make("emptier", 3000, 0, "run", "event")
make("other", 4000, 20, "event")
make("unpacked", 5000, 20, "run", "event", compression=0)
"""

#: For each pair of run and event: where the index finds it.
LOOK = """
import ROOT, json, sys
file = ROOT.TFile(sys.argv[1]); tree = file.Get("Events")
index = tree.GetTreeIndex()
found = None
if index:
    pairs = []
    for entry in tree: pairs.append([int(entry.run), int(entry.event)])
    found = [index.GetMajorName(), index.GetMinorName(), index.GetN(),
             [[*pair, tree.GetEntryNumberWithIndex(*pair)] for pair in pairs]]
print("DUMP" + json.dumps(found))
"""


def look(path: Path) -> Any:
    return dumped(LOOK, path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("indices")
    root(MAKE, folder)
    return folder


def test_an_index_is_merged_as_hadd_merges_it(made: Path, tmp_path: Path) -> None:
    inputs = [made / f"{name}.root" for name in ("two", "empty", "one", "emptier")]
    merge(inputs, tmp_path / "ours.root")
    major, minor, number, places = look(tmp_path / "ours.root")
    assert (major, minor, number) == ("run", "event", 500)
    assert [place for _, _, place in places] == list(range(500))
    hadd("-ff", tmp_path / "theirs.root", inputs[0], inputs[2])
    assert look(tmp_path / "theirs.root")[3] == places
    verify(tmp_path / "ours.root")
    merge([inputs[0], inputs[2]], tmp_path / "two.root")
    merge([tmp_path / "two.root", made / "unpacked.root"], tmp_path / "again.root")
    assert [place for _, _, place in look(tmp_path / "again.root")[3]] == list(range(520))


@pytest.mark.parametrize("other", ["plain", "other"])
def test_trees_with_and_without_an_index_are_refused_by_name(made: Path, tmp_path: Path, other: str) -> None:
    inputs = [made / "one.root", made / f"{other}.root"]
    with pytest.raises(UnsupportedContent, match="index"):
        merge(inputs, tmp_path / "out.root")
    with pytest.raises(UnsupportedContent, match="index"):
        merge(inputs[::-1], tmp_path / "out.root")
    report = merge(inputs, tmp_path / "out.root", MergeOptions(on_refused="drop"))
    assert [name for _, name, _ in report.dropped_branches] == ["<TreeIndex>"]
    assert look(tmp_path / "out.root") is None


def test_each_stream_has_the_index_of_its_events(made: Path, tmp_path: Path) -> None:
    outputs = {stream: tmp_path / f"{stream}.root" for stream in "ab"}
    table = TriggerTable(name="TEST", tag=1, streams={"a": ("HLT_A",), "b": ("HLT_B",)})
    report = split(made / "one.root", outputs, SplitRecipe(table=table))
    for output in report.outputs:
        major, minor, number, places = look(output.path)
        assert (major, minor, number) == ("run", "event", output.events)
        assert [place for _, _, place in places] == list(range(output.events))
    assert 0 < report.outputs[0].events < 300


@pytest.mark.parametrize("entry", [-1, 20, 1 << 40])
def test_an_index_that_contradicts_its_tree_is_corrupt(made: Path, tmp_path: Path, entry: int) -> None:
    data = bytearray((made / "unpacked.root").read_bytes())
    at = data.index(b"\x03run\x05event") + 10
    assert data[at : at + 8] == (20).to_bytes(8, "big")
    place = at + 8 + 2 * 8 * 20
    data[place : place + 8] = entry.to_bytes(8, "big", signed=True)
    (tmp_path / "bad.root").write_bytes(data)
    with pytest.raises(CorruptFile, match="names an entry that is none of the 20"):
        merge([made / "one.root", tmp_path / "bad.root"], tmp_path / "out.root")


#: What ROOT reads from the bytes of an index: major values, minor values and entries.
READ = """
import ROOT, json, sys
ROOT.gInterpreter.Declare('''
#include "TBufferFile.h"
#include "TTreeIndex.h"
std::vector<Long64_t> read(std::vector<int> bytes) {
  std::vector<char> data(bytes.begin(), bytes.end());
  TBufferFile buffer(TBuffer::kRead, data.size(), data.data(), false);
  TTreeIndex index;
  index.Streamer(buffer);
  std::vector<Long64_t> found;
  for (auto values : {index.GetIndexValues(), index.GetIndexValuesMinor(), index.GetIndex()})
    found.insert(found.end(), values, values + index.GetN());
  return found;
}
''')
data = ROOT.std.vector["int"](list(bytes.fromhex(sys.argv[1])))
print("DUMP" + json.dumps([int(value) for value in ROOT.read(data)]))
"""

#: Where the object begins behind a pointer to it.
OBJECT = 4 + 4 + len(b"TTreeIndex\0")


def test_an_index_of_old_holds_both_values_in_one_word() -> None:
    values = np.array([[1, 1, 70000, 1 << 30], [5, (1 << 31) - 1, 0, 7], [2, 0, 3, 1]])
    words = [*(values[0] << 31 | values[1]).tolist(), *values[2].tolist()]
    body = versioned(1, named("run", "event")) + text("run") + text("event") + struct.pack(">9q", 4, *words)
    pointed = NEW_CLASS + b"TTreeIndex\0" + versioned(1, body)
    old = struct.pack(">I", len(pointed) | BYTE_COUNT) + pointed
    index = read_index(old, 4, "")
    assert index is not None
    assert index.values.tolist() == values.tolist()
    for data in (old, index.encode()):
        assert dumped(READ, data[OBJECT:].hex()) == values.reshape(-1).tolist()
    for wrong in (old[:-8], old + bytes(8)):
        with pytest.raises(CorruptFile, match="it has not the length of 4 entries"):
            read_index(wrong, 4, "")
    with pytest.raises(UnsupportedContent, match="no TTreeIndex"):
        read_index(old.replace(versioned(1, body), versioned(3, body)), 4, "")
