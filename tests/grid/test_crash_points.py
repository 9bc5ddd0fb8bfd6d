"""A process is killed exactly where it hurts: every point of the protocols against every process of the farm.

The first process that reaches the point is held there while the victim is killed, and goes on afterwards (unless it
was the victim). Then the production has to end right by itself.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from sitecfg.points import POINTS
from tests.grid.farm.conftest import alive, processes_of
from tests.grid.house import until
from tests.grid.scene import PATIENCE_S, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.farm

VICTIMS = ("holder", "worker-0", "scheduler", "dispatcher", "gateway", "supervisor")
#: What the default tests try; all others are slow only because they are many.
SAMPLE = {("output.named", "holder"), ("commit.open", "holder"), ("commit.durable", "supervisor")}


CELLS = [
    pytest.param(
        point,
        victim,
        id=f"{point}-{victim}",
        marks=() if (point, victim) in SAMPLE else pytest.mark.slow,
    )
    for point in POINTS
    for victim in VICTIMS
]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    for process in processes_of(made.home):
        process.kill()


@pytest.mark.parametrize(("point", "victim"), CELLS)
def test_a_kill_at_a_point(scene: Scene, tmp_path: Path, point: str, victim: str) -> None:
    folder = tmp_path / "points"
    folder.mkdir()
    scene.open_gate()
    with scene.running({"MDCGRID_STOP_AT": f"{point}:{folder}"}) as child:
        until((folder / point).exists, PATIENCE_S)
        holder = int(until((folder / point).read_text, PATIENCE_S))
        killed = holder if victim == "holder" else until(lambda: scene.pid(victim), PATIENCE_S)
        os.kill(killed, signal.SIGKILL)
        until(lambda: not alive(killed), PATIENCE_S)
        (folder / "go").touch()
        scene.finish(child)
    scene.prove()
