"""Processes that sleep for longer than a lease and wake up: what they missed is done once, by others or by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.grid.chaos.stage import Stage
from tests.grid.chaos.strikes import PAYLOAD, Disturber
from tests.grid.chaos.toll import Toll

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.farm, pytest.mark.slow, pytest.mark.timeout(400)]

ROUND = ("worker-0", PAYLOAD, "dispatcher", "worker-1", "gateway")


def test_asleep_past_the_lease(tmp_path: Path, report: Callable[..., None]) -> None:
    stage = Stage(tmp_path, files=70, lease_s=2)
    disturber = Disturber(stage)
    with stage.running():
        for number in range(2 * len(ROUND)):
            stage.until_done(20 * number)
            disturber.pause(ROUND[number % len(ROUND)])
        assert "chaos: complete" in stage.finish()
    toll = Toll("pauses past the lease", stage.sql, disturber.strikes)
    asleep = [(strike, key) for strike in toll.strikes if "worker" in strike.victim for key in strike.busy]
    assert len(asleep) >= 4
    for strike, key in asleep:
        row = toll.attempts[key]
        # What was on its way to the gateway already may have arrived.
        assert row.outcome == "lost" or (row.ended or 0) < strike.at + stage.lease_s, (
            "it committed after its lease"
        )
    assert any(toll.attempts[key].outcome == "lost" for _, key in asleep)
    report(toll.head)
