from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pytest

from grid.rootio.facts import file_facts
from grid.rootio.source import open_source
from grid.rootio.split import SplitRecipe, SplitReport, split
from grid.rootio.tally import sum_hex
from sitecfg.errors import CorruptFile, UserCodeError
from tests.grid.rootio.making import Table, as_lists, flat, nano, read_lists, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL = 1500


def run(folder: Path, function: Callable[[Any, Any], Any], **how: Any) -> SplitReport:
    recipe = SplitRecipe(**{"memory_bytes": SMALL, **how})
    return split(folder / "in.root", {"all": folder / "all.root"}, recipe, process=function)


@pytest.fixture
def made(tmp_path: Path) -> Table:
    return nano(tmp_path / "in.root", 100)


def test_a_selection_is_written_and_what_was_dropped_is_booked(tmp_path: Path, made: Table) -> None:
    report = run(tmp_path, lambda events, _: events[events.MET_pt > 30])
    chosen = np.flatnonzero(made.columns["MET_pt"].values > 30)
    assert read_lists(tmp_path / "all.root") == as_lists(made.take(chosen))
    assert report.dropped.events == 100 - len(chosen)
    whole = file_facts(tmp_path / "in.root").fingerprint
    assert sum_hex([str(report.dropped.fingerprint), str(report.books[0].fingerprint)]) == whole
    assert report.outputs[0].events == len(chosen)


def test_it_is_called_with_conditions(tmp_path: Path, made: Table) -> None:
    report = run(tmp_path, lambda events, cut: events[events.MET_pt > cut["met"]], conditions={"met": 50})
    assert report.outputs[0].events == int((made.columns["MET_pt"].values > 50).sum())


def test_columns_can_be_added_changed_and_removed(tmp_path: Path, made: Table) -> None:
    def function(events: Any, _: Any) -> Any:
        events["Muon_pt"] = events.Muon_pt * np.float32(2)
        events["MET_pt"] = ak.values_astype(events.MET_pt, np.float64)
        events["Muon_score"] = ak.values_astype(events.Muon_charge, np.float32)
        events["leading"] = events.Muon_pt[:, :1]
        events["vector"] = ak.to_numpy(events.event)[:, None] * np.ones(3)
        events["word"] = ak.Array([f"e{number}" for number in events.event])
        return events[[name for name in events.fields if name != "Muon_charge"]]

    run(tmp_path, function)
    before, after = as_lists(made), read_lists(tmp_path / "all.root")
    assert after["Muon_pt"] == [[2 * pt for pt in one] for one in before["Muon_pt"]]
    assert after["MET_pt"] == before["MET_pt"]
    assert after["Muon_score"] == before["Muon_charge"]
    assert after["leading"] == [one[:1] for one in after["Muon_pt"]]
    assert after["vector"] == [[float(number)] * 3 for number in before["event"]]
    assert after["word"] == [f"e{number}" for number in before["event"]]
    assert "Muon_charge" not in after
    with open_source(tmp_path / "in.root") as one, open_source(tmp_path / "all.root") as two:
        old, new = one.info("Events").by_name(), two.info("Events").by_name()
    assert new["Muon_pt"] == old["Muon_pt"]
    assert new["event"].title == "event number"
    assert new["Muon_score"].counter == "nMuon"
    assert (new["leading"].counter, new["leading"].jagged) == (None, 1)
    assert new["MET_pt"].dtype == np.float64


def test_counters_follow_their_arrays(tmp_path: Path, made: Table) -> None:
    def function(events: Any, _: Any) -> Any:
        good = events.Muon_pt > 15
        events["Muon_pt"], events["Muon_charge"] = events.Muon_pt[good], events.Muon_charge[good]
        return events

    run(tmp_path, function)
    after = read_lists(tmp_path / "all.root")
    assert (
        after["nMuon"] == [len(one) for one in after["Muon_pt"]] == [len(one) for one in after["Muon_charge"]]
    )
    assert after["Muon_pt"] == [[pt for pt in one if pt > 15] for one in as_lists(made)["Muon_pt"]]


def test_all_events_may_be_dropped(tmp_path: Path, made: Table) -> None:
    report = run(tmp_path, lambda events, _: events[:0])
    assert (report.outputs[0].events, report.dropped.events) == (0, len(made))
    assert report.dropped.fingerprint == file_facts(tmp_path / "in.root").fingerprint
    assert list(read_lists(tmp_path / "all.root")) == [branch.name for branch in made.branches]


def test_it_is_called_once_with_no_event_for_an_empty_input(tmp_path: Path) -> None:
    nano(tmp_path / "in.root", 0)
    calls = []

    def function(events: Any, _: Any) -> Any:
        calls.append(len(events))
        events["new"] = events.MET_pt * 2
        return events

    run(tmp_path, function)
    assert calls == [0]
    assert "new" in read_lists(tmp_path / "all.root")


