"""What a production's planner, and its report, need to know. Nothing here changes anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, func, select

from catalog.closure import Tally, total
from catalog.outputs import UNMERGED
from catalog.schema import whole_sum
from catalog.schema_files import dataset, file, file_section, parentage
from catalog.schema_work import book, job, job_input, job_spec, production_input
from catalog.states import Kind

if TYPE_CHECKING:
    from sqlalchemy import Connection, FromClause


@dataclass(frozen=True, slots=True)
class Input:
    """An input of a production.

    ``intake`` and ``process`` are the states of its jobs, None where there is none. ``first`` is its first
    ``(run, section)``, None when it has none.
    """

    file: int
    name: str
    state: str
    bytes: int | None
    events: int | None
    why: str | None
    intake: str | None
    process: str | None
    first: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class StreamOutput:
    """An unmerged output: of which input, where it stands in time, and whether a merge job has it."""

    file: int
    name: str
    source: int
    source_name: str
    stream: str
    stream_bit: int
    bytes: int
    events: int
    state: str
    taken: bool
    first: tuple[int, int] | None


def inputs(tx: Connection, production: int) -> list[Input]:
    """Return every input of a production with the states of its jobs, in order of name."""
    intake, process = _job_of(file, 0, Kind.INTAKE), _job_of(file, production, Kind.PROCESS)
    query = (
        select(
            file.c.id,
            file.c.scope,
            file.c.name,
            file.c.state,
            file.c.bytes,
            file.c.events,
            file.c.why,
            intake,
            process,
            *_first_section(),
        )
        .join_from(production_input, file, file.c.id == production_input.c.file)
        .where(production_input.c.production == production)
        .order_by(file.c.scope, file.c.name)
    )
    return [
        Input(*(row[0], f"{row[1]}:{row[2]}", *row[3:9], None if row[9] is None else (row[9], row[10])))
        for row in tx.execute(query)
    ]


def input_sections(tx: Connection, production: int) -> dict[int, tuple[tuple[int, int], ...]]:
    """Return the ``(run, section)`` of each input, in order; an input without any is left out."""
    query = (
        select(file_section.c.file, file_section.c.run, file_section.c.section)
        .join_from(production_input, file_section, file_section.c.file == production_input.c.file)
        .where(production_input.c.production == production)
        .order_by(file_section.c.file, file_section.c.run, file_section.c.section)
    )
    answer: dict[int, list[tuple[int, int]]] = {}
    for number, run, section in tx.execute(query):
        answer.setdefault(number, []).append((run, section))
    return {number: tuple(sections) for number, sections in answer.items()}


def stream_outputs(tx: Connection, production: int, *, untaken: bool = False) -> list[StreamOutput]:
    """Return the unmerged outputs of a production, stream by stream, in order of first run section and name.

    Those without run sections come last. ``untaken``: only those that no live merge job has.
    """
    source = file.alias("source")
    taken = job_input.c.job
    query = (
        select(
            file.c.id,
            file.c.scope,
            file.c.name,
            source.c.id,
            source.c.scope,
            source.c.name,
            dataset.c.stream,
            dataset.c.stream_bit,
            file.c.bytes,
            file.c.events,
            file.c.state,
            taken,
            *_first_section(),
        )
        .join_from(dataset, file, file.c.dataset == dataset.c.id)
        .join(parentage, parentage.c.child == file.c.id)
        .join(source, source.c.id == parentage.c.parent)
        .join(job_input, _takes(file, production, Kind.MERGE), isouter=True)
        .where(dataset.c.production == production, dataset.c.tier == UNMERGED)
    )
    if untaken:
        query = query.where(taken.is_(None))
    answer = [
        StreamOutput(
            file=row[0],
            name=f"{row[1]}:{row[2]}",
            source=row[3],
            source_name=f"{row[4]}:{row[5]}",
            stream=row[6],
            stream_bit=row[7],
            bytes=row[8],
            events=row[9],
            state=row[10],
            taken=row[11] is not None,
            first=None if row[12] is None else (row[12], row[13]),
        )
        for row in tx.execute(query)
    ]
    return sorted(answer, key=lambda one: (one.stream_bit, one.first is None, one.first or (0, 0), one.name))


def books(tx: Connection, production: int) -> tuple[dict[int, Tally], Tally]:
    """Return a production's books: what each exact stream mask holds over all inputs, and what was dropped.

    The overlap of two streams is the sum over the masks that contain both.
    """
    kept: dict[int, list[Tally]] = {}
    dropped: list[Tally] = []
    query = select(book.c.dropped, book.c.mask, book.c.events, book.c.fingerprint, book.c.content).where(
        book.c.production == production
    )
    for is_dropped, mask, *counts in tx.execute(query):
        (dropped if is_dropped else kept.setdefault(mask, [])).append(Tally(*counts))
    return {mask: total(tallies) for mask, tallies in sorted(kept.items())}, total(dropped)


def input_states(tx: Connection, production: int, dataset_id: int) -> dict[str, int]:
    """Count a production's inputs, all of which are of one dataset, by the state of the file.

    As a rule every file of the dataset is an input; then its index answers, and no file's row is read.
    """
    inputs = production_input.c.production == production
    number = tx.execute(select(func.count()).select_from(production_input).where(inputs)).scalar_one()
    query = select(file.c.state, func.count()).group_by(file.c.state)
    states = {row[0]: row[1] for row in tx.execute(query.where(file.c.dataset == dataset_id))}
    if sum(states.values()) != number:
        query = query.join_from(production_input, file, file.c.id == production_input.c.file).where(inputs)
        states = {row[0]: row[1] for row in tx.execute(query)}
    return states


def input_totals(tx: Connection, production: int) -> dict[str, tuple[int, int, int]]:
    """Return files, bytes and events of a production's inputs, by the state of the file."""
    query = (
        select(
            file.c.state,
            func.count(),
            whole_sum(file.c.bytes),
            whole_sum(file.c.events),
        )
        .join_from(production_input, file, file.c.id == production_input.c.file)
        .where(production_input.c.production == production)
        .group_by(file.c.state)
    )
    return {row[0]: (row[1], row[2], row[3]) for row in tx.execute(query)}


