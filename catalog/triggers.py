"""Trigger tables, and the menus of trigger paths that files carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from catalog.dialects import insert_missing
from catalog.engine import now
from catalog.rows import TriggerTable
from catalog.schema_files import file
from catalog.schema_triggers import menu, trigger_table
from catalog.schema_work import production_input
from catalog.states import TableState
from sitecfg.errors import NotFound, TriggerTableError
from sitecfg.names import near

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

_COLUMNS = [trigger_table.c[name] for name in TriggerTable.__slots__]


def import_table(
    tx: Connection, name: str, tag: int, digest: str, document: Mapping[str, Any]
) -> TriggerTable:
    """Make a trigger table known. Idempotent; a draft that no production uses is replaced.

    Raises
    ------
    TriggerTableError
        The table is in use with another content: it is immutable, a change needs a new tag.
    """
    found = _find(tx, name, tag)
    if found is None:
        tx.execute(
            insert(trigger_table).values(
                name=name,
                tag=tag,
                hash=digest,
                document=dict(document),
                state=TableState.DRAFT,
                created=now(tx),
            )
        )
    elif found.hash != digest:
        if found.state != TableState.DRAFT:
            raise TriggerTableError(
                f"the table is {found.state} with another content: what was used never changes",
                where=str(found),
                todo=f"import the new content as {name}/{tag + 1}",
            )
        tx.execute(
            update(trigger_table)
            .where(trigger_table.c.id == found.id)
            .values(hash=digest, document=dict(document))
        )
    return table(tx, name, tag)


def freeze(tx: Connection, table_id: int) -> None:
    """Make a table immutable, because a production uses it now. Idempotent.

    Raises
    ------
    TriggerTableError
        The table is retired: no new production may use it.
    """
    tx.execute(
        update(trigger_table)
        .where(trigger_table.c.id == table_id, trigger_table.c.state == TableState.DRAFT)
        .values(state=TableState.FROZEN)
    )
    found = TriggerTable(*tx.execute(select(*_COLUMNS).where(trigger_table.c.id == table_id)).one())
    if found.state == TableState.RETIRED:
        raise TriggerTableError("the table is retired", where=str(found), todo="use a newer tag")


def retire(tx: Connection, name: str, tag: int) -> None:
    """Keep new productions from using a table. Idempotent.

    Raises
    ------
    NotFound
        There is no such table.
    """
    found = table(tx, name, tag)
    tx.execute(update(trigger_table).where(trigger_table.c.id == found.id).values(state=TableState.RETIRED))


def table(tx: Connection, name: str, tag: int) -> TriggerTable:
    """Return the table ``name/tag``.

    Raises
    ------
    NotFound
        There is none; near names are listed.
    """
    found = _find(tx, name, tag)
    if found is None:
        alike = near(f"{name}/{tag}", [str(one) for one in tables(tx)])
        raise NotFound(
            "there is no such trigger table",
            where=f"{name}/{tag}",
            todo=f"did you mean {', '.join(alike)}?" if alike else "import it with: grid trigger import",
        )
    return found


def tables(tx: Connection) -> list[TriggerTable]:
    """Return every trigger table, by name and tag."""
    query = select(*_COLUMNS).order_by(trigger_table.c.name, trigger_table.c.tag)
    return [TriggerTable(*row) for row in tx.execute(query)]


def record_menu(tx: Connection, digest: str, paths: Sequence[str]) -> None:
    """Keep a menu once, however many files carry it. Idempotent."""
    insert_missing(tx, menu, [{"hash": digest, "paths": list(paths)}])


def paths(tx: Connection, digest: str) -> tuple[str, ...]:
    """Return the trigger paths of a menu, in the order of the files that carry it; empty when unknown."""
    found = tx.execute(select(menu.c.paths).where(menu.c.hash == digest)).scalar_one_or_none()
    return tuple(found or ())


def menus_of(tx: Connection, production: int) -> dict[str, list[str]]:
    """Return the menus of a production's inputs, and up to three files for each: they must agree on one."""
    query = (
        select(file.c.menu, file.c.name)
        .join_from(production_input, file, file.c.id == production_input.c.file)
        .where(production_input.c.production == production, file.c.menu.is_not(None))
        .order_by(file.c.name)
    )
    answer: dict[str, list[str]] = {}
    for row in tx.execute(query):
        carriers = answer.setdefault(row.menu, [])
        if len(carriers) < 3:
            carriers.append(row.name)
    return answer


def _find(tx: Connection, name: str, tag: int) -> TriggerTable | None:
    row = tx.execute(
        select(*_COLUMNS).where(trigger_table.c.name == name, trigger_table.c.tag == tag)
    ).one_or_none()
    return None if row is None else TriggerTable(*row)
