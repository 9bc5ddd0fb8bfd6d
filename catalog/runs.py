"""Runs and run sections: which exist, and which input files share one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, select

from catalog.batches import ROWS, batches
from catalog.dialects import insert_missing
from catalog.engine import now
from catalog.schema_files import file, file_section
from catalog.schema_runs import run, run_section
from catalog.schema_work import production_input
from catalog.states import READABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Shared:
    """A run section that several input files hold."""

    run: int
    section: int
    files: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run, and how many of its sections are known."""

    number: int
    sections: int


def record_sections(tx: Connection, file_id: int, sections: Sequence[tuple[int, int, int]]) -> None:
    """Record a new file's ``(run, section, events)``, and make runs and sections known that weren't."""
    if not sections:
        return
    at = now(tx)
    insert_missing(tx, run, [{"number": n, "first_seen": at} for n in sorted({one[0] for one in sections})])
    for piece in batches(sections, ROWS):
        insert_missing(tx, run_section, [{"run": r, "section": s} for r, s, _ in piece])
        tx.execute(
            insert(file_section),
            [{"file": file_id, "run": r, "section": s, "events": n} for r, s, n in piece],
        )


def runs(tx: Connection) -> list[RunInfo]:
    """Return every run that a file has shown, by number."""
    query = (
        select(run.c.number, func.count(run_section.c.section))
        .join_from(run, run_section, run_section.c.run == run.c.number, isouter=True)
        .group_by(run.c.number)
        .order_by(run.c.number)
    )
    return [RunInfo(*row) for row in tx.execute(query)]


def shared_sections(tx: Connection, production: int) -> list[Shared]:
    """Return the run sections that more than one readable input of a production holds, in order.

    Their files must be compared event by event before jobs exist for them.
    """
    inputs = (
        select(file_section.c.run, file_section.c.section, file_section.c.file)
        .join_from(production_input, file, file.c.id == production_input.c.file)
        .join(file_section, file_section.c.file == file.c.id)
        .where(production_input.c.production == production, file.c.state.in_(READABLE))
    ).cte("inputs")
    twice = (
        select(inputs.c.run, inputs.c.section)
        .group_by(inputs.c.run, inputs.c.section)
        .having(func.count() > 1)
        .cte("twice")
    )
    query = (
        select(inputs.c.run, inputs.c.section, inputs.c.file)
        .join_from(inputs, twice, (twice.c.run == inputs.c.run) & (twice.c.section == inputs.c.section))
        .order_by(inputs.c.run, inputs.c.section, inputs.c.file)
    )
    answer: dict[tuple[int, int], list[int]] = {}
    for r, s, f in tx.execute(query):
        answer.setdefault((r, s), []).append(f)
    return [Shared(r, s, tuple(files)) for (r, s), files in answer.items()]
