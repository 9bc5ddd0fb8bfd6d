from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from grid.rootio.merge import MergeOptions, MergeReport, merge
from grid.rootio.source import open_source
from grid.rootio.split import SplitRecipe, split
from grid.trigger import TriggerTable
from sitecfg.errors import ClosureError, CorruptFile, SchemaMismatch
from tests.grid.rootio.making import Table, events, flat, nano, read_lists, runs, sections, write

if TYPE_CHECKING:
    from pathlib import Path

STREAMS = {"ele": ("HLT_Ele*",), "mu": ("HLT_IsoMu*",), "jet": ("HLT_Jet*",)}


def cut(folder: Path, name: str, **how: Any) -> list[Path]:
    table = TriggerTable(name="T", tag=1, streams=STREAMS)
    outs = {stream: folder / f"{name}.{stream}.root" for stream in STREAMS}
    split(folder / f"{name}.root", outs, SplitRecipe(table=table, **how))
    return list(outs.values())


def weights(path: Path) -> list[float]:
    return read_lists(path, "Runs")["genEventSumw"]


def test_streams_of_one_file_put_together_have_its_rows_once(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 50)
    report = merge(cut(tmp_path, "in"), tmp_path / "out.root")
    for tree in ("Runs", "LuminosityBlocks"):
        assert read_lists(tmp_path / "out.root", tree) == read_lists(tmp_path / "in.root", tree)
    assert report.repeated_rows == {"Runs": 2, "LuminosityBlocks": 10}


def test_equal_rows_of_different_files_are_different_rows(tmp_path: Path) -> None:
    """Two simulated files of unit weights say the same about themselves; both count."""
    paths = []
    for number in (0, 1):
        trees = {"Events": events(20, seed=number, first=20 * number), "Runs": runs(1, 20.0)}
        write(tmp_path / f"in{number}.root", trees)
        paths.append(cut(tmp_path, f"in{number}"))
    first = merge([one[0] for one in paths], tmp_path / "ele.root")
    assert weights(tmp_path / "ele.root") == [20.0, 20.0]
    merge([one[1] for one in paths], tmp_path / "mu.root")
    # ... and still do when streams are put together later
    second = merge([tmp_path / "ele.root", tmp_path / "mu.root"], tmp_path / "all.root")
    assert weights(tmp_path / "all.root") == [20.0, 20.0]
    assert (first.repeated_rows, second.repeated_rows) == ({"Runs": 0}, {"Runs": 2})


def test_run_sections_are_listed_once(tmp_path: Path) -> None:
    """Two files of the same run that share a section."""
    nano(tmp_path / "a.root", 25)
    nano(tmp_path / "b.root", 25, seed=2, first=25)
    out = tmp_path / "out.root"
    merge([cut(tmp_path, "a")[0], cut(tmp_path, "b")[0]], out)
    assert read_lists(out, "LuminosityBlocks")["luminosityBlock"] == [1, 2, 3, 4, 5]
    assert weights(out) == [1.0, 2.0]


def test_where_nothing_is_recorded_equal_rows_are_kept_once_and_said(tmp_path: Path) -> None:
    nano(tmp_path / "a.root", 10)
    write(tmp_path / "b.root", {"Events": events(10, first=10), "Runs": runs(1, 1.0)})
    write(tmp_path / "c.root", {"Events": events(10, first=20), "Runs": runs(1, 7.0)})
    report = merge([tmp_path / f"{name}.root" for name in "abc"], tmp_path / "out.root")
    assert weights(tmp_path / "out.root") == [1.0, 7.0]
    assert any("Runs: 1 rows are the same in every value" in note for note in report.notes)


def test_rows_without_a_run_are_all_kept(tmp_path: Path) -> None:
    for number in (0, 1):
        hits = Table().add(flat("channel", "i4"), [1, 1, 2])
        write(tmp_path / f"in{number}.root", {"Events": events(5, first=5 * number), "hits": hits})
    report = merge([tmp_path / "in0.root", tmp_path / "in1.root"], tmp_path / "out.root")
    assert read_lists(tmp_path / "out.root", "hits")["channel"] == [1, 1, 2, 1, 1, 2]
    assert report.notes == ()


def test_rows_of_events_are_all_kept(tmp_path: Path) -> None:
    for number in (0, 1):
        made = Table().add(flat("run", "u4"), [1]).add(flat("event", "u8"), [3])
        write(tmp_path / f"in{number}.root", {"Events": events(5, first=5 * number), "extra": made})
    merge([tmp_path / "in0.root", tmp_path / "in1.root"], tmp_path / "out.root")
    assert read_lists(tmp_path / "out.root", "extra")["event"] == [3, 3]


