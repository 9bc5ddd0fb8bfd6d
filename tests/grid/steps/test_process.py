"""The process step books every event, and refuses to publish what is not what it read."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from grid import Production
from grid.rootio.sinktree import SinkTree
from sitecfg.errors import ClosureError, CorruptFile, MissingFile, NoSpace, UserCodeError
from tests.grid.house import changed, expected_streams, flip, identities, record
from tests.grid.steps.conftest import STREAMS, TABLE
from tests.grid.steps.faults import FAULTS, faulty

if TYPE_CHECKING:
    from tests.grid.steps.bench import Bench


def test_every_event_is_booked_and_every_stream_written(pass1: Bench, inputs: list[Path]) -> None:
    task = pass1.next("process")
    result = task.run()
    sets, nowhere, overlap = expected_streams(inputs[:1], STREAMS)
    assert sum(book["events"] for book in result["books"]) == 300
    assert {book["mask"]: book["events"] for book in result["books"]}.get(0, 0) == nowhere
    assert result["overlap"] == overlap
    assert result["dropped"]["events"] == 0
    assert [one["stream"] for one in result["outputs"]] == list(STREAMS)
    for one in result["outputs"]:
        path = Path(one["url"].removeprefix("file://"))
        assert Counter(identities([path])) == Counter(sets[one["stream"]])
        assert one["bytes"] == path.stat().st_size
        assert path.name.endswith(f".e1.{task.spec['attempt']['runner'][:8]}.root")
        assert not path.stat().st_mode & 0o222, "what is published is read-only"
    assert pass1.commit(task, result) == "done"
    assert len(pass1.pool()) == 2


def test_equal_attempts_write_equal_bytes(pass1: Bench) -> None:
    task = pass1.next("process")
    first = task.run()
    other = {**task.spec, "attempt": {**task.spec["attempt"], "epoch": 2, "runner": "f" * 36}}
    second = type(task)(task.lease, task.kind, other).run()
    for one, two in zip(first["outputs"], second["outputs"], strict=True):
        assert one["url"] != two["url"]
        assert {**one, "url": ""} == {**two, "url": ""}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_between_reading_and_writing_is_refused(
    by_values: Bench, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    task = by_values.next("process")
    with monkeypatch.context() as patch:
        patch.setattr(SinkTree, "extend", faulty(fault))
        with pytest.raises(ClosureError) as refused:
            task.run()
    assert "pass1." in refused.value.where
    assert by_values.pool() == [], "nothing is left behind"
    assert by_values.commit(task, task.run()) == "done"


def test_an_input_that_changed_since_intake(pass1: Bench, inputs: list[Path]) -> None:
    task = pass1.next("process")
    with changed(inputs[0], flip), pytest.raises(CorruptFile, match=r"sample_0000\.root"):
        task.run()
    assert pass1.pool() == []


def test_an_input_that_was_replaced_by_another_sound_file(pass1: Bench, inputs: list[Path]) -> None:
    task = pass1.next("process")
    other = inputs[1].read_bytes()
    with (
        changed(inputs[0], lambda whole: whole.__setitem__(slice(None), other)),
        pytest.raises(CorruptFile, match=r"sample_0000\.root"),
    ):
        task.run()
    assert pass1.pool() == []


def test_an_input_that_is_gone(pass1: Bench, tmp_path: Path) -> None:
    task = pass1.next("process")
    (source,) = task.spec["inputs"]
    source["urls"] = [(tmp_path / "gone.root").as_uri()]
    with pytest.raises(MissingFile, match=r"gone\.root"):
        task.run()


def test_a_full_disk_is_told_before_anything_is_written(pass1: Bench) -> None:
    task = pass1.next("process")
    task.spec["attempt"]["reserve"] = 1 << 60
    with pytest.raises(NoSpace, match="reserve"):
        task.run()
    assert pass1.pool() == []


#: Results that lie, and what the ledger says to them.
LIES: dict[str, tuple[Any, str]] = {
    "an event less booked": (lambda r: r["books"][0].update(events=r["books"][0]["events"] - 1), "input"),
    "an event dropped that was booked": (lambda r: r["dropped"].update(events=1), "input"),
    "other events booked": (lambda r: r["books"][0].update(fingerprint="f" * 32), "other events"),
    "a mask twice": (lambda r: r["books"].append(r["books"][0]), "twice"),
    "a mask of no stream": (lambda r: r["books"][-1].update(mask=1 << 40), "without an output"),
    "an event less written": (lambda r: r["outputs"][0].update(events=1), "stream 0"),
    "other events written": (lambda r: r["outputs"][1].update(fingerprint="0" * 32), "stream 1"),
    "other contents written": (lambda r: r["outputs"][1].update(content="1" * 32), "other contents"),
    "no fingerprint": (lambda r: r["outputs"][1].update(fingerprint=None), "fingerprint"),
    "streams exchanged": (
        lambda r: (r["outputs"][0].update(stream_bit=1), r["outputs"][1].update(stream_bit=0)),
        "stream",
    ),
    "an output missing": (lambda r: r["outputs"].pop(), "without an output|outputs"),
    "an output twice": (lambda r: r["outputs"].append(r["outputs"][0]), "two outputs"),
    "sections that don't add up": (lambda r: r["outputs"][0]["sections"].pop(), "section"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_result_that_lies_is_refused_at_commit(pass1: Bench, lie: str) -> None:
    task = pass1.next("process")
    result = task.run()
    change, told = LIES[lie]
    false = json.loads(json.dumps(result))
    change(false)
    with pytest.raises(ClosureError, match=told):
        pass1.commit(task, false)
    assert pass1.state(task.lease.job) == "leased"
    assert pass1.commit(task, result) == "done", "a refusal leaves nothing in the books"


CODE = """
from grid import Production

