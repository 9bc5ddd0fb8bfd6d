"""Opening, making and upgrading a catalog; what transactions promise."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

import catalog.schema_files
import catalog.schema_runs
import catalog.schema_triggers
import catalog.schema_work  # noqa: F401  (each adds its tables to the metadata)
from catalog import revision
from catalog.engine import Catalog, create, now
from catalog.schema import metadata
from sitecfg.errors import ConfigError, DatabaseUnreachable, LedgerError, NoSpace, NotFound, SchemaRevision

if TYPE_CHECKING:
    from pathlib import Path

    from tests.catalog.databases import Databases


def test_the_migrations_make_the_tables_that_the_software_describes(databases: Databases) -> None:
    made, described = databases.empty(), databases.empty()
    create(made)
    engine = create_engine(described)
    metadata.create_all(engine)
    engine.dispose()
    assert databases.tables(made) == databases.tables(described) != set()


def test_the_software_needs_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(revision.settings()).get_heads() == [revision.HEAD]


def test_making_a_catalog_again_changes_nothing(databases: Databases, url: str) -> None:
    create(url)
    before = databases.tables(url)
    create(url)
    assert databases.tables(url) == before


@pytest.mark.parametrize(
    ("found", "command"),
    [("0000-from-the-future", "pip install --upgrade mdcgrid"), (None, "grid init")],
)
def test_another_revision_is_refused_with_the_command_that_mends_it(
    url: str, found: str | None, command: str
) -> None:
    create(url)
    engine = create_engine(url)
    with engine.begin() as tx:
        tx.execute(text("DELETE FROM alembic_version"))
        if found:
            tx.execute(text("INSERT INTO alembic_version VALUES (:found)"), {"found": found})
    engine.dispose()
    with pytest.raises(SchemaRevision) as caught:
        Catalog.open(url)
    assert command in caught.value.todo
    if found:
        with pytest.raises(SchemaRevision):
            create(url)


def test_a_kill_in_the_middle_of_a_migration_leaves_nothing(databases: Databases, url: str) -> None:
    code = (
        "import os\n"
        "from alembic import op\n"
        "from catalog.engine import create\n"
        "op.create_index  # the proxy exists\n"
        "import catalog.revision as r\n"
        "from alembic.operations import Operations\n"
        "make, seen = Operations.create_table, []\n"
        "def dying(self, *a, **k):\n"
        "    seen.append(a)\n"
        "    if len(seen) == 5: os._exit(9)\n"
        "    return make(self, *a, **k)\n"
        "import alembic.op\n"
        "alembic.op.create_table = lambda *a, **k: dying(alembic.op._proxy, *a, **k)\n"
        f"create({url!r})\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert databases.tables(url) == set()
    create(url)
    Catalog.open(url).close()


def test_a_catalog_that_is_not_there_is_not_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no catalog"):
        Catalog.open(f"sqlite:///{tmp_path}/catalog.sqlite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "nonsense",
        "sqlite://",
        "oracle://host/db",
        "mysql+nothing://x/y",
        "postgresql://me:geheim@host:port/db",
    ],
)
def test_urls_that_make_no_sense_are_named(wrong: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Catalog.open(wrong)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("secret", ["somebody:geheim@127.0.0.1:1/c", "127.0.0.1:1/c?user=me&password=geheim"])
def test_a_server_that_does_not_answer_is_named_without_its_password(secret: str) -> None:
    with pytest.raises(DatabaseUnreachable, match="does not answer") as caught:
        Catalog.open(f"postgresql+psycopg://{secret}")
    assert "geheim" not in str(caught.value)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.sqlite").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(LedgerError, match="not a database"):
        Catalog.open(f"sqlite:///{tmp_path}/c.sqlite")


def test_the_clock_is_the_databases(catalog: Catalog) -> None:
    with catalog.read() as tx:
        assert abs(now(tx) - time.time()) < 5


def test_a_transaction_that_raises_leaves_nothing(catalog: Catalog) -> None:
    def broken() -> None:
        with catalog.write() as tx:
            tx.execute(text("INSERT INTO stream VALUES ('A', 1.0)"))
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    with catalog.read() as tx:
        assert tx.execute(text("SELECT count(*) FROM stream")).scalar() == 0


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_what_is_committed_is_synced_to_disk(catalog: Catalog) -> None:
    def pragma(name: str) -> object:
        with catalog.read() as tx:
            return tx.execute(text(f"PRAGMA {name}")).scalar()

    assert (pragma("journal_mode"), pragma("synchronous"), pragma("foreign_keys")) == ("wal", 2, 1)


def test_a_reader_sees_one_moment_while_others_write(catalog: Catalog) -> None:
    count = text("SELECT count(*) FROM stream")
    with catalog.read() as reader:
        assert reader.execute(count).scalar() == 0
        with catalog.write() as tx:
            tx.execute(text("INSERT INTO stream VALUES ('A', 1.0)"))
        assert reader.execute(count).scalar() == 0
    with catalog.read() as reader:
        assert reader.execute(count).scalar() == 1


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_a_full_disk_has_its_own_error_and_costs_nothing_committed(catalog: Catalog) -> None:
    with catalog.write() as tx:
        tx.execute(text("INSERT INTO stream VALUES ('A', 1.0)"))
    many = [{"name": f"{number:064d}"} for number in range(100_000)]

    def fill() -> None:
        with catalog.write() as tx:
            tx.execute(text("PRAGMA max_page_count = 1"))
            tx.execute(text("INSERT INTO stream VALUES (:name, 1.0)"), many)

    with pytest.raises(NoSpace):
        fill()
    with catalog.read() as tx:
        assert tx.execute(text("SELECT count(*) FROM stream")).scalar() == 1
