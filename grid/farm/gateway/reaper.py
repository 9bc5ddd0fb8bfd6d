"""Take back the leases that ran out."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from catalog import work
from catalog.engine import now
from sitecfg.points import reach

if TYPE_CHECKING:
    from catalog.engine import Catalog, Transaction
    from sitecfg.models import Lease

__all__ = ["Reaper"]

_log = logging.getLogger(__name__)

#: Looks at least this often, seconds.
LONGEST_S = 10.0
#: A clock that is corrected by less than this was not set back, seconds.
CLOCK_S = 1.0


class Reaper:
    """A daemon that makes jobs ready again whose leases ran out.

    While the gateway was down nobody could renew, so after a start it waits for as long as a renewal takes.

    It also sees when the database's clock is set back, and then brings back what was to happen by the old one.

    Parameters
    ----------
    lease
        The settings of leases.
    longest_delay_s
        The longest that a job may have to wait before it is tried again.
    """

    name = "reap"

    def __init__(self, lease: Lease, longest_delay_s: float) -> None:
        self._lease_s = lease.seconds
        self._longest_delay_s = longest_delay_s
        self._ahead_s: float | None = None
        self._every_s = min(LONGEST_S, lease.seconds / 4)
        self._not_before = time.monotonic() + lease.renew_fraction * lease.seconds

    def step(self, catalog: Catalog) -> float:
        """Reap once; returns the seconds until leases may have run out again."""
        left = self._not_before - time.monotonic()
        if left > 0:
            return left
        with catalog.write() as tx:
            self._mind_the_clock(tx)
            work.reap(tx)
            reach("reap.open")
        reach("reap.durable")
        return self._every_s

    def _mind_the_clock(self, tx: Transaction) -> None:
        """Compare the database's clock with one that is never set; at first nobody knows what it was before."""
        ahead_s, before_s = now(tx) - time.monotonic(), self._ahead_s
        self._ahead_s = ahead_s
        if before_s is None:
            work.pull_back(tx, lease_s=self._lease_s, delay_s=self._longest_delay_s)
        elif ahead_s < before_s - CLOCK_S:
            _log.warning("the database's clock was set back by %.0f s", before_s - ahead_s)
            # How long each job was to wait cannot be told any more, and a retry too early does no harm.
            work.pull_back(tx, lease_s=self._lease_s, delay_s=0.0)
