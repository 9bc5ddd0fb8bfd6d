"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.postgres import Postgres

ROOT = Path(__file__).resolve().parent.parent

# A job in a shell's background ignores Ctrl-C, and so would every program that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real ROOT files (with its MANIFEST.json): ``$MDCGRID_REAL_DATA``, else beside the checkout."""
    named = os.environ.get("MDCGRID_REAL_DATA")
    folder = (Path(named) if named else ROOT.parent / "shared" / "data") / "root"
    if not (folder / "MANIFEST.json").is_file():
        pytest.skip(f"no real ROOT files at {folder}: set MDCGRID_REAL_DATA to the folder that holds root/")
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server that runs as long as the tests do."""
    from tests.services.postgres import Postgres

    server = Postgres()
    yield server
    server.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print where processes were killed, and what came of it."""
    from tests.grid.matrix import MATRIX

    lines = MATRIX.lines()
    if lines:
        terminalreporter.section("crash points: who was killed while a process was held there")
        for line in lines:
            terminalreporter.write_line(line)
