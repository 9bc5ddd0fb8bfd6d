from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grid.rootio.books import total
from grid.rootio.facts import file_facts
from grid.rootio.source import open_source
from grid.rootio.split import ALL, SplitRecipe, SplitReport, split
from grid.rootio.tally import sum_hex
from grid.trigger import TriggerTable
from kernels import fingerprint, prescale
from sitecfg.errors import (
    MissingIdentity,
    OutputExists,
    SchemaMismatch,
    TriggerTableError,
    UsageError,
)
from tests.grid.rootio.making import PATHS, Table, as_lists, flat, nano, read_lists, write

if TYPE_CHECKING:
    from pathlib import Path

#: Rules make a split look at values.
VALUES = ("keep *",)
STREAMS = {"ele": ("HLT_Ele*",), "mu": ("HLT_IsoMu24_v*",), "any": ("HLT_*",)}


def table(**streams: tuple[str, ...]) -> TriggerTable:
    return TriggerTable(name="TEST", tag=1, streams=streams or STREAMS)


def run(source: Path, folder: Path, how: SplitRecipe | None = None, **more: Any) -> SplitReport:
    how = how or SplitRecipe(table=table())
    streams = how.table.streams if isinstance(how.table, TriggerTable) else [ALL]
    return split(source, {stream: folder / f"{stream}.root" for stream in streams}, how, **more)


def fired(one: Table) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.stack([one.columns[path].values for path in PATHS])


def wanted(one: Table) -> dict[str, np.ndarray[Any, np.dtype[np.bool_]]]:
    bits = fired(one)
    return {"ele": bits[0], "mu": bits[1], "any": bits.any(axis=0)}


def test_each_stream_has_its_events_and_every_value_of_them(tmp_path: Path) -> None:
    made = nano(tmp_path / "in.root", 200)
    report = run(tmp_path / "in.root", tmp_path)
    for stream, chosen in wanted(made).items():
        assert read_lists(tmp_path / f"{stream}.root") == as_lists(made.take(np.flatnonzero(chosen)))
        for side in ("Runs", "LuminosityBlocks"):
            assert read_lists(tmp_path / f"{stream}.root", side) == read_lists(tmp_path / "in.root", side)
    assert [output.events for output in report.outputs] == [int(c.sum()) for c in wanted(made).values()]
    assert report.events == 200


def test_the_books_close(tmp_path: Path) -> None:
    made = nano(tmp_path / "in.root", 200)
    report = run(tmp_path / "in.root", tmp_path, SplitRecipe(table=table(), keep=VALUES, memory_bytes=3000))
    facts = file_facts(tmp_path / "in.root")
    whole = total(report.books)
    assert (whole.events, whole.fingerprint, whole.content) == (
        facts.events,
        facts.fingerprint,
        facts.content,
    )
    masks = sum(chosen.astype(int) << bit for bit, chosen in enumerate(wanted(made).values()))
    found, counts = np.unique(masks, return_counts=True)
    assert {book.mask: book.events for book in report.books} == dict(
        zip(found.tolist(), counts.tolist(), strict=True)
    )
    assert 0 in found, "events in no stream are counted"
    for output in report.outputs:
        booked = total(report.books, output.stream_bit)
        reread = file_facts(output.path)
        assert (booked.events, booked.fingerprint, booked.content) == (
            reread.events,
            reread.fingerprint,
            reread.content,
        )
        assert (output.sections, output.trees) == (reread.sections, reread.trees)
        assert (output.bytes, output.adler32, output.xxh3) == (reread.bytes, reread.adler32, reread.xxh3)
    chosen = list(wanted(made).values())
    assert report.overlap == tuple(tuple(int((a & b).sum()) for b in chosen) for a in chosen)


@settings(deadline=None, max_examples=12)
@given(data=st.data(), n=st.integers(0, 60), memory=st.sampled_from([300, 2000, 1 << 27]))
def test_random_tables_do_what_numpy_does(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, n: int, memory: int
) -> None:
    folder = tmp_path_factory.mktemp("split")
    made = nano(folder / "in.root", n, seed=data.draw(st.integers(0, 99)), cluster_bytes=1000)
    streams = {
        f"s{number}": tuple(data.draw(st.sets(st.sampled_from(PATHS), min_size=1)))
        for number in range(data.draw(st.integers(1, 4)))
    }
    weights = {path: data.draw(st.integers(1, 3)) for path in {p for ps in streams.values() for p in ps}}
    how = SplitRecipe(
        table=TriggerTable(name="R", tag=2, streams=streams, prescales=weights), memory_bytes=memory
    )
    report = run(folder / "in.root", folder, how)
    keys = fingerprint.event_keys([made.columns[name].values for name in ("run", "luminosityBlock", "event")])
    resolved = table(**streams).resolve(PATHS)
    salt = dict(zip(resolved.paths, resolved.salts.tolist(), strict=True))
    bits = {
        path: made.columns[path].values & prescale.keep(keys, weights[path], salt[path]) for path in weights
    }
    for stream, paths in streams.items():
        chosen = np.any([bits[path] for path in paths], axis=0)
        assert read_lists(folder / f"{stream}.root") == as_lists(made.take(np.flatnonzero(chosen)))
    assert total(report.books).events == n


