"""Take back what was committed: a file that is found bad goes, with all that was made from it.

What is withdrawn stays known, with its copies and what it was made from: its row moves from the production's dataset
to ``scope:production.stream.withdrawn`` under a name of its own, retired and with the reason. So the production's
books say what they would if the jobs had never been done, its names are free for what comes instead, and the planner
makes the jobs that are missing. Idempotent; nothing is deleted from any disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from catalog import files, find, jobs
from catalog.batches import IN_LIST, batches
from catalog.productions import plan_again
from catalog.schema_files import dataset, file, parentage
from catalog.schema_work import book, job, job_input, production_input
from catalog.states import FileState, JobState, Kind
from sitecfg.names import withdrawn_dataset, withdrawn_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

    from catalog.rows import File, Production

__all__ = ["Withdrawal", "consequences", "invalidate", "withdraw"]

_DONE = (
    job_input.c.live,
    job_input.c.kind.in_((Kind.PROCESS, Kind.MERGE)),
    job.c.state == JobState.DONE,
)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What goes when a file does: the jobs whose results are taken back, and the files that they wrote."""

    jobs: tuple[int, ...]
    files: tuple[File, ...]


def consequences(tx: Connection, bad: File) -> Withdrawal:
    """Say what :func:`invalidate` would withdraw: all that was made from a file, and what was made with it.

    A job's outputs stand or fall together, so the other outputs of the job that wrote the file go too.
    """
    first = _writers(tx, [bad.id]) if bad.purpose == "output" else _readers(tx, [bad.id])
    return _follow(tx, first)


def invalidate(tx: Connection, bad: File, why: str) -> Withdrawal:
    """Take a file out of use, with all that was made from it; what can be made again will be.

    An input file is marked bad, and nobody looks into it any more: its productions go on without it, and stall to say
    so. An output is made again, for
    its production is planned again (unless it was cancelled), and so are merged files from the inputs that remain.
    """
    gone = consequences(tx, bad)
    if bad.purpose == "input":
        files.mark_bad(tx, bad.id, why)
        _strand(tx, [bad.id], why)
    _undo(tx, gone, why)
    return gone


def withdraw(tx: Connection, one: Production, why: str) -> Withdrawal:
    """Take back everything that a production committed, and what other productions made from it."""
    done = select(job.c.id).where(
        job.c.production == one.id,
        job.c.state == JobState.DONE,
        job.c.kind.in_((Kind.PROCESS, Kind.MERGE)),
    )
    gone = _follow(tx, list(tx.execute(done).scalars()))
    _undo(tx, gone, why)
    return gone


def _follow(tx: Connection, first: Sequence[int]) -> Withdrawal:
    """Follow jobs to their outputs, to the jobs that read them, and so on."""
    known: dict[int, None] = {}
    written: list[int] = []
    fresh = list(first)
    while fresh:
        known.update(dict.fromkeys(fresh))
        outputs = _written_by(tx, fresh)
        written += outputs
        fresh = [one for one in _readers(tx, outputs) if one not in known]
    found = find.files_by_id(tx, written)
    return Withdrawal(tuple(known), tuple(found[number] for number in sorted(found)))


def _undo(tx: Connection, gone: Withdrawal, why: str) -> None:
    owners = _owners(tx, gone.jobs)
    _strand(tx, [one.id for one in gone.files], why)
    for one in gone.files:
        _set_aside(tx, one, why)
    for piece in batches(gone.jobs, IN_LIST):
        # The books of a process job are those of its one input.
        sources = select(job_input.c.owner, job_input.c.file).where(
            job_input.c.job.in_(piece), job_input.c.kind == Kind.PROCESS
        )
        for owner, source in tx.execute(sources).all():
            tx.execute(delete(book).where(book.c.production == owner, book.c.file == source))
            _drop_retired(tx, owner, source)
        jobs.cancel(tx, piece, why, done=True)
    plan_again(tx, owners)


def _strand(tx: Connection, ids: Iterable[int], why: str) -> None:
    """Give up the jobs that were to read files, and aren't done."""
    for piece in batches(ids, IN_LIST):
        query = select(job_input.c.job).where(job_input.c.file.in_(piece), job_input.c.live)
        jobs.cancel(tx, tx.execute(query).scalars().all(), why)


def _drop_retired(tx: Connection, owner: int, source: int) -> None:
    """Let a production forget an input that it may not take again: it was retired after it had been processed."""
    retired = select(file.c.id).where(file.c.state == FileState.RETIRED, file.c.purpose == "input")
    tx.execute(
        delete(production_input).where(
            production_input.c.production == owner,
            production_input.c.file == source,
            production_input.c.file.in_(retired),
        )
    )


def _set_aside(tx: Connection, one: File, why: str) -> None:
    home = find.dataset_by_id(tx, one.dataset)
    aside = files.add_dataset(tx, one.scope, withdrawn_dataset(home.scope, home.name).name, "withdrawn")
    tx.execute(
        update(file)
        .where(file.c.id == one.id)
        .values(dataset=aside.id, name=withdrawn_file(one.name, one.id), state=FileState.RETIRED, why=why)
    )


def _writers(tx: Connection, ids: Iterable[int]) -> list[int]:
    """Return the jobs that wrote files: those of the files' production that read what the files were made from."""
    found: dict[int, None] = {}
    for piece in batches(ids, IN_LIST):
        query = (
            select(job.c.id)
            .join_from(file, dataset, dataset.c.id == file.c.dataset)
            .join(parentage, parentage.c.child == file.c.id)
            .join(
                job_input,
                (job_input.c.file == parentage.c.parent) & (job_input.c.owner == dataset.c.production),
            )
            .join(job, job.c.id == job_input.c.job)
            .where(file.c.id.in_(piece), *_DONE)
            .order_by(job.c.id)
        )
        found.update(dict.fromkeys(tx.execute(query).scalars()))
    return list(found)


def _readers(tx: Connection, ids: Iterable[int]) -> list[int]:
    """Return the jobs whose outputs were made from files."""
    found: dict[int, None] = {}
    for piece in batches(ids, IN_LIST):
        query = (
            select(job.c.id)
            .join_from(job_input, job, job.c.id == job_input.c.job)
            .where(job_input.c.file.in_(piece), *_DONE)
            .order_by(job.c.id)
        )
        found.update(dict.fromkeys(tx.execute(query).scalars()))
    return list(found)


def _written_by(tx: Connection, numbers: Sequence[int]) -> list[int]:
    """Return the files that jobs wrote: those of their productions that were made from what they read."""
    found: dict[int, None] = {}
    for piece in batches(numbers, IN_LIST):
        query = (
            select(parentage.c.child)
            .join_from(job_input, parentage, parentage.c.parent == job_input.c.file)
            .join(file, file.c.id == parentage.c.child)
            .join(dataset, (dataset.c.id == file.c.dataset) & (dataset.c.production == job_input.c.owner))
            .where(job_input.c.job.in_(piece))
            .order_by(parentage.c.child)
        )
        found.update(dict.fromkeys(tx.execute(query).scalars()))
    return list(found)


def _owners(tx: Connection, numbers: Sequence[int]) -> list[int]:
    found: dict[int, None] = {}
    for piece in batches(numbers, IN_LIST):
        query = select(job.c.production).where(job.c.id.in_(piece)).distinct()
        found.update(dict.fromkeys(one for one in tx.execute(query).scalars() if one is not None))
    return list(found)
