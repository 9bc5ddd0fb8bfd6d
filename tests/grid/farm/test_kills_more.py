"""``kill -9`` of the supervisor, of several processes, at any time, and a worker that only slept."""

from __future__ import annotations

import os
import random
import signal
import threading
from typing import TYPE_CHECKING

import psutil
import pytest

from grid.farm.home import read_state
from grid.farm.supervisor import ORPHANS_S
from tests.grid.farm.conftest import Farm, HeldJob, alive, make_home, payloads_of, run_farm, until, works
from tests.grid.holding import Points

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.farm


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with run_farm(make_home(tmp_path_factory.mktemp("kills") / "home", lease=60)) as farm:
        yield farm


def test_supervisor(farm: Farm, tmp_path: Path) -> None:
    """Everything dies with it, and the client that still needs a farm starts another."""
    held = HeldJob(farm, tmp_path)
    state = read_state(farm.home.farm)
    assert state is not None
    before = [state["pid"], *(child["pid"] for child in state["children"].values())]
    os.kill(state["pid"], signal.SIGKILL)
    until(lambda: not any(alive(number) for number in before))
    assert held.let_go() == ["returned", "done"]
    works(farm)


def test_everything_at_once(farm: Farm, tmp_path: Path) -> None:
    held = HeldJob(farm, tmp_path)
    for name in ("gateway", "scheduler", "worker-0", "worker-1", "dispatcher", "zygote"):
        farm.kill(name)
    works(farm)
    assert held.let_go()[-1] == "done"


@pytest.mark.slow
def test_a_process_that_is_being_born_is_no_orphan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = Points(tmp_path / "points")
    monkeypatch.setenv("MDCGRID_STOP_AT", str(points.folder))
    with run_farm(make_home(tmp_path / "home")) as farm:
        works(farm, 30)
        points.lay("fork.untold")
        before = farm.kill("worker-0")
        newborn = points.held("fork.untold")
        farm.kill("dispatcher")
        with pytest.raises(AssertionError, match="did not happen"):
            until(lambda: not alive(newborn), 2 * ORPHANS_S)
        points.let_go()
        assert farm.pid("worker-0", other_than=before) == newborn
        works(farm)


def test_a_worker_that_was_asleep_longer_than_its_lease_cannot_commit(tmp_path: Path) -> None:
    with run_farm(make_home(tmp_path / "home", lease=1)) as farm:
        held = HeldJob(farm, tmp_path)
        asleep = psutil.Process(farm.pid(held.worker()))
        asleep.suspend()
        held.wait_for_start(2)
        held.let_go()
        asleep.resume()
        works(farm)
        assert farm.ledger.committed_once([held.number])
        until(lambda: not payloads_of(farm.home, f"{held.number}.1."))


def test_any_of_them_at_any_time(farm: Farm) -> None:
    """Ten kills at random moments while jobs run."""
    choose = random.Random(20261122)
    numbers = farm.ledger.add(40)
    for _ in range(10):
        farm.kill(choose.choice(["gateway", "scheduler", "worker-0", "worker-1", "dispatcher", "zygote"]))
        threading.Event().wait(choose.uniform(0, 0.8))
    until(lambda: farm.ledger.all_done(numbers), 60)
    assert farm.ledger.committed_once(numbers)
