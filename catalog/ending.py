"""Commit the results of runs: their effects on files and books, and the ends of their jobs, all at once."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from catalog import effects, hot, results
from catalog.batches import rounds
from catalog.engine import now
from catalog.holding import as_row, attempt_of, stale
from catalog.leases import Ended
from catalog.states import JobState, Outcome
from sitecfg.errors import GridError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Row

    from catalog.leases import Lease


def commit(tx: Connection, lease: Lease, result: Mapping[str, Any]) -> Ended:
    """Write the result of a run, its effects on files and books, and the end of the job, all at once.

    Idempotent: the same run committing the same result again is told so. A result that shows an input to be
    unusable (events twice, one file under two names) is kept too: the job is then held, and says why.

    Raises
    ------
    StaleLease
        The lease is another's now. The run deletes its own files, and only those.
    ClosureError, OutputExists, UsageError
        The result is refused, and nothing of it is kept; the attempt must be failed.
    """
    (answer,) = commit_all(tx, [(lease, result)])
    if isinstance(answer, GridError):
        raise answer
    return answer


def commit_all(
    tx: Connection, reported: Sequence[tuple[Lease, Mapping[str, Any]]]
) -> list[Ended | GridError]:
    """Commit several results, as :func:`commit` does each of them; the answers are in their order.

    A result that is refused is answered with its error, leaves nothing, and stops none of the others.
    """
    answers: list[Ended | GridError] = []
    for part in rounds(reported, lambda one: one[0].job):
        answers += _commit_different(tx, part)
    return answers


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A result whose effects are written."""

    lease: Lease
    verdict: effects.Verdict
    report: results.Report
    digest: str

    @property
    def state(self) -> JobState:
        return JobState.HELD if self.verdict.failure else JobState.DONE

    @property
    def outcome(self) -> Outcome:
        return Outcome.REFUSED if self.verdict.failure else Outcome.DONE


def _commit_different(
    tx: Connection, reported: Sequence[tuple[Lease, Mapping[str, Any]]]
) -> list[Ended | GridError]:
    held = {row.id: row for row in hot.HELD.run(tx, [as_row(lease) for lease, _ in reported]).all()}
    answers: list[Ended | GridError] = []
    accepted: list[_Accepted] = []
    for lease, result in reported:
        row = held.get(lease.job)
        if row is None:
            answers.append(_committed_before(tx, lease, results.digest(result)))
            continue
        try:
            one = _accept(tx, row, lease, result)
        except GridError as error:
            answers.append(error)
        else:
            accepted.append(one)
            answers.append(Ended(lease.job, one.state, one.verdict.failure, one.verdict.why))
    _end(tx, accepted)
    return answers


def _accept(tx: Connection, row: Row[*tuple[Any, ...]], lease: Lease, result: Mapping[str, Any]) -> _Accepted:
    report = results.read(results.OF[row.kind], result)
    with nullcontext() if row.kind in effects.WITHOUT_EFFECTS else tx.begin_nested():
        verdict = effects.apply(tx, row.kind, row.production, lease, report)
    return _Accepted(lease, verdict, report, results.digest(result))


def _end(tx: Connection, accepted: Sequence[_Accepted]) -> None:
    if not accepted:
        return
    at = now(tx)
    hot.END.run(tx, [{"job": one.lease.job, "state": one.state} for one in accepted])
    hot.COMMITTED.run(
        tx,
        [
            {
                "job": one.lease.job,
                "epoch": one.lease.epoch,
                "ended": at,
                "outcome": one.outcome,
                "failure": one.verdict.failure,
                "message": one.verdict.why,
                "digest": one.digest,
                "notes": list(one.report.notes),
                **one.report.measured.model_dump(),
            }
            for one in accepted
        ],
    )
    said = [
        {"the_job": one.lease.job, "failure": one.verdict.failure, "why": one.verdict.why}
        for one in accepted
        if one.verdict.failure or one.lease.epoch > 1
    ]
    if said:
        tx.execute(hot.SAID, said)


def _committed_before(tx: Connection, lease: Lease, digest: str) -> Ended | GridError:
    before = tx.execute(hot.ATTEMPT, {**attempt_of(lease), "the_runner": lease.runner}).one_or_none()
    if before is not None and before.digest == digest:
        state = JobState.HELD if before.outcome == Outcome.REFUSED else JobState.DONE
        return Ended(lease.job, state, before.failure, before.message, repeated=True)
    return stale(lease, "its result can't be committed")
