"""The only file that knows which database stands behind the catalog.

Everything else is SQL that SQLite and PostgreSQL understand alike.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DatabaseError, IntegrityError

from sitecfg.errors import DatabaseUnreachable, LedgerError, NoSpace
from sitecfg.show import hide_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Engine, MetaData, Table
    from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
    from sqlalchemy.pool import ConnectionPoolEntry

#: How each database is asked for its clock, in Unix seconds.
CLOCKS = {
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)",
}


#: The advisory lock of the catalog's writers: any number that nobody else uses in this database.
_WRITERS = 0x6D6463
#: So few new rows that it doesn't matter how they are found, until the server looks by itself.
_MANY = 500
#: Who writes looks rows up: a plan that goes through all of them because they were few when it was made would be kept
#: when they are many.
_IN_WRITE = (
    f"SELECT pg_advisory_xact_lock({_WRITERS}), set_config('synchronous_commit', '{{}}', true),"
    " set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true)"
)


def translate(engine: Engine) -> None:
    """Let what goes wrong in the database come out as our own errors.

    A row that a constraint refuses is left to the query that knows what it means.
    """

    @event.listens_for(engine, "handle_error")
    def _failed(context: ExceptionContext) -> None:
        error = context.sqlalchemy_exception
        if not isinstance(error, DatabaseError) or isinstance(error, IntegrityError):
            return
        where = hide_secrets(engine.url.render_as_string())
        reason = " ".join(str(error.orig).split())
        if "full" in reason or "No space left" in reason:
            raise NoSpace(
                f"the catalog can't be written: {reason}", where=where, todo="make room on its disk"
            )
        if engine.dialect.name == "postgresql" and (context.is_disconnect or context.connection is None):
            raise DatabaseUnreachable(
                f"the catalog's database does not answer: {reason}",
                where=where,
                todo="look whether the server runs; what was going on continues when it does",
            )
        raise LedgerError(f"the catalog's database failed: {reason}", where=where)


def configure(engine: Engine, *, busy_s: float) -> None:
    """Prepare each connection: how long to wait for other writers, and on SQLite what makes it keep its word."""
    if engine.dialect.name == "sqlite":
        _configure_sqlite(engine, busy_s)
    else:
        _configure_postgresql(engine, busy_s)


def _configure_postgresql(engine: Engine, busy_s: float) -> None:
    """Bound the wait for a lock, and the time that a client which has stopped may keep one.

    Statements are short, so none is worth being compiled.
    """

    @event.listens_for(engine, "connect")
    def _connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for timeout in ("lock_timeout", "idle_in_transaction_session_timeout"):
            cursor.execute(f"SET {timeout} = '{int(busy_s * 1000)}ms'")
        cursor.execute("SET jit = off")
        cursor.close()
        connection.commit()


def _configure_sqlite(engine: Engine, busy_s: float) -> None:
    """Make SQLite keep what it commits, check foreign keys, and take its write lock when a write begins.

    A transaction that begins deferred and then writes fails with SQLITE_BUSY whatever the timeout is, so
    the driver's own transaction handling is switched off and ``BEGIN`` is spelled here.
    """

    @event.listens_for(engine, "connect")
    def _connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={int(busy_s * 1000)}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "cache_size=-65536",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def before_write(connection: Connection, *, durable: bool) -> None:
    """Tell SQLite whether to wait for the disk at the end of the transaction that comes."""
    wanted = "FULL" if durable else "NORMAL"
    if connection.dialect.name != "sqlite" or connection.info.get("synchronous", "FULL") == wanted:
        return
    # On the driver's connection: here a statement would begin the transaction, and inside it is too late.
    driver: Any = connection.connection.dbapi_connection
    driver.execute(f"PRAGMA synchronous={wanted}")
    connection.info["synchronous"] = wanted


def in_write(tx: Connection, *, durable: bool) -> None:
    """Tell PostgreSQL the same, inside the transaction, and take its turn among the writers.

    One writer at a time, as SQLite has it: what a transaction has looked at stays true until it ends, so the
    invariants are argued for once. The gateway is the one that writes, and writes in groups; nobody queues long.
    """
    if tx.dialect.name == "postgresql":
        tx.exec_driver_sql(_IN_WRITE.format("on" if durable else "off"))


@contextmanager
def taking_the_first(tx: Connection) -> Iterator[None]:
    """Let a query that wants the first few in an index's order go through that index, however few there seem to be."""
    if tx.dialect.name != "postgresql":
        yield
        return
    tx.exec_driver_sql("SET LOCAL enable_sort = off")
    yield
    tx.exec_driver_sql("SET LOCAL enable_sort = on")


