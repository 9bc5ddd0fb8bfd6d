"""Named points in the protocols, where a test can hold a process to kill it, or another one, just there.

A process that reaches a point looks for a file of that name in the folder ``$MDCGRID_STOP_AT``. If there is one, it
puts ``=`` and its own number behind the name, and waits until the file is gone: so each file that a test lays there
holds one process. Without the variable a point costs one comparison.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import MappingProxyType
from typing import Final

__all__ = ["POINTS", "reach"]

#: Every point, and what is true there; KIND is the kind of the job.
POINTS: Final = MappingProxyType(
    {
        "tables.begun": "gateway or command: it may write to the database, in which there is no table yet",
        "tables.open": "gateway or command: all tables are made, and the transaction isn't committed",
        "tables.durable": "gateway or command: the tables are committed, and nobody knows",
        "fork.untold": "worker: it is forked, and the supervisor doesn't know its number",
        "declare.open": "gateway: files and their intake jobs are written, and the transaction isn't committed",
        "declare.durable": "gateway: files and their intake jobs are committed, and nobody was told",
        "submit.open": "gateway: a production is written, and the transaction isn't committed",
        "submit.durable": "gateway: a production is committed, and nobody was told",
        "invalidate.open": "gateway: a file and what was made of it are withdrawn, and nothing is committed",
        "invalidate.durable": "gateway: a file and what was made of it are withdrawn, and nobody was told",
        "plan.open": "gateway: new jobs are written, and the transaction isn't committed",
        "plan.durable": "gateway: new jobs are committed, and nobody was woken",
        "claim.open": "gateway: jobs are leased, and the transaction isn't committed",
        "claim.durable": "gateway: jobs are leased, and the dispatcher hasn't heard of it",
        "dispatcher.claimed": "dispatcher: it holds claims, and no worker has heard of them",
        "dispatcher.handed": "dispatcher: the claims are on their way to workers",
        "begin.open": "gateway: the job is bound to one run, and the transaction isn't committed",
        "begin.durable": "gateway: the job is bound to one run, and its worker hasn't heard of it",
        "attempt.begun": "worker: the job is bound to this run, and no payload runs yet",
        "payload.begun@KIND": "payload: it knows what to do, and has written nothing",
        "renew.open": "gateway: leases are renewed, and the transaction isn't committed",
        "renew.durable": "gateway: leases are renewed, and their worker hasn't heard of it",
        "output.durable": "payload: an output is on the disk, without its name",
        "output.linked": "payload: an output has its name, and its temporary one too",
        "output.named": "payload: an output has its name only, and the folder isn't flushed",
        "payload.done": "payload: all outputs have their names, and the worker hasn't heard of it",
        "attempt.ended@KIND": "worker: it knows how the payload ended, and the ledger doesn't",
        "commit.open": "gateway: the result is written, and the transaction isn't committed",
        "commit.durable": "gateway: the transaction is committed, and the worker hasn't heard of it",
        "attempt.committed": "worker: the ledger knows the end, and nothing is cleared up",
        "fail.open": "gateway: a failure is written, and the transaction isn't committed",
        "fail.durable": "gateway: a failure is committed, and the worker hasn't heard of it",
        "returns.begun": "supervisor: it saw a process die, and nobody returned its leases",
        "release.open": "gateway: leases are returned, and the transaction isn't committed",
        "release.durable": "gateway: leases are returned, and who returned them hasn't heard of it",
        "returns.ended": "supervisor: it returned the leases of a process that died",
        "reap.open": "gateway: leases that ran out are taken back, and the transaction isn't committed",
        "reap.durable": "gateway: leases that ran out are taken back, and nobody was woken",
        "sweep.found": "gateway: it knows the files that nobody will ever want, and removed none",
        "sweep.removed": "gateway: it removed one such file, and more are left",
        "backup.open": "command: the backup is filled, and not committed",
        "backup.durable": "command: the backup is whole and on the disk, without its name",
        "backup.named": "command: the backup has its name, and its temporary one too",
        "restore.open": "command: the fresh catalog is filled, and not committed",
        "restore.durable": "command: the fresh catalog is committed, and nobody was told",
        "reconcile.open": "command: the sweeper is let loose and all is planned again, and nothing is committed",
        "reconcile.durable": "command: the catalog is reconciled, and nobody was told",
    }
)
_FOLDER: Final = os.environ.get("MDCGRID_STOP_AT", "")
_LOOK_EVERY_S: Final = 0.02


def reach(point: str) -> None:
    """Say that this process is at a point; returns at once unless a test holds it there."""
    if _FOLDER:
        _stop(Path(_FOLDER, point))


def _stop(wanted: Path) -> None:
    held = wanted.with_name(f"{wanted.name}={os.getpid()}")
    try:
        wanted.rename(held)
    except FileNotFoundError:
        return
    while held.exists():
        time.sleep(_LOOK_EVERY_S)
