"""Statements that take many rows at once: the rows travel as one JSON parameter and are a table there.

A database prepares and runs such a statement once, however many rows it is for; row by row, most of the time
would go into handing parameters over.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, Subquery, and_, any_, bindparam, cast, column, func, select
from sqlalchemy.dialects import postgresql

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, CursorResult, Executable, FromClause
    from sqlalchemy.types import TypeEngine

_ROWS = bindparam("the_rows", type_=String())
_json = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


class ForRows:
    """A statement for many rows.

    Parameters
    ----------
    make
        Returns the statement; given the table ``given`` that holds the rows.
    columns
        What a row consists of.
    """

    def __init__(self, make: Callable[[FromClause], Executable], **columns: TypeEngine[Any]) -> None:
        self._for = {"sqlite": make(_in_sqlite(columns)), "postgresql": make(_in_postgresql(columns))}

    def run(self, tx: Connection, rows: Sequence[Mapping[str, Any]], **same: Any) -> CursorResult[Any]:
        """Run it for `rows`: what JSON can express, by the names of the columns; absent is NULL.

        ``same`` are the statement's own parameters, which stand for the same in every row.
        """
        return tx.execute(self._for[tx.dialect.name], {"the_rows": _json(rows), **same})


def among(column: ColumnElement[Any], given: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a table's column has one of the given values: looked up in the table's index, one after the other.

    A join would leave the order to the database. It doesn't know how many rows are given, and may look through all of
    them for each row of the table, or through all of the table.
    """
    values = select(given).correlate(None)
    if isinstance(given.table, Subquery):
        return column.in_(values)
    return column == any_(func.array(values.scalar_subquery(), type_=postgresql.ARRAY(given.type)))


def is_given(column: ColumnElement[Any], given: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a table's column is that of a given row: a join, in which the table is not looked through."""
    if isinstance(given.table, Subquery):
        return column == given
    return and_(column == given, among(column, given))


def _in_sqlite(columns: Mapping[str, TypeEngine[Any]]) -> FromClause:
    row = func.json_each(_ROWS).table_valued("value", name="row")
    return select(
        *(
            func.json_extract(row.c.value, f"$.{name}", type_=kind).label(name)
            for name, kind in columns.items()
        )
    ).subquery("given")


def _in_postgresql(columns: Mapping[str, TypeEngine[Any]]) -> FromClause:
    rows = func.json_to_recordset(cast(_ROWS, postgresql.JSON()))
    named = (column(name, kind) for name, kind in columns.items())
    return rows.table_valued(*named, name="given").render_derived(with_types=True)
