"""The merge step proves that its output holds what its inputs hold."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from grid.rootio.sinktree import SinkTree
from grid.rootio.verbatim.copier import Copier
from sitecfg.errors import ClosureError, CorruptFile, DuplicateEvents, UnsupportedContent
from tests.grid.house import changed, flip, identities, record
from tests.grid.steps.faults import FAULTS, faulty

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.grid.steps.bench import Bench, Task


@pytest.fixture
def merging(pass1: Bench) -> tuple[Bench, Task]:
    """A merge job of two outputs."""
    pass1.drain(["process"])
    return pass1, pass1.next("merge")


def outputs(task: Task) -> list[Path]:
    """Files of the merged datasets."""
    return [path for path in task.pool.rglob("*") if path.is_file() and "unmerged" not in str(path)]


def sources(task: Task) -> list[Path]:
    return [Path(one["urls"][0].removeprefix("file://")) for one in task.spec["inputs"]]


def test_one_file_with_the_events_of_all(merging: tuple[Bench, Task]) -> None:
    bench, task = merging
    result = task.run()
    (output,) = result["outputs"]
    path = Path(output["url"].removeprefix("file://"))
    assert outputs(task) == [path]
    assert identities([path]) == identities(sources(task))
    assert output["events"] == sum(one["events"] for one in task.spec["inputs"])
    assert output["stream"] == task.spec["stream"]
    assert result["inputs"] == [one["name"] for one in task.spec["inputs"]]
    told = record(path)
    assert told["stream"] == task.spec["stream"]
    assert [one["xxh3"] for one in told["parents"]] == [one["xxh3"] for one in task.spec["inputs"]]
    assert bench.commit(task, result) == "done"
    bench.drain(["merge"])
    assert bench.standing("pass1") == "complete"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_between_reading_and_writing_is_refused(
    merging: tuple[Bench, Task], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    def cannot(*_: Any) -> int:
        raise UnsupportedContent("these baskets can't be copied as they are")

    bench, task = merging
    with monkeypatch.context() as patch:
        patch.setattr(SinkTree, "extend", faulty(fault))
        patch.setattr(Copier, "add", cannot)
        with pytest.raises(ClosureError, match=r"pass1\.(MUON|JET)"):
            task.run()
    assert outputs(task) == []
    assert bench.commit(task, task.run()) == "done"


@pytest.mark.parametrize("tree", ["Runs", "LuminosityBlocks"])
@pytest.mark.parametrize("how", ["lost", "doubled", "changed"])
def test_a_fault_in_the_rows_of_other_trees_is_refused(
    merging: tuple[Bench, Task], monkeypatch: pytest.MonkeyPatch, tree: str, how: str
) -> None:
    import numpy as np

    extend, left = SinkTree.extend, [1]

    def broken(self: SinkTree, columns: dict[str, Any]) -> None:
        if left and self.books.name == tree and len(columns["run"]):
            left.pop()
            n = len(columns["run"])
            index = {"lost": range(n - 1), "doubled": [*range(n), 0], "changed": range(n)}[how]
            columns = {name: column.take(np.asarray(index, np.int64)) for name, column in columns.items()}
            if how == "changed":
                columns["run"].values[0] += 1
        extend(self, columns)

    _, task = merging
    with monkeypatch.context() as patch:
        patch.setattr(SinkTree, "extend", broken)
        with pytest.raises(ClosureError, match=tree):
            task.run()
    assert not left
    assert outputs(task) == []


def _behead(data: bytearray) -> None:
    data[:4] = b"text"


def _cut(data: bytearray) -> None:
    del data[len(data) // 2 :]


@pytest.mark.parametrize("damage", [flip, _behead, _cut])
def test_an_input_that_changed_since_it_was_written(
    merging: tuple[Bench, Task], damage: Callable[[bytearray], None]
) -> None:
    _, task = merging
    victim = sources(task)[1]
    victim.chmod(0o644)
    with changed(victim, damage), pytest.raises(CorruptFile, match="the catalog has") as caught:
        task.run()
    # the address by which the catalog knows it, so that it can be put aside
    assert caught.value.where == task.spec["inputs"][1]["urls"][0]
    assert outputs(task) == []


def test_the_same_input_twice(merging: tuple[Bench, Task]) -> None:
    _, task = merging
    task.spec["inputs"].append(task.spec["inputs"][0])
    with pytest.raises(DuplicateEvents):
        task.run()
    assert outputs(task) == []


LIES: dict[str, tuple[Any, str]] = {
    "an event less": (lambda o: o.update(events=o["events"] - 1), "events"),
    "other events": (lambda o: o.update(fingerprint="f" * 32), "other events"),
    "other contents": (lambda o: o.update(content="f" * 32), "other contents"),
    "no fingerprint": (lambda o: o.update(fingerprint=None), "fingerprint"),
    "another stream": (lambda o: o.update(stream="JET" if o["stream"] == "MUON" else "MUON"), "stream"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_result_that_lies_is_refused_at_commit(merging: tuple[Bench, Task], lie: str) -> None:
    bench, task = merging
    result = task.run()
    change, told = LIES[lie]
    false = json.loads(json.dumps(result))
    change(false["outputs"][0])
    with pytest.raises(ClosureError, match=told):
        bench.commit(task, false)
    assert bench.commit(task, result) == "done"


def test_merged_streams_of_a_whole_production(pass1: Bench, inputs: list[Path]) -> None:
    from catalog import audit, find, productions

    pass1.drain()
    assert pass1.standing("pass1") == "complete"
    with pass1.catalog.read() as tx:
        one = productions.get(tx, "pass1")
        told = audit.audit(tx, one)
        assert told.closes
        assert told.complete
        for stream in told.streams:
            dataset = find.dataset(tx, "cdf", f"pass1.{stream.stream}")
            (file,) = find.files(tx, dataset.id)
            found = identities([Path(file.urls[0].removeprefix("file://"))])
            assert len(found) == stream.merged == stream.booked
            assert Counter(found).most_common(1)[0][1] == 1
