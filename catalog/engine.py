"""Open a catalog, and the two kinds of transactions that it gives: reading and writing."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from catalog import dialects, revision
from sitecfg.errors import ConfigError, NotFound
from sitecfg.points import reach
from sitecfg.show import hide_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

#: What every function of the catalog takes first: an open transaction.
Transaction = Connection

#: Longest wait for another writer, in seconds.
BUSY_S = 60.0


class Catalog:
    """A catalog that is open. Thread-safe; open one per process.

    Parameters
    ----------
    engine
        Where the rows are.
    clock
        The query that gives the time, in Unix seconds; the database's own clock when absent. This is the
        one place where a test puts another clock in.
    """

    def __init__(self, engine: Engine, *, clock: str | None = None) -> None:
        self.engine = engine
        self._clock = clock or dialects.clock_of(engine)
        # Threads of one process wait for each other here, in turn: SQLite's own waiting is a lottery.
        self._turn = threading.Lock()

    @classmethod
    def open(cls, url: str, *, clock: str | None = None) -> Self:
        """Open the catalog at `url`, a SQLAlchemy database URL.

        Idempotent; makes nothing.

        Raises
        ------
        NotFound
            There is no catalog at this place.
        SchemaRevision
            Its tables are of another revision than this software; the error says which command mends it.
        ConfigError
            The URL can't be understood.
        """
        path = sqlite_path(url)
        if path is not None and not path.is_file():
            raise NotFound("there is no catalog", where=str(path), todo="make one with: grid init")
        catalog = cls(_engine(url), clock=clock)
        try:
            with catalog.read() as tx:
                revision.check(tx, hide_secrets(url))
        except BaseException:
            catalog.close()
            raise
        return catalog

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a transaction that sees one moment of the catalog. Waits for nobody; writes nothing."""
        level = dialects.read_isolation(self.engine)
        options = {"isolation_level": level} if level else {}
        with (
            self.engine.connect() as connection,
            connection.execution_options(reading=True, moment=_Moment(self._clock), **options) as tx,
            tx.begin(),
        ):
            yield tx

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """Give a transaction that is durable when the block ends, and undone when it raises.

        The block holds the one write lock: keep it short, and never run a job inside. Waits for other writers
        up to a minute.

        Parameters
        ----------
        durable
            False for what may be forgotten if the power fails, or a database server is killed (but not if a
            process of ours is), as leases may: it spares the wait for the disk. The next durable transaction
            makes it durable too.
        """
        if self.engine.dialect.name == "sqlite":
            with self._turn:
                yield from self._write(durable)
        else:
            yield from self._write(durable)

    @contextmanager
    def rehearse(self) -> Iterator[Connection]:
        """Give a transaction like :meth:`write`, of which nothing lasts: to see what something would do."""
        with suppress(_Undone), self.write(durable=False) as tx:
            yield tx
            raise _Undone

    def _write(self, durable: bool) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            dialects.before_write(connection, durable=durable)
            with connection.execution_options(moment=_Moment(self._clock)) as tx, tx.begin():
                dialects.in_write(tx, durable=durable)
                yield tx
                dialects.before_commit(tx)

    def close(self) -> None:
        """Close all connections. Idempotent."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Undone(Exception):
    """Ends a rehearsal."""


class _Moment:
    """The time of one transaction: asked for once, when it is first needed."""

    def __init__(self, clock: str) -> None:
        self._clock = clock
        self._seconds: float | None = None

    def seconds(self, tx: Connection) -> float:
        if self._seconds is None:
            self._seconds = float(tx.exec_driver_sql(self._clock).scalar_one())
        return self._seconds


def now(tx: Connection) -> float:
    """Return the database's time in Unix seconds, the same all through a transaction.

    It is the only clock that enters a decision.
    """
    moment: _Moment = tx.get_execution_options()["moment"]
    return moment.seconds(tx)


def create(url: str) -> None:
    """Make the catalog at `url`, or bring an older one up to this software's revision.

    Idempotent: a catalog that is up to date is left alone. All of it happens in one transaction, so that a
    kill leaves the catalog as it was. Blocks while another process does the same.

    Raises
    ------
    SchemaRevision
        The catalog was made by newer software.
    """
    path = sqlite_path(url)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    with Catalog(_engine(url)) as catalog:
        with catalog.write() as tx:
            reach("tables.begun")
            revision.upgrade(tx, hide_secrets(url))
            reach("tables.open")
        reach("tables.durable")


def sqlite_path(url: str) -> Path | None:
    """Return the file of a SQLite catalog; None when `url` names a database server."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # the latter for a port that is no number
        raise ConfigError(
            "this is no database URL",
            where=hide_secrets(url),
            todo="write sqlite:////absolute/path/catalog.sqlite",
        ) from error
    if parsed.get_backend_name() != "sqlite":
        return None
    if not parsed.database or parsed.database == ":memory:":
        raise ConfigError(
            "the catalog must be a file", where=url, todo="write sqlite:////absolute/path/catalog.sqlite"
        )
    return Path(parsed.database)


def _engine(url: str) -> Engine:
    try:
        engine = create_engine(url, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the driver of this database is not installed: {error}",
            where=hide_secrets(url),
            todo="for PostgreSQL: pip install 'mdcgrid[postgres]', and begin the URL with postgresql+psycopg://",
        ) from error
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError(f"this database can't be used: {error}", where=hide_secrets(url)) from error
    if engine.dialect.name not in dialects.CLOCKS:
        raise ConfigError(
            f"the catalog can't be kept in {engine.dialect.name}",
            where=hide_secrets(url),
            todo="use sqlite or postgresql",
        )
    dialects.configure(engine, busy_s=BUSY_S)
    dialects.translate(engine)
    return engine
