"""What a committed result does to files and books, by the kind of the job.

Everything here runs inside the commit's transaction: it happens whole, or not at all. The closure of the
books is checked before anything is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, insert, or_, select, update

from catalog import closure, find, results, runs, triggers
from catalog.outputs import add_outputs
from catalog.schema_files import file
from catalog.schema_work import book, production_input
from catalog.states import READABLE, FileState, Kind
from sitecfg.errors import ClosureError, UsageError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from catalog.leases import Lease
    from catalog.rows import File


#: Kinds whose reports write nothing beside the ledger.
WITHOUT_EFFECTS = frozenset({Kind.EMPTY, Kind.COMPARE})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a result means: accepted, or (with a failure class and a reason) that its input can't be used."""

    failure: str | None = None
    why: str | None = None


_ACCEPTED = Verdict()


def apply(tx: Connection, kind: str, production: int | None, lease: Lease, report: results.Report) -> Verdict:
    """Write what the report of a job means into the catalog.

    Raises
    ------
    ClosureError
        The books don't close; nothing must be kept.
    OutputExists
        The logical name of an output is taken.
    UsageError
        The report is not one that this job can make.
    """
    if isinstance(report, results.CompareResult):
        return _compare(report)
    if kind in WITHOUT_EFFECTS:
        return _ACCEPTED
    inputs = find.inputs_of(tx, lease.job)
    if isinstance(report, results.IntakeResult):
        return _intake(tx, lease, inputs, report)
    if production is None:
        raise UsageError(f"a {kind} job belongs to a production", where=f"job {lease.job}")
    if isinstance(report, results.ProcessResult):
        _process(tx, production, lease, inputs, report)
    elif isinstance(report, results.MergeResult):
        _merge(tx, production, lease, inputs, report)
    return _ACCEPTED


def _intake(tx: Connection, lease: Lease, inputs: list[File], result: results.IntakeResult) -> Verdict:
    (target,) = inputs
    facts = result.file
    _demand(closure.sections(facts.events, facts.sections), str(target))
    if facts.menu_hash is not None:
        triggers.record_menu(tx, facts.menu_hash, facts.menu)
    verdict = _refusal(tx, target, facts)
    tx.execute(
        update(file)
        .where(file.c.id == target.id)
        .values(
            # A twin's bytes must be hidden from the index that keeps the same bytes from coming in twice.
            state=FileState.BAD if verdict.failure else FileState.ON_DISK,
            why=verdict.why,
            blamed_by=lease.job if verdict.failure else None,
            bytes=facts.bytes,
            adler32=facts.adler32,
            xxh3=facts.xxh3,
            events=facts.events,
            fingerprint=facts.fingerprint,
            content=facts.content,
            menu=facts.menu_hash,
            facts={"trees": facts.trees, "notes": list(facts.notes), "record": facts.record},
        )
    )
    runs.record_sections(tx, target.id, facts.sections)
    return verdict


def _refusal(tx: Connection, target: File, facts: results.Facts) -> Verdict:
    if facts.duplicates:
        return Verdict("duplicates", f"events are in the file more than once: {_some(facts.duplicates)}")
    twin = tx.execute(
        select(file.c.name).where(
            file.c.dataset == target.dataset,
            file.c.id != target.id,
            file.c.purpose == "input",
            file.c.state != FileState.BAD,
            # What is retired counts for as long as something that was made from it is there.
            or_(
                file.c.state != FileState.RETIRED,
                exists().where(production_input.c.file == file.c.id),
            ),
            file.c.bytes == facts.bytes,
            file.c.adler32 == facts.adler32,
            file.c.xxh3 == facts.xxh3,
        )
    ).scalar()
    if twin is not None:
        return Verdict(
            "duplicates", f"it holds the very bytes of {target.scope}:{twin}: one file under two names"
        )
    return _ACCEPTED


def _compare(result: results.CompareResult) -> Verdict:
    if result.duplicates:
        return Verdict("duplicates", f"the input files hold the same events: {_some(result.duplicates)}")
    return _ACCEPTED


def _process(
    tx: Connection, production: int, lease: Lease, inputs: list[File], result: results.ProcessResult
) -> None:
    (source,) = inputs
    _readable(inputs)
    books = {one.mask: one.tally for one in result.books}
    if len(books) != len(result.books):
        raise ClosureError("a stream mask is booked twice", where=str(source))
    by_bit = {one.stream_bit: one.tally for one in result.outputs}
    if len(by_bit) != len(result.outputs):
        raise ClosureError("a stream has two outputs", where=str(source))
    known = closure.Tally(source.events or 0, source.fingerprint)
    _demand(closure.process(known, books, result.dropped.tally, by_bit), str(source))
    add_outputs(tx, production, lease, inputs, result.outputs, every_stream=True)
    rows = [(False, mask, tally) for mask, tally in books.items()]
    if result.dropped.events:
        rows.append((True, 0, result.dropped.tally))
    if rows:
        tx.execute(
            insert(book),
            [
                {
                    "production": production,
                    "file": source.id,
                    "dropped": dropped,
                    "mask": mask,
                    "events": tally.events,
                    "fingerprint": tally.fingerprint,
                    "content": tally.content,
                }
                for dropped, mask, tally in rows
            ],
        )


def _merge(
    tx: Connection, production: int, lease: Lease, inputs: list[File], result: results.MergeResult
) -> None:
    (output,) = result.outputs
    _readable(inputs)
    streams = {find.dataset_by_id(tx, number).stream for number in {one.dataset for one in inputs}}
    if streams != {output.stream}:
        raise ClosureError(
            f"the inputs are of stream {', '.join(map(str, sorted(streams, key=str)))}", where=output.name
        )
    known = [closure.Tally(one.events or 0, one.fingerprint, one.content) for one in inputs]
    _demand(closure.merge(known, output.tally), output.name)
    add_outputs(tx, production, lease, inputs, result.outputs, every_stream=False)


def _readable(inputs: list[File]) -> None:
    """Refuse a result that was made from a file that has been found bad since."""
    for one in inputs:
        if one.state not in READABLE:
            raise UsageError(f"the input is {one.state}: {one.why or 'it can not be used'}", where=str(one))


def _demand(wrong: list[str], where: str) -> None:
    if wrong:
        raise ClosureError("; ".join(wrong), where=where, wrong=wrong)


def _some(items: Any) -> str:
    if isinstance(items, (list, tuple)):
        return ", ".join(map(str, items[:3])) + (f" and {len(items) - 3} more" if len(items) > 3 else "")
    return str(items)
