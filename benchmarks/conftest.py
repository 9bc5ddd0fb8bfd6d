"""``make bench`` measures at full size; ``make test`` runs the same files at 1 %."""

from __future__ import annotations

import pytest

from benchmarks import SCALE
from tests.conftest import real_data

__all__ = ["real_data"]


@pytest.fixture(autouse=True)
def _named(request: pytest.FixtureRequest) -> None:
    """The table names a measurement by its parameters, so they are words and numbers."""
    params = getattr(request.node, "callspec", None)
    assert params is None or all(isinstance(it, (str, int, float)) for it in params.params.values())


@pytest.fixture(scope="session")
def scale() -> float:
    """Size of the work."""
    return SCALE
