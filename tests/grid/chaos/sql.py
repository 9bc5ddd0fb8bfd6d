"""Plain SQL to a catalog's database: nothing of ours stands between the question and the rows."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import psycopg

#: Seconds to wait for another's lock.
BUSY_S = 30.0
_SQLITE = "sqlite:///"


class Sql:
    """Asks for rows, and changes them, with a connection for each call: the server may have been killed since the last.

    Parameters
    ----------
    url
        The catalog's URL, as the settings have it.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of a question."""
        if not self.url.startswith(_SQLITE):
            with psycopg.connect(self.url.replace("+psycopg", "")) as server:
                return server.execute(statement.encode()).fetchall()
        with closing(self._file()) as connection:
            return connection.execute(statement).fetchall()

    def change(self, statement: str) -> None:
        """Change rows behind the catalog's back; of a file only, and foreign keys aren't looked at."""
        with closing(self._file()) as connection, connection:
            connection.execute(statement)

    def _file(self) -> sqlite3.Connection:
        return sqlite3.connect(self.url.removeprefix(_SQLITE), timeout=BUSY_S)