def test_outputs_are_the_same_bytes_wherever_and_however_they_are_made(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 100)
    sums = []
    for name, memory in (("one", 1 << 27), ("two", 1500)):
        (tmp_path / name).mkdir()
        report = run(tmp_path / "in.root", tmp_path / name, SplitRecipe(table=table(), memory_bytes=memory))
        sums.append([output.xxh3 for output in report.outputs])
    assert sums[0] == sums[1]
    assert len(set(sums[0])) == 3


def test_an_empty_input_gives_one_empty_output_per_stream(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 0)
    report = run(tmp_path / "in.root", tmp_path)
    assert [(output.stream, output.events) for output in report.outputs] == [
        ("ele", 0),
        ("mu", 0),
        ("any", 0),
    ]
    assert report.books == ()
    assert {tuple(output.trees.items()) for output in report.outputs} == {
        (("Events", 0), ("Runs", 1), ("LuminosityBlocks", 0))
    }
    assert list(read_lists(tmp_path / "mu.root")) == list(read_lists(tmp_path / "in.root"))


def test_without_a_table_there_is_one_stream(tmp_path: Path) -> None:
    made = nano(tmp_path / "in.root", 30)
    report = run(tmp_path / "in.root", tmp_path, SplitRecipe())
    assert report.streams == (ALL,)
    assert read_lists(tmp_path / "all.root") == as_lists(made)


def test_types_titles_and_counters_stay(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 30)
    run(tmp_path / "in.root", tmp_path)
    with open_source(tmp_path / "in.root") as one, open_source(tmp_path / "mu.root") as two:
        assert one.info("Events").branches == two.info("Events").branches
        assert one.info("Events").title == two.info("Events").title
        assert one.compression == two.compression


def test_keep_rules_choose_branches_and_are_recorded(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 30)
    how = SplitRecipe(table=table(), keep=("drop *", "keep run", "keep lumi*", "keep event", "keep Muon_pt"))
    report = run(tmp_path / "in.root", tmp_path, how)
    names = list(read_lists(tmp_path / "ele.root"))
    assert names == ["run", "luminosityBlock", "event", "nMuon", "Muon_pt"], (
        "what counts an array stays with it"
    )
    assert ("Events", "MET_pt", "by rule") in report.dropped_branches
    with open_source(tmp_path / "ele.root") as source:
        assert source.record is not None
        assert ["Events", "MET_pt", "by rule"] in source.record["dropped"]


def test_rules_may_not_drop_the_identity(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 3)
    with pytest.raises(UsageError, match="the rules drop event, which identify"):
        run(tmp_path / "in.root", tmp_path, SplitRecipe(table=table(), keep=("drop event",)))
    with pytest.raises(UsageError, match="matches no branch"):
        run(tmp_path / "in.root", tmp_path, SplitRecipe(table=table(), keep=("drop Elektron_*",)))


def test_the_record_says_where_the_events_are_from(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 30)
    run(tmp_path / "in.root", tmp_path, record={"recipe": "abc", "parents": [{"name": "s:in"}]})
    facts = file_facts(tmp_path / "in.root")
    record = file_facts(tmp_path / "mu.root").record
    assert record is not None
    assert record["recipe"] == "abc"
    assert record["stream"] == "mu"
    assert record["table"] == {"name": "TEST/1", "hash": table().hash}
    assert record["inputs"] == [{"xxh3": facts.xxh3, "events": 30}]
    assert record["origins"]["Runs"] == [{"origin": facts.xxh3, "rows": 1}]


def test_a_table_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 3)
    with pytest.raises(TriggerTableError, match="HLT_IsoMu"):
        run(tmp_path / "in.root", tmp_path, SplitRecipe(table=table(mu=("HLT_IsoMu27*",))))
    assert [path.name for path in tmp_path.iterdir()] == ["in.root"]


def test_outputs_must_fit_the_streams_and_are_never_overwritten(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 3)
    with pytest.raises(UsageError, match="outputs are needed for the streams ele, mu, any"):
        split(tmp_path / "in.root", {"ele": tmp_path / "ele.root"}, SplitRecipe(table=table()))
    (tmp_path / "mu.root").write_text("mine")
    with pytest.raises(OutputExists):
        run(tmp_path / "in.root", tmp_path)
    assert (tmp_path / "mu.root").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.root", "mu.root"]


