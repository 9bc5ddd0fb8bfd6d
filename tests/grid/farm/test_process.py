"""A supervised process is started again, with pauses that fit."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from grid.farm.process import PAUSES_S, Supervised, pause_before
from tests.grid.farm.conftest import until

if TYPE_CHECKING:
    from pathlib import Path


class Sleeper:
    """Starts processes that sleep, or can't start any."""

    def __init__(self) -> None:
        self.broken = False

    def __call__(self, name: str, output: int) -> int:
        here, there = os.pipe()
        if not self.broken:
            command = [sys.executable, "-c", f"import time; print({name!r}, flush=True); time.sleep(600)"]
            actions = [(os.POSIX_SPAWN_DUP2, output, 1)]
            child = os.posix_spawn(sys.executable, command, os.environ, file_actions=actions)
            os.write(there, str(child).encode())
        os.close(there)
        return here


def test_pauses_grow_to_a_longest_one() -> None:
    pauses = [pause_before(deaths) for deaths in range(20)]
    assert pauses[0] == 0.0
    assert pauses == sorted(pauses)
    assert pauses[-1] == PAUSES_S[-1]


def test_it_runs_dies_and_runs_again_under_another_name(tmp_path: Path) -> None:
    child = Supervised("sleeper", Sleeper(), tmp_path, "mark")
    for count in (1, 2):
        until(lambda: child.due)
        child.start()
        assert not child.due
        until(child.appeared)
        assert child.incarnation == f"sleeper.mark.{count}"
        until(lambda: child.incarnation in (tmp_path / "sleeper.log").read_text())
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        until(child.died)
        assert child.last_exit == -signal.SIGKILL


def test_one_that_cannot_be_started_is_tried_again_later(tmp_path: Path) -> None:
    launch = Sleeper()
    launch.broken = True
    child = Supervised("sleeper", launch, tmp_path, "mark")
    for _ in range(3):
        until(lambda: child.due)
        child.start()
        assert not child.appeared()
        assert child.pid is None
    assert not child.due
    launch.broken = False
    until(lambda: child.due)
    child.start()
    until(child.appeared)
    child.end(signal.SIGTERM, 5)
    assert child.pid is None
