"""Tables of the subject *triggers*: trigger tables, and the menus of paths that files carry."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Double, Integer, String, Table, UniqueConstraint

from catalog.schema import RowId, metadata, one_of
from catalog.states import TableState

trigger_table = Table(
    "trigger_table",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("tag", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("document", JSON, nullable=False),
    Column("state", String(8), nullable=False),
    Column("created", Double, nullable=False),
    UniqueConstraint("name", "tag"),
    one_of("state", TableState),
)

menu = Table(
    "menu",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("paths", JSON, nullable=False),
)
