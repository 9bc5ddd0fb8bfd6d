"""Jobs as a planner and an operator handle them: make, hold, free and cancel them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from catalog import counters, files
from catalog.batches import IN_LIST, ROWS, batches
from catalog.engine import now
from catalog.schema_work import attempt, job, job_input, job_spec, production_input
from catalog.states import JobState, Kind, Outcome
from sitecfg.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Row


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to make. ``key`` tells it from all others of its production and kind; ``inputs`` are in order."""

    key: str
    inputs: tuple[int, ...]
    spec: Mapping[str, Any] = field(default_factory=dict)


def add_jobs(
    tx: Connection, production: int | None, kind: Kind, new: Iterable[NewJob], *, priority: int = 0
) -> list[int]:
    """Make jobs, ready at once. Idempotent: a job whose key exists (and isn't cancelled) is not made again.

    Meant for any number of jobs at once. Each input is taken by the job: a file is taken in, processed, or
    merged at most once per production.

    Returns
    -------
    list of int
        The jobs that were made.

    Raises
    ------
    LedgerError
        Another live job of this kind has one of the inputs already.
    """
    owner = production or 0
    made: list[int] = []
    at = now(tx)
    for piece in batches(new, ROWS):
        there = _keys(tx, owner, kind, [one.key for one in piece])
        missing = list({one.key: one for one in piece if one.key not in there}.values())
        ids = counters.take(tx, "job", len(missing))
        if missing:
            _insert(tx, production, kind, missing, ids, priority, at)
        made.extend(ids)
    return made


def hold(tx: Connection, jobs: Iterable[int], why: str) -> int:
    """Keep ready jobs from being claimed until an operator frees them. Idempotent; returns how many it held."""
    count = 0
    for piece in batches(jobs, IN_LIST):
        held = tx.execute(
            update(job)
            .where(job.c.id.in_(piece), job.c.state == JobState.READY)
            .values(state=JobState.HELD)
            .returning(job.c.id)
        ).scalars()
        ids = list(held)
        tx.execute(update(job_spec).where(job_spec.c.job.in_(ids)).values(failure="operator", why=why))
        count += len(ids)
    return count


def free(tx: Connection, *, jobs: Iterable[int] | None = None, production: int | None = None) -> list[int]:
    """Make held jobs ready again, with their budgets of failures anew. Idempotent.

    Input files that a freed job had marked bad are looked at again.

    Parameters
    ----------
    jobs
        These jobs; those that aren't held are passed over.
    production
        All held jobs of a production, and the intake jobs of its inputs.

    Returns
    -------
    list of int
        The jobs that were freed.
    """
    held = select(job.c.id, job.c.kind).where(job.c.state == JobState.HELD)
    rows: list[Row[int, str]] = []
    if jobs is not None:
        for piece in batches(jobs, IN_LIST):
            rows += tx.execute(held.where(job.c.id.in_(piece))).all()
    if production is not None:
        rows += tx.execute(held.where(job.c.production == production)).all()
        rows += tx.execute(held.where(job.c.id.in_(_intakes(production)))).all()
    at = now(tx)
    for row in rows:
        files.unmark_bad(tx, row.id, Kind(row.kind))
        tx.execute(update(job).where(job.c.id == row.id).values(state=JobState.READY, runner=None, run_at=at))
        tx.execute(
            update(job_spec)
            .where(job_spec.c.job == row.id)
            .values(
                pardoned=select(job.c.epoch).where(job.c.id == row.id).scalar_subquery(),
                failure=None,
                why=None,
            )
        )
    return [row.id for row in rows]


def cancel(tx: Connection, jobs: Iterable[int], why: str, *, done: bool = False) -> list[int]:
    """Give jobs up, unless they are done. Idempotent.

    A run that is at it can't commit any more. The key and the inputs are free for other jobs.

    Parameters
    ----------
    done
        Those that are done too, by who takes back what they did (:mod:`catalog.withdrawal`).

    Returns
    -------
    list of int
        The jobs that were cancelled.
    """
    at = now(tx)
    over = (JobState.CANCELLED,) if done else (JobState.DONE, JobState.CANCELLED)
    cancelled: list[int] = []
    for piece in batches(jobs, IN_LIST):
        ids = list(
            tx.execute(
                update(job)
                .where(job.c.id.in_(piece), job.c.state.not_in(over))
                .values(state=JobState.CANCELLED, lease_until=None, runner=None)
                .returning(job.c.id)
            ).scalars()
        )
        tx.execute(update(job_spec).where(job_spec.c.job.in_(ids)).values(live=False, why=why))
        tx.execute(update(job_input).where(job_input.c.job.in_(ids)).values(live=False))
        tx.execute(
            update(attempt)
            .where(attempt.c.job.in_(ids), attempt.c.outcome == Outcome.RUNNING)
            .values(outcome=Outcome.RETURNED, ended=at)
        )
        cancelled += ids
    return cancelled


def _keys(tx: Connection, owner: int, kind: Kind, keys: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for piece in batches(keys, IN_LIST):
        found.update(
            tx.execute(
                select(job_spec.c.key).where(
                    job_spec.c.owner == owner,
                    job_spec.c.kind == kind,
                    job_spec.c.live,
                    job_spec.c.key.in_(piece),
                )
            ).scalars()
        )
    return found


def _insert(
    tx: Connection,
    production: int | None,
    kind: Kind,
    new: Sequence[NewJob],
    ids: Sequence[int],
    priority: int,
    at: float,
) -> None:
    owner = production or 0
    tx.execute(
        insert(job),
        [
            {
                "id": number,
                "production": production,
                "kind": kind,
                "state": JobState.READY,
                "priority": priority,
                "run_at": at,
                "epoch": 0,
            }
            for number in ids
        ],
    )
    tx.execute(
        insert(job_spec),
        [
            {
                "job": number,
                "owner": owner,
                "kind": kind,
                "key": one.key,
                "live": True,
                "spec": dict(one.spec),
                "pardoned": 0,
            }
            for number, one in zip(ids, new, strict=True)
        ],
    )
    taken = [
        {
            "job": number,
            "file": one_file,
            "owner": owner,
            "kind": kind,
            "position": place,
            "live": True,
            "turn": number if kind == Kind.COMPARE else 0,
        }
        for number, one in zip(ids, new, strict=True)
        for place, one_file in enumerate(one.inputs)
    ]
    try:
        if taken:
            tx.execute(insert(job_input), taken)
    except IntegrityError as error:
        raise LedgerError(
            f"an input of these {kind} jobs doesn't exist, or another live {kind} job of the production has it",
            where=f"{len(new)} new jobs, the first for {new[0].key}",
            todo="plan again from what the catalog says now",
        ) from error


def _intakes(production: int) -> Any:
    """Select the live intake jobs of a production's inputs."""
    return (
        select(job_input.c.job)
        .join_from(job_input, production_input, production_input.c.file == job_input.c.file)
        .where(
            production_input.c.production == production,
            job_input.c.kind == Kind.INTAKE,
            job_input.c.live,
        )
    )
