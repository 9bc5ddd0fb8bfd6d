"""RNTuples that hold no events, beside those that do: nothing lost, nothing doubled, and RNTuples they stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pytest
import uproot

from grid.rootio.gather import clusterfill
from grid.rootio.split import SplitRecipe, split
from grid.rootio.verify import verify
from grid.trigger import TriggerTable
from sitecfg.errors import ClosureError, CorruptFile, SchemaMismatch, UnsupportedContent
from tests.grid.rootio.ntuples import DEPTHS, arrays, merged, same

if TYPE_CHECKING:
    from pathlib import Path

    from grid.rootio.merging import MergeReport


def write(path: Path, run: int, first: int = 0, *, trees: bool = False, **more: Any) -> Path:
    """Write 60 events of a run, its row of 3 weights, and its 6 sections; `more` are fields of the row."""
    events = {
        "run": np.full(60, run, "u4"),
        "luminosityBlock": np.repeat(np.arange(6, dtype="u4"), 10),
        "event": np.arange(first, first + 60, dtype="u8"),
        "HLT_a": np.arange(60) % 2 == 0,
        "HLT_b": np.arange(60) % 3 == 0,
    }
    row = {"run": np.full(1, run, "u4"), "weights": ak.Array([[run * 0.5, 1.0, 2.0]]), **more}
    sections = {name: events[name][::10] for name in ("run", "luminosityBlock")}
    with uproot.recreate(path) as file:
        make = file.mktree if trees else file.mkrntuple
        tree = make("Events", events if not trees else {name: one.dtype for name, one in events.items()})
        if trees:
            tree.extend(events)
        file.mkrntuple("Runs", row)
        file.mkrntuple("meta/Sections", sections)
    return path


def runs(path: Path) -> list[tuple[int, list[float]]]:
    found = arrays(path, tree="Runs")
    return list(zip(found["run"].tolist(), found["weights"].tolist(), strict=True))


def sound(report: MergeReport, **trees: int) -> None:
    """Hold what was reported against what other readers find."""
    verify(report.output.path)
    assert {name.rpartition("/")[2]: number for name, number in report.output.trees.items()} == trees
    with uproot.open(report.output.path) as file:
        for name, number in report.output.trees.items():
            assert file[name].num_entries == number
        assert file.classname_of("Runs") == "ROOT::RNTuple"


@pytest.mark.parametrize("trees", [False, True])
@pytest.mark.parametrize("depth", DEPTHS)
def test_rows_of_different_files_are_all_kept(tmp_path: Path, depth: str, trees: bool) -> None:
    """Beside events in RNTuples, or in trees."""
    sources = [write(tmp_path / f"{run}.root", run, trees=trees) for run in (1, 2, 3)]
    report = merged(sources, tmp_path / "out.root", depth)
    sound(report, Events=180, Runs=3, Sections=18)
    assert runs(tmp_path / "out.root") == [(run, [run * 0.5, 1.0, 2.0]) for run in (1, 2, 3)]
    again = merged(
        [tmp_path / "out.root", write(tmp_path / "4.root", 4, trees=trees)], tmp_path / "two.root", depth
    )
    sound(again, Events=240, Runs=4, Sections=24)


@pytest.mark.parametrize("trees", [False, True])
def test_rows_of_one_file_that_came_to_several_streams_are_kept_once(tmp_path: Path, trees: bool) -> None:
    table = TriggerTable(name="T", tag=1, streams={"a": ("HLT_a",), "b": ("HLT_b",)})
    parts: list[Path] = []
    for run in (1, 2):
        source = write(tmp_path / f"in{run}.root", run, trees=trees)
        outs = {name: tmp_path / f"{run}{name}.root" for name in ("a", "b")}
        split(source, outs, SplitRecipe(table=table))
        parts += outs.values()
    for path in parts:
        with uproot.open(path) as file:
            assert file.classname_of("Events") == ("TTree" if trees else "ROOT::RNTuple")
            assert file.classname_of("Runs") == "ROOT::RNTuple"
    report = merged(parts, tmp_path / "out.root", "proven")
    sound(report, Events=100, Runs=2, Sections=12)
    assert report.repeated_rows == {"Runs": 2, "meta/Sections": 12}
    assert runs(tmp_path / "out.root") == [(1, [0.5, 1.0, 2.0]), (2, [1.0, 1.0, 2.0])]


def test_rows_of_unknown_origin_are_compared(tmp_path: Path) -> None:
    sources = [write(tmp_path / "a.root", 1), write(tmp_path / "b.root", 1, first=60)]
    report = merged(sources, tmp_path / "out.root")
    sound(report, Events=120, Runs=1, Sections=6)
    assert any("1 rows are the same in every value" in note for note in report.notes)
    report = merged(sources, tmp_path / "all.root", side="concat")
    sound(report, Events=120, Runs=2, Sections=12)


def test_fields_that_differ_are_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "a.root", 1)
    others = [
        write(tmp_path / "b.root", 2, extra=np.ones(1)),
        write(tmp_path / "c.root", 2, weights=np.ones(1)),
    ]
    for other in others:
        with pytest.raises(SchemaMismatch) as caught:
            merged([one, other], tmp_path / "out.root")
        assert str(other) in str(caught.value)
        assert not (tmp_path / "out.root").exists()


def test_a_tree_is_no_ntuple(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a.root", 1), tmp_path / "b.root"
    with uproot.recreate(other) as file:
        file.mkrntuple("Events", arrays(one))
        file.mktree("Runs", {"run": "u4", "weights": "var * float64"}).extend(arrays(one, tree="Runs"))
    for sources in ([one, other], [other, one]):
        with pytest.raises(SchemaMismatch):
            merged(sources, tmp_path / "out.root")


def test_fields_that_nobody_can_compare(tmp_path: Path) -> None:
    """They are refused, left out whole, or carried where nothing has to be compared."""
    record = ak.Array([{"x": 1, "y": 2.5}])
    sources = [write(tmp_path / f"{run}.root", run, pair=record) for run in (1, 2)]
    with pytest.raises(UnsupportedContent, match="pair"):
        merged(sources, tmp_path / "out.root")
    report = merged(sources, tmp_path / "out.root", on_refused="drop")
    assert report.output.trees == {"Events": 120, "meta/Sections": 12}
    assert [(path, name) for path, name, _ in report.dropped_branches] == [("Runs", "")]
    report = merged(sources, tmp_path / "all.root", side="concat")
    sound(report, Events=120, Runs=2, Sections=12)
    same(arrays(tmp_path / "all.root", ["pair"], tree="Runs"), {"pair": ak.concatenate([record, record])})


def test_rows_that_went_wrong_in_writing_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [write(tmp_path / f"{run}.root", run) for run in (1, 2)]
    end = clusterfill.StreamFill.end_cluster

    def faulty(fill: clusterfill.StreamFill) -> None:
        fill._pages[0], fill._pages[-1] = fill._pages[-1], fill._pages[0]
        end(fill)

    monkeypatch.setattr(clusterfill.StreamFill, "end_cluster", faulty)
    with pytest.raises((ClosureError, CorruptFile)):
        merged(sources, tmp_path / "out.root")
    assert not (tmp_path / "out.root").exists()
