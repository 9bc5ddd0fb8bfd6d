"""The matrix of crash points: its rows and columns, the cells that can't be, and what became of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sitecfg.points import POINTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Who is killed. The command is the one that somebody typed; all others are the farm's.
VICTIMS = ("payload", "worker", "scheduler", "dispatcher", "gateway", "supervisor", "command")
KINDS = ("intake", "process", "merge")
#: Points that are tried for kinds of jobs, because other lines stand behind them; an intake writes no output.
OF_KINDS = {
    **dict.fromkeys(("payload.begun@KIND", "attempt.ended@KIND"), ("process",)),
    **dict.fromkeys(("payload.done", "commit.open", "commit.durable"), KINDS),
    **dict.fromkeys(("output.durable", "output.linked", "output.named"), ("process", "merge")),
}
COMMANDS = ("backup", "restore", "reconcile")


@dataclass(frozen=True, slots=True)
class Row:
    """A point, and the kind of the job that is to reach it; empty where any may."""

    point: str
    kind: str = ""

    def __str__(self) -> str:
        return self.point.removesuffix("@KIND") + (f"@{self.kind}" if self.kind else "")

    @property
    def reached(self) -> str:
        """The point, as the process that reaches it calls it."""
        return self.point.replace("@KIND", f"@{self.kind}")

    @property
    def holder(self) -> str:
        """Which process is held there."""
        return POINTS[self.point].partition(":")[0]

    @property
    def group(self) -> str:
        return self.point.partition(".")[0]


Cell = tuple[Row, str]


def rows() -> Iterator[Row]:
    for point in POINTS:
        for kind in OF_KINDS.get(point, ("",)):
            yield Row(point, kind)


def impossible(row: Row, victim: str) -> str:
    """Why a cell can't be; empty where it can."""
    if row.group in COMMANDS:
        return "" if victim == "command" else "a command is at work alone there"
    if row.group == "tables":
        return "without tables there are no jobs" if victim == "payload" else ""
    if victim == "command":
        return "farm and command end together: test_interruptions.py kills it"
    return ""


#: What is told of the cells; each under its name.
TITLE = "crash points: who was killed while a process was held there"
#: What became of cells since that was told last.
NOTED: dict[str, str] = {}


def note(row: Row, victim: str, became: str) -> None:
    """Note what became of a cell."""
    NOTED[f"{row}/{victim}"] = became


def lines(became: Mapping[str, str]) -> list[str]:
    """The matrix as text; empty when no cell was tried."""
    if not became:
        return []
    reasons: list[str] = []
    table = [["point", *VICTIMS]]
    for row in rows():
        cells = [str(row)]
        for victim in VICTIMS:
            why = impossible(row, victim)
            if why and why not in reasons:
                reasons.append(why)
            cells.append(
                f"no ({reasons.index(why) + 1})" if why else became.get(f"{row}/{victim}", "not now")
            )
        table.append(cells)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]
    counts = {state: list(became.values()).count(state) for state in set(became.values())}
    told = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    return [
        *text,
        "",
        f"{told}; 'not now': chosen by `make test-long`, or by another choice of tests",
        *(f"no ({number}): {why}" for number, why in enumerate(reasons, 1)),
    ]
