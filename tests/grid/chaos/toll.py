"""Reckon from the ledger what strikes cost: lost attempts, CPU time, and the time until work goes on."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.grid.chaos.sql import Sql
    from tests.grid.chaos.strikes import Key, Strike

#: Whom an aim of the design is for, and the aim, in seconds: from the strike until the next attempt begins.
AIMS_S = {"scheduler": 10, "dispatcher": 5, "gateway": 5, "postmaster": 15}


class Attempt(NamedTuple):
    """A row of the ledger."""

    job: int
    epoch: int
    worker: str
    started: float
    ended: float | None
    outcome: str
    cpu_s: float | None

    @property
    def key(self) -> Key:
        return self.job, self.epoch


class Toll:
    """What the strikes of a production cost, by its ledger.

    Parameters
    ----------
    name
        Of what was done to it.
    sql
        The catalog's database, when all is over.
    strikes
        What was done.
    """

    def __init__(self, name: str, sql: Sql, strikes: Iterable[Strike]) -> None:
        self.name = name
        self.strikes = list(strikes)
        rows = sql.rows("SELECT job, epoch, worker, started, ended, outcome, cpu_s FROM attempt")
        self.attempts = {one.key: one for one in sorted(Attempt(*row) for row in rows)}

    def lost(self, strike: Strike) -> list[Key]:
        """The attempts that were under way when it struck, and did not commit afterwards.

        A database server that is killed may forget the last begins, which nobody waits for the disk for; such an
        attempt is refused when it wants to commit, and its row is gone, or another's.
        """
        return [key for key in strike.busy if not self._went_on(key, strike)]

    def _went_on(self, key: Key, strike: Strike) -> bool:
        row = self.attempts.get(key)
        return row is not None and row.started < strike.at and row.outcome == "done"

    @property
    def landed(self) -> list[Strike]:
        """The strikes in whose very instant an attempt was under way: it did not commit, or it did so later."""
        return [
            strike
            for strike in self.strikes
            if self.lost(strike) or any((self.attempts[key].ended or 0) > strike.at for key in strike.busy)
        ]

    @property
    def wasted_cpu(self) -> float:
        """The part of all CPU time that went into attempts without a commit.

        Nobody measured the CPU time of those that were killed: it is at most the time that they had until then.
        """
        ends = {key: strike.at for strike in reversed(self.strikes) for key in self.lost(strike)}
        good = lost = 0.0
        for key, one in self.attempts.items():
            if one.outcome == "done":
                good += one.cpu_s or 0.0
            elif one.cpu_s is not None:
                lost += one.cpu_s
            else:
                lost += ends.get(key, one.ended or one.started) - one.started
        return lost / (lost + good)

    def until_next_start(self, strike: Strike) -> float:
        """Seconds from a strike to the next attempt that begins anywhere; at the struck worker, if it was one."""
        here = strike.victim if strike.victim.startswith("worker") else ""
        later = [
            one.started
            for one in self.attempts.values()
            if one.started > strike.at and one.worker.startswith(here)
        ]
        return min(later, default=strike.at) - strike.at

    def until_jobs_again(self, strike: Strike) -> list[float]:
        """Seconds from a strike to the next attempt of each job that lost one by it."""
        jobs = {job for job, _ in self.lost(strike)}
        starts: dict[int, float] = {}
        for one in self.attempts.values():  # in order of job and epoch
            if one.job in jobs and one.started > strike.at:
                starts.setdefault(one.job, one.started)
        return [started - strike.at for started in starts.values()]

    @property
    def head(self) -> str:
        """What happened, in one line."""
        lost = sum(one.outcome != "done" for one in self.attempts.values())
        done = len(self.attempts) - lost
        return (
            f"{self.name}: {done} jobs done; {len(self.strikes)} strikes, {len(self.landed)} of them with an"
            f" attempt under way; {lost} attempts lost, {self.wasted_cpu:.0%} of the CPU time at one strike per"
            f" {done / max(1, len(self.strikes)):.0f} jobs"
        )

    def lines(self) -> list[str]:
        """That line, and the table of all victims."""
        columns = ("until the next start", "until what was lost starts again")
        table = [f"  {'victim':<12}{'strikes':>8}{'lost':>6}   {columns[0]:<32}{columns[1]}"]
        for victim in sorted({one.victim.partition("-")[0] for one in self.strikes}):
            these = [one for one in self.strikes if one.victim.partition("-")[0] == victim]
            starts = [self.until_next_start(one) for one in these]
            again = [value for one in these for value in self.until_jobs_again(one)]
            aim = f", aim {AIMS_S[victim]} s" if victim in AIMS_S else ""
            table.append(
                f"  {victim:<12}{len(these):>8}{len(again):>6}   {_spread(starts) + aim:<32}{_spread(again)}"
            )
        return [self.head, *table]


def _spread(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.1f} s, at most {max(seconds):.1f} s" if seconds else "-"
