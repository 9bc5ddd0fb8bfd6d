"""References between objects of a tree (TRef) lead where they led: the table that ROOT loads branches by is carried."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest

from grid.rootio.format.walk import Walk
from grid.rootio.merge import MergeOptions, merge
from grid.rootio.split import SplitRecipe, split
from grid.rootio.verbatim.inputs import Input
from grid.rootio.verify import verify
from grid.trigger import TriggerTable
from sitecfg.errors import CorruptFile, SchemaMismatch, UnsupportedContent
from tests.grid.rootio.judge import dumped, hadd, needs_root, root

if TYPE_CHECKING:
    from pathlib import Path

    from grid.rootio.structure import Entry

pytestmark = [pytest.mark.judge, needs_root]

CLASSES = """
import ROOT, sys, json
from array import array
ROOT.gInterpreter.Declare('''
#include "TRef.h"
#include "TRefArray.h"
#include "TClonesArray.h"
class Hit : public TObject { public: Double_t x = 0; ClassDefInline(Hit, 1) };
class Links : public TObject { public: TRef best; TRefArray all; ClassDefInline(Links, 1) };
''')
"""

#: Objects in two branches, and references to some of them in a third; all files of one call are of one process.
MAKE = (
    CLASSES
    + """
def make(name, first, entries, table=True, late=False, branches=("links", "hits", "others"), compression=101):
    file = ROOT.TFile(f"{sys.argv[1]}/{name}.root", "RECREATE", "", compression)
    tree = ROOT.TTree("Events", "e")
    numbers = [array("I", [1]), array("I", [2]), array("Q", [0])]
    for key, number, letter in zip(("run", "luminosityBlock", "event"), numbers, "iil"):
        tree.Branch(key, number, f"{key}/{letter}")
    fired = [array("b", [0]) for _ in "AB"]
    for letter, bit in zip("AB", fired): tree.Branch("HLT_" + letter, bit, f"HLT_{letter}/O")
    held = {"links": ROOT.Links(), "hits": ROOT.TClonesArray("Hit"), "others": ROOT.TClonesArray("Hit")}
    for key in branches:
        tree.Branch(key, "Links", held[key], 4000, 0) if key == "links" else tree.Branch(key, held[key], 4000)
    if table and not late: tree.BranchRef()
    fill(tree, first, entries, numbers, fired, *held.values(), late=late)
    tree.Write(); file.Close()
def go_on(name, first, entries):
    file = ROOT.TFile(f"{sys.argv[1]}/{name}.root", "UPDATE")
    tree = file.Get("Events")
    numbers, fired = [array("I", [1]), array("I", [2]), array("Q", [0])], [array("b", [0]) for _ in "AB"]
    held = {"links": ROOT.Links(), "hits": ROOT.TClonesArray("Hit"), "others": ROOT.TClonesArray("Hit")}
    for key, value in zip(("run", "luminosityBlock", "event"), numbers):
        tree.SetBranchAddress(key, value)
    for key, value in held.items(): tree.SetBranchAddress(key, value)
    fill(tree, first, entries, numbers, fired, *held.values())
    tree.Write("", ROOT.TObject.kOverwrite); file.Close()
def fill(tree, first, entries, numbers, fired, links, hits, others, late=False):
    for entry in range(entries):
        if late and entry == 1: tree.BranchRef()
        numbers[2][0] = first + entry
        for turn, bit in enumerate(fired): bit[0] = (entry >> turn) & 1
        hits.Clear("C"); others.Clear("C"); links.all.Clear()
        for number in range(3 + entry % 4):
            for sign, many in ((1, hits), (-1, others)):
                one = many.ConstructedAt(number)
                one.x = sign * (first + entry + number / 8)
                one.ResetBit(ROOT.TObject.kIsReferenced); one.SetUniqueID(0)
        links.best = hits[entry % 3]
        for number in range(entry % 3): links.all.Add(others[number])
        tree.Fill()
"""
)

FILES = (
    MAKE
    + """
make("one", 1000, 90)
make("two", 2000, 500)
make("empty", 3000, 0)
make("without", 4000, 20, table=False)
make("late", 5000, 20, late=True)
make("other", 6000, 20, branches=("hits", "links", "others"))
make("unpacked", 7000, 20, compression=0)
make("more", 9000, 30)
"""
)

#: What each reference of each entry leads to, where only its own branch is read.
LOOK = (
    CLASSES
    + """
file = ROOT.TFile(sys.argv[1]); tree = file.Get("Events")
table, links = tree.GetBranchRef(), ROOT.Links()
tree.SetBranchAddress("links", links)
found = []
for entry in range(tree.GetEntries()):
    tree.LoadTree(entry)
    if table: table.SetRequestedEntry(entry)
    tree.GetBranch("links").GetEntry(entry)
    all = [links.all.At(number) for number in range(links.all.GetEntriesFast())]
    found.append([one.x if one else None for one in (links.best.GetObject(), *all)])