def test_it_sees_what_the_rules_keep(tmp_path: Path, made: Table) -> None:
    seen = []

    def function(events: Any, _: Any) -> Any:
        seen.append(events.fields)
        return events

    run(tmp_path, function, keep=("drop *", "keep run", "keep event", "keep luminosityBlock", "keep MET_pt"))
    assert seen[0] == ["run", "luminosityBlock", "event", "MET_pt"]


def rekey(events: Any) -> Any:
    events["event"] = events.event + np.uint64(1000)
    return events


def lose_identity(events: Any) -> Any:
    return events[["run", "event", "MET_pt"]]


def cut_one_array(events: Any) -> Any:
    events["Muon_pt"] = events.Muon_pt[:, :1]
    return events


def missing_values(events: Any) -> Any:
    events["first"] = ak.firsts(events.Muon_pt)
    return events


def records(events: Any) -> Any:
    events["muons"] = ak.zip({"pt": events.Muon_pt, "charge": events.Muon_charge})
    return events


def invent(events: Any) -> Any:
    extra = ak.Array(events[-1:])
    extra["event"] = extra.event + np.uint64(77)
    return ak.concatenate([events, extra])


def write_in_place(events: Any) -> Any:
    ak.to_numpy(events.event)[:] = 7
    return events


def with_column(name: str, make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Add a column to the events."""

    def function(events: Any) -> Any:
        events[name] = make(events)
        return events

    return function


def overlapping(events: Any) -> Any:
    """Lists made by hand, of which one begins before the one in front of it ends."""
    offsets = ak.index.Index64(np.array([0, 5, *[3] * (len(events) - 1)]))
    return ak.Array(ak.contents.ListOffsetArray(offsets, ak.contents.NumpyArray(np.arange(10.0))))


def endless(events: Any) -> Any:
    """Lists that say they are longer than anything."""
    bounds = (
        ak.index.Index64(np.zeros(len(events), np.int64)),
        ak.index.Index64(np.full(len(events), 1 << 50)),
    )
    return ak.Array(ak.contents.ListArray(*bounds, ak.contents.NumpyArray(np.arange(10.0))))


RULES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "repeats": (lambda events: ak.concatenate([events, events[:1]]), "repeated 1 events, first: run 1, lumi"),
    "repeats in place": (lambda events: events[np.repeat(np.arange(len(events)), 2)], "repeated"),
    "invents": (invent, "invented or re-keyed 1 events, first: run 1"),
    "re-keys": (rekey, "invented or re-keyed"),
    "reorders": (lambda events: events[::-1], "reordered"),
    "forgets the identity": (lose_identity, "left out luminosityBlock"),
    "returns None": (lambda _: None, "not NoneType"),
    "returns a number": (lambda _: 3, "not int"),
    "returns an array": (lambda events: events.MET_pt, "must return an awkward array of events"),
    "cuts one array of a collection": (cut_one_array, "as many values as the other arrays that nMuon counts"),
    "leaves missing values": (missing_values, "first is"),
    "writes in place": (write_in_place, "read-only"),
    "makes records": (records, "muons is"),
    "returns a generator": (lambda events: (one for one in events), "not generator"),
    "returns rows": (lambda events: events.to_list(), "not list"),
    "returns a layout": (lambda events: events.layout, "not RecordArray"),
    "returns one event": (lambda events: events[0], "not Record"),
    "returns events in lists": (lambda events: ak.unflatten(events, [len(events)]), "left out run"),
    "returns no fields": (lambda events: ak.Array([{}] * len(events)), "awkward array of events"),
    "returns a promise": (lambda events: ak.to_backend(events, "typetracer"), "can't be written"),
    "returns more": (lambda events: ak.concatenate([events] * 3), "repeated"),
    "has a name of no letters": (with_column("", lambda events: events.MET_pt), "has no name"),
    "has a name of broken letters": (with_column("\udc80", lambda events: events.MET_pt), "surrogates"),
    "has numbers that no branch holds": (
        with_column("half", lambda events: ak.values_astype(events.MET_pt, "f2")),
        "float16",
    ),
    "has complex numbers": (with_column("c", lambda events: events.MET_pt + 1j), "complex64"),
    "has a counter that counts nothing": (
        with_column("nMuon", lambda events: ak.values_astype(events.nMuon, "f4")),
        "counts others, but is float32",
    ),
    "has lists that overlap": (with_column("b", overlapping), "its lists overlap"),
    "has lists without end": (with_column("b", endless), "can't be used: MemoryError"),
    "has identities with a sign": (with_column("run", lambda e: -ak.values_astype(e.run, "i8")), "re-keyed"),
    "has identities with a fraction": (
        with_column("event", lambda e: ak.values_astype(e.event, "f8")),
        "left out event",
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_a_function_that_breaks_a_rule_leaves_nothing(tmp_path: Path, made: Table, name: str) -> None:
    function, words = RULES[name]
    with pytest.raises(UserCodeError, match=words) as caught:
        run(tmp_path, lambda events, _: function(events))
    assert str(tmp_path / "in.root") in caught.value.where
    assert [path.name for path in tmp_path.iterdir()] == ["in.root"]


def test_offenders_are_named_for_machines_too(tmp_path: Path, made: Table) -> None:
    with pytest.raises(UserCodeError) as caught:
        run(tmp_path, lambda events, _: events[np.repeat(np.arange(len(events)), 2)], memory_bytes=1 << 27)
    assert caught.value.facts["offenders"][0] == {"run": 1, "luminosityBlock": 1, "event": 0}
    assert "repeated 100 events" in caught.value.what


def test_what_it_raises_is_told_with_the_entries(tmp_path: Path, made: Table) -> None:
    def function(events: Any, _: Any) -> Any:
        if events.event[0] >= 50:
            raise RuntimeError("no constants for this run")
        return events

    with pytest.raises(UserCodeError, match="RuntimeError: no constants for this run") as caught:
        run(tmp_path, function)
    assert "entries " in caught.value.where
    assert isinstance(caught.value.__cause__, RuntimeError)


class Mute(BaseException):
    """An exception that can't say what it is, and is no usual one."""

    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyboardInterrupt("enough"), "KeyboardInterrupt: enough"),
        (Mute(), "Mute: what it says can't be told"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (CorruptFile("it is not", where="elsewhere.root"), "CorruptFile"),
        (RuntimeError("x" * 10**6), "995000 characters left out"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_whatever_it_raises_is_the_functions_fault(
    tmp_path: Path, made: Table, error: BaseException, words: str
) -> None:
    def function(_events: Any, _: Any) -> Any:
        raise error

    with pytest.raises(UserCodeError, match=words) as caught:
        run(tmp_path, function)
    assert str(tmp_path / "in.root") in caught.value.where
    assert [path.name for path in tmp_path.iterdir()] == ["in.root"]


@pytest.mark.parametrize("how", ["returns", "raises"])
def test_a_fork_that_comes_back_goes_no_further(tmp_path: Path, made: Table, how: str) -> None:
    """Two processes would write the same outputs."""
    children: list[int] = []

    def function(events: Any, _: Any) -> Any:
        child = os.fork()
        if child:
            children.append(child)
        elif how == "raises":
            raise RuntimeError
        return events

    report = run(tmp_path, function)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [1] * len(children)
    assert report.outputs[0].events == 100
    assert read_lists(tmp_path / "all.root") == as_lists(made)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda events: events[[name for name in events.fields if name != "MET_pt"]],
            "changed the columns.*MET_pt",
        ),
        (lambda events: ak.with_field(events, events.event, "extra"), "changed the columns.*extra"),
        (
            lambda events: ak.with_field(events, ak.values_astype(events.MET_pt, "f8"), "MET_pt"),
            "MET_pt should hold",
        ),
    ],
)
def test_the_first_chunk_fixes_the_schema(
    tmp_path: Path, made: Table, change: Callable[[Any], Any], words: str
) -> None:
    def function(events: Any, _: Any) -> Any:
        return events if events.event[0] < 50 else change(events)

    with pytest.raises(UserCodeError, match=words):
        run(tmp_path, function)


