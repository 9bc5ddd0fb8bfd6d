"""Tables of the subject *files*: datasets, files, replicas, parents, run sections of a file."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from catalog.schema import RowId, metadata, one_of
from catalog.states import DatasetState, FileState, ReplicaState

dataset = Table(
    "dataset",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("scope", String(25), nullable=False),
    Column("name", String(250), nullable=False),
    Column("tier", String(16), nullable=False),
    Column("stream", String(64)),
    Column("stream_bit", Integer),
    Column("production", ForeignKey("production.id")),
    Column("state", String(10), nullable=False),
    Column("created", Double, nullable=False),
    UniqueConstraint("scope", "name"),
    one_of("state", DatasetState),
    Index("ix_dataset_production", "production"),
)

file = Table(
    "file",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=False),
    Column("dataset", ForeignKey("dataset.id"), nullable=False),
    Column("scope", String(25), nullable=False),
    Column("name", String(250), nullable=False),
    Column("purpose", String(8), nullable=False),
    Column("state", String(10), nullable=False),
    Column("bytes", BigInteger),
    Column("adler32", String(8)),
    Column("xxh3", String(32)),
    Column("events", BigInteger),
    Column("fingerprint", String(32)),
    Column("content", String(32)),
    Column("menu", String(64)),
    Column("facts", JSON),
    Column("created", Double, nullable=False),
    Column("why", Text),
    Column("blamed_by", RowId),
    UniqueConstraint("scope", "name"),
    one_of("state", FileState),
    CheckConstraint("purpose IN ('input', 'output')", name="purpose"),
    CheckConstraint("state <> 'bad' OR why IS NOT NULL", name="bad_says_why"),
    CheckConstraint(
        "state NOT IN ('declared', 'on_disk', 'on_tape') OR (bytes IS NOT NULL AND adler32 IS NOT NULL"
        " AND xxh3 IS NOT NULL AND events IS NOT NULL)",
        name="known_has_facts",
    ),
    Index("ix_file_dataset_state", "dataset", "state"),
    # One file under two names: the same bytes may be a dataset's input only once.
    Index(
        "uq_file_input_bytes",
        "dataset",
        "bytes",
        "adler32",
        "xxh3",
        unique=True,
        sqlite_where=text("purpose = 'input' AND state NOT IN ('bad', 'retired') AND xxh3 IS NOT NULL"),
        postgresql_where=text("purpose = 'input' AND state NOT IN ('bad', 'retired') AND xxh3 IS NOT NULL"),
    ),
)

replica = Table(
    "replica",
    metadata,
    Column("file", ForeignKey("file.id"), primary_key=True),
    Column("url", Text, primary_key=True),
    Column("state", String(10), nullable=False),
    Column("epoch", Integer),
    Column("runner", String(36)),
    Column("created", Double, nullable=False),
    one_of("state", ReplicaState),
    Index("ix_replica_url", "url"),
    # What we wrote ourselves has a physical name that is never used again.
    Index(
        "uq_replica_own_url",
        "url",
        unique=True,
        sqlite_where=text("runner IS NOT NULL"),
        postgresql_where=text("runner IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

parentage = Table(
    "parentage",
    metadata,
    Column("child", ForeignKey("file.id"), primary_key=True),
    Column("parent", ForeignKey("file.id"), primary_key=True),
    Index("ix_parentage_parent", "parent"),
    sqlite_with_rowid=False,
)

file_section = Table(
    "file_section",
    metadata,
    Column("file", ForeignKey("file.id"), primary_key=True),
    Column("run", BigInteger, primary_key=True, autoincrement=False),
    Column("section", BigInteger, primary_key=True, autoincrement=False),
    Column("events", BigInteger, nullable=False),
    Index("ix_file_section_run_section", "run", "section"),
    sqlite_with_rowid=False,
)
