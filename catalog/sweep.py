"""Which files in a folder nobody knows: the question that a sweeper asks before it removes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from catalog.batches import IN_LIST, batches
from catalog.schema_files import file, replica
from catalog.schema_work import job
from catalog.states import FileState, JobState, ReplicaState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection


def registered(tx: Connection, urls: Iterable[str]) -> frozenset[str]:
    """Return those of the URLs that are copies of known files.

    List the folder first and ask afterwards: what is committed in between is then known already.
    """
    known: set[str] = set()
    for piece in batches(urls, IN_LIST):
        known.update(tx.execute(select(replica.c.url).where(replica.c.url.in_(piece))).scalars())
    return frozenset(known)


def copies(tx: Connection) -> list[tuple[str, int | None]]:
    """Return URL and size of each copy that can be read, by the catalog."""
    query = (
        select(replica.c.url, file.c.bytes)
        .join_from(replica, file, file.c.id == replica.c.file)
        .where(replica.c.state == ReplicaState.AVAILABLE, file.c.state == FileState.ON_DISK)
        .order_by(replica.c.url)
    )
    return [(row[0], row[1]) for row in tx.execute(query)]


def live_runners(tx: Connection) -> frozenset[str]:
    """Return the start tokens of all runs that may still commit; their files are not to be touched.

    These are the runs that hold a lease, and those whose lease was reaped but claimed by nobody since.
    """
    runners: set[str] = set()
    for state in (JobState.LEASED, JobState.READY):
        query = select(job.c.runner).where(job.c.state == state, job.c.runner.is_not(None))
        runners.update(tx.execute(query).scalars())
    return frozenset(runners)
