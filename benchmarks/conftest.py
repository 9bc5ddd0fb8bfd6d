"""``make bench`` measures at full size; ``make test`` runs the same files at 1 %."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _named(request: pytest.FixtureRequest) -> None:
    """The table names a measurement by its parameters, so they are words and numbers."""
    params = getattr(request.node, "callspec", None)
    assert params is None or all(isinstance(it, (str, int, float)) for it in params.params.values())


@pytest.fixture(scope="session")
def scale() -> float:
    """Size of the work, 1.0 = what the README's figures are made with (``$MDCGRID_BENCH_SCALE``)."""
    return float(os.environ.get("MDCGRID_BENCH_SCALE", "0.01"))