def test_events_that_share_an_identity_may_go_on_as_often_as_they_came(tmp_path: Path) -> None:
    twice = Table().add(flat("event", "i8"), [1, 2, 2, 3]).add(flat("x", "f4"), np.arange(4))
    write(tmp_path / "in.root", {"Events": twice})
    report = run(tmp_path, lambda events, _: events, identity=("event",), memory_bytes=1 << 20)
    assert report.outputs[0].events == 4
    (tmp_path / "all.root").unlink()
    with pytest.raises(UserCodeError, match="repeated 1 events, first: event 2"):
        run(tmp_path, lambda e, _: e[[0, 1, 2, 2, 3]], identity=("event",), memory_bytes=1 << 20)


def test_parallel_trees_come_as_fields(tmp_path: Path) -> None:
    one = Table().add(flat("event", "i8"), np.arange(10))
    two = Table().add(flat("x", "f4"), np.arange(10))
    write(tmp_path / "in.root", {"T": one, "E": two})
    how: dict[str, Any] = {"event_trees": ("T", "E"), "identity": ("event",)}
    run(tmp_path, lambda events, _: events[events.E.x > 6], **how)
    assert read_lists(tmp_path / "all.root", "T")["event"] == [7, 8, 9]
    assert read_lists(tmp_path / "all.root", "E")["x"] == [7, 8, 9]
    (tmp_path / "all.root").unlink()
    with pytest.raises(UserCodeError, match="left out the tree E"):
        run(tmp_path, lambda events, _: events[["T"]], **how)