def test_equal_rows_within_one_file_stay(tmp_path: Path) -> None:
    twice = runs(1, 1.0).take([0, 0])
    write(tmp_path / "in.root", {"Events": events(5), "Runs": twice})
    merge([tmp_path / "in.root"], tmp_path / "out.root")
    assert weights(tmp_path / "out.root") == [1.0, 1.0]


def test_everything_is_kept_when_asked(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 20)
    merge(cut(tmp_path, "in"), tmp_path / "out.root", MergeOptions(side="concat"))
    assert weights(tmp_path / "out.root") == [1.0] * 3
    assert len(read_lists(tmp_path / "out.root", "LuminosityBlocks")["run"]) == 6


def test_rows_that_claim_an_origin_they_do_not_have_are_refused(tmp_path: Path) -> None:
    for name, weight in (("a", 1.0), ("b", 2.0)):
        record = {"origins": {"Runs": [{"origin": "f" * 32, "rows": 1}]}}
        write(tmp_path / f"{name}.root", {"Events": events(5), "Runs": runs(1, weight)}, record=record)
    with pytest.raises(ClosureError, match="should be those of an earlier input") as caught:
        merge([tmp_path / "a.root", tmp_path / "b.root"], tmp_path / "out.root")
    assert caught.value.where == f"{tmp_path / 'b.root'}: Runs"
    assert not (tmp_path / "out.root").exists()


def test_a_record_that_contradicts_the_tree_is_not_believed(tmp_path: Path) -> None:
    record = {"origins": {"Runs": [{"origin": "f" * 32, "rows": 5}]}}
    for name, weight in (("a", 1.0), ("b", 2.0)):
        write(tmp_path / f"{name}.root", {"Events": events(5), "Runs": runs(1, weight)}, record=record)
    merge([tmp_path / "a.root", tmp_path / "b.root"], tmp_path / "out.root")
    assert weights(tmp_path / "out.root") == [1.0, 2.0]
    with open_source(tmp_path / "out.root") as source:
        assert source.record is not None
        assert source.record["origins"]["Runs"] == [{"origin": "", "rows": 2}]


def test_a_tree_that_only_some_inputs_have_is_carried(tmp_path: Path) -> None:
    write(tmp_path / "a.root", {"Events": events(5)})
    nano(tmp_path / "b.root", 5, first=5)
    report: MergeReport = merge([tmp_path / "a.root", tmp_path / "b.root"], tmp_path / "out.root")
    assert report.output.trees == {"Events": 10, "Runs": 1, "LuminosityBlocks": 1}


def test_side_trees_of_different_schema_are_refused(tmp_path: Path) -> None:
    nano(tmp_path / "a.root", 5)
    write(tmp_path / "b.root", {"Events": events(5, first=5), "Runs": Table().add(flat("run", "u4"), [1])})
    with pytest.raises(SchemaMismatch, match="genEventSumw") as caught:
        merge([tmp_path / "a.root", tmp_path / "b.root"], tmp_path / "out.root")
    assert caught.value.where == f"{tmp_path / 'b.root'}: Runs"


def test_many_rows_in_small_chunks(tmp_path: Path) -> None:
    made = events(1000)
    write(tmp_path / "in.root", {"Events": made, "LuminosityBlocks": sections(made)}, cluster_bytes=500)
    merge(cut(tmp_path, "in", memory_bytes=4000), tmp_path / "out.root", MergeOptions(memory_bytes=200))
    assert read_lists(tmp_path / "out.root", "LuminosityBlocks")["luminosityBlock"] == list(np.arange(1, 101))


@pytest.mark.parametrize(
    "said", [7, {"Runs": [{}]}, {"Runs": [{"origin": "", "rows": "many"}]}, {"Runs": [3]}]
)
def test_a_record_that_says_nonsense_of_rows_is_refused_or_passed_over(tmp_path: Path, said: object) -> None:
    write(tmp_path / "in.root", {"Events": events(5), "Runs": runs(1, 1.0)}, record={"origins": said})
    if isinstance(said, dict):
        with pytest.raises(CorruptFile, match="nonsense"):
            merge([tmp_path / "in.root"], tmp_path / "out.root")
        assert not (tmp_path / "out.root").exists()
    else:
        merge([tmp_path / "in.root"], tmp_path / "out.root")
