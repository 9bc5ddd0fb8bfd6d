"""Tables of the subject *runs*: runs, run sections, streams."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, ForeignKey, String, Table

from catalog.schema import metadata

run = Table(
    "run",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("first_seen", Double, nullable=False),
)

run_section = Table(
    "run_section",
    metadata,
    Column("run", ForeignKey("run.number"), primary_key=True),
    Column("section", BigInteger, primary_key=True, autoincrement=False),
)

stream = Table(
    "stream",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("first_seen", Double, nullable=False),
)
