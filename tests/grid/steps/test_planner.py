"""The planner makes jobs in pieces, so that claims and commits need not wait for a million of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from catalog import jobs, productions, status
from catalog.states import JobState, Kind
from grid import Production
from grid.farm import planner
from grid.mock.sample import make_sample

if TYPE_CHECKING:
    from pathlib import Path

    from tests.grid.steps.bench import Bench

FILES = 5


@pytest.fixture
def many(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A production with more inputs than jobs are made of at once, before they are looked into."""
    monkeypatch.setattr(planner, "AT_ONCE", 2)
    raw = make_sample(tmp_path / "raw", files=FILES, events=5, seed=3)
    bench.submit(Production(name="many", input=[one.path for one in raw], scope="cdf"))
    return bench


def process_jobs(bench: Bench) -> dict[str, int]:
    with bench.catalog.read() as tx:
        return status.job_counts(tx, productions.get(tx, "many").id).get(Kind.PROCESS, {})


def test_every_job_is_made_once(many: Bench) -> None:
    many.drain(["intake"])
    assert process_jobs(many) == {JobState.READY: FILES}
    assert many.standing("many") == "active"
    assert process_jobs(many) == {JobState.READY: FILES}


def test_what_ended_between_two_pieces_is_made_up_for(many: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    make = jobs.add_jobs

    def fail_later(tx: Any, production: int | None, kind: Kind, new: Any, **more: Any) -> list[int]:
        made = make(tx, production, kind, new, **more)
        if kind == Kind.PROCESS and len(status.states_by_key(tx, production, kind)) > 2:
            raise KeyboardInterrupt
        return made

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "add_jobs", fail_later)
        with pytest.raises(KeyboardInterrupt):
            many.drain(["intake"])
    assert process_jobs(many) == {JobState.READY: 2}
    assert many.standing("many") == "active"
    assert process_jobs(many) == {JobState.READY: FILES}
