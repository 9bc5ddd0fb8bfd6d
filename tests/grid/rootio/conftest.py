"""Files that ROOT writes for the tests here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.grid.rootio.judge import run
from tests.grid.rootio.ntuples import MAKER

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def of_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of RNTuples, each written in another way."""
    folder = tmp_path_factory.mktemp("made")
    run([sys.executable, "-W", "ignore", str(MAKER), str(folder)])
    return folder
