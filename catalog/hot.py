"""The statements that every attempt runs, built once: building one costs more than running it.

Parameters named ``the_...`` say which row is meant, those named ``new_...`` what it becomes.
"""

from __future__ import annotations

from sqlalchemy import (
    BindParameter,
    Double,
    Integer,
    String,
    and_,
    bindparam,
    func,
    insert,
    or_,
    select,
    update,
)

from catalog.schema import RowId
from catalog.schema_work import attempt, job, job_spec, production
from catalog.states import JobState, Outcome

_JOB, _EPOCH = bindparam("the_job", type_=RowId), bindparam("the_epoch", type_=Integer())
_RUNNER = bindparam("the_runner", type_=String())
_UNTIL: BindParameter[float] = bindparam("new_until", type_=Double())

_LEASED = job.c.state == JobState.LEASED
#: The run still has its job: leased to it, or reaped and claimed by nobody since.
_HELD = and_(
    job.c.id == _JOB,
    job.c.epoch == _EPOCH,
    job.c.runner == _RUNNER,
    or_(_LEASED, job.c.state == JobState.READY),
)

BEGIN = (
    update(job)
    .where(job.c.id == _JOB, job.c.epoch == _EPOCH, _LEASED, job.c.runner.is_(None))
    .values(runner=bindparam("new_runner"), worker=bindparam("new_worker"), lease_until=_UNTIL)
    .returning(job.c.cell)
)
RENEW = update(job).where(_HELD, _LEASED).values(lease_until=_UNTIL)
REVIVE = update(job).where(_HELD).values(state=JobState.LEASED, lease_until=_UNTIL)
COMMIT = (
    update(job)
    .where(_HELD)
    .values(state=JobState.DONE, lease_until=None)
    .returning(job.c.kind, job.c.production)
)
FAIL = (
    update(job)
    .where(_HELD)
    .values(state=JobState.READY, lease_until=None, runner=None, worker=None, run_at=bindparam("new_run_at"))
    .returning(job.c.kind)
)

STARTED = insert(attempt)
#: Sets the columns that are given as parameters.
ENDED = update(attempt).where(attempt.c.job == _JOB, attempt.c.epoch == _EPOCH)
#: The same, unless the attempt's end is known already.
ENDED_UNSEEN = ENDED.where(attempt.c.outcome == Outcome.RUNNING)
SAID = update(job_spec).where(job_spec.c.job == _JOB)

TASK = (
    select(job.c.kind, job_spec.c.key, job_spec.c.spec, production.c.name, production.c.shared)
    .join_from(job, job_spec, job_spec.c.job == job.c.id)
    .join(production, production.c.id == job.c.production, isouter=True)
    .where(job.c.id == _JOB)
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
