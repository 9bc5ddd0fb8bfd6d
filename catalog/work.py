"""The ledger: who may work on which job, and what became of it.

A job is claimed (its epoch rises), begun with a start token of that one physical run, renewed, and committed
or failed. Epoch *and* start token fence every later call: of two runs of one job only one can ever commit,
and a run whose lease was given to another changes nothing.

A lease that ran out and was reaped, but not claimed by anybody yet, is still its holder's: renewing or
committing it is accepted. So an outage of the ledger that is longer than a lease costs no finished work.

All times are the database's. Every function takes an open write transaction first; the effects last if and
only if that transaction does. Blocking: none beyond the transaction itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select, update

from catalog import dialects, files, find, hot, results
from catalog.ending import commit, commit_all
from catalog.engine import now
from catalog.holding import as_row, attempt_of, extend, stale
from catalog.leases import Begun, Claim, Ended, Lease, Renewed, Start
from catalog.schema_work import job
from catalog.starting import begin, begin_all
from catalog.states import JobState, Kind, Outcome
from sitecfg.failures import Action, decide

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection

    from sitecfg.failures import Rule

__all__ = [
    "Begun",
    "Claim",
    "Ended",
    "Lease",
    "Renewed",
    "Start",
    "begin",
    "begin_all",
    "claim",
    "commit",
    "commit_all",
    "fail",
    "give_back",
    "pull_back",
    "reap",
    "renew",
]


def claim(
    tx: Connection,
    *,
    cell: str,
    limit: int,
    lease_s: float,
    kinds: Sequence[str] | None = None,
    claimer: str | None = None,
) -> list[Claim]:
    """Lease up to `limit` jobs that are due, highest priority first, then oldest first.

    Until they are begun the jobs stand under the name of `claimer` (a dispatcher), so that ``give_back`` can
    return them when it was seen to die.

    Not idempotent: a claim whose reply is lost runs out by itself after `lease_s` seconds.
    """
    at = now(tx)
    which = {"the_kinds": list(kinds or Kind), "at": at, "the_limit": limit}
    becomes = {"new_worker": claimer, "new_end": at + lease_s, "new_cell": cell}
    with dialects.taking_the_first(tx):
        claimed = tx.execute(hot.CLAIM[tx.dialect.name], which | becomes).all()
    rows = sorted(claimed, key=lambda row: (-row.priority, row.id))
    return [Claim(row.id, row.epoch, row.kind, row.production) for row in rows]


def renew(tx: Connection, leases: Iterable[Lease], *, lease_s: float) -> Renewed:
    """Extend leases to `lease_s` seconds from now; meant for all leases of a worker at once. Idempotent."""
    asked = list(leases)
    kept = extend(tx, asked, now(tx) + lease_s)
    return Renewed(tuple(one for one in asked if one in kept), tuple(one for one in asked if one not in kept))


def fail(
    tx: Connection,
    lease: Lease,
    failure: str,
    message: str,
    *,
    measured: Mapping[str, Any] | None = None,
    last_lines: str = "",
    blamed: str | None = None,
    rules: Mapping[str, Rule] | None = None,
) -> Ended:
    """Record that a run failed, and decide by the failure catalogue: try again later, hold, or quarantine.

    Idempotent: told again, it answers with the job's present state.

    Parameters
    ----------
    failure
        Class of the failure, a key of the failure catalogue.
    blamed
        Logical name (or URL) of the input that is at fault; needless when there is only one input.
    rules
        The failure catalogue with the site's changes; the shipped one by default.

    Raises
    ------
    StaleLease
        The lease is another's now.
    """
    at = now(tx)
    if not hot.FAIL.run(tx, [{**as_row(lease), "run_at": at}]).all():
        return _failed_before(tx, lease)
    tx.execute(
        hot.ENDED,
        {
            **attempt_of(lease),
            "ended": at,
            "outcome": Outcome.FAILED,
            "failure": failure,
            "message": message,
            "last_lines": last_lines,
            **results.read(results.Measured, measured or {}).model_dump(),
        },
    )
    before = tx.execute(hot.FAILURES, {"the_job": lease.job, "the_failure": failure}).scalar_one()
    decision = decide(failure, before, rules)
    tx.execute(hot.SAID, {"the_job": lease.job, "failure": failure, "why": message})
    this = update(job).where(job.c.id == lease.job)
    if decision.action is Action.RETRY:
        tx.execute(this.values(run_at=at + decision.delay_s))
        return Ended(lease.job, JobState.READY, failure, message, at + decision.delay_s)
    tx.execute(this.values(state=JobState.HELD))
    if decision.action is Action.QUARANTINE:
        _quarantine(tx, lease.job, message, blamed)
    return Ended(lease.job, JobState.HELD, failure, message)


def give_back(tx: Connection, leases: Iterable[Lease] = (), *, worker: str | None = None) -> list[int]:
    """Make jobs ready again at once, whose runs have certainly ended. Idempotent.

    Parameters
    ----------
    leases
        Runs that stopped by themselves, as at a shutdown, and claims that nobody began (without a runner).
    worker
        A worker that was seen to die with its payloads: all its leases.

    Returns
    -------
    list of int
        The jobs that are ready again.
    """
    jobs: list[int] = []
    for one in leases:
        runner = job.c.runner == one.runner if one.runner else job.c.runner.is_(None)
        jobs += _release(tx, and_(job.c.id == one.job, job.c.epoch == one.epoch, runner), None)
    if worker is not None:
        jobs += _release(tx, job.c.worker == worker, "killed")
    return jobs


def reap(tx: Connection) -> list[int]:
    """Make jobs ready again whose leases ran out. Idempotent.

    Such a job was not at fault: this never holds it. Until somebody claims it, its old run may still renew
    or commit.

    Returns
    -------
    list of int
        The jobs that are ready again.
    """
    at = now(tx)
    over = select(job.c.id).where(hot.IS_LEASED, job.c.lease_until < at)
    late = over.with_for_update(skip_locked=True).cte("late")
    reaped = tx.execute(
        update(job)
        .where(job.c.id == late.c.id)
        .values(state=JobState.READY, lease_until=None, run_at=at)
        .returning(job.c.id, job.c.epoch)
    ).all()
    for row in reaped:
        _end_attempt(tx, row.id, row.epoch, Outcome.LOST, "lease", at)
    return [row.id for row in reaped]


def pull_back(tx: Connection, *, lease_s: float, delay_s: float) -> None:
    """Bring back the times that lie too far ahead, after the database's clock was set back. Idempotent.

    Without it a job that was ready an hour ago would be due in an hour, and a lease end by then.

    Parameters
    ----------
    lease_s
        No lease ends later than this from now.
    delay_s
        No job that is ready waits longer than this from now; one that waits longer is due at once.
    """
    at = now(tx)
    late = update(job).where(hot.IS_LEASED, job.c.lease_until > at + lease_s)
    tx.execute(late.values(lease_until=at + lease_s))
    tx.execute(update(job).where(hot.IS_READY, job.c.run_at > at + delay_s).values(run_at=at))


def _release(tx: Connection, who: ColumnElement[bool], failure: str | None) -> list[int]:
    at = now(tx)
    released = tx.execute(
        update(job)
        .where(who, hot.IS_LEASED)
        .values(state=JobState.READY, lease_until=None, runner=None, worker=None, run_at=at)
        .returning(job.c.id, job.c.epoch)
    ).all()
    for row in released:
        _end_attempt(tx, row.id, row.epoch, Outcome.RETURNED, failure, at)
    return [row.id for row in released]


def _end_attempt(
    tx: Connection, number: int, epoch: int, outcome: Outcome, failure: str | None, at: float
) -> None:
    end = {"outcome": outcome, "failure": failure, "ended": at}
    tx.execute(hot.ENDED_UNSEEN, {"the_job": number, "the_epoch": epoch, **end})


def _quarantine(tx: Connection, number: int, message: str, blamed: str | None) -> None:
    """Mark the input at fault bad; with several inputs and none of them blamed, none is."""
    inputs = find.inputs_of(tx, number)
    guilty = [one for one in inputs if blamed and blamed in (one.name, str(one), *one.urls)]
    if not guilty and len(inputs) == 1:
        guilty = inputs
    for one in guilty:
        files.mark_bad(tx, one.id, message, job=number)


def _failed_before(tx: Connection, lease: Lease) -> Ended:
    before = tx.execute(hot.ATTEMPT, {**attempt_of(lease), "the_runner": lease.runner}).one_or_none()
    if before is not None and before.outcome == Outcome.FAILED:
        row = tx.execute(select(job.c.state, job.c.run_at).where(job.c.id == lease.job)).one()
        return Ended(lease.job, row.state, before.failure, before.message, row.run_at, repeated=True)
    raise stale(lease, "its failure can't be recorded")
