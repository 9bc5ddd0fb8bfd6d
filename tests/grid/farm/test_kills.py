"""``kill -9`` of each of the farm's processes: nothing is lost, nothing is done twice, nobody has to help."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.grid.farm.conftest import Farm, HeldJob, alive, make_home, payloads_of, run_farm, until, works

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.farm


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with run_farm(make_home(tmp_path_factory.mktemp("kills") / "home", lease=60)) as farm:
        yield farm


def test_worker(farm: Farm, tmp_path: Path) -> None:
    """Its leases come back at once, its payload dies, and the slot is there again."""
    held = HeldJob(farm, tmp_path)
    (payload,) = payloads_of(farm.home, f"{held.number}.1.")
    name = held.worker()
    killed = farm.kill(name)
    started = time.monotonic()
    held.wait_for_start(2)
    assert time.monotonic() - started < 15
    until(lambda: not alive(payload.pid))
    assert held.let_go() == ["returned", "done"]
    assert farm.pid(name, other_than=killed)
    works(farm)


def test_scheduler(farm: Farm, tmp_path: Path) -> None:
    """What runs goes on, and is not started again."""
    held = HeldJob(farm, tmp_path)
    killed = farm.kill("scheduler")
    farm.pid("scheduler", other_than=killed)
    works(farm)
    assert held.let_go() == ["done"]


def test_dispatcher(farm: Farm, tmp_path: Path) -> None:
    held = HeldJob(farm, tmp_path)
    killed = farm.kill("dispatcher")
    farm.pid("dispatcher", other_than=killed)
    works(farm)
    assert held.let_go() == ["done"]


def test_gateway(farm: Farm, tmp_path: Path) -> None:
    held = HeldJob(farm, tmp_path)
    killed = farm.kill("gateway")
    assert farm.session.client.health()["pid"] != killed
    works(farm)
    assert held.let_go() == ["done"]


def test_zygote(farm: Farm, tmp_path: Path) -> None:
    """Nothing depends on it but new processes, which come from the next one."""
    held = HeldJob(farm, tmp_path)
    farm.kill("zygote")
    farm.kill("dispatcher")
    works(farm)
    assert held.let_go() == ["done"]


def test_forkserver(farm: Farm, tmp_path: Path) -> None:
    held = HeldJob(farm, tmp_path)
    (payload,) = payloads_of(farm.home, f"{held.number}.1.")
    forkserver = payload.parent()
    assert forkserver is not None
    forkserver.kill()
    held.wait_for_start(2)
    until(lambda: not alive(payload.pid))
    assert held.let_go() == ["failed", "done"]
    works(farm)
