"""One attempt, from its start token to its commit."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from grid.farm import node
from grid.farm.attempt import run_attempt
from tests.grid.farm.conftest import payloads_of, serve, site_of, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from grid.farm.client import GatewayClient
    from grid.farm.home import Home
    from tests.grid.farm.conftest import Ledger

pytestmark = pytest.mark.farm


@pytest.fixture
def here(home: Home) -> Iterator[node.Node]:
    """This process as a worker."""
    with node.Node(home, site_of(home), "worker.1", preload=("grid.farm.child", "grid.steps.empty")) as here:
        node.settle(here)
        yield here
        node.settle(None)


def claim(gateway: GatewayClient) -> tuple[int, int]:
    (found,) = gateway.claim("cell", 1)
    return found


def test_it_commits_and_leaves_no_scratch(
    here: node.Node, gateway: GatewayClient, ledger: Ledger, home: Home
) -> None:
    (number,) = ledger.add(touch="a file in the scratch folder")
    run_attempt(*claim(gateway))
    (attempt,) = ledger.attempts(number)
    assert attempt.outcome == "done"
    assert attempt.worker == "worker.1"
    assert attempt.cpu_s > 0
    assert attempt.peak_rss > 0
    assert attempt.bytes_out > 0
    assert not list(here.scratch.iterdir())
    assert not list(home.attempts.iterdir())


def test_started_twice_it_runs_once(
    here: node.Node, gateway: GatewayClient, ledger: Ledger, tmp_path: Path
) -> None:
    witness = tmp_path / "starts"
    (number,) = ledger.add(touch=str(witness))
    claimed = claim(gateway)
    threads = [threading.Thread(target=run_attempt, args=claimed) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(witness.read_text().split()) == 1
    assert ledger.state(number) == "done"


def test_a_lost_lease_ends_the_payload_and_says_nothing(
    here: node.Node, gateway: GatewayClient, ledger: Ledger, home: Home
) -> None:
    (number,) = ledger.add(wait_for="/nonexistent")
    thread = threading.Thread(target=run_attempt, args=claim(gateway))
    thread.start()
    until(lambda: payloads_of(home, f"{number}.1."))
    gateway.release(worker="worker.1")
    thread.join(20)
    assert not thread.is_alive()
    assert not payloads_of(home, f"{number}.1.")
    assert [one.outcome for one in ledger.attempts(number)] == ["returned"]


def test_a_result_that_the_ledger_refuses_is_a_failure(
    here: node.Node, gateway: GatewayClient, ledger: Ledger
) -> None:
    (number,) = ledger.add(result={"measured": {"cpu_s": "much"}})
    run_attempt(*claim(gateway))
    (attempt,) = ledger.attempts(number)
    assert attempt.outcome == "failed"
    assert "cpu_s" in attempt.message


def test_what_a_failed_payload_printed_stays(
    here: node.Node, gateway: GatewayClient, ledger: Ledger, home: Home
) -> None:
    (number,) = ledger.add(print="see here", fail="UserCodeError")
    run_attempt(*claim(gateway))
    (log,) = home.attempts.iterdir()
    assert log.name.startswith(f"{number}.1.")
    assert log.read_text().startswith("see here")


def test_a_job_that_is_killed_without_end_keeps_the_newest_logs_only(
    here: node.Node, gateway: GatewayClient, ledger: Ledger, home: Home
) -> None:
    (number,) = ledger.add(print="see here", signal=9)
    (home.attempts / f"{number}0.1.00000000.log").write_text("another job's")
    for _ in range(7):
        run_attempt(*claim(gateway))
    assert len(ledger.attempts(number)) == 7
    epochs = sorted(int(log.name.split(".")[1]) for log in home.attempts.glob(f"{number}.*.log"))
    assert epochs == [3, 4, 5, 6, 7]
    assert (home.attempts / f"{number}0.1.00000000.log").exists()


@pytest.mark.parametrize(
    ("why", "told"),
    [
        pytest.param("long" * 1_000_000, "characters left out", id="a very long reason"),
        pytest.param("\x1b[31mred\0", r"\x1b[31mred\x00", id="orders to a terminal"),
    ],
)
def test_whatever_an_error_says_the_ledger_hears_of_it(
    here: node.Node, gateway: GatewayClient, ledger: Ledger, why: str, told: str
) -> None:
    (number,) = ledger.add(print="\x1b[2J", fail="UserCodeError", why=why)
    run_attempt(*claim(gateway))
    (attempt,) = ledger.attempts(number)
    assert attempt.outcome == "failed"
    assert told in attempt.message
    assert len(attempt.message) < 20_000
    assert r"\x1b[2J" in attempt.last_lines


def test_a_commit_waits_for_a_gateway_that_is_away(
    here: node.Node, home: Home, ledger: Ledger, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    (number,) = ledger.add(wait_for=str(gate))
    with serve(home, ledger):
        thread = threading.Thread(target=run_attempt, args=claim(here.client))
        thread.start()
        until(lambda: payloads_of(home, f"{number}.1."))
    gate.touch()
    until(lambda: not payloads_of(home, f"{number}.1."))
    with serve(home, ledger):
        thread.join(20)
    assert ledger.state(number) == "done"
    assert len(ledger.attempts(number)) == 1
