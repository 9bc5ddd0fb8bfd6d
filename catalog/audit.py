"""Prove that a production's books close, from its inputs to its merged files, by adding: no file is opened."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from catalog import closure, find, planning
from catalog.batches import IN_LIST, batches
from catalog.closure import Tally
from catalog.outputs import UNMERGED
from catalog.schema import whole_sum
from catalog.schema_files import file, parentage
from catalog.schema_work import book, job, job_input, production_input
from catalog.states import READABLE, JobState, Kind, ProductionState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Select

    from catalog.rows import Dataset, Production


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that isn't right: the invariant it breaks, the file it is about, and a sentence."""

    invariant: str
    where: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.where}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class StreamAudit:
    """Events of one stream: booked by the process jobs, in their outputs, and in merged files.

    ``waiting`` are the events of outputs that aren't merged (yet); None where nothing is to be merged.
    """

    stream: str
    booked: int
    written: int
    merged: int | None
    waiting: int | None


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found. ``complete``: every input was processed and every output merged."""

    production: str
    inputs: int
    processed: int
    events_in: int
    booked: int
    dropped: int
    in_no_stream: int
    streams: tuple[StreamAudit, ...]
    findings: tuple[Finding, ...]

    @property
    def closes(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    @property
    def complete(self) -> bool:
        """Whether nothing is missing either."""
        return self.inputs == self.processed and not any(one.waiting for one in self.streams)


def audit(tx: Connection, production: Production) -> Audit:
    """Add up a production from raw to merged, and name each file where the books don't close.

    Memory is bounded: inputs and merged files are taken in pieces.
    """
    datasets = find.datasets(tx, production=production.id)
    written_to = [one for one in datasets if one.tier == UNMERGED] or datasets
    merged_to = [one for one in datasets if one not in written_to]
    processed = _processed(tx, production.id)
    findings: list[Finding] = []
    for piece in batches(processed, IN_LIST):
        findings += _check_processed(tx, production.id, written_to, piece)
    findings += _booked_without_job(tx, production.id)
    for target in merged_to:
        findings += _check_merged(tx, target)
    for target in datasets:
        findings += _bad_files(tx, target)

    books, dropped = planning.books(tx, production.id)
    known = closure.total([*books.values(), dropped])
    events_in = _total(tx, processed)
    if events_in != known.events:
        findings.append(
            Finding("I1", production.name, f"{events_in} events went in, {known.events} are booked")
        )
    streams, wrong = _streams(tx, written_to, merged_to, books)
    findings += wrong
    inputs = tx.execute(
        select(func.count()).where(production_input.c.production == production.id)
    ).scalar_one()
    if production.state == ProductionState.COMPLETE:
        findings += _too_early(production, inputs - len(processed), streams)
    return Audit(
        production=production.name,
        inputs=inputs,
        processed=len(processed),
        events_in=events_in,
        booked=known.events,
        dropped=dropped.events,
        in_no_stream=books[0].events if 0 in books else 0,
        streams=tuple(streams),
        findings=tuple(findings),
    )


def _processed(tx: Connection, production: int) -> list[int]:
    return list(tx.execute(_done_inputs(production).order_by(job_input.c.file)).scalars())


def _done_inputs(production: int) -> Select[int]:
    return (
        select(job_input.c.file)
        .join_from(job_input, job, job.c.id == job_input.c.job)
        .where(
            job_input.c.owner == production,
            job_input.c.kind == Kind.PROCESS,
            job_input.c.live,
            job.c.state == JobState.DONE,
        )
    )


def _check_processed(
    tx: Connection, production: int, targets: Sequence[Dataset], sources: Sequence[int]
) -> Iterator[Finding]:
    """Check each processed input: its events are booked, and its outputs hold what is booked."""
    books: dict[int, dict[int, Tally]] = defaultdict(dict)
    dropped: dict[int, Tally] = {}
    for number, is_dropped, mask, *counts in tx.execute(
        select(
            book.c.file, book.c.dropped, book.c.mask, book.c.events, book.c.fingerprint, book.c.content
        ).where(book.c.production == production, book.c.file.in_(sources))
    ):
        if is_dropped:
            dropped[number] = Tally(*counts)
        else:
            books[number][mask] = Tally(*counts)
    bits = {one.id: one.stream_bit or 0 for one in targets}
    outputs: dict[int, dict[int, Tally]] = defaultdict(dict)
    for parent, target, name, *counts in tx.execute(
        select(
            parentage.c.parent, file.c.dataset, file.c.name, file.c.events, file.c.fingerprint, file.c.content
        )
        .join_from(parentage, file, file.c.id == parentage.c.child)
        .where(parentage.c.parent.in_(sources), file.c.dataset.in_(list(bits)))
    ):
        if bits[target] in outputs[parent]:
            yield Finding("I2", name, "its input has another output in the same stream")
        outputs[parent][bits[target]] = Tally(*counts)
    for number, source in find.files_by_id(tx, sources).items():
        missing = set(bits.values()) - set(outputs[number])
        if missing:
            yield Finding("I9", str(source), f"it has no output in {len(missing)} of {len(bits)} streams")
        known = Tally(source.events or 0, source.fingerprint)
        for sentence in closure.process(
            known, books[number], dropped.get(number, closure.total([])), outputs[number]
        ):
            yield Finding("I1", str(source), sentence)


def _booked_without_job(tx: Connection, production: int) -> Iterator[Finding]:
    """Find books of inputs that no done job accounts for."""
    query = (
        select(file.c.scope, file.c.name)
        .join_from(book, file, file.c.id == book.c.file)
        .where(book.c.production == production, book.c.file.not_in(_done_inputs(production)))
        .distinct()
    )
    for scope, name in tx.execute(query):
        yield Finding("I1", f"{scope}:{name}", "its events are booked, but no job processed it")


def _check_merged(tx: Connection, target: Dataset) -> Iterator[Finding]:
    """Check each merged file against its inputs, and that no input is in two."""
    ids = list(tx.execute(select(file.c.id).where(file.c.dataset == target.id).order_by(file.c.id)).scalars())
    source = file.alias("source")
    seen: set[int] = set()
    for piece in batches(ids, IN_LIST):
        parts: dict[int, list[Tally]] = defaultdict(list)
        for child, parent, name, *counts in tx.execute(
            select(
                parentage.c.child,
                source.c.id,
                source.c.name,
                source.c.events,
                source.c.fingerprint,
                source.c.content,
            )
            .join_from(parentage, source, source.c.id == parentage.c.parent)
            .where(parentage.c.child.in_(piece))
        ):
            parts[child].append(Tally(*counts))
            if parent in seen:
                yield Finding("I2", f"{target.scope}:{name}", "it is in two merged files")
            seen.add(parent)
        for number, merged in find.files_by_id(tx, piece).items():
            tally = Tally(merged.events or 0, merged.fingerprint, merged.content)
            for sentence in closure.merge(parts[number], tally):
                yield Finding("I1", str(merged), sentence)


def _bad_files(tx: Connection, target: Dataset) -> Iterator[Finding]:
    query = select(file.c.name, file.c.state, file.c.why).where(
        file.c.dataset == target.id, file.c.state.not_in(READABLE)
    )
    for name, state, why in tx.execute(query):
        yield Finding("I4", f"{target.scope}:{name}", f"the file is {state}: {why or 'no reason is given'}")


def _streams(
    tx: Connection, written_to: Sequence[Dataset], merged_to: Sequence[Dataset], books: dict[int, Tally]
) -> tuple[list[StreamAudit], list[Finding]]:
    """Compare each stream's totals: booked, written, merged and waiting."""
    merged_of = {one.stream: one for one in merged_to}
    answer: list[StreamAudit] = []
    findings: list[Finding] = []
    for source in sorted(written_to, key=lambda one: one.stream_bit or 0):
        booked = closure.in_stream(books, source.stream_bit or 0).events
        written = _dataset_total(tx, source)
        target = merged_of.get(source.stream)
        merged = None if target is None else _dataset_total(tx, target)
        waiting = None if target is None else written - _parents_total(tx, target)
        if booked != written:
            findings.append(Finding("I1", str(source), f"{booked} events are booked, {written} written"))
        if merged is not None and waiting is not None and merged + waiting != written:
            findings.append(
                Finding("I1", str(target), f"{written} events written, {merged} merged and {waiting} waiting")
            )
        answer.append(StreamAudit(source.stream or source.name, booked, written, merged, waiting))
    return answer, findings