def after_many(tx: Connection, added: int, *tables: Table) -> None:
    """Let PostgreSQL look at tables that have just grown by `added` rows each, if that is much of what they were.

    It keeps the plans of statements, and would look at the tables by itself a minute later: until then, plans made
    when there was nothing to choose between (all indexes of an empty table are as good) go through all rows.
    """
    if tx.dialect.name != "postgresql" or added < _MANY:
        return
    for table in tables:
        known = tx.exec_driver_sql(
            "SELECT reltuples FROM pg_class WHERE oid = %s::regclass", (table.name,)
        ).scalar_one()
        if added > known / 2:
            tx.exec_driver_sql(f"ANALYZE {table.name}")


def before_commit(tx: Connection) -> None:
    """Make sure that there is something to commit.

    SQLite may give a whole transaction up over one statement (a disk that is full, an error of it), and its driver
    then commits nothing without a word: whoever caught the error of that statement would believe in all the others.
    """
    driver: Any = tx.connection.dbapi_connection
    if tx.dialect.name == "sqlite" and not driver.in_transaction:
        raise LedgerError(
            "the database gave the transaction up, so nothing of it was kept",
            where=hide_secrets(tx.engine.url.render_as_string()),
            todo="look whether its disk is full or damaged",
        )


def read_isolation(engine: Engine) -> str | None:
    """Return the isolation level of a transaction that sees one moment; None where every one does."""
    return "REPEATABLE READ" if engine.dialect.name == "postgresql" else None


def clock_of(engine: Engine) -> str:
    """Return the query that asks this database for its clock."""
    return CLOCKS[engine.dialect.name]


def insert_missing(tx: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows whose keys aren't there yet; leave the others alone."""
    if not rows:
        return
    make = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
    tx.execute(make(table).on_conflict_do_nothing(), rows)


def violated_keys(tx: Connection) -> list[tuple[str, str]]:
    """Return ``(table, table it points to)`` of rows that point to nothing: SQLite checks that only if asked.

    PostgreSQL never lets such rows be.
    """
    if tx.dialect.name != "sqlite":
        return []
    return [(str(row[0]), str(row[2])) for row in tx.exec_driver_sql("PRAGMA foreign_key_check")]


def damaged_parts(tx: Connection) -> list[str]:
    """Return what the database finds wrong with its own file, in its own words; a database server looks itself."""
    if tx.dialect.name != "sqlite":
        return []
    found = [str(row[0]) for row in tx.exec_driver_sql("PRAGMA quick_check(20)")]
    return [] if found == ["ok"] else found


def continue_numbers(tx: Connection, metadata: MetaData) -> None:
    """Let the numbers that PostgreSQL gives to new rows go on behind those of copied ones; SQLite does by itself."""
    if tx.dialect.name != "postgresql":
        return
    for table in metadata.sorted_tables:
        if table.autoincrement_column is not None:
            name, column = table.name, table.autoincrement_column.name
            tx.exec_driver_sql(
                f"SELECT setval(pg_get_serial_sequence('{name}', '{column}'), coalesce(max({column}), 1),"
                f" max({column}) IS NOT NULL) FROM {name}"
            )
