"""Take back the leases that ran out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from catalog import work
from sitecfg.points import reach

if TYPE_CHECKING:
    from catalog.engine import Catalog
    from sitecfg.models import Lease

__all__ = ["Reaper"]

#: Looks at least this often, seconds.
LONGEST_S = 10.0


class Reaper:
    """A daemon that makes jobs ready again whose leases ran out.

    While the gateway was down nobody could renew, so after a start it waits for as long as a renewal takes.

    Parameters
    ----------
    lease
        The settings of leases.
    """

    name = "reap"

    def __init__(self, lease: Lease) -> None:
        self._every_s = min(LONGEST_S, lease.seconds / 4)
        self._not_before = time.monotonic() + lease.renew_fraction * lease.seconds

    def step(self, catalog: Catalog) -> float:
        """Reap once; returns the seconds until leases may have run out again."""
        left = self._not_before - time.monotonic()
        if left > 0:
            return left
        with catalog.write() as tx:
            work.reap(tx)
            reach("reap.open")
        reach("reap.durable")
        return self._every_s
