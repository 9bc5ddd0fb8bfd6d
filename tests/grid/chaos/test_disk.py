"""A disk that is full for a while: a clear failure, nobody is held, and the work goes on when there is room."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.grid.chaos.stage import Stage
from tests.services.missing import missing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.farm, pytest.mark.slow, pytest.mark.timeout(400)]
#: Waits that a test can wait for; the number of retries is the shipped one.
SOON = """
[retry.space]
first_delay = "0.1 s"
longest_delay = "1 s"
"""


class Disk:
    """A small disk, and a file on it that takes all the room there is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        self._numbers = itertools.count()

    def fill(self) -> None:
        """Take all the room that there is now; what is removed later makes room again."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for piece in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        ballast.write(bytes(piece))
                except OSError:
                    continue  # there is no room for a piece of this size

    def make_room(self) -> None:
        self._ballast.unlink()


class Entries(Disk):
    """The same, where names run out instead of bytes: what is made in a scratch folder is mostly folders."""

    def fill(self) -> None:
        self._ballast.mkdir(exist_ok=True)
        for number in self._numbers:
            try:
                (self._ballast / str(number)).touch()
            except OSError:
                return

    def make_room(self) -> None:
        shutil.rmtree(self._ballast)


@contextmanager
def disk(folder: Path, options: str, kind: type[Disk] = Disk) -> Iterator[Disk]:
    """Mount a small disk; only root can, so that others skip the test, except in CI."""
    if os.geteuid() != 0:
        missing("a small disk", "be root to mount one")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "chaos", folder], check=True)
    try:
        yield kind(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def failures(stage: Stage) -> set[str]:
    """The classes of all failures so far."""
    return {one for (one,) in stage.sql.rows("SELECT failure FROM attempt WHERE outcome = 'failed'")}


def starve(stage: Stage, small: Disk) -> None:
    """Take all the room, again and again, until an attempt has failed."""

    def failed() -> bool:
        small.fill()
        return bool(failures(stage))

    stage.until(failed)


@pytest.mark.parametrize("reserve", ["1 MB", "0 B"])
def test_the_pool(tmp_path: Path, reserve: str) -> None:
    """With a reserve an attempt doesn't begin to write; without, it meets the end of the disk in the middle."""
    with disk(tmp_path / "disk", "size=32m") as small:
        stage = Stage(tmp_path, files=20, pool=small.folder / "pool", more=SOON)
        stage.home.settings.write_text(stage.home.settings.read_text().replace('"1 MB"', f'"{reserve}"'))
        with stage.running():
            stage.until_done(25)
            starve(stage, small)
            told = stage.sql.rows("SELECT message FROM attempt WHERE outcome = 'failed'")
            small.make_room()
            stage.finish()
        assert failures(stage) == {"space"}, told


def test_scratch(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "size=16m,nr_inodes=200", Entries) as small:
        stage = Stage(tmp_path, files=20, more=SOON)
        settings = stage.home.settings.read_text()
        stage.home.settings.write_text(f'scratch = "{small.folder}/scratch"\n{settings}')
        with stage.running():
            stage.until_done(25)
            starve(stage, small)
            small.make_room()
            stage.finish()
        assert failures(stage) == {"space"}


def test_the_catalog(tmp_path: Path) -> None:
    """Nothing can be recorded for longer than a lease: not even a failure."""
    with disk(tmp_path / "disk", "size=16m") as small:
        stage = Stage(tmp_path, f"sqlite:///{small.folder}/catalog.sqlite", files=20, lease_s=2, more=SOON)
        with stage.running():
            stage.until_done(25)
            small.fill()
            stage.let_pass(2, time.time())
            small.make_room()
            stage.finish()
