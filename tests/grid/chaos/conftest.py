"""What the chaos cost is told at the end of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@pytest.fixture
def report(
    request: pytest.FixtureRequest, told_at_the_end: Callable[[str, str, Iterable[str]], None]
) -> Callable[..., None]:
    """Has lines printed when all tests are over."""

    def add(*lines: str) -> None:
        told_at_the_end("what chaos cost", request.node.nodeid, lines)

    return add
