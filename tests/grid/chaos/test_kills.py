"""A production of hundreds of jobs, in which something is killed every few jobs: nothing lost, nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.grid.chaos.stage import Stage
from tests.grid.chaos.strikes import PAYLOAD, Disturber
from tests.grid.chaos.toll import Toll
from tests.services.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

pytestmark = pytest.mark.farm

VICTIMS = (
    PAYLOAD,
    "worker-0",
    "scheduler",
    "dispatcher",
    "gateway",
    "worker-1",
    PAYLOAD,
    "supervisor",
)


def suffer(
    name: str, stage: Stage, disturber: Disturber, victims: Sequence[str], *, jobs: int, times: int
) -> Toll:
    with stage.running():
        disturber.kill_all_the_way(victims, times=times, jobs=jobs)
        out = stage.finish()
    assert "chaos: complete" in out
    toll = Toll(name, stage.sql, disturber.strikes)
    assert sum(one.outcome == "done" for one in toll.attempts.values()) >= jobs
    return toll


def test_a_few_kills(tmp_path: Path, report: Callable[..., None]) -> None:
    stage = Stage(tmp_path, files=10, pause_s=0.4)
    toll = suffer("a few kills", stage, Disturber(stage), VICTIMS[:5], jobs=20, times=5)
    assert len(toll.landed) >= 3
    report(*toll.lines())


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_forty_kills(tmp_path: Path, report: Callable[..., None]) -> None:
    stage = Stage(tmp_path, files=70)
    toll = suffer("kills on SQLite", stage, Disturber(stage), VICTIMS, jobs=200, times=48)
    assert len(toll.landed) >= 40
    report(*toll.lines())


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_forty_kills_on_postgresql(tmp_path: Path, report: Callable[..., None]) -> None:
    server = Postgres(durable=True)

    def kill_postmaster() -> None:
        """Kill it, and start it as an init system would."""
        server.kill()
        server.start()

    try:
        stage = Stage(tmp_path, server.make(), files=70)
        disturber = Disturber(stage, {"postmaster": kill_postmaster})
        toll = suffer("kills on PostgreSQL", stage, disturber, (*VICTIMS, "postmaster"), jobs=200, times=54)
        assert len(toll.landed) >= 40
        report(*toll.lines())
    finally:
        server.stop()
