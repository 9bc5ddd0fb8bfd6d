"""A catalog of its own for each test, on each kind of database, on a clock that the test sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from catalog.engine import Catalog
from tests.catalog.databases import Databases, PostgreSQL, SQLite
from tests.catalog.world import Clock, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.postgres import Postgres


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> SQLite:
    return SQLite(tmp_path_factory.mktemp("catalogs"))


@pytest.fixture(scope="session")
def postgresql(postgres: Postgres) -> PostgreSQL:
    return PostgreSQL(postgres)


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest) -> Databases:
    found: Databases = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def url(request: pytest.FixtureRequest, databases: Databases) -> str:
    """A place where there is no catalog, unless the test also asks for one."""
    wants_one = {"catalog", "world"} & set(request.fixturenames)
    return databases.catalog() if wants_one else databases.empty()


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    """An empty catalog on the database's own clock."""
    with Catalog.open(url) as catalog:
        yield catalog


@pytest.fixture
def world(url: str) -> Iterator[World]:
    """A catalog on a clock that stands still until the test moves it."""
    with Catalog.open(url, clock=Clock.QUERY) as catalog:
        yield World(catalog, Clock(catalog))
