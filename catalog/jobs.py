"""Jobs as a planner and an operator handle them: make, hold, free and cancel them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    Double,
    Integer,
    String,
    bindparam,
    insert,
    literal_column,
    select,
    true,
    update,
)
from sqlalchemy.exc import IntegrityError

from catalog import counters, dialects, files
from catalog.batches import IN_LIST, ROWS, batches
from catalog.engine import now
from catalog.given import ForRows
from catalog.schema import RowId
from catalog.schema_work import attempt, job, job_input, job_spec, production_input
from catalog.states import JobState, Kind, Outcome
from sitecfg.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Row


_OWNER, _KIND = bindparam("owner", type_=RowId), bindparam("kind", type_=String())


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
        asked = _TAKEN_KEYS.run(tx, [{"key": one.key} for one in piece], owner=owner, kind=kind)
        there = set(asked.scalars())
        missing = list({one.key: one for one in piece if one.key not in there}.values())
        ids = counters.take(tx, "job", len(missing))
        if missing:
            _insert(tx, production, kind, missing, ids, priority, at)
            dialects.after_many(tx, len(missing), job, job_spec, job_input)
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


#: Which of these keys live jobs have; NULL for the others. As a subquery it is looked up in the index key by key:
#: PostgreSQL would join the wrong way round while a table that was just filled has no statistics.
_TAKEN_KEYS = ForRows(
    lambda given: select(
        select(job_spec.c.key)
        .where(
            job_spec.c.owner == _OWNER,
            job_spec.c.kind == _KIND,
            job_spec.c.key == given.c.key,
            job_spec.c.live,
        )
        .scalar_subquery()
    ).select_from(given),
    key=String(),
)
_NEW_JOBS = ForRows(
    lambda given: insert(job).from_select(
        ["id", "production", "kind", "state", "priority", "run_at", "epoch"],
        select(
            given.c.id,
            bindparam("production", type_=RowId),
            _KIND,
            bindparam("state", type_=String()),
            bindparam("priority", type_=Integer()),
            bindparam("run_at", type_=Double()),
            literal_column("0"),
        ),
    ),
    id=RowId,
)
_NEW_SPECS = ForRows(
    lambda given: insert(job_spec).from_select(
        ["job", "owner", "kind", "key", "live", "spec", "pardoned"],
        select(given.c.id, _OWNER, _KIND, given.c.key, true(), given.c.spec, literal_column("0")),
    ),
    id=RowId,
    key=String(),
    spec=JSON(),
)
_NEW_INPUTS = ForRows(
    lambda given: insert(job_input).from_select(
        ["job", "file", "owner", "kind", "position", "live", "turn"],
        select(given.c.job, given.c.file, _OWNER, _KIND, given.c.position, true(), given.c.turn),
    ),
    job=RowId,
    file=RowId,
    position=Integer(),
    turn=RowId,
)


def _insert(
    tx: Connection,
    production: int | None,
    kind: Kind,
    new: Sequence[NewJob],
    ids: Sequence[int],
    priority: int,
    at: float,
) -> None:
    whose = {"owner": production or 0, "kind": kind}
    rows = [
        {"id": number, "key": one.key, "spec": dict(one.spec)} for number, one in zip(ids, new, strict=True)
    ]
    state = JobState.READY
    _NEW_JOBS.run(tx, rows, production=production, kind=kind, state=state, priority=priority, run_at=at)
    _NEW_SPECS.run(tx, rows, **whose)
    taken = [
        {"job": number, "file": one_file, "position": place, "turn": number if kind == Kind.COMPARE else 0}
        for number, one in zip(ids, new, strict=True)
        for place, one_file in enumerate(one.inputs)
    ]
    try:
        _NEW_INPUTS.run(tx, taken, **whose)
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