def _too_early(production: Production, unprocessed: int, streams: Sequence[StreamAudit]) -> Iterator[Finding]:
    """Find what a complete production can't lack."""
    if unprocessed:
        yield Finding("I1", production.name, f"it is complete, but {unprocessed} inputs are not processed")
    for one in streams:
        if one.waiting:
            yield Finding(
                "I1",
                f"{production.name}.{one.stream}",
                f"the production is complete, but {one.waiting} events are in no merged file",
            )


def _dataset_total(tx: Connection, one: Dataset) -> int:
    return tx.execute(select(whole_sum(file.c.events)).where(file.c.dataset == one.id)).scalar_one()


def _parents_total(tx: Connection, one: Dataset) -> int:
    """Add the events of the files that a dataset's files were made from."""
    child = file.alias("child")
    made_from = (
        select(parentage.c.parent)
        .join_from(parentage, child, child.c.id == parentage.c.child)
        .where(child.c.dataset == one.id)
    )
    return tx.execute(select(whole_sum(file.c.events)).where(file.c.id.in_(made_from))).scalar_one()


def _total(tx: Connection, ids: Sequence[int]) -> int:
    return sum(
        tx.execute(select(whole_sum(file.c.events)).where(file.c.id.in_(piece))).scalar_one()
        for piece in batches(ids, IN_LIST)
    )
