"""Two dispatchers on one ledger, neither of which knows of the other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.grid.chaos.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.farm, pytest.mark.slow, pytest.mark.timeout(400)]

SECOND = """
import sys
from pathlib import Path
from grid.farm.processes import run

sys.exit(run("dispatcher", Path(sys.argv[1]), "second"))
"""


@contextmanager
def second_dispatcher(stage: Stage) -> Iterator[int]:
    """Another dispatcher of the same home."""
    child = subprocess.Popen([sys.executable, "-P", "-c", SECOND, stage.home.root])
    try:
        yield child.pid
    finally:
        child.kill()
        child.wait()


def claimed_by(stage: Stage, name: str) -> bool:
    """Whether a dispatcher holds claims at this moment that nobody has begun."""
    held = stage.sql.rows("SELECT worker FROM job WHERE state = 'leased' AND runner IS NULL")
    return any((worker or "").startswith(name) for (worker,) in held)


def test_two_dispatchers(tmp_path: Path) -> None:
    stage = Stage(tmp_path, files=70, lease_s=2)
    with stage.running():
        stage.until_done(3)
        with second_dispatcher(stage) as second:
            for name in ("second", "dispatcher", "second"):
                stage.until(partial(claimed_by, stage, name))
            os.kill(second, signal.SIGSTOP)
            asleep = time.time()
            os.kill(stage.pid("dispatcher"), signal.SIGKILL)
            stage.let_pass(1.5, asleep)
            os.kill(second, signal.SIGCONT)
            stage.until_done(150)
        stage.finish()
