"""Kernels are compiled before the first example, so that no example is timed with the compiler."""

from __future__ import annotations

import pytest

from kernels.warm import warm


@pytest.fixture(scope="session", autouse=True)
def compiled() -> None:
    warm()
