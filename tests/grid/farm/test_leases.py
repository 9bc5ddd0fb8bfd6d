"""Leases are kept, lost and fenced."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from grid.farm.client import GatewayClient
from grid.farm.leases import Held, Keeper
from tests.grid.farm.conftest import serve, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grid.farm.home import Home
    from tests.grid.farm.conftest import Ledger

RUNNER = "00000000-0000-0000-0000-00000000000"
LEASE_S = 1.0


@pytest.fixture
def home(home: Home) -> Home:
    home.settings.write_text(f'[lease]\nseconds = "{LEASE_S} s"\n')
    return home


@pytest.fixture
def keeper(gateway: GatewayClient) -> Iterator[Keeper]:
    keeper = Keeper(gateway)
    yield keeper
    keeper.close()


def begin(gateway: GatewayClient, number: int) -> Held:
    asked = time.monotonic()
    ((job, epoch),) = gateway.claim("cell", 1)
    runner = f"{RUNNER}{number}"
    begun = gateway.begin(job, epoch, runner, host="h", pid=1, worker="w")
    return Held((job, epoch, runner), begun["lease_s"], asked, fence=0.8)


def test_leases_that_are_held_do_not_run_out(gateway: GatewayClient, keeper: Keeper, ledger: Ledger) -> None:
    numbers = ledger.add(3)
    held = [begin(gateway, n) for n in range(3)]
    first = [one.confirmed for one in held]
    for one in held:
        keeper.hold(one)
    until(lambda: all(one.confirmed > before + 2 * LEASE_S for one, before in zip(held, first, strict=True)))
    assert ledger.states(numbers) == {"leased"}
    assert not any(one.lost for one in held)
    keeper.drop(held[0])
    until(lambda: ledger.state(numbers[0]) == "ready")
    assert ledger.states(numbers[1:]) == {"leased"}


def test_a_lost_lease_is_told(gateway: GatewayClient, keeper: Keeper, ledger: Ledger) -> None:
    ledger.add()
    held = begin(gateway, 0)
    keeper.hold(held)
    gateway.release(worker="w")
    until(lambda: held.lost)
    assert held.fenced
    assert not keeper.confirm(held)


def test_without_an_answer_a_lease_is_fenced_until_somebody_answers(home: Home, ledger: Ledger) -> None:
    ledger.add()
    first = serve(home, ledger)
    with GatewayClient.of_home(home, patience_s=5) as client:
        with first:
            held = begin(client, 0)
            keeper = Keeper(client)
            keeper.hold(held)
            assert not held.fenced
        until(lambda: held.fenced)
        assert not held.lost
        with serve(home, ledger):
            until(lambda: not held.fenced)
            assert keeper.confirm(held)
        keeper.close()
