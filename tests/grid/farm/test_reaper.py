"""The daemon that takes leases back, and the clock that it does so by."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from catalog import jobs, work
from catalog.engine import Catalog
from catalog.states import Kind
from grid.farm.gateway.reaper import Reaper
from tests.catalog.world import Clock
from tests.grid.farm.conftest import make_home, site_of
from tests.grid.house import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST_S = 1800.0
LEASE_S = 1.0
#: How long it pauses after it has looked.
PAUSE_S = LEASE_S / 4


@pytest.fixture
def catalog(tmp_path: Path, empty_catalog: Path) -> Iterator[Catalog]:
    path = tmp_path / "catalog.sqlite"
    shutil.copy(empty_catalog, path)
    with Catalog.open(f"sqlite:///{path}", clock=Clock.QUERY) as opened:
        yield opened


def due(catalog: Catalog) -> int:
    with catalog.rehearse() as tx:
        return len(work.claim(tx, cell="c", limit=9, lease_s=LEASE_S))
    raise AssertionError


def reap(reaper: Reaper, catalog: Catalog) -> None:
    """Have it look once; just after its start it only waits."""
    until(lambda: reaper.step(catalog) == PAUSE_S)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_clock_that_is_set_back(tmp_path: Path, catalog: Catalog, restarted: bool) -> None:
    lease = site_of(make_home(tmp_path / "home", lease=LEASE_S)).lease
    clock = Clock(catalog)
    reaper = Reaper(lease, LONGEST_S)
    clock.advance(2 * LONGEST_S)
    reap(reaper, catalog)
    with catalog.write() as tx:
        jobs.add_jobs(tx, None, Kind.EMPTY, [jobs.NewJob("one", ())])
    assert due(catalog) == 1
    clock.advance(-2 * LONGEST_S)
    assert due(catalog) == 0
    reap(Reaper(lease, LONGEST_S) if restarted else reaper, catalog)
    assert due(catalog) == 1
