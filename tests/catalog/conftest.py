"""A catalog of its own for each test, on a clock that the test sets."""

from __future__ import annotations

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


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    """An empty catalog on the database's own clock."""
    create(url)
    with Catalog.open(url) as catalog:
        yield catalog


@pytest.fixture
def world(url: str) -> Iterator[World]:
    """A catalog on a clock that stands still until the test moves it."""
    create(url)
    with Catalog.open(url, clock=Clock.QUERY) as catalog:
        yield World(catalog, Clock(catalog))
