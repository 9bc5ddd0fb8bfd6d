"""Look for what must never be: each invariant as a query over the whole catalog. Nothing here changes anything.

The invariants are numbered as in the design. What the tables' own constraints already make impossible is
not asked again; what is asked here would mean a bug, a hand in the database, or a damaged disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import exists, func, or_, select

from catalog.audit import Finding, audit
from catalog.dialects import violated_keys
from catalog.engine import now
from catalog.productions import productions
from catalog.runs import shared_sections
from catalog.schema import whole_sum
from catalog.schema_files import file, file_section, parentage, replica
from catalog.schema_triggers import trigger_table
from catalog.schema_work import attempt, job, job_input, job_spec, production, production_input
from catalog.states import (
    READABLE,
    FileState,
    JobState,
    Kind,
    Outcome,
    ProductionState,
    ReplicaState,
    TableState,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

#: How long a lease may be over before somebody should have reaped it, in seconds.
REAP_GRACE_S = 120.0
#: Most findings of one kind that are listed.
MOST = 100


def violations(tx: Connection) -> list[Finding]:
    """Return every broken invariant, with a sentence each; empty when all is well."""
    found = [finding for rule in _RULES for finding in rule(tx)]
    for one in productions(tx):
        found += audit(tx, one).findings
    return found


def _same_bytes_twice(tx: Connection) -> Iterator[Finding]:
    """I2: the same bytes in two inputs of a production."""
    query = (
        select(production.c.name, func.min(file.c.name), func.max(file.c.name))
        .join_from(production_input, file, file.c.id == production_input.c.file)
        .join(production, production.c.id == production_input.c.production)
        .where(file.c.state.in_(READABLE))
        .group_by(production.c.name, file.c.bytes, file.c.xxh3)
        .having(func.count() > 1)
        .limit(MOST)
    )
    for name, first, second in tx.execute(query):
        yield Finding("I2", name, f"its inputs {first} and {second} are the same bytes")


def _merged_twice(tx: Connection) -> Iterator[Finding]:
    """I2: an output that two merged files of one dataset were made from."""
    child = file.alias("child")
    query = (
        select(file.c.scope, file.c.name, func.count())
        .join_from(parentage, file, file.c.id == parentage.c.parent)
        .join(child, child.c.id == parentage.c.child)
        .where(child.c.state != FileState.RETIRED)
        .group_by(parentage.c.parent, child.c.dataset, file.c.scope, file.c.name)
        .having(func.count() > 1)
        .limit(MOST)
    )
    for scope, name, number in tx.execute(query):
        yield Finding("I2", f"{scope}:{name}", f"{number} files of one dataset were made from it")


def _never_compared(tx: Connection) -> Iterator[Finding]:
    """I2: inputs that share a run section were compared before any of them was processed."""
    for one in productions(tx):
        compared = _inputs_of_done(tx, one.id, Kind.COMPARE)
        processed = {number for files in _inputs_of_done(tx, one.id, Kind.PROCESS) for number in files}
        for shared in shared_sections(tx, one.id):
            touched = processed.intersection(shared.files)
            if len(touched) > 1 and not any(touched <= files for files in compared):
                yield Finding(
                    "I2",
                    one.name,
                    f"{len(touched)} processed inputs hold run {shared.run} section {shared.section}, "
                    "and were never compared",
                )
                break


def _inputs_of_done(tx: Connection, owner: int, kind: Kind) -> list[set[int]]:
    groups: dict[int, set[int]] = {}
    query = (
        select(job_input.c.job, job_input.c.file)
        .join_from(job_input, job, job.c.id == job_input.c.job)
        .where(
            job_input.c.owner == owner,
            job_input.c.kind == kind,
            job_input.c.live,
            job.c.state == JobState.DONE,
        )
    )
    for number, one in tx.execute(query):
        groups.setdefault(number, set()).add(one)
    return list(groups.values())


def _unread_sections(tx: Connection) -> Iterator[Finding]:
    """I1: a file's run sections don't add up to its events."""
    held = whole_sum(file_section.c.events)
    query = (
        select(file.c.scope, file.c.name, file.c.events, held)
        .join_from(file, file_section, file_section.c.file == file.c.id)
        .where(file.c.state.in_(READABLE))
        .group_by(file.c.id, file.c.scope, file.c.name, file.c.events)
        .having(held != file.c.events)
        .limit(MOST)
    )
    for scope, name, events, number in tx.execute(query):
        yield Finding("I1", f"{scope}:{name}", f"it has {events} events, its run sections {number}")


def _no_copy(tx: Connection) -> Iterator[Finding]:
    """I3: a file that is on disk has a copy that can be read."""
    copy = exists().where(replica.c.file == file.c.id, replica.c.state == ReplicaState.AVAILABLE)
    query = select(file.c.scope, file.c.name).where(file.c.state == FileState.ON_DISK, ~copy).limit(MOST)
    for scope, name in tx.execute(query):
        yield Finding("I3", f"{scope}:{name}", "it is on disk, but no copy can be read")


def _output_of_nobody(tx: Connection) -> Iterator[Finding]:
    """I5: each output was committed by an attempt that is done."""
    done = select(attempt.c.runner).where(attempt.c.outcome == Outcome.DONE)
    query = (
        select(replica.c.url).where(replica.c.runner.is_not(None), replica.c.runner.not_in(done)).limit(MOST)
    )
    for (url,) in tx.execute(query):
        yield Finding("I5", url, "no attempt that is done wrote this copy")


def _done_by_nobody(tx: Connection) -> Iterator[Finding]:
    """I5: each done job has exactly one attempt that is done."""
    done = (
        select(func.count())
        .where(attempt.c.job == job.c.id, attempt.c.outcome == Outcome.DONE)
        .scalar_subquery()
    )
    query = select(job.c.id, done).where(job.c.state == JobState.DONE, done != 1).limit(MOST)
    for number, count in tx.execute(query):
        yield Finding("I5", f"job {number}", f"it is done, by {count} attempts")


def _running_twice(tx: Connection) -> Iterator[Finding]:
    """I5: a running attempt is the present run of its job."""
    query = (
        select(job.c.id, attempt.c.epoch, job.c.state, job.c.epoch)
        .join_from(attempt, job, job.c.id == attempt.c.job)
        .where(
            attempt.c.outcome == Outcome.RUNNING,
            or_(
                job.c.state != JobState.LEASED,
                job.c.epoch != attempt.c.epoch,
                job.c.runner != attempt.c.runner,
                job.c.runner.is_(None),
            ),
        )
        .limit(MOST)
    )
    for number, epoch, state, present in tx.execute(query):
        yield Finding(
            "I5",
            f"job {number}",
            f"attempt {epoch} is said to run, but the job is {state} in epoch {present}",
        )


def _lease_over(tx: Connection) -> Iterator[Finding]:
    """I7: no lease stays after its end."""
    late = now(tx) - REAP_GRACE_S
    query = (
        select(job.c.id, job.c.worker)
        .where(job.c.state == JobState.LEASED, job.c.lease_until < late)
        .limit(MOST)
    )
    for number, worker in tx.execute(query):
        yield Finding("I7", f"job {number}", f"the lease of {worker or 'nobody'} is over and nobody reaps it")


def _waits_for_nothing(tx: Connection) -> Iterator[Finding]:
    """I7: a file that nobody has looked into has a live intake job."""
    intake = exists().where(
        job_input.c.owner == 0,
        job_input.c.kind == Kind.INTAKE,
        job_input.c.file == file.c.id,
        job_input.c.live,
        job_input.c.job == job.c.id,
        job.c.state.in_((JobState.READY, JobState.LEASED, JobState.PAUSED, JobState.HELD)),
    )
    query = select(file.c.scope, file.c.name).where(file.c.state == FileState.CLOSED, ~intake).limit(MOST)
    for scope, name in tx.execute(query):
        yield Finding("I7", f"{scope}:{name}", "it waits for intake, but there is no intake job")


def _held_without_reason(tx: Connection) -> Iterator[Finding]:
    """I7: a held job says why, so that an operator can act."""
    query = (
        select(job.c.id)
        .join_from(job, job_spec, job_spec.c.job == job.c.id)
        .where(job.c.state == JobState.HELD, job_spec.c.why.is_(None))
        .limit(MOST)
    )
    for (number,) in tx.execute(query):
        yield Finding("I7", f"job {number}", "it is held, and nothing says why")


def _outlives_production(tx: Connection) -> Iterator[Finding]:
    """I7: a production that is over has no jobs that wait or run."""
    query = (
        select(production.c.name, production.c.state, func.count())
        .join_from(job, production, production.c.id == job.c.production)
        .where(
            production.c.state.in_((ProductionState.COMPLETE, ProductionState.CANCELLED)),
            job.c.state.in_((JobState.READY, JobState.LEASED, JobState.PAUSED, JobState.HELD)),
        )
        .group_by(production.c.name, production.c.state)
    )
    for name, state, number in tx.execute(query):
        yield Finding("I7", name, f"it is {state}, but {number} of its jobs are not over")


def _loose_table(tx: Connection) -> Iterator[Finding]:
    """I8: a trigger table that a production uses can't be changed."""
    query = (
        select(production.c.name, trigger_table.c.name, trigger_table.c.tag)
        .join_from(production, trigger_table, trigger_table.c.id == production.c.trigger_table)
        .where(trigger_table.c.state == TableState.DRAFT)
    )
    for name, table, tag in tx.execute(query):
        yield Finding("I8", name, f"its trigger table {table}/{tag} is still a draft")


def _orphans(tx: Connection) -> Iterator[Finding]:
    """I10: every output says what it was made from."""
    made = exists().where(parentage.c.child == file.c.id)
    query = select(file.c.scope, file.c.name).where(file.c.purpose == "output", ~made).limit(MOST)
    for scope, name in tx.execute(query):
        yield Finding("I10", f"{scope}:{name}", "nothing says what it was made from")


def _dangling(tx: Connection) -> Iterator[Finding]:
    """Rows that point to nothing."""
    for table, target in violated_keys(tx):
        yield Finding("catalog", table, f"a row points to a row of {target} that isn't there")


_RULES: tuple[Callable[[Connection], Iterator[Finding]], ...] = (
    _same_bytes_twice,
    _merged_twice,
    _never_compared,
    _unread_sections,
    _no_copy,
    _output_of_nobody,
    _done_by_nobody,
    _running_twice,
    _lease_over,
    _waits_for_nothing,
    _held_without_reason,
    _outlives_production,
    _loose_table,
    _orphans,
    _dangling,
)
