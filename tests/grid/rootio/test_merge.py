from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grid.rootio.facts import file_facts
from grid.rootio.merge import MergeOptions, MergeReport, merge
from grid.rootio.source import open_source
from grid.rootio.split import SplitRecipe, split
from grid.rootio.tally import sum_hex
from grid.trigger import TriggerTable
from sitecfg.errors import (
    DuplicateEvents,
    GridError,
    MissingFile,
    MissingIdentity,
    OutputExists,
    SchemaMismatch,
    TruncatedFile,
    UsageError,
)
from tests.grid.rootio.making import (
    PATHS,
    Table,
    as_lists,
    counted,
    events,
    flat,
    jagged,
    nano,
    read_lists,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path


def parts(folder: Path, sizes: list[int], **how: Any) -> list[Path]:
    first, paths = 0, []
    for number, size in enumerate(sizes):
        nano(folder / f"in{number}.root", size, seed=number, first=first, run=number + 1, **how)
        paths.append(folder / f"in{number}.root")
        first += size
    return paths


@settings(deadline=None, max_examples=12)
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=4), memory=st.sampled_from([300, 1 << 27]))
def test_a_merge_is_its_inputs_one_behind_the_other(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], memory: int
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    paths = parts(folder, sizes, cluster_bytes=1500)
    report = merge(paths, folder / "out.root", MergeOptions(memory_bytes=memory))
    inputs = [read_lists(path) for path in paths]
    back = read_lists(folder / "out.root")
    assert back == {name: [value for one in inputs for value in one[name]] for name in inputs[0]}
    facts = [file_facts(path) for path in paths]
    assert report.output.events == sum(sizes)
    assert report.output.fingerprint == sum_hex([str(one.fingerprint) for one in facts])
    assert file_facts(folder / "out.root").content == sum_hex([one.content for one in facts])
    assert report.output.sections == tuple(section for one in facts for section in one.sections)
    assert report.duplicates.events == 0
    assert [(one.path, one.xxh3, one.events) for one in report.inputs] == [
        (str(path), one.xxh3, one.events) for path, one in zip(paths, facts, strict=True)
    ]


@settings(deadline=None, max_examples=8)
@given(data=st.data(), n=st.integers(0, 40))
def test_merging_the_splits_gives_the_whole_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, n: int
) -> None:
    folder = tmp_path_factory.mktemp("round")
    made = events(n, seed=data.draw(st.integers(0, 50)))
    # every event fires exactly one path, so the streams share nothing and leave nothing out
    choice = np.random.default_rng(n).integers(0, 3, n)
    for number, path in enumerate(PATHS):
        made.columns[path].values[:] = choice == number
    write(folder / "in.root", {"Events": made})
    table = TriggerTable(name="T", tag=1, streams={f"s{i}": (path,) for i, path in enumerate(PATHS)})
    outs = {stream: folder / f"{stream}.root" for stream in table.streams}
    split(folder / "in.root", outs, SplitRecipe(table=table))
    report = merge(list(outs.values()), folder / "out.root")
    whole = file_facts(folder / "in.root")
    assert (report.output.events, report.output.fingerprint) == (n, whole.fingerprint)
    assert file_facts(folder / "out.root").content == whole.content
    order = np.argsort(choice, kind="stable")
    assert read_lists(folder / "out.root") == as_lists(made.take(order))


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    paths = parts(tmp_path, [30, 20])
    one = merge(paths, tmp_path / "one.root")
    two = merge(paths, tmp_path / "two.root", MergeOptions(memory_bytes=500))
    assert one.output.xxh3 == two.output.xxh3
    with open_source(tmp_path / "one.root") as source:
        assert source.compression == "zlib:1"
        assert source.record is not None
        assert [part["events"] for part in source.record["inputs"]] == [30, 20]


def test_events_that_occur_twice_are_reported_or_refused(tmp_path: Path) -> None:
    made = nano(tmp_path / "a.root", 30)
    write(tmp_path / "b.root", {"Events": made.take([5, 29])})
    paths = [tmp_path / "a.root", tmp_path / "b.root"]
    report = merge(paths, tmp_path / "out.root")
    assert (report.output.events, report.duplicates.events) == (32, 2)
    assert report.duplicates.by == ("run", "luminosityBlock", "event")
    assert (
        report.duplicates.first[0]
        == f"run 1, luminosityBlock 1, event 5: {paths[0]} entry 5 and {paths[1]} entry 0"
    )
    assert report.duplicates.files == ((str(paths[0]), str(paths[1]), 2),)
    with pytest.raises(DuplicateEvents, match="2 events occur more than once, first: run 1"):
        merge(paths, tmp_path / "strict.root", MergeOptions(duplicates="refuse"))
    assert not (tmp_path / "strict.root").exists()