print("DUMP" + json.dumps(found))
"""
)


def look(path: Path) -> Any:
    return dumped(LOOK, path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("references")
    root(FILES, folder)
    return folder


def expected(first: int, entries: int) -> list[list[float]]:
    return [
        [
            first + entry + entry % 3 / 8,
            *(-(first + entry + number / 8) for number in range(entry % 3)),
        ]
        for entry in range(entries)
    ]


def test_references_lead_where_they_led(made: Path, tmp_path: Path) -> None:
    one, two = made / "one.root", made / "two.root"
    assert look(one) == expected(1000, 90)
    merge([two, one], tmp_path / "ours.root")
    assert look(tmp_path / "ours.root") == expected(2000, 500) + expected(1000, 90)
    hadd("-ff", tmp_path / "theirs.root", two, one)
    assert look(tmp_path / "theirs.root") == look(tmp_path / "ours.root")
    verify(tmp_path / "ours.root")


def test_what_was_merged_can_be_merged_again(made: Path, tmp_path: Path) -> None:
    merge([made / "one.root", made / "empty.root"], tmp_path / "ours.root")
    hadd("-ff", tmp_path / "theirs.root", made / "unpacked.root", made / "two.root")
    merge([tmp_path / "theirs.root", tmp_path / "ours.root"], tmp_path / "again.root")
    both = expected(7000, 20) + expected(2000, 500) + expected(1000, 90)
    assert look(tmp_path / "again.root") == both
    hadd("-ff", tmp_path / "last.root", tmp_path / "again.root", made / "more.root")
    assert look(tmp_path / "last.root") == both + expected(9000, 30)


@pytest.mark.parametrize("turn", [1, -1])
def test_a_tree_may_be_of_several_processes(made: Path, tmp_path: Path, turn: int) -> None:
    (tmp_path / "both.root").write_bytes((made / "more.root").read_bytes())
    root(MAKE + 'go_on("both", 8000, 40)', tmp_path)
    both = expected(9000, 30) + expected(8000, 40)
    assert look(tmp_path / "both.root") == both
    merge([tmp_path / "both.root", made / "one.root"][::turn], tmp_path / "out.root")
    found = look(tmp_path / "out.root")
    assert found == (both + expected(1000, 90) if turn == 1 else expected(1000, 90) + both)


@pytest.mark.parametrize("turn", [1, -1])
def test_a_file_without_events_changes_nothing(made: Path, tmp_path: Path, turn: int) -> None:
    merge([made / "empty.root", made / "one.root"][::turn], tmp_path / "out.root")
    assert look(tmp_path / "out.root") == expected(1000, 90)


def test_each_stream_has_the_references_of_its_events(made: Path, tmp_path: Path) -> None:
    outputs = {stream: tmp_path / f"{stream}.root" for stream in "abn"}
    table = TriggerTable(
        name="TEST", tag=1, streams={"a": ("HLT_A",), "b": ("HLT_B",), "n": ("HLT_A", "HLT_B")}
    )
    split(made / "one.root", outputs, SplitRecipe(table=table))
    rows = expected(1000, 90)
    assert look(outputs["a"]) == rows[1::2]
    assert look(outputs["b"]) == [row for entry, row in enumerate(rows) if entry & 2]
    merge([outputs["a"], outputs["b"]], tmp_path / "again.root")
    both = look(outputs["a"]) + look(outputs["b"])
    # a TRefArray leads to what is in memory, if one of its process and number is there already
    assert [row[0] for row in look(tmp_path / "again.root")] == [row[0] for row in both]


@pytest.mark.parametrize("other", ["without", "late", "other"])
def test_a_table_that_means_something_else_is_refused(made: Path, tmp_path: Path, other: str) -> None:
    inputs = [made / "one.root", made / f"{other}.root"]
    for order in (inputs, inputs[::-1]):
        with pytest.raises(UnsupportedContent, match=r"BranchRef|links"):
            merge(order, tmp_path / "out.root")
    report = merge(inputs, tmp_path / "out.root", MergeOptions(on_refused="drop"))
    assert {"<BranchRef>", "links", "hits.fBits"} <= {name for _, name, _ in report.dropped_branches}


@pytest.mark.parametrize("table", [True, False])
def test_references_of_different_processes_are_refused_by_name(
    made: Path, tmp_path: Path, table: bool
) -> None:
    root(MAKE + f'make("foreign", 8000, 30, table={table})', tmp_path)
    inputs = [made / ("one.root" if table else "without.root"), tmp_path / "foreign.root"]
    with pytest.raises(SchemaMismatch, match=r"ProcessID0.*process.*lead nowhere \(--drop-refused\)"):
        merge(inputs, tmp_path / "out.root")
    report = merge(inputs, tmp_path / "out.root", MergeOptions(on_refused="drop"))
    left = {(path, branch) for path, branch, _ in report.dropped_branches}
    assert ("ProcessID0", "") in left
    assert (("Events", "<BranchRef>") in left) == table
    if not table:
        assert {value for row in look(tmp_path / "out.root") for value in row} == {None}


def test_hadd_mixes_up_the_references_of_different_processes(made: Path, tmp_path: Path) -> None:
    """The reason to refuse them: ROOT writes an offset to the numbers of processes, and does not read it."""
    root(MAKE + 'make("foreign", 8000, 30)', tmp_path)
    hadd("-ff", tmp_path / "theirs.root", made / "one.root", tmp_path / "foreign.root")
    assert look(tmp_path / "theirs.root") != expected(1000, 90) + expected(8000, 30)


def test_a_damaged_basket_of_the_table_is_found(made: Path, tmp_path: Path) -> None:
    data = bytearray((made / "two.root").read_bytes())
    names = b"\x07TBasket\x09TRefTable\x06Events"
    at = data.index(names)
    (size,) = struct.unpack_from(">i", data, at - 34)
    data[at - 34 + size - 10] ^= 1
    (tmp_path / "bad.root").write_bytes(data)
    for do in (verify, lambda path: merge([path], tmp_path / "out.root")):
        with pytest.raises(CorruptFile, match="TRefTable"):
            do(tmp_path / "bad.root")


def the_lists(data: bytearray, path: Path) -> tuple[int, int]:
    """Return where an unpacked file lists branches, behind their number, and the name of a process."""
    table = data.index(b"TRefTable\0")
    (guid,) = {entry.key.title for entry in processes(path)}
    return data.index(b"\0\0\0\3\0\0\0\0", table) + 8, data.index(guid, table)


def processes(path: Path) -> list[Entry]:
    with Input(path) as found:
        return [entry for entry in found.objects.values() if entry.class_name == "TProcessID"]


@pytest.mark.parametrize("which", ["branches", "processes"])
def test_numbers_that_mean_something_else_are_refused(made: Path, tmp_path: Path, which: str) -> None:
    data = bytearray((made / "unpacked.root").read_bytes())
    branches, process = the_lists(data, made / "unpacked.root")
    if which == "branches":
        data[branches : branches + 8] = data[branches + 4 : branches + 8] + data[branches : branches + 4]
    else:
        data[process] ^= 1
    (tmp_path / "odd.root").write_bytes(data)
    merge([tmp_path / "odd.root"], tmp_path / "alone.root")
    for order in ([made / "one.root", tmp_path / "odd.root"], [tmp_path / "odd.root", made / "one.root"]):
        with pytest.raises(UnsupportedContent, match="its table of references numbers branches or processes"):
            merge(order, tmp_path / "out.root")


@pytest.mark.parametrize("count", [-1, 2, 4, 1 << 30])
def test_a_table_that_contradicts_itself_is_corrupt(made: Path, tmp_path: Path, count: int) -> None:
    data = bytearray((made / "unpacked.root").read_bytes())
    branches, process = the_lists(data, made / "unpacked.root")
    for at in (branches - 8, process - 5):
        bad = bytearray(data)
        struct.pack_into(">i", bad, at, count)
        (tmp_path / "bad.root").write_bytes(bad)
        for inputs in ([made / "one.root", tmp_path / "bad.root"], [tmp_path / "bad.root"]):
            with pytest.raises(CorruptFile, match="Events"):
                merge(inputs, tmp_path / "out.root")


def test_a_table_that_names_no_branch_is_corrupt(made: Path, tmp_path: Path) -> None:
    data = bytearray((made / "unpacked.root").read_bytes())
    branches, _ = the_lists(data, made / "unpacked.root")
    with Input(made / "unpacked.root") as found:
        entry = found.trees["Events"]
        walk = Walk(found.unpacked(entry), entry.key.length, "TTree", found.streamers.classes, "")
    leaf = next(at for at, node in walk.nodes.items() if node.class_name.startswith("TLeaf"))
    struct.pack_into(">I", data, branches, leaf + walk.shift)
    (tmp_path / "bad.root").write_bytes(data)
    for inputs in ([made / "one.root", tmp_path / "bad.root"], [tmp_path / "bad.root"]):
        with pytest.raises(CorruptFile, match="names what is no branch of the tree"):
            merge(inputs, tmp_path / "out.root")
