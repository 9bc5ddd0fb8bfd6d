"""The same tests with Dask and without: proof that Dask keeps nothing."""

from __future__ import annotations

import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.grid.farm.conftest import Farm, make_home, payloads_of, run_farm, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.farm


@pytest.fixture(scope="module", params=["dask", "local"])
def farm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    home = make_home(tmp_path_factory.mktemp(request.param) / "home", executor=request.param)
    with run_farm(home) as farm:
        yield farm


def test_many_jobs_are_done_each_once(farm: Farm) -> None:
    numbers = farm.ledger.add(40)
    until(lambda: farm.ledger.all_done(numbers))
    assert farm.ledger.committed_once(numbers)
    assert not list(farm.home.attempts.iterdir())


def test_a_job_that_fails_is_tried_again_and_then_held(farm: Farm) -> None:
    (number,) = farm.ledger.add(fail="UserCodeError", print="look here")
    until(lambda: farm.ledger.state(number) == "held")
    attempts = farm.ledger.attempts(number)
    assert [one.failure for one in attempts] == ["payload"] * 3
    assert "the spec asked for it" in attempts[-1].message
    assert attempts[-1].last_lines.startswith("look here")


def test_a_job_whose_payload_is_killed_is_not_held(farm: Farm, tmp_path: Path) -> None:
    """However often it happens."""
    gate = tmp_path / "gate"
    (number,) = farm.ledger.add(wait_for=str(gate))
    for kills in range(1, 6):
        until(partial(_has_attempts, farm, number, kills))
        (payload,) = until(partial(payloads_of, farm.home, f"{number}.{kills}."))
        payload.send_signal(signal.SIGKILL)
    gate.touch()
    until(lambda: farm.ledger.state(number) == "done")
    failures = [one.failure for one in farm.ledger.attempts(number)]
    assert failures == ["killed"] * 5 + [None]


def _has_attempts(farm: Farm, number: int, count: int) -> bool:
    return len(farm.ledger.attempts(number)) == count


def test_a_failure_that_passes_is_tried_again_later(farm: Farm, tmp_path: Path) -> None:
    (number,) = farm.ledger.add(fail="GatewayUnreachable", unless=str(tmp_path / "mended"))
    until(lambda: len(farm.ledger.attempts(number)) == 1 and farm.ledger.state(number) == "ready")
    (tmp_path / "mended").touch()
    until(lambda: farm.ledger.state(number) == "done")
    first, second = farm.ledger.attempts(number)
    assert second.started - first.ended > 0.2


def test_a_long_job_does_not_hold_up_what_was_claimed_with_it(farm: Farm, tmp_path: Path) -> None:
    """After many short jobs a few more than there are slots are claimed ahead."""
    numbers = farm.ledger.add(20)
    until(lambda: farm.ledger.all_done(numbers))
    (long,) = farm.ledger.add(wait_for=str(tmp_path / "gate"))
    short = farm.ledger.add(10)
    until(lambda: farm.ledger.all_done(short))
    assert farm.ledger.state(long) == "leased"
    assert all(len(farm.ledger.attempts(number)) == 1 for number in short)
    (tmp_path / "gate").touch()
    until(lambda: farm.ledger.state(long) == "done")


def test_a_hidden_rerun_of_an_attempt_does_nothing(farm: Farm, tmp_path: Path) -> None:
    """Whoever starts the same claim again, only one start works."""
    witness, gate = tmp_path / "starts", tmp_path / "gate"
    (number,) = farm.ledger.add(touch=str(witness), wait_for=str(gate))
    until(witness.exists)
    from sitecfg.errors import StaleLease

    with pytest.raises(StaleLease):
        farm.session.client.begin(
            number, 1, "00000000-0000-0000-0000-000000000009", host="x", pid=1, worker="twin"
        )
    gate.touch()
    until(lambda: farm.ledger.state(number) == "done")
    assert len(witness.read_text().split()) == 1
