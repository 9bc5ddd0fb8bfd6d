"""What an operator does to work that exists: pause it, resume it, put it before other work, give it up.

All of it is idempotent. An attempt that runs is never touched by pausing or by a priority: it comes to its end, and
its result counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from catalog import jobs
from catalog.productions import plan_again, set_production_state
from catalog.schema_files import file
from catalog.schema_work import job, job_input, production, production_input
from catalog.states import FileState, JobState, Kind, ProductionState
from sitecfg.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from catalog.rows import File, Production

__all__ = [
    "cancel",
    "pause",
    "pause_file",
    "prioritize",
    "prioritize_file",
    "resume",
    "resume_file",
    "retire",
]

#: A job that is not over.
_LIVE = (JobState.READY, JobState.LEASED, JobState.PAUSED, JobState.HELD)


def pause(tx: Connection, one: Production, why: str) -> int:
    """Start nothing more of a production until it is resumed; returns how many jobs wait for that.

    The intake of its inputs goes on, for that belongs to their dataset.

    Raises
    ------
    UsageError
        The production is over.
    """
    if one.state in (ProductionState.COMPLETE, ProductionState.CANCELLED):
        raise UsageError(f"it is {one.state}: there is nothing to pause", where=one.name)
    set_production_state(tx, one.id, ProductionState.PAUSED, why=why)
    return _move(tx, job.c.production == one.id, JobState.READY, JobState.PAUSED)


def resume(tx: Connection, one: Production) -> int:
    """Let a paused production go on; returns how many jobs are ready again."""
    if one.state == ProductionState.PAUSED:
        set_production_state(tx, one.id, ProductionState.ACTIVE)
    return _move(tx, job.c.production == one.id, JobState.PAUSED, JobState.READY)


def pause_file(tx: Connection, one: File) -> int:
    """Let the jobs that are ready and have a file as input wait until it is resumed; returns how many."""
    return _move(tx, _has(one), JobState.READY, JobState.PAUSED)


def resume_file(tx: Connection, one: File) -> int:
    """Let the paused jobs of a file go on, but for those of paused productions; returns how many."""
    paused = select(production.c.id).where(production.c.state == ProductionState.PAUSED)
    mine = _has(one) & (job.c.production.is_(None) | job.c.production.not_in(paused))
    return _move(tx, mine, JobState.PAUSED, JobState.READY)


def prioritize(tx: Connection, one: Production, priority: int) -> int:
    """Claim a production's jobs before those of less priority, now and later; returns how many it concerns now.

    0 is usual; jobs of equal priority come oldest first.
    """
    tx.execute(update(production).where(production.c.id == one.id).values(priority=priority))
    return _put(tx, job.c.production == one.id, priority)


def prioritize_file(tx: Connection, one: File, priority: int) -> int:
    """Claim the jobs that have a file as input before those of less priority; returns how many there are."""
    return _put(tx, _has(one), priority)


def cancel(tx: Connection, one: Production, why: str) -> list[int]:
    """Give a production up, with all its jobs that aren't done; what was committed stays.

    Returns
    -------
    list of int
        The jobs that were cancelled.
    """
    live = select(job.c.id).where(job.c.production == one.id, job.c.state.in_(_LIVE))
    cancelled = jobs.cancel(tx, tx.execute(live).scalars().all(), why)
    set_production_state(tx, one.id, ProductionState.CANCELLED, why=why)
    return cancelled


def retire(tx: Connection, one: File, why: str) -> list[int]:
    """Use an input file no more: its jobs that aren't done are cancelled, and no production takes it again.

    A production that has processed it keeps what it made; the file stays among its inputs. One that stalled over it
    goes on without it.

    Returns
    -------
    list of int
        The jobs that were cancelled.

    Raises
    ------
    UsageError
        The file is an output: it is invalidated instead.
    """
    if one.purpose != "input":
        raise UsageError("a production made this file", where=str(one), todo="see: grid invalidate --help")
    live = select(job.c.id).where(_has(one), job.c.state.in_(_LIVE))
    cancelled = jobs.cancel(tx, tx.execute(live).scalars().all(), why)
    processed = select(job_input.c.owner).where(
        job_input.c.file == one.id, job_input.c.kind == Kind.PROCESS, job_input.c.live
    )
    without = tx.execute(
        delete(production_input)
        .where(production_input.c.file == one.id, production_input.c.production.not_in(processed))
        .returning(production_input.c.production)
    ).scalars()
    tx.execute(update(file).where(file.c.id == one.id).values(state=FileState.RETIRED, why=why))
    plan_again(tx, without.all())
    return cancelled


def _has(one: File) -> ColumnElement[bool]:
    return job.c.id.in_(select(job_input.c.job).where(job_input.c.file == one.id, job_input.c.live))


def _move(tx: Connection, which: ColumnElement[bool], before: JobState, after: JobState) -> int:
    return tx.execute(update(job).where(which, job.c.state == before).values(state=after)).rowcount


def _put(tx: Connection, which: ColumnElement[bool], priority: int) -> int:
    return tx.execute(update(job).where(which, job.c.state.in_(_LIVE)).values(priority=priority)).rowcount
