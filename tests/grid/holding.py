"""Hold processes at points, find the farm's processes, and kill them."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from grid.farm.home import read_state
from tests.grid.farm.conftest import alive
from tests.grid.house import until
from tests.grid.scene import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path

    from grid.farm.home import Home


class Points:
    """The folder that ``$MDCGRID_STOP_AT`` names: a file in it holds the next process that reaches its point."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def lay(self, point: str) -> None:
        (self.folder / point).touch()

    def marks(self, point: str) -> set[Path]:
        """One file for each process that is held there."""
        return set(self.folder.glob(f"{point}=*"))

    def held(self, point: str) -> int:
        """Wait until a process is held there and return its number."""
        return number(until(lambda: self.marks(point), PATIENCE_S).pop())

    def let_go(self, point: str = "") -> None:
        """Hold nobody any more, there or at all."""
        for path in self.folder.glob(f"{point}*"):
            path.unlink(missing_ok=True)


def number(mark: Path) -> int:
    """Return the number of the process that is held."""
    return int(mark.name.rpartition("=")[2])


def kill(process: int) -> None:
    """Kill a process and wait until it is dead."""
    os.kill(process, signal.SIGKILL)
    until(lambda: not alive(process), PATIENCE_S)


def pids(home: Home) -> dict[str, int]:
    """The living processes of a farm that its supervisor has told of, and itself."""
    state = read_state(home.farm) or {}
    told = {name: child["pid"] for name, child in state.get("children", {}).items()}
    told["supervisor"] = state.get("pid")
    return {name: process for name, process in told.items() if process and alive(process)}


def pid(home: Home, name: str) -> int:
    """Wait until a process of the farm runs and return its number; of the workers it is the first."""
    return int(until(lambda: pids(home).get("worker-0" if name == "worker" else name), PATIENCE_S))
