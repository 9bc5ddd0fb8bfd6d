"""Trees that ROOT makes, each without some branches or with narrower ones: ROOT reads in their merge what it wrote."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grid.rootio.merge import MergeOptions, merge
from grid.rootio.valuemerge import ValueMerge
from sitecfg.errors import UnsupportedContent
from tests.grid.rootio.judge import dumped, hadd, needs_root
from tests.grid.rootio.making import counted, events, flat, jagged, write
from tests.grid.rootio.test_made_by_root import READABLE, Way, maker
from tests.grid.rootio.test_uniting import BACKFILL, menus
from tests.grid.rootio.tree_maker import OBJECTS

if TYPE_CHECKING:
    from tests.grid.rootio.told import Told

__all__ = ["maker"]

pytestmark = [pytest.mark.judge, needs_root]

#: Letters of types whose numbers are brought together.
FAMILIES = ("BSIL", "bsi", "bsISL", "bsil", "FD", "O")


@st.composite
def files(draw: st.DrawFn) -> list[tuple[list[str], Way]]:
    """Draw for each of some files the kinds of its branches, ``""`` for one that it lacks, and how it is written."""
    number = draw(st.integers(2, 3))
    columns = [[kind] * number for kind in draw(st.lists(st.sampled_from(OBJECTS), max_size=3))]
    for _ in range(draw(st.integers(1, 4))):
        shape, family = draw(st.sampled_from(("scalar", "fixed", "counted"))), draw(st.sampled_from(FAMILIES))
        kinds = ["", *(f"{shape} {letter}" for letter in family)]
        columns.append(draw(st.lists(st.sampled_from(kinds), min_size=number, max_size=number)))
    columns = [column for column in draw(st.permutations(columns)) if any(column)]
    each = st.builds(
        Way,
        entries=st.one_of(st.just(0), st.integers(1, 120)),
        compression=st.sampled_from((0, 101, 404, 505)),
        basket=st.sampled_from((200, 32000)),
        split=st.just(draw(st.sampled_from((0, 99)))),
        flush=st.sampled_from((0, 7, -2000)),
        embedded=st.booleans(),
        generated=st.just(False),
    )
    return [([column[n] for column in columns], draw(each)) for n in range(number)]


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(chosen=files(), depth=st.sampled_from(("copied", "sealed", "proven")))
def test_branches_of_objects_go_along_with_plain_ones_that_are_filled_and_widened(
    maker: Told, chosen: list[tuple[list[str], Way]], depth: str
) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        parts, first = [], 0
        for number, (kinds, way) in enumerate(chosen):
            parts.append(folder / f"in{number}.root")
            maker("write", str(parts[-1]), kinds, first, *way)
            first += way.entries
        out, entries = folder / "out.root", list(range(first))
        report = merge(parts, out, MergeOptions(schema="backfill", verify=depth))
        assert report.output.content is None, "it was copied"
        columns = list(zip(*(kinds for kinds, _ in chosen), strict=True))
        alike = [column[0] if len(set(column)) == 1 else "" for column in columns]
        assert maker("differs", str(out), alike, entries) == ""
        assert maker("join", str(folder / "joined.root"), [str(out), str(out)])
        assert maker("differs", str(folder / "joined.root"), alike, entries * 2) == ""
        # what differs is what a merge of values makes of it; that can't read all objects
        options = MergeOptions(schema="backfill", on_refused="drop")
        ValueMerge(parts, [], folder / "values.root", options, None, copying=False).run({})
        names = [f"b{n}" for n, column in enumerate(columns, 1) if set(column) <= {*READABLE, ""}]
        names += [f"b{n}_n" for n, column in enumerate(columns, 1) if "counted" in "".join(column)]
        with uproot.open(out) as one, uproot.open(folder / "values.root") as other:
            for name in names:
                found, wanted = one["Events"][name].array(), other["Events"][name].array()
                assert (str(found.type), repr(found.tolist())) == (str(wanted.type), repr(wanted.tolist()))


SCAN = """
import json, sys, ROOT
answer = []
for path in sys.argv[1:]:
    file = ROOT.TFile.Open(path)
    tree = file.Get("Events")
    tree.SetScanField(0)
    read = sum(tree.GetEntry(entry) for entry in range(tree.GetEntries()))
    rows = tree.Draw("event:HLT_Only0:HLT_Only1:nBit:Sum$(Bit_x):Length$(Bit_x)", "", "goff")
    values = [[tree.GetVal(column)[row] for row in range(rows)] for column in range(6)]
    kept = ROOT.RDataFrame("Events", path).Filter("HLT_Only1 && Bit_x.size() == 2").Count().GetValue()
    leaf = tree.GetLeaf("nBit")
    answer.append([rows, read, values, kept, leaf.GetMaximum(), leaf.GetTypeName()])
