"""Who holds a job: the fence that every call of a run has to pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from catalog import hot
from catalog.batches import rounds
from catalog.states import Outcome
from sitecfg.errors import StaleLease

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from catalog.leases import Lease


def as_row(lease: Lease) -> dict[str, Any]:
    """Return a run as a row that statements for many rows are given."""
    return {"job": lease.job, "epoch": lease.epoch, "runner": lease.runner}


def attempt_of(lease: Lease) -> dict[str, Any]:
    """Return the parameters that name an attempt: there is one for each epoch that was begun."""
    return {"the_job": lease.job, "the_epoch": lease.epoch}


def extend(tx: Connection, leases: Iterable[Lease], until: float) -> set[Lease]:
    """Let leases end at `until`, and return those; the others are not held by their runs any more.

    A lease that was reaped and given to nobody since is its holder's again.
    """
    kept: set[Lease] = set()
    for part in rounds(leases, lambda lease: lease.job):
        rows = [{**as_row(lease), "until": until} for lease in part]
        jobs = set(hot.RENEW.run(tx, rows).scalars())
        if len(jobs) < len(part):
            revived = hot.REVIVE.run(tx, [row for row in rows if row["job"] not in jobs]).all()
            jobs.update(row.id for row in revived)
            for row in revived:
                back = {"outcome": Outcome.RUNNING, "ended": None, "failure": None}
                tx.execute(hot.ENDED, {"the_job": row.id, "the_epoch": row.epoch, **back})
        kept.update(lease for lease in part if lease.job in jobs)
    return kept


def stale(lease: Lease, what: str) -> StaleLease:
    """Return the error that tells a run to stop."""
    return StaleLease(
        f"the lease of epoch {lease.epoch} is not held by this run any more: {what}",
        where=f"job {lease.job}",
        todo="stop, and remove only the files of this run",
        job=lease.job,
        epoch=lease.epoch,
    )