def test_without_identity_the_values_are_compared(tmp_path: Path) -> None:
    one = Table().add(flat("n", "i4"), [1, 2]).add(counted("x", "f4", "n"), jagged([[1], [1, 2]], "f4"))
    two = Table().add(flat("n", "i4"), [2, 2]).add(counted("x", "f4", "n"), jagged([[2, 1], [1, 2]], "f4"))
    write(tmp_path / "a.root", {"t": one})
    write(tmp_path / "b.root", {"t": two})
    report = merge([tmp_path / "a.root", tmp_path / "b.root"], tmp_path / "out.root")
    assert report.output.fingerprint is None
    assert report.duplicates.events == 1
    assert report.duplicates.first == (
        f"the same values: {tmp_path}/a.root entry 1 and {tmp_path}/b.root entry 1",
    )
    with pytest.raises(MissingIdentity):
        merge([tmp_path / "a.root"], tmp_path / "no.root", MergeOptions(identity=("event",)))


def other(change: str) -> Table:
    made = events(5, first=100)
    if change == "a branch less":
        made.branches = [branch for branch in made.branches if branch.name != "MET_pt"]
    elif change == "a branch more":
        made.add(flat("PV_npvs", "i4"), np.zeros(5))
    elif change == "a path more":
        made.add(flat("HLT_New_v1", "?"), np.zeros(5))
    elif change == "another type":
        made.branches[6] = flat("MET_pt", "f8")
        made.add(made.branches.pop(6), np.zeros(5))
    made.columns = {branch.name: made.columns[branch.name] for branch in made.branches}
    return made


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("a branch less", "another schema.*1 branches are missing: MET_pt"),
        ("a branch more", "another schema.*1 branches are not expected: PV_npvs"),
        ("a path more", "another trigger menu.*not expected: HLT_New_v1"),
        ("another type", "1 types differ: MET_pt is float64, not float32"),
    ],
)
def test_differences_of_schema_are_named(tmp_path: Path, change: str, words: str) -> None:
    nano(tmp_path / "a.root", 5)
    write(tmp_path / "b.root", {"Events": other(change)})
    with pytest.raises(SchemaMismatch, match=words) as caught:
        merge([tmp_path / "a.root", tmp_path / "b.root"], tmp_path / "out.root")
    assert caught.value.where == f"{tmp_path / 'b.root'}: Events"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.root", "b.root"]


def test_order_of_branches_and_titles_may_differ(tmp_path: Path) -> None:
    made = events(5)
    turned = Table([*made.branches[::-1]], made.columns)
    write(tmp_path / "a.root", {"Events": made})
    write(tmp_path / "b.root", {"Events": turned})
    merge([tmp_path / "a.root", tmp_path / "b.root"], tmp_path / "out.root")
    assert read_lists(tmp_path / "out.root") == {name: 2 * values for name, values in as_lists(made).items()}


def test_files_of_different_trigger_tables_are_not_mixed(tmp_path: Path) -> None:
    for number, streams in enumerate(({"x": ("HLT_Ele*",)}, {"x": ("HLT_Iso*",)})):
        nano(tmp_path / f"in{number}.root", 20, first=20 * number)
        table = TriggerTable(name="T", tag=number, streams=streams)
        split(tmp_path / f"in{number}.root", {"x": tmp_path / f"out{number}.root"}, SplitRecipe(table=table))
    with pytest.raises(SchemaMismatch, match=r"split by the trigger table T/1.*by T/0"):
        merge([tmp_path / "out0.root", tmp_path / "out1.root"], tmp_path / "out.root")


def test_identity_and_trees_are_remembered_from_the_split(tmp_path: Path) -> None:
    for number in (0, 1):
        x = Table().add(flat("x", "f4"), np.arange(3) + 10 * number)
        write(tmp_path / f"in{number}.root", {"t": x, "u": x})
        how = SplitRecipe(event_trees=("t", "u"), identity=("entry",))
        split(tmp_path / f"in{number}.root", {"all": tmp_path / f"all{number}.root"}, how)
    report = merge([tmp_path / "all0.root", tmp_path / "all1.root"], tmp_path / "out.root")
    assert report.output.trees == {"t": 6, "u": 6}
    assert report.output.fingerprint is not None
    assert report.notes == ()