print("DUMP" + json.dumps(answer))
"""


def test_root_reads_and_merges_what_was_filled(tmp_path: Path) -> None:
    paths = menus(tmp_path, 300)
    merge(paths, tmp_path / "copied.root", BACKFILL)
    ValueMerge(paths, [], tmp_path / "values.root", BACKFILL, None, copying=False).run({})
    hadd("-f", tmp_path / "hadd.root", tmp_path / "copied.root")
    hadd("-fk", tmp_path / "fast.root", tmp_path / "copied.root")
    names = ("copied", "values", "hadd", "fast")
    found = dumped(SCAN, *(tmp_path / f"{name}.root" for name in names))
    assert found == [found[0]] * 4
    rows, _, values, kept, largest, kind = found[0]
    assert (rows, kept, largest, kind) == (600, 100, 2, "Int_t")
    assert values[1] == [1] * 300 + [0] * 300
    assert values[3] == [n % 3 for n in range(300)] * 2


LONGEST = """
import json, sys, ROOT
file = ROOT.TFile.Open(sys.argv[1])
tree = file.Get("Events")
largest = tree.GetLeaf("n").GetMaximum()
rows = tree.Draw("x", "", "goff")
print("DUMP" + json.dumps([largest, [tree.GetV1()[row] for row in range(rows)]]))
"""


def test_root_has_room_for_the_longest_list_that_is_made(tmp_path: Path) -> None:
    """ROOT sizes what it reads by the largest count that the counter's leaf tells."""
    lists = jagged([[1], [2]], "i4")
    table = events(2).add(flat("n", "i4"), [1, 1]).add(counted("x", "i4", "n"), lists)
    write(tmp_path / "a.root", {"Events": table})
    write(tmp_path / "b.root", {"Events": events(2, first=5).add(flat("n", "i4"), [0, 9])})
    merge([tmp_path / "a.root", tmp_path / "b.root"], tmp_path / "out.root", BACKFILL)
    assert dumped(LONGEST, tmp_path / "out.root") == [9, [1, 2] + [0] * 9]


def test_lists_whose_offsets_depend_on_their_counter_are_unpacked(maker: Told, tmp_path: Path) -> None:
    parts = [tmp_path / "in0.root", tmp_path / "in1.root"]
    for number, (part, first) in enumerate(zip(parts, ("scalar I", ""), strict=True)):
        way = Way(60, 505, 1000, 99, 7, embedded=False, generated=True)
        maker("write", str(part), [first, "counted F"], 60 * number, *way)
    report = merge(parts, tmp_path / "out.root", BACKFILL)
    assert report.output.content is not None, "it was unpacked"
    assert maker("differs", str(tmp_path / "out.root"), ["", "counted F"], list(range(120))) == ""


def test_branches_of_objects_that_are_missing_are_not_made_up(maker: Told, tmp_path: Path) -> None:
    parts = [tmp_path / "in0.root", tmp_path / "in1.root"]
    for number, (part, what) in enumerate(zip(parts, ("clones", ""), strict=True)):
        maker("write", str(part), [what], 60 * number, *Way(60, 505, 1000, 99, 7, False, generated=False))
    with pytest.raises(UnsupportedContent, match=r"in0\.root.*<b1>"):
        merge(parts, tmp_path / "out.root", BACKFILL)
    assert not (tmp_path / "out.root").exists()