def test_identity_by_entry_adds_branches(tmp_path: Path) -> None:
    write(tmp_path / "in.root", {"t": Table().add(flat("x", "f4"), np.arange(9.0))})
    with pytest.raises(MissingIdentity):
        run(tmp_path / "in.root", tmp_path, SplitRecipe())
    report = run(tmp_path / "in.root", tmp_path, SplitRecipe(identity=("entry",)))
    facts = file_facts(tmp_path / "in.root", identity=("entry",))
    again = file_facts(tmp_path / "all.root", identity=("entry",))
    assert report.outputs[0].fingerprint == facts.fingerprint == again.fingerprint
    lists = read_lists(tmp_path / "all.root", "t")
    assert lists["mdcgrid_entry"] == list(range(9))
    assert set(lists["mdcgrid_file"]) == {int(facts.xxh3[:16], 16)}


def test_other_objects_are_in_every_output_whole(tmp_path: Path) -> None:
    import uproot

    with uproot.recreate(tmp_path / "in.root") as file:
        file.mktree("Events", {"event": np.int64}).extend({"event": np.arange(4)})
        file["control/pt"] = np.histogram(np.arange(10.0))
    report = run(tmp_path / "in.root", tmp_path, SplitRecipe(identity=("event",)))
    assert report.dropped_branches == ()
    assert report.notes == ("what is no tree is in every output as it is in the input: control/pt",)
    with uproot.open(tmp_path / "in.root") as before, uproot.open(tmp_path / "all.root") as after:
        assert after["control/pt"].all_members.keys() == before["control/pt"].all_members.keys()
        assert (after["control/pt"].values(flow=True) == before["control/pt"].values(flow=True)).all()


def test_one_of_two_parallel_trees_is_not_cut_alone(tmp_path: Path) -> None:
    one, two = Table().add(flat("event", "u8"), np.arange(9)), Table().add(flat("x", "f4"), np.arange(9))
    write(tmp_path / "in.root", {"T": one, "E": two})
    with pytest.raises(SchemaMismatch, match=r"name both as event trees .--tree. to cut them together: T, E"):
        run(tmp_path / "in.root", tmp_path, SplitRecipe(identity=("event",)))
    run(tmp_path / "in.root", tmp_path, SplitRecipe(identity=("event",), event_trees=("T", "E")))
    assert file_facts(tmp_path / "all.root", identity=("event",)).event_trees == ("T", "E"), (
        "the record says so"
    )


def test_progress_goes_up_to_its_end(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 100)
    told: list[tuple[int, int]] = []
    run(
        tmp_path / "in.root",
        tmp_path,
        SplitRecipe(table=table(), memory_bytes=1000),
        progress=lambda done, whole: told.append((done, whole)),
    )
    assert len(told) > 5
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (200, 200)


def test_reports_are_plain_json(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 10)
    report = json.loads(json.dumps(run(tmp_path / "in.root", tmp_path).to_json()))
    assert report["outputs"][0]["stream"] == "ele"
    assert report["books"][0]["mask"] == 0


def test_an_input_whose_events_are_known_adds_up(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 50)
    report = run(tmp_path / "in.root", tmp_path)
    summed = sum_hex([str(book.fingerprint) for book in report.books])
    assert summed == file_facts(tmp_path / "in.root").fingerprint


@pytest.mark.parametrize("name", ["Run2012B_SingleMu_1000.root", "nano_dy.root"])
def test_real_files_split_as_uproot_says(tmp_path: Path, real_data: Path, name: str) -> None:
    import awkward as ak
    import uproot

    streams = table(mu=("HLT_IsoMu24*",), tau=("HLT_IsoMu*Tau*",))
    report = run(real_data / name, tmp_path, SplitRecipe(table=streams))
    paths = streams.resolve(file_facts(real_data / name).menu).stream_paths()
    with uproot.open(real_data / name) as source:
        menu = {path for of in paths.values() for path in of}
        # ROOT compares every branch in test_real_judge.py
        some = [n for i, n in enumerate(source["Events"].keys()) if i % 10 == 0 or n in menu]
        whole = source["Events"].arrays(some, library="ak", how=dict)
    for output in report.outputs:
        chosen = np.any([ak.to_numpy(whole[path]) for path in paths[output.stream]], axis=0)
        with uproot.open(output.path) as file:
            back = file["Events"].arrays(some, library="ak", how=dict)
        assert [n for n in some if not ak.array_equal(back[n], whole[n][chosen], equal_nan=True)] == []