def dataset_totals(tx: Connection, production: int) -> dict[str, tuple[int, int, int]]:
    """Return files, bytes and events of each of a production's datasets, by ``scope:name``."""
    query = (
        select(
            dataset.c.scope,
            dataset.c.name,
            func.count(file.c.id),
            whole_sum(file.c.bytes),
            whole_sum(file.c.events),
        )
        .join_from(dataset, file, file.c.dataset == dataset.c.id, isouter=True)
        .where(dataset.c.production == production)
        .group_by(dataset.c.id, dataset.c.scope, dataset.c.name)
        .order_by(dataset.c.stream_bit, dataset.c.name)
    )
    return {f"{row[0]}:{row[1]}": (row[2], row[3], row[4]) for row in tx.execute(query)}


def told_at_intake(tx: Connection, dataset_id: int) -> dict[str, Any] | None:
    """Return what the intake jobs of a dataset's files were told; None if it has none. They are all told the same."""
    query = (
        select(job_spec.c.spec)
        .join_from(file, job_input, job_input.c.file == file.c.id)
        .join(job_spec, job_spec.c.job == job_input.c.job)
        .where(file.c.dataset == dataset_id, job_input.c.kind == Kind.INTAKE)
        .limit(1)
    )
    found = tx.execute(query).scalar_one_or_none()
    return None if found is None else dict(found)


def _takes(files: FromClause, owner: int, kind: Kind) -> ColumnElement[bool]:
    return and_(
        job_input.c.owner == owner,
        job_input.c.kind == kind,
        job_input.c.file == files.c.id,
        job_input.c.live,
    )


def _job_of(files: FromClause, owner: int, kind: Kind) -> ColumnElement[Any]:
    """Select the state of the live job of a kind that has the file."""
    return (
        select(job.c.state)
        .join_from(job_input, job, job.c.id == job_input.c.job)
        .where(_takes(files, owner, kind))
        .scalar_subquery()
    )


def _first_section() -> list[ColumnElement[Any]]:
    """Select a file's first run, and the first section of that run."""
    return [
        select(column)
        .where(file_section.c.file == file.c.id)
        .order_by(file_section.c.run, file_section.c.section)
        .limit(1)
        .correlate(file)
        .scalar_subquery()
        for column in (file_section.c.run, file_section.c.section)
    ]
