"""The databases that every test of the catalog runs on."""

from __future__ import annotations

import itertools
import re
import shutil
import sqlite3
from typing import TYPE_CHECKING, Protocol

from catalog.engine import create
from catalog.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.services.postgres import Postgres


class Databases(Protocol):
    """Makes databases of one kind, for one test each."""

    kind: str

    def empty(self) -> str:
        """Return the URL of a place for a catalog, where there is none yet."""
        ...

    def catalog(self) -> str:
        """Return the URL of an empty catalog; what an earlier call returned is not to be used any more."""
        ...

    def tables(self, url: str) -> set[str]:
        """Return how the tables and indexes are made, in the database's own words, spelled alike."""
        ...

    def tamper(self, url: str, statements: Iterable[str]) -> None:
        """Change rows behind the catalog's back, foreign keys or not."""
        ...


class SQLite:
    """Files in a folder."""

    kind = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._template = folder / "template.sqlite"
        create(f"sqlite:///{self._template}")

    def empty(self) -> str:
        place = self._folder / str(next(self._numbers))
        place.mkdir()
        return f"sqlite:///{place}/catalog.sqlite"

    def catalog(self) -> str:
        url = self.empty()
        shutil.copy(self._template, _file(url))
        return url

    def tables(self, url: str) -> set[str]:
        raw = sqlite3.connect(_file(url))
        rows = raw.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        raw.close()
        return {_alike(row[0]) for row in rows if "alembic" not in row[0]}

    def tamper(self, url: str, statements: Iterable[str]) -> None:
        raw = sqlite3.connect(_file(url))
        for statement in statements:
            raw.execute(statement)
        raw.commit()
        raw.close()


class PostgreSQL:
    """Databases of a server."""

    kind = "postgresql"

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._catalog = server.make()
        create(self._catalog)

    def empty(self) -> str:
        return self._server.make()

    def catalog(self) -> str:
        # Emptied, not made anew: a test would wait longer for CREATE DATABASE than for all else.
        self.tamper(
            self._catalog,
            [
                *(f"DELETE FROM {table}" for table in metadata.tables if table != "counter"),
                "UPDATE counter SET last = 0",
                "DROP TABLE IF EXISTS test_clock",
            ],
        )
        return self._catalog

    def tables(self, url: str) -> set[str]:
        dump = self._server.dump(url)
        return {_alike(one) for one in dump.split(";\n") if "alembic" not in one and "CREATE" in one}

    def tamper(self, url: str, statements: Iterable[str]) -> None:
        self._server.run(url, "SET session_replication_role = replica", *statements)


def _file(url: str) -> str:
    return url.removeprefix("sqlite:///")


def _alike(statement: str) -> str:
    """The words of a statement, sorted: migrations may name columns and constraints in another order."""
    return "".join(sorted(re.split(r",?\s+", statement.replace('"', ""))))
