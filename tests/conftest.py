"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import Phase, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.services.postgres import Postgres

ROOT = Path(__file__).resolve().parent.parent
#: The property of a report under which lines travel to the end of the run.
AT_THE_END = "told at the end"
#: Those that came: section, name, lines.
SECTIONS: dict[str, dict[str, list[str]]] = {}

# For who wants to know whether a test fails, and not what the smallest example is.
settings.register_profile("first", phases=(Phase.explicit, Phase.generate))

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


@pytest.fixture
def told_at_the_end(
    record_property: Callable[[str, object], None],
) -> Callable[[str, str, Iterable[str]], None]:
    """Has lines printed when all tests are over: title of the section, a name in it, and what stands there.

    Said again under the same name, the lines replace the earlier ones.
    """

    def tell(title: str, name: str, lines: Iterable[str]) -> None:
        record_property(AT_THE_END, [title, name, list(lines)])

    return tell


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what a test wants told; it comes with its report, from whatever process the test ran in."""
    for key, value in report.user_properties:
        if key == AT_THE_END:
            title, name, lines = cast("tuple[str, str, list[str]]", value)
            SECTIONS.setdefault(title, {})[name] = lines


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print it."""
    from tests.grid import matrix

    for title, parts in SECTIONS.items():
        terminalreporter.section(title)
        said = [line for lines in parts.values() for line in lines]
        for line in matrix.lines(dict(zip(parts, said, strict=True))) if title == matrix.TITLE else said:
            terminalreporter.write_line(line)
