"""A catalog of its own for each test, on a clock that the test sets."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from catalog.engine import Catalog, create
from tests.catalog.world import Clock, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/catalog.sqlite"


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty catalog, migrated once: tests start from copies of it."""
    path = tmp_path_factory.mktemp("template") / "catalog.sqlite"
    create(f"sqlite:///{path}")
    return path


@pytest.fixture
def catalog(template: Path, url: str) -> Iterator[Catalog]:
    """An empty catalog on the database's own clock."""
    shutil.copy(template, url.removeprefix("sqlite:///"))
    with Catalog.open(url) as catalog:
        yield catalog


@pytest.fixture
def world(template: Path, url: str) -> Iterator[World]:
    """A catalog on a clock that stands still until the test moves it."""
    shutil.copy(template, url.removeprefix("sqlite:///"))
    with Catalog.open(url, clock=Clock.QUERY) as catalog:
        yield World(catalog, Clock(catalog))
