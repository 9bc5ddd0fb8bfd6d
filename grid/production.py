"""What a user's script imports: describe a production, submit it, watch it, read its report.

>>> from grid import Production, connect                                              # doctest: +SKIP
>>> with connect() as grid:                                                           # doctest: +SKIP
...     job = grid.submit(Production(name="pass1", input="cdf:raw.A", split="PHYSICS_1_01/6"))
...     job.watch()
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from grid.steps.program import Command
from grid.submission import Production, prepare
from sitecfg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from grid.farm.client import GatewayClient

__all__ = ["Command", "Grid", "Production", "Submitted", "connect"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a production has come.

    Attributes
    ----------
    state
        ``active``, ``complete``, ``stalled`` or ``cancelled``.
    done, total
        Jobs by kind (``intake``, ``compare``, ``process``, ``merge``).
    running, held
        Jobs that run now, and jobs that wait for an operator.
    reasons
        Why the production can't go on by itself, or which job is tried again and again, in words.
    """

    state: str
    done: Mapping[str, int]
    total: Mapping[str, int]
    running: int
    held: int
    reasons: tuple[str, ...]

    @property
    def over(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state != "active"


class Submitted:
    """A production that a home knows."""

    def __init__(self, client: GatewayClient, name: str, *, new: bool) -> None:
        self._client = client
        self.name = name
        #: False when the same production had been submitted before: this continues it.
        self.new = new

    def progress(self) -> Progress:
        """Ask how far it is; returns at once."""
        answer = self._client.get(f"/productions/{self.name}")
        return Progress(
            answer["state"],
            answer["done"],
            answer["total"],
            answer["running"],
            answer["held"],
            tuple(answer["reasons"]),
        )

    def watch(self, tell: Callable[[Progress], None] | None = None, *, every: float = 0.25) -> Progress:
        """Wait until the production is over.

        Interrupting the wait leaves the production to be continued by the same script.

        Parameters
        ----------
        tell
            Called with the progress whenever it was asked for; by default a line on stderr when it changes.
        every
            Seconds between two questions.
        """
        tell = tell or _Lines(self.name)
        while True:
            progress = self.progress()
            tell(progress)
            if progress.over:
                return progress
            time.sleep(every)

    def report(self) -> Report:
        """Return what the production did so far, from the catalog's books."""
        return Report(self._client.get(f"/productions/{self.name}/report"))

    def datasets(self) -> dict[str, str]:
        """Return the output dataset of each stream: ``{"A": "cdf:pass1.A", …}``."""
        return {one["stream"]: one["dataset"] for one in self.report().facts["streams"]}


class Report:
    """What a production did: files, events in, out, dropped and in no stream, overlaps, rates, failures."""

    def __init__(self, facts: dict[str, Any]) -> None:
        #: The same as plain JSON types.
        self.facts = facts

    def __str__(self) -> str:
        f = self.facts
        wide = max(7, *(len(one["stream"]) for one in f["streams"]))
        lines = [
            f"production {f['production']}: {f['state']}",
            f"  {'in':<{wide}} {f['files_in']:>8} files {f['events_in']:>12} events",
        ]
        if f["files_bad"]:
            lines.append(
                f"  {'bad':<{wide}} {f['files_bad']:>8} files {f['events_bad']:>12} events  set aside"
            )
        lines += [
            f"  {one['stream']:<{wide}} {one['files']:>8} files {one['events']:>12} events  {one['dataset']}"
            for one in f["streams"]
        ]
        lines.append(f"  {'no stream':<{wide + 15}}{f['events_nowhere']:>12} events")
        lines.append(f"  {'dropped by code':<{wide + 15}}{f['events_dropped']:>12} events")
        if len(f["streams"]) > 1:
            names = [one["stream"] for one in f["streams"]]
            width = max(8, *(len(name) for name in names))
            lines.append("  overlap (events in both):")
            lines.append("    " + " " * width + "".join(f"{name:>{width + 1}}" for name in names))
            for name, row in zip(names, f["overlap"], strict=True):
                lines.append(f"    {name:<{width}}" + "".join(f"{count:>{width + 1}}" for count in row))
        rate = f["events_in"] / f["wall_s"] if f["wall_s"] else 0.0
        lines.append(
            f"  {f['attempts']} attempts, {f['cpu_s']:.1f} s CPU, {f['wall_s']:.1f} s wall, {rate:,.0f} events/s"
        )
        lines += [f"  {count} attempts ended by class '{kind}'" for kind, count in f["failures"]]
        lines += [f"  held: {one['kind']} job {one['job']}: {one['why']}" for one in f["held"]]
        lines += [f"  ! {reason}" for reason in f["reasons"]]
        return "\n".join(lines)


class Grid:
    """A connection to a home; made by :func:`connect`."""

    def __init__(self, client: GatewayClient, home: Path, leave: ExitStack) -> None:
        self.client = client
        self.home = home
        self._leave = leave

    def submit(self, production: Production) -> Submitted:
        """Submit a production; idempotent.

        The same name with the same recipe is the same production, which then goes on; with another recipe it is
        refused.

        Raises
        ------
        RecipeChanged
            The name is taken by another recipe; the differences are listed.
        UsageError
            The description can't be carried out: the function can't be imported elsewhere, the trigger table is
            unknown, no file matches.
        """
        from sitecfg.load import load_site

        def table(name: str, tag: int) -> dict[str, Any]:
            answer: dict[str, Any] = self.client.get(f"/triggers/{name}/{tag}")
            return answer

        body = prepare(production, table, load_site(self.home).site)
        answer = self.client.post("/submit", body)
        return Submitted(self.client, answer["name"], new=answer["new"])

    def close(self) -> None:
        """Leave; the last one to leave an embedded farm stops it."""
        self._leave.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(home: str | Path | None = None) -> Grid:
    """Join the farm that runs in `home`, or start one there for as long as this process needs it.

    Parameters
    ----------
    home
        The folder where the embedded farm lives; ``$MDCGRID_HOME``, else ``./grid-data``.

    Raises
    ------
    UsageError
        When called inside a payload, because a script without a ``__main__`` guard was imported there.
    """
    if os.environ.get("MDCGRID_PAYLOAD"):
        caller = traceback.extract_stack(limit=2)[0]
        raise UsageError(
            "connect() was called while a worker imported the script",
            where=f"line {caller.lineno}: {caller.line}",
            todo="put the part that submits under 'if __name__ == \"__main__\":'",
        )
    from grid.farm.session import attach

    place = Path(home or os.environ.get("MDCGRID_HOME") or "grid-data").absolute()
    with ExitStack() as stack:
        session = stack.enter_context(attach(place, need="farm"))
        return Grid(session.client, place, stack.pop_all())
    raise AssertionError("unreachable")  # ExitStack never swallows


class _Lines:
    """A line on stderr whenever the progress has changed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._last = ""

    def __call__(self, progress: Progress) -> None:
        jobs = ", ".join(
            f"{kind} {progress.done.get(kind, 0)}/{total}" for kind, total in progress.total.items()
        )
        text = "; ".join((f"{self._name}: {progress.state}: {jobs}", *progress.reasons))
        if text != self._last:
            sys.stderr.write(text + "\n")
            self._last = text
