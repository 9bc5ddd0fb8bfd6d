"""The spine: runs, triggers, files and work."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "counter",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counter")),
    )
    op.create_table(
        "menu",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("paths", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_menu")),
    )
    op.create_table(
        "run",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_seen", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_run")),
    )
    op.create_table(
        "stream",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("first_seen", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_stream")),
    )
    op.create_table(
        "trigger_table",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("tag", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.CheckConstraint("state IN ('draft', 'frozen', 'retired')", name=op.f("ck_trigger_table_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trigger_table")),
        sa.UniqueConstraint("name", "tag", name=op.f("uq_trigger_table_name_tag")),
    )
    op.create_table(
        "production",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("scope", sa.String(length=25), nullable=False),
        sa.Column("name", sa.String(length=250), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("recipe", sa.JSON(), nullable=False),
        sa.Column("recipe_hash", sa.String(length=64), nullable=False),
        sa.Column("script_hash", sa.String(length=64), nullable=True),
        sa.Column("trigger_table", ROW_ID, nullable=True),
        sa.Column("shared", sa.JSON(), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("changed", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "state IN ('active', 'paused', 'stalled', 'complete', 'cancelled')",
            name=op.f("ck_production_state"),
        ),
        sa.ForeignKeyConstraint(
            ["trigger_table"], ["trigger_table.id"], name=op.f("fk_production_trigger_table")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_production")),
        sa.UniqueConstraint("name", name=op.f("uq_production_name")),
    )
    op.create_table(
        "run_section",
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("section", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["run"], ["run.number"], name=op.f("fk_run_section_run")),
        sa.PrimaryKeyConstraint("run", "section", name=op.f("pk_run_section")),
    )
    op.create_table(
        "dataset",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("scope", sa.String(length=25), nullable=False),
        sa.Column("name", sa.String(length=250), nullable=False),
        sa.Column("tier", sa.String(length=16), nullable=False),
        sa.Column("stream", sa.String(length=64), nullable=True),
        sa.Column("stream_bit", sa.Integer(), nullable=True),
        sa.Column("production", ROW_ID, nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.CheckConstraint("state IN ('open', 'closed', 'frozen')", name=op.f("ck_dataset_state")),
        sa.ForeignKeyConstraint(["production"], ["production.id"], name=op.f("fk_dataset_production")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset")),
        sa.UniqueConstraint("scope", "name", name=op.f("uq_dataset_scope_name")),
    )
    op.create_index("ix_dataset_production", "dataset", ["production"], unique=False)
    op.create_table(
        "job",
        sa.Column("id", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("production", ROW_ID, nullable=True),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("run_at", sa.Double(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("runner", sa.String(length=36), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("cell", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(state = 'leased') = (lease_until IS NOT NULL)", name=op.f("ck_job_leased_has_end")
        ),
        sa.CheckConstraint(
            "kind IN ('intake', 'compare', 'process', 'merge', 'empty')", name=op.f("ck_job_kind")
        ),
        sa.CheckConstraint(
            "state IN ('ready', 'leased', 'done', 'paused', 'held', 'cancelled')", name=op.f("ck_job_state")
        ),
        sa.ForeignKeyConstraint(["production"], ["production.id"], name=op.f("fk_job_production")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
    )
    op.create_index(
        "ix_job_leased",
        "job",
        ["id"],
        unique=False,
        sqlite_where=sa.text("state = 'leased'"),
        postgresql_where=sa.text("state = 'leased'"),
    )
    op.create_index(
        "ix_job_started_again",
        "job",
        ["production", "epoch"],
        unique=False,
        sqlite_where=sa.text("epoch > 1 AND (state = 'ready' OR state = 'leased')"),
        postgresql_where=sa.text("epoch > 1 AND (state = 'ready' OR state = 'leased')"),
    )
    op.create_index("ix_job_production_kind_state", "job", ["production", "kind", "state"], unique=False)
    op.create_table(
        "attempt",
        sa.Column("job", ROW_ID, nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("runner", sa.String(length=36), nullable=False),
        sa.Column("cell", sa.Text(), nullable=True),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("started", sa.Double(), nullable=False),
        sa.Column("ended", sa.Double(), nullable=True),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("failure", sa.String(length=16), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("last_lines", sa.Text(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("notes", sa.JSON(), nullable=True),
        sa.Column("cpu_s", sa.Double(), nullable=True),
        sa.Column("wall_s", sa.Double(), nullable=True),
        sa.Column("peak_rss", sa.BigInteger(), nullable=True),
        sa.Column("bytes_in", sa.BigInteger(), nullable=True),
        sa.Column("bytes_out", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(outcome = 'running') = (ended IS NULL)", name=op.f("ck_attempt_ended_has_time")),
        sa.CheckConstraint(
            "outcome IN ('running', 'done', 'refused', 'failed', 'lost', 'returned')",
            name=op.f("ck_attempt_outcome"),
        ),
        sa.ForeignKeyConstraint(["job"], ["job.id"], name=op.f("fk_attempt_job")),
        sa.PrimaryKeyConstraint("job", "epoch", name=op.f("pk_attempt")),
    )
    op.create_table(
        "file",
        sa.Column("id", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("dataset", ROW_ID, nullable=False),
        sa.Column("scope", sa.String(length=25), nullable=False),
        sa.Column("name", sa.String(length=250), nullable=False),
        sa.Column("purpose", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("adler32", sa.String(length=8), nullable=True),
        sa.Column("xxh3", sa.String(length=32), nullable=True),
        sa.Column("events", sa.BigInteger(), nullable=True),
        sa.Column("fingerprint", sa.String(length=32), nullable=True),
        sa.Column("content", sa.String(length=32), nullable=True),
        sa.Column("menu", sa.String(length=64), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("blamed_by", ROW_ID, nullable=True),
        sa.CheckConstraint("purpose IN ('input', 'output')", name=op.f("ck_file_purpose")),
        sa.CheckConstraint("state <> 'bad' OR why IS NOT NULL", name=op.f("ck_file_bad_says_why")),
        sa.CheckConstraint(
            "state IN ('open', 'closed', 'declared', 'on_disk', 'on_tape', 'retired', 'bad')",
            name=op.f("ck_file_state"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('declared', 'on_disk', 'on_tape') OR (bytes IS NOT NULL AND adler32 IS NOT NULL"
            " AND xxh3 IS NOT NULL AND events IS NOT NULL)",
            name=op.f("ck_file_known_has_facts"),
        ),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.id"], name=op.f("fk_file_dataset")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file")),
        sa.UniqueConstraint("scope", "name", name=op.f("uq_file_scope_name")),
    )
    op.create_index("ix_file_dataset_state", "file", ["dataset", "state"], unique=False)
    op.create_index(
        "uq_file_input_bytes",
        "file",
        ["dataset", "bytes", "adler32", "xxh3"],
        unique=True,
        sqlite_where=sa.text("purpose = 'input' AND state NOT IN ('bad', 'retired') AND xxh3 IS NOT NULL"),
        postgresql_where=sa.text(
            "purpose = 'input' AND state NOT IN ('bad', 'retired') AND xxh3 IS NOT NULL"
        ),
    )
    op.create_table(
        "job_spec",
        sa.Column("job", ROW_ID, nullable=False),
        sa.Column("owner", ROW_ID, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("key", sa.String(length=250), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("pardoned", sa.Integer(), nullable=False),
        sa.Column("failure", sa.String(length=16), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["job"], ["job.id"], name=op.f("fk_job_spec_job")),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_job_spec")),
    )
    op.create_index(
        "uq_job_spec_key",
        "job_spec",
        ["owner", "kind", "key"],
        unique=True,
        sqlite_where=sa.text("live = 1"),
        postgresql_where=sa.text("live"),
    )
    op.create_table(
        "book",
        sa.Column("production", ROW_ID, nullable=False),
        sa.Column("file", ROW_ID, nullable=False),
        sa.Column("dropped", sa.Boolean(), nullable=False),
        sa.Column("mask", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.String(length=32), nullable=True),
        sa.Column("content", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["file"], ["file.id"], name=op.f("fk_book_file")),
        sa.ForeignKeyConstraint(["production"], ["production.id"], name=op.f("fk_book_production")),
        sa.PrimaryKeyConstraint("production", "file", "dropped", "mask", name=op.f("pk_book")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "file_section",
        sa.Column("file", ROW_ID, nullable=False),
        sa.Column("run", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("section", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["file"], ["file.id"], name=op.f("fk_file_section_file")),
        sa.PrimaryKeyConstraint("file", "run", "section", name=op.f("pk_file_section")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_file_section_run_section", "file_section", ["run", "section"], unique=False)
    op.create_table(
        "job_input",
        sa.Column("job", ROW_ID, nullable=False),
        sa.Column("file", ROW_ID, nullable=False),
        sa.Column("owner", ROW_ID, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("turn", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["file"], ["file.id"], name=op.f("fk_job_input_file")),
        sa.ForeignKeyConstraint(["job"], ["job.id"], name=op.f("fk_job_input_job")),
        sa.PrimaryKeyConstraint("job", "file", name=op.f("pk_job_input")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_job_input_file", "job_input", ["file"], unique=False)
    op.create_index(
        "uq_job_input_once",
        "job_input",
        ["owner", "kind", "file", "turn"],
        unique=True,
        sqlite_where=sa.text("live = 1"),
        postgresql_where=sa.text("live"),
    )
    op.create_table(
        "parentage",
        sa.Column("child", ROW_ID, nullable=False),
        sa.Column("parent", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["child"], ["file.id"], name=op.f("fk_parentage_child")),
        sa.ForeignKeyConstraint(["parent"], ["file.id"], name=op.f("fk_parentage_parent")),
        sa.PrimaryKeyConstraint("child", "parent", name=op.f("pk_parentage")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_parentage_parent", "parentage", ["parent"], unique=False)
    op.create_table(
        "production_input",
        sa.Column("production", ROW_ID, nullable=False),
        sa.Column("file", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["file"], ["file.id"], name=op.f("fk_production_input_file")),
        sa.ForeignKeyConstraint(
            ["production"], ["production.id"], name=op.f("fk_production_input_production")
        ),
        sa.PrimaryKeyConstraint("production", "file", name=op.f("pk_production_input")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_production_input_file", "production_input", ["file"], unique=False)
    op.create_table(
        "replica",
        sa.Column("file", ROW_ID, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=True),
        sa.Column("runner", sa.String(length=36), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.CheckConstraint("state IN ('AVAILABLE', 'BAD')", name=op.f("ck_replica_state")),
        sa.ForeignKeyConstraint(["file"], ["file.id"], name=op.f("fk_replica_file")),
        sa.PrimaryKeyConstraint("file", "url", name=op.f("pk_replica")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_replica_url", "replica", ["url"], unique=False)
    op.create_index(
        "uq_replica_own_url",
        "replica",
        ["url"],
        unique=True,
        sqlite_where=sa.text("runner IS NOT NULL"),
        postgresql_where=sa.text("runner IS NOT NULL"),
    )
    op.create_index(
        "ix_job_ready",
        "job",
        [sa.text("priority DESC"), "id"],
        unique=False,
        sqlite_where=sa.text("state = 'ready'"),
        postgresql_where=sa.text("state = 'ready'"),
    )
    op.bulk_insert(
        sa.table("counter", sa.column("name"), sa.column("last")),
        [{"name": "file", "last": 0}, {"name": "job", "last": 0}],
    )
