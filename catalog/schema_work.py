"""Tables of the subject *work*: productions, jobs, attempts, and the books of events.

``job`` is narrow and hot: claims, renewals and commits touch nothing else of a job. What is wide, and read
once per attempt, stands in ``job_spec``.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
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

from catalog.schema import RowId, Word64, metadata, one_of
from catalog.states import JobState, Kind, Outcome, ProductionState

production = Table(
    "production",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("scope", String(25), nullable=False),
    Column("name", String(250), nullable=False),
    Column("state", String(10), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("recipe", JSON, nullable=False),
    Column("recipe_hash", String(64), nullable=False),
    Column("script_hash", String(64)),
    Column("trigger_table", ForeignKey("trigger_table.id")),
    # What all jobs of a kind are told, so that a million job rows needn't repeat it.
    Column("shared", JSON, nullable=False),
    Column("why", Text),
    Column("created", Double, nullable=False),
    Column("changed", Double, nullable=False),
    UniqueConstraint("name"),
    one_of("state", ProductionState),
)

production_input = Table(
    "production_input",
    metadata,
    Column("production", ForeignKey("production.id"), primary_key=True),
    Column("file", ForeignKey("file.id"), primary_key=True),
    Index("ix_production_input_file", "file"),
    sqlite_with_rowid=False,
)

job = Table(
    "job",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=False),
    Column("production", ForeignKey("production.id")),
    Column("kind", String(8), nullable=False),
    Column("state", String(10), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("run_at", Double, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("runner", String(36)),
    Column("lease_until", Double),
    Column("worker", Text),
    Column("cell", Text),
    one_of("kind", Kind),
    one_of("state", JobState),
    CheckConstraint("(state = 'leased') = (lease_until IS NOT NULL)", name="leased_has_end"),
    Index(
        "ix_job_ready",
        text("priority DESC"),
        "id",
        sqlite_where=text("state = 'ready'"),
        postgresql_where=text("state = 'ready'"),
    ),
    Index(
        "ix_job_leased",
        "id",
        sqlite_where=text("state = 'leased'"),
        postgresql_where=text("state = 'leased'"),
    ),
    Index(
        "ix_job_started_again",
        "production",
        "epoch",
        sqlite_where=text("epoch > 1 AND (state = 'ready' OR state = 'leased')"),
        postgresql_where=text("epoch > 1 AND (state = 'ready' OR state = 'leased')"),
    ),
    Index("ix_job_production_kind_state", "production", "kind", "state"),
)

job_spec = Table(
    "job_spec",
    metadata,
    Column("job", ForeignKey("job.id"), primary_key=True),
    # The production, or 0 for jobs of none: a NULL would never be equal to itself in the index below.
    Column("owner", RowId, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("key", String(250), nullable=False),
    Column("live", Boolean, nullable=False),
    Column("spec", JSON, nullable=False),
    # Failures up to this epoch don't count any more: an operator freed the job after them.
    Column("pardoned", Integer, nullable=False),
    Column("failure", String(16)),
    Column("why", Text),
    Index(
        "uq_job_spec_key",
        "owner",
        "kind",
        "key",
        unique=True,
        sqlite_where=text("live = 1"),
        postgresql_where=text("live"),
    ),
)

job_input = Table(
    "job_input",
    metadata,
    Column("job", ForeignKey("job.id"), primary_key=True),
    Column("file", ForeignKey("file.id"), primary_key=True),
    Column("owner", RowId, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("position", Integer, nullable=False),
    Column("live", Boolean, nullable=False),
    # 0 where a file may be an input once; the job where it may be one again, as in comparisons.
    Column("turn", RowId, nullable=False),
    # A file is taken in, processed, or merged at most once per production.
    Index(
        "uq_job_input_once",
        "owner",
        "kind",
        "file",
        "turn",
        unique=True,
        sqlite_where=text("live = 1"),
        postgresql_where=text("live"),
    ),
    Index("ix_job_input_file", "file"),
    sqlite_with_rowid=False,
)

attempt = Table(
    "attempt",
    metadata,
    Column("job", ForeignKey("job.id"), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("runner", String(36), nullable=False),
    Column("cell", Text),
    Column("worker", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer),
    Column("started", Double, nullable=False),
    Column("ended", Double),
    Column("outcome", String(10), nullable=False),
    Column("failure", String(16)),
    Column("message", Text),
    Column("last_lines", Text),
    Column("digest", String(64)),
    Column("notes", JSON),
    Column("cpu_s", Double),
    Column("wall_s", Double),
    Column("peak_rss", BigInteger),
    Column("bytes_in", BigInteger),
    Column("bytes_out", BigInteger),
    one_of("outcome", Outcome),
    CheckConstraint("(outcome = 'running') = (ended IS NULL)", name="ended_has_time"),
)

book = Table(
    "book",
    metadata,
    Column("production", ForeignKey("production.id"), primary_key=True),
    Column("file", ForeignKey("file.id"), primary_key=True),
    # True: the events that the user's code dropped. False: those of exactly this stream mask.
    Column("dropped", Boolean, primary_key=True),
    Column("mask", Word64, primary_key=True, autoincrement=False),
    Column("events", BigInteger, nullable=False),
    Column("fingerprint", String(32)),
    Column("content", String(32)),
    sqlite_with_rowid=False,
)

counter = Table(
    "counter",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("last", BigInteger, nullable=False),
)