def cut(events, conditions):
    return events[events.MET_pt > 30]

def twice(events, conditions):
    import awkward as ak
    return ak.concatenate([events, events])

p = [Production(name=f.__name__, input={inputs!r}, process=f, scope="cdf") for f in (cut, twice)]
"""


def test_the_users_code_runs_by_its_hash(bench: Bench, inputs: list[Path], tmp_path: Path) -> None:
    from grid.cli.run import find_productions

    script = tmp_path / "user.py"
    script.write_text(CODE.format(inputs=str(inputs[0])))
    cut, twice = find_productions(script)
    bench.submit(cut)
    bench.submit(twice)
    script.unlink()
    bench.drain(["intake"])
    task = bench.next("process")
    result = task.run()
    (output,) = result["outputs"]
    kept = output["events"]
    assert 0 < kept < 300
    assert result["dropped"]["events"] == 300 - kept
    told = record(Path(output["url"].removeprefix("file://")))
    assert told["script"] == task.spec["recipe"]["script"]
    assert bench.commit(task, result) == "done"
    (stored,) = bench.home.scripts.glob("*.py")
    task = bench.next("process")
    with pytest.raises(UserCodeError, match="repeated"):
        task.run()
    stored.write_text(stored.read_text() + "\n")
    with pytest.raises(UserCodeError, match="changed after it was submitted"):
        task.run()


def test_a_chunk_at_a_time_gives_the_same_events(bench: Bench, inputs: list[Path]) -> None:
    bench.submit(Production(name="chunks", input=inputs[0], split=TABLE, scope="cdf"))
    bench.drain(["intake"])
    task = bench.next("process")
    answers = []
    for number, memory in enumerate((2_000, 20_000, 1 << 30)):
        here = {**task.spec["attempt"], "memory": memory, "epoch": number + 5}
        result = type(task)(task.lease, task.kind, {**task.spec, "attempt": here}).run()
        answers.append([(one["events"], one["fingerprint"], one["content"]) for one in result["outputs"]])
    assert answers[0] == answers[1] == answers[2]


def test_a_copy_of_the_pool_elsewhere_is_not_needed(pass1: Bench, tmp_path: Path, inputs: list[Path]) -> None:
    """A file that moved is found by its second address."""
    shutil.copy(inputs[0], tmp_path / "moved.root")
    task = pass1.next("process")
    task.spec["inputs"][0]["urls"] = [(tmp_path / "moved.root").as_uri()]
    assert sum(book["events"] for book in task.run()["books"]) == 300
    assert np.all([path.suffix == ".root" for path in pass1.pool()])