@pytest.mark.parametrize("bad", ["missing", "cut", "empty"])
def test_the_bad_input_is_named_and_nothing_is_left(tmp_path: Path, bad: str) -> None:
    good, wrong = parts(tmp_path, [5, 5])
    data = wrong.read_bytes()
    wrong.unlink()
    if bad != "missing":
        wrong.write_bytes(data[:200] if bad == "cut" else b"")
    with pytest.raises((MissingFile, TruncatedFile)) as caught:
        merge([good, wrong], tmp_path / "out.root")
    assert str(wrong) in caught.value.where
    assert not (tmp_path / "out.root").exists()


def test_the_output_is_never_overwritten(tmp_path: Path) -> None:
    paths = parts(tmp_path, [5, 5])
    (tmp_path / "out.root").write_text("mine")
    with pytest.raises(OutputExists):
        merge(paths, tmp_path / "out.root")
    assert (tmp_path / "out.root").read_text() == "mine"
    with pytest.raises(OutputExists):
        merge(paths, paths[0])
    with pytest.raises(UsageError, match="nothing to merge"):
        merge([], tmp_path / "none.root")


def test_histograms_of_other_writers_are_added(tmp_path: Path) -> None:
    import uproot

    with uproot.recreate(tmp_path / "in.root") as file:
        file.mktree("t", {"x": np.float32}).extend({"x": np.arange(3, dtype=np.float32)})
        file["h"] = np.histogram(np.arange(10.0))
    merge([tmp_path / "in.root"] * 3, tmp_path / "out.root")
    with uproot.open(tmp_path / "in.root") as before, uproot.open(tmp_path / "out.root") as after:
        assert (after["h"].values() == 3 * before["h"].values()).all()
        assert after["t"].num_entries == 9


def merged(real_data: Path, folder: Path, names: list[str], **how: Any) -> MergeReport:
    return merge([real_data / name for name in names], folder / "out.root", MergeOptions(**how))


def test_lhcb_tuples_of_a_directory(tmp_path: Path, real_data: Path) -> None:
    report = merged(
        real_data, tmp_path, ["Tuple_1.root", "Tuple_2.root"], identity=("runNumber", "eventNumber")
    )
    assert report.output.trees == {"tuple/DecayTree": 80}
    back = read_lists(tmp_path / "out.root", "tuple/DecayTree")
    one, two = (read_lists(real_data / f"Tuple_{number}.root", "tuple/DecayTree") for number in (1, 2))
    assert back == {name: one[name] + two[name] for name in one}


def test_the_same_events_in_four_compressions(tmp_path: Path, real_data: Path) -> None:
    names = ["HZZ-uncompressed.root", "HZZ-lzma.root", "HZZ-lz4.root", "uproot-HZZ-zstd.root"]
    report = merged(real_data, tmp_path, names)
    assert report.output.events == 9684
    assert report.duplicates.events == 3 * 2421, "every event of the later three files"
    assert [count for _, _, count in report.duplicates.files] == [2421] * 3


def test_an_empty_file_adds_nothing(tmp_path: Path, real_data: Path) -> None:
    report = merged(real_data, tmp_path, ["nano_dy.root", "nano_dy_empty.root"])
    assert report.output.trees == {"Events": 40, "Runs": 1}
    assert report.output.fingerprint == file_facts(real_data / "nano_dy.root").fingerprint


@pytest.mark.parametrize(
    ("names", "kind", "words"),
    [
        (["nano_dy.root", "Run2012B_SingleMu_1000.root"], SchemaMismatch, "another trigger menu"),
        (["nano_dy.root", "nano_dy_rntuple.root"], SchemaMismatch, "its Events is a ROOT::RNTuple"),
        (["Run2012B_SingleMu_1000.root", "crashed.root"], TruncatedFile, r"crashed\.root"),
    ],
)
def test_real_files_that_do_not_go_together(
    tmp_path: Path, real_data: Path, names: list[str], kind: type[GridError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        merged(real_data, tmp_path, names)
    assert not (tmp_path / "out.root").exists()


def test_progress_goes_up_to_its_end(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    how = MergeOptions(memory_bytes=500)
    merge(parts(tmp_path, [30, 0, 30]), tmp_path / "out.root", how, progress=lambda *said: told.append(said))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    size = sum(path.stat().st_size for path in tmp_path.glob("in*"))
    assert len(set(told)) > 3
    assert told[-1] == (size, size)


def test_reports_are_plain_json(tmp_path: Path) -> None:
    report = merge(parts(tmp_path, [3, 3]), tmp_path / "out.root")
    assert json.loads(json.dumps(report.to_json()))["output"]["events"] == 6
