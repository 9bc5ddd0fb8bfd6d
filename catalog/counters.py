"""Blocks of row numbers, taken ahead of a bulk insert so that rows can point to each other at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import update

from catalog.schema_work import counter

if TYPE_CHECKING:
    from sqlalchemy import Connection


def take(tx: Connection, name: str, count: int) -> range:
    """Return `count` row numbers that nobody else gets; a transaction that is undone gives them back."""
    last = tx.execute(
        update(counter)
        .where(counter.c.name == name)
        .values(last=counter.c.last + count)
        .returning(counter.c.last)
    ).scalar_one()
    return range(last - count + 1, last + 1)
