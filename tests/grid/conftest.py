"""A home with a running farm, shared by all tests that start no farm of their own, and a sample of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from grid.mock.sample import SampleFile, make_sample
from tests.grid.farm.conftest import processes_of
from tests.grid.house import SETTINGS, House
from tests.grid.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A home whose farm runs as long as the tests do."""
    from grid.farm.session import attach

    home = tmp_path_factory.mktemp("house") / "home"
    home.mkdir()
    (home / "grid.toml").write_text(SETTINGS)
    with attach(home, need="farm"):
        yield House(home)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> list[SampleFile]:
    """Three small files with trigger bits. Read only."""
    return make_sample(tmp_path_factory.mktemp("sample") / "of three", files=3, events=400)


@pytest.fixture(scope="session")
def paths(sample: list[SampleFile]) -> list[Path]:
    return [one.path for one in sample]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A production that waits behind a gate; what it started is killed afterwards."""
    made = Scene(tmp_path)
    yield made
    for process in processes_of(made.home):
        process.kill()
