"""What the ledger says: jobs and their attempts, counted and listed. Nothing here changes anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, func, select

from catalog.hot import IS_LEASED, IS_STARTED_AGAIN
from catalog.schema import whole_sum
from catalog.schema_work import attempt, job, job_input, job_spec, production_input
from catalog.states import JobState, Kind, Outcome
from sitecfg.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Job:
    """A job with what was said last about it."""

    id: int
    production: int | None
    kind: str
    state: str
    key: str
    epoch: int
    run_at: float
    lease_until: float | None
    worker: str | None
    failure: str | None
    why: str | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One start of a job, what it used (seconds, bytes) and how it ended."""

    job: int
    epoch: int
    worker: str
    host: str
    started: float
    ended: float | None
    outcome: str
    failure: str | None
    message: str | None
    last_lines: str | None
    cpu_s: float | None
    wall_s: float | None
    peak_rss: int | None
    bytes_in: int | None
    bytes_out: int | None


_JOB = [(job_spec if name in ("key", "failure", "why") else job).c[name] for name in Job.__slots__]
_ATTEMPT = [attempt.c[name] for name in Attempt.__slots__]


@dataclass(frozen=True, slots=True)
class Used:
    """What a production's attempts used in all: seconds and bytes; ``peak_rss`` is the largest of any."""

    attempts: int
    cpu_s: float
    wall_s: float
    peak_rss: int
    bytes_in: int
    bytes_out: int
    first_start: float | None
    last_end: float | None


def job_counts(tx: Connection, production: int | None) -> dict[str, dict[str, int]]:
    """Count a production's jobs, ``{kind: {state: number}}``; None counts the jobs of no production."""
    mine = job.c.production.is_(None) if production is None else job.c.production == production
    query = select(job.c.kind, job.c.state, func.count()).where(mine).group_by(job.c.kind, job.c.state)
    counts: dict[str, dict[str, int]] = {}
    for kind, state, number in tx.execute(query):
        counts.setdefault(kind, {})[state] = number
    return counts


def live_leases(tx: Connection) -> dict[str, int]:
    """Count the leases that are held now, by cell: what a dispatcher subtracts from its slots."""
    query = select(job.c.cell, func.count()).where(IS_LEASED).group_by(job.c.cell)
    return {str(row[0]): row[1] for row in tx.execute(query)}


def jobs(
    tx: Connection,
    *,
    production: int | None = None,
    kinds: Sequence[str] | None = None,
    states: Sequence[str] | None = None,
    file: int | None = None,
    limit: int = 1000,
) -> list[Job]:
    """List jobs, oldest first: of a production, of some kinds or states, or those that have a file as input."""
    query = _all_jobs().order_by(job.c.id).limit(limit)
    if production is not None:
        query = query.where(job.c.production == production)
    if kinds is not None:
        query = query.where(job.c.kind.in_(kinds))
    if states is not None:
        query = query.where(job.c.state.in_(states))
    if file is not None:
        query = query.where(job.c.id.in_(select(job_input.c.job).where(job_input.c.file == file)))
    return [Job(*row) for row in tx.execute(query)]


def held(tx: Connection, production: int, *, limit: int) -> list[Job]:
    """List the jobs that wait for an operator: a production's own, then the intake jobs of its inputs."""
    own = jobs(tx, production=production, kinds=list(Kind), states=[JobState.HELD], limit=limit)
    # Not by joins: few intake jobs are held, and a database might go through all of very many inputs first.
    file = select(job_input.c.file).where(job_input.c.job == job.c.id).correlate(job).scalar_subquery()
    its_input = select(production_input.c.file).where(
        production_input.c.production == production, production_input.c.file == file
    )
    intakes = (
        _all_jobs()
        .where(
            its_input.scalar_subquery().is_not(None),
            job.c.production.is_(None),
            job.c.kind == Kind.INTAKE,
            job.c.state == JobState.HELD,
        )
        .order_by(job.c.id)
        .limit(limit - len(own))
    )
    return own + [Job(*row) for row in tx.execute(intakes)]


def struggling(tx: Connection, production: int, *, starts: int, limit: int) -> list[Job]:
    """List a production's jobs that were started at least so often (twice or more), the most often first.

    Those that are done, or wait for an operator, are left out.
    """
    query = (
        _all_jobs()
        .where(job.c.production == production, IS_STARTED_AGAIN, job.c.epoch >= starts)
        .order_by(job.c.epoch.desc(), job.c.id)
        .limit(limit)
    )
    return [Job(*row) for row in tx.execute(query)]


def one_job(tx: Connection, number: int) -> Job:
    """Return a job by its number.

    Raises
    ------
    NotFound
        There is none.
    """
    row = tx.execute(_all_jobs().where(job.c.id == number)).one_or_none()
    if row is None:
        raise NotFound("there is no such job", where=f"job {number}")
    return Job(*row)


def states_by_key(tx: Connection, production: int | None, kind: Kind) -> dict[str, str]:
    """Return the state of each live job of a kind, by its key."""
    query = (
        select(job_spec.c.key, job.c.state)
        .join_from(job_spec, job, job.c.id == job_spec.c.job)
        .where(job_spec.c.owner == (production or 0), job_spec.c.kind == kind, job_spec.c.live)
    )
    return {row.key: row.state for row in tx.execute(query)}


def attempts(tx: Connection, number: int) -> list[Attempt]:
    """Return every start of a job, first one first."""
    query = select(*_ATTEMPT).where(attempt.c.job == number).order_by(attempt.c.epoch)
    return [Attempt(*row) for row in tx.execute(query)]


def failures(tx: Connection, production: int) -> dict[str, int]:
    """Count a production's attempts that didn't end well, by class of failure."""
    query = (
        select(attempt.c.failure, func.count())
        .join_from(attempt, job, job.c.id == attempt.c.job)
        .where(job.c.production == production, attempt.c.failure.is_not(None))
        .group_by(attempt.c.failure)
    )
    return {str(row[0]): row[1] for row in tx.execute(query)}


def used(tx: Connection, production: int) -> Used:
    """Add up what a production's attempts used."""
    total = func.coalesce
    row = tx.execute(
        select(
            func.count(),
            total(func.sum(attempt.c.cpu_s), 0.0),
            total(func.sum(attempt.c.wall_s), 0.0),
            total(func.max(attempt.c.peak_rss), 0),
            whole_sum(attempt.c.bytes_in),
            whole_sum(attempt.c.bytes_out),
            func.min(attempt.c.started),
            func.max(attempt.c.ended),
        )
        .join_from(attempt, job, job.c.id == attempt.c.job)
        .where(job.c.production == production)
    ).one()
    return Used(*row)


def running(tx: Connection, *, limit: int = 1000) -> list[Attempt]:
    """Return the attempts that are running now, oldest first."""
    query = (
        select(*_ATTEMPT)
        .join_from(job, attempt, (attempt.c.job == job.c.id) & (attempt.c.epoch == job.c.epoch))
        .where(IS_LEASED, attempt.c.outcome == Outcome.RUNNING)
        .order_by(attempt.c.started)
        .limit(limit)
    )
    return [Attempt(*row) for row in tx.execute(query)]


def _all_jobs() -> Select[*tuple[Any, ...]]:
    return select(*_JOB).join_from(job, job_spec, job_spec.c.job == job.c.id)
