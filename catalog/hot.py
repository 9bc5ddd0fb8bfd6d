"""The statements that every attempt runs, built once: building one costs more than running it.

Parameters named ``the_...`` say which row is meant, those named ``new_...`` what it becomes; statements for many rows
find both in the table ``given``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Double,
    Integer,
    String,
    and_,
    bindparam,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from catalog.given import ForRows, among, is_given
from catalog.schema import RowId
from catalog.schema_work import attempt, job, job_spec, production
from catalog.states import JobState, Outcome, ProductionState

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, FromClause, Update

_JOB, _EPOCH = bindparam("the_job", type_=RowId), bindparam("the_epoch", type_=Integer())
_RUNNER = bindparam("the_runner", type_=String())
_RUN: dict[str, Any] = {"job": RowId, "epoch": Integer(), "runner": String()}


def _is(state: JobState) -> ColumnElement[bool]:
    """Whether a job is in this state: spelled out, so that the index of the jobs in this state can be used."""
    return job.c.state == literal(state.value, String(), literal_execute=True)


IS_READY, IS_LEASED = _is(JobState.READY), _is(JobState.LEASED)
#: Of few jobs among very many: these have an index of their own, whose condition this repeats.
IS_STARTED_AGAIN = and_(job.c.epoch > literal(1, Integer(), literal_execute=True), or_(IS_READY, IS_LEASED))
#: Whether a job is leased; no reason for a database to go through all that are, where it can look one up.
_HAS_END = job.c.lease_until.is_not(None)


def _held(given: FromClause) -> ColumnElement[bool]:
    """Whether the run still has its job: leased to it, or reaped and claimed by nobody since."""
    return and_(
        is_given(job.c.id, given.c.job),
        job.c.epoch == given.c.epoch,
        job.c.runner == given.c.runner,
        or_(IS_LEASED, IS_READY),
    )


def _claim(dialect: str) -> Update:
    # Not by EXISTS, which a database may turn into a join that goes through all jobs before it orders them.
    owner = select(production.c.state).where(production.c.id == job.c.production).scalar_subquery()
    due = select(job.c.id).where(
        IS_READY,
        job.c.kind.in_(bindparam("the_kinds", expanding=True)),
        job.c.run_at <= bindparam("at"),
        owner.is_distinct_from(ProductionState.PAUSED),
    )
    picked = (
        due.order_by(job.c.priority.desc(), job.c.id)
        .limit(bindparam("the_limit", type_=Integer()))
        .with_for_update(skip_locked=True)
        .cte("picked")
    )
    return (
        update(job)
        # PostgreSQL takes a limit that it isn't told for a tenth of all jobs, and would join with all of them.
        .where(job.c.id == picked.c.id if dialect == "sqlite" else among(job.c.id, picked.c.id))
        .values(
            state=JobState.LEASED,
            epoch=job.c.epoch + 1,
            runner=None,
            worker=bindparam("new_worker"),
            lease_until=bindparam("new_end"),
            cell=bindparam("new_cell"),
        )
        .returning(job.c.id, job.c.epoch, job.c.kind, job.c.production, job.c.priority)
    )


#: Jobs whose production is paused are ready only because an attempt came back after it was.
CLAIM = {dialect: _claim(dialect) for dialect in ("sqlite", "postgresql")}
BEGIN = ForRows(
    lambda given: (
        update(job)
        .where(
            is_given(job.c.id, given.c.job), job.c.epoch == given.c.epoch, _HAS_END, job.c.runner.is_(None)
        )
        .values(runner=given.c.runner, worker=given.c.worker, lease_until=given.c.until)
        .returning(job.c.id)
    ),
    **_RUN,
    worker=String(),
    until=Double(),
)
RENEW = ForRows(
    lambda given: (
        update(job).where(_held(given), _HAS_END).values(lease_until=given.c.until).returning(job.c.id)
    ),
    **_RUN,
    until=Double(),
)
REVIVE = ForRows(
    lambda given: (
        update(job)
        .where(_held(given))
        .values(state=JobState.LEASED, lease_until=given.c.until)
        .returning(job.c.id, job.c.epoch)
    ),
    **_RUN,
    until=Double(),
)
HELD = ForRows(lambda given: select(job.c.id, job.c.kind, job.c.production).where(_held(given)), **_RUN)
#: For runs that hold their jobs: the caller has looked.
END = ForRows(
    lambda given: (
        update(job).where(is_given(job.c.id, given.c.job)).values(state=given.c.state, lease_until=None)
    ),
    job=RowId,
    state=String(),
)
FAIL = ForRows(
    lambda given: (
        update(job)
        .where(_held(given))
        .values(state=JobState.READY, lease_until=None, runner=None, worker=None, run_at=given.c.run_at)
        .returning(job.c.id)
    ),
    **_RUN,
    run_at=Double(),
)

_STARTED: dict[str, Any] = {
    name: attempt.c[name].type for name in ("worker", "host", "pid", "started", "outcome")
}
STARTED = ForRows(
    lambda given: insert(attempt).from_select(
        ["job", "epoch", "runner", "cell", *_STARTED],
        select(
            given.c.job, given.c.epoch, given.c.runner, job.c.cell, *(given.c[name] for name in _STARTED)
        ).join_from(given, job, is_given(job.c.id, given.c.job)),
    ),
    **_RUN,
    **_STARTED,
)
_ENDED: dict[str, Any] = {
    "ended": Double(),
    "outcome": String(),
    "failure": String(),
    "message": String(),
    "digest": String(),
    "notes": JSON(),
    "cpu_s": Double(),
    "wall_s": Double(),
    "peak_rss": BigInteger(),
    "bytes_in": BigInteger(),
    "bytes_out": BigInteger(),
}
COMMITTED = ForRows(
    lambda given: (
        update(attempt)
        .where(is_given(attempt.c.job, given.c.job), attempt.c.epoch == given.c.epoch)
        .values({name: given.c[name] for name in _ENDED})
    ),
    job=RowId,
    epoch=Integer(),
    **_ENDED,
)
#: Sets the columns that are given as parameters.
ENDED = update(attempt).where(attempt.c.job == _JOB, attempt.c.epoch == _EPOCH)
#: The same, unless the attempt's end is known already.
ENDED_UNSEEN = ENDED.where(attempt.c.outcome == Outcome.RUNNING)
SAID = update(job_spec).where(job_spec.c.job == _JOB)

TASK = ForRows(
    lambda given: (
        select(job.c.id, job.c.kind, job.c.production, job_spec.c.key, job_spec.c.spec)
        .join_from(job, job_spec, job_spec.c.job == job.c.id)
        .where(among(job.c.id, given.c.job))
    ),
    job=RowId,
)
OWNER = ForRows(
    lambda given: select(production.c.id, production.c.name, production.c.shared).where(
        among(production.c.id, given.c.production)
    ),
    production=RowId,
)
ATTEMPT = select(attempt.c.outcome, attempt.c.digest, attempt.c.failure, attempt.c.message).where(
    attempt.c.job == _JOB, attempt.c.epoch == _EPOCH, attempt.c.runner == _RUNNER
)
#: A job's failures of a class since an operator last freed it.
FAILURES = (
    select(func.count())
    .join_from(attempt, job_spec, job_spec.c.job == attempt.c.job)
    .where(
        attempt.c.job == _JOB,
        attempt.c.failure == bindparam("the_failure"),
        attempt.c.outcome == Outcome.FAILED,
        attempt.c.epoch > job_spec.c.pardoned,
    )
)
