"""What a test does when a service that it needs isn't installed."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(service: str, install: str) -> NoReturn:
    """Fail in CI, where everything must be there; skip elsewhere, and say how to get it."""
    reason = f"{service} is not there: {install}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
