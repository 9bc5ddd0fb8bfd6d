"""When is a payload too big, too slow, or stuck? The limits, the measuring, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

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
    """Which limit was passed: the class of failure, and the sentence."""

    failure: str
    what: str


def judge(limits: Limits, *, memory: int, wall_s: float, quiet_s: float) -> Overrun | None:
    """Say whether a payload has passed a limit, memory first. Pure."""
    if memory > limits.memory:
        return Overrun(
            "oom",
            f"it used {format_bytes(memory)} of memory; a slot has {format_bytes(limits.memory)}",
        )
    if wall_s > limits.wall_s:
        return Overrun(
            "timeout", f"it ran for {format_seconds(wall_s)}; the limit is {format_seconds(limits.wall_s)}"
        )
    if quiet_s > limits.quiet_s:
        return Overrun("stalled", f"it made no progress for {format_seconds(quiet_s)}")
    return None


def memory_of(process: int, *, limit: int) -> int:
    """Return the bytes of memory that a process and all its descendants hold; 0 when it is gone.

    Resident sets are cheap to read but count shared pages once for each process (every payload shares its
    libraries with the forkserver), so a sum above `limit` is counted again by proportional share.
    """
    try:
        leader = psutil.Process(process)
        family = [leader, *leader.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    resident = sum(_resident(member.pid) for member in family)
    return resident if resident <= limit else sum(_share(member.pid) for member in family)


def _resident(process: int) -> int:
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * _PAGE


def _share(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Pss:", "Swap:")))


_PAGE = 4096
