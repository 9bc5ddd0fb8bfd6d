"""When is a payload too big, too slow, or stuck? The limits, the measuring, and the verdict."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sitecfg.units import format_bytes, format_seconds

__all__ = ["Limits", "Overrun", "judge", "memory_of"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one payload may use.

    Parameters
    ----------
    memory
        Bytes, over the payload and all processes that it started.
    wall_s
        Seconds from its start.
    quiet_s
        Seconds without progress.
    """

    memory: int
    wall_s: float
    quiet_s: float

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"memory": self.memory, "wall_s": self.wall_s, "quiet_s": self.quiet_s}


@dataclass(frozen=True, slots=True)
class Overrun:
    """Which limit was passed: the class of failure, the sentence, and the setting that helps."""

    failure: str
    what: str
    todo: str


def judge(limits: Limits, *, memory: int, wall_s: float, quiet_s: float) -> Overrun | None:
    """Say whether a payload has passed a limit, memory first. Pure."""
    if memory > limits.memory:
        return Overrun(
            "oom",
            f"it used {format_bytes(memory)} of memory; a slot has {format_bytes(limits.memory)}",
            f"give slots more by workers.memory, or make chunks smaller by workers.chunk; {_AFTERWARDS}",
        )
    if wall_s > limits.wall_s:
        return Overrun(
            "timeout",
            f"it ran for {format_seconds(wall_s)}; the limit is {format_seconds(limits.wall_s)}",
            f"if it needs longer, raise workers.wall_time; {_AFTERWARDS}",
        )
    if quiet_s > limits.quiet_s:
        return Overrun(
            "stalled",
            f"it made no progress for {format_seconds(quiet_s)}",
            f"if a chunk needs longer, raise workers.quiet_time; {_AFTERWARDS}",
        )
    return None


def memory_of(process: int, *, limit: int) -> int:
    """Return the bytes of memory that a process and all its descendants hold; 0 when it is gone.

    Resident sets are cheap to read but count shared pages once for each process (every payload shares its
    libraries with the forkserver), so a sum above `limit` is counted again by proportional share.
    """
    family = _family(process)
    resident = sum(_resident(member) for member in family)
    return resident if resident <= limit else sum(_share(member) for member in family)


def _family(process: int) -> list[int]:
    """Return a process and all its descendants, without listing every process of the machine."""
    found = [process]
    for member in found:
        for task in _tasks(member):
            found += map(int, _read(Path(f"/proc/{member}/task/{task}/children")).split())
    return found


def _tasks(process: int) -> list[str]:
    """Return the threads of a process; none when it is gone, also if it goes meanwhile."""
    try:
        return [task.name for task in Path(f"/proc/{process}/task").iterdir()]
    except OSError:
        return []


def _resident(process: int) -> int:
    pages = _read(Path(f"/proc/{process}/statm")).split()
    return int(pages[1]) * _PAGE if pages else 0


def _share(process: int) -> int:
    lines = _read(Path(f"/proc/{process}/smaps_rollup")).splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Pss:", "Swap:")))


def _read(path: Path) -> str:
    """Return a file of ``/proc``; empty when the process is gone or not ours to see."""
    try:
        return path.read_text()
    except OSError:
        return ""


#: The gateway reads the settings when it starts.
_AFTERWARDS = "then start the farm anew, and 'grid retry'"
_PAGE = os.sysconf("SC_PAGE_SIZE")
