"""Strike processes of a farm while attempts are under way."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.grid.chaos.sql import Sql
    from tests.grid.chaos.stage import Stage

PAYLOAD = "payload"
#: Job and epoch.
Key = tuple[int, int]


@dataclass(frozen=True)
class Strike:
    """What was struck when, and which attempts had begun and were not over just before."""

    victim: str
    at: float
    busy: frozenset[Key]


class Disturber:
    """Sends signals, each of them while at least one attempt is between its claim and its commit.

    Parameters
    ----------
    stage
        Whose processes are struck.
    others
        Further victims, and how each is killed.
    """

    def __init__(self, stage: Stage, others: Mapping[str, Callable[[], None]] | None = None) -> None:
        self._stage = stage
        self._others = others or {}
        self.strikes: list[Strike] = []

    def kill_all_the_way(self, victims: Sequence[str], *, times: int, jobs: int) -> None:
        """Kill one victim after the other, the kills spread evenly over the production's jobs."""
        for number in range(times):
            self._stage.until_done(number * jobs // times)
            self.kill(victims[number % len(victims)])

    def kill(self, victim: str) -> None:
        """Kill a victim as soon as it is there and attempts are under way."""
        self._stage.until(lambda: self._strike(victim))

    def _strike(self, victim: str) -> bool:
        found = self._at_work(victim, anybody=True)
        if found is None:
            return False
        number, busy = found
        strike = Strike(victim, time.time(), busy)
        if victim in self._others:
            self._others[victim]()
        elif not send(number, signal.SIGKILL):
            return False
        self.strikes.append(strike)
        return True

    def pause(self, victim: str) -> None:
        """Stop a victim that is at work until leases have run out, and a worker's jobs are at others; wake it then."""
        number, strike = self._stage.until(lambda: self._stop(victim))
        self.strikes.append(strike)
        self._stage.let_pass(1.25, strike.at)
        if victim.startswith("worker"):
            self._stage.until(lambda: self._elsewhere(strike.busy))
        send(number, signal.SIGCONT)

    def _stop(self, victim: str) -> tuple[int, Strike] | None:
        found = self._at_work(victim, anybody=False)
        if found is None:
            return None
        number, busy = found
        at = time.time()
        stopped = send(number, signal.SIGSTOP)
        # It may have been just about to commit.
        busy &= under_way(self._stage.sql)
        if stopped and busy:
            return number, Strike(victim, at, busy)
        send(number, signal.SIGCONT)
        return None

    def _at_work(self, victim: str, *, anybody: bool) -> tuple[int, frozenset[Key]] | None:
        """Return a victim's number and what is under way: a worker's own attempts, unless those of anybody will do."""
        if victim == PAYLOAD:
            both = {**self._stage.payloads("worker-0"), **self._stage.payloads("worker-1")}
            working = under_way(self._stage.sql)
            return next(((number, frozenset([key])) for number, key in both.items() if key in working), None)
        number = 0 if victim in self._others else self._stage.pid(victim)
        of = victim if victim.startswith("worker") and not anybody else ""
        busy = under_way(self._stage.sql, of)
        return (number, busy) if busy else None

    def _elsewhere(self, busy: frozenset[Key]) -> bool:
        """Whether others have begun the jobs of attempts, or are done with them, and none of these goes on."""
        if busy & under_way(self._stage.sql):
            return False
        begun = set(self._stage.sql.rows("SELECT job, epoch FROM attempt"))
        done = {job for (job,) in self._stage.sql.rows("SELECT id FROM job WHERE state = 'done'")}
        return all(job in done or (job, epoch + 1) in begun for job, epoch in busy)


def send(number: int, signum: signal.Signals) -> bool:
    """Send a signal; False if the process is gone."""
    try:
        os.kill(number, signum)
    except ProcessLookupError:
        return False
    return True


def under_way(sql: Sql, worker: str = "") -> frozenset[Key]:
    """Job and epoch of every attempt that has begun and is not over; of those of a worker, if one is named."""
    return frozenset(
        (job, epoch)
        for job, epoch in sql.rows(
            "SELECT a.job, a.epoch FROM attempt a JOIN job j ON j.id = a.job AND j.epoch = a.epoch"
            f" WHERE a.outcome = 'running' AND j.state = 'leased' AND a.worker LIKE '{worker}%'"
        )
    )
