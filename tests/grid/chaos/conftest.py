"""What the chaos cost is shown at the end of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

LINES = pytest.StashKey[list[str]]()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Has lines shown when all tests are over."""

    def add(*lines: str) -> None:
        request.config.stash.setdefault(LINES, []).extend(lines)

    return add


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write what was reported last of all."""
    lines = terminalreporter.config.stash.get(LINES, [])
    if lines:
        terminalreporter.section("what chaos cost")
        for line in lines:
            terminalreporter.write_line(line)
