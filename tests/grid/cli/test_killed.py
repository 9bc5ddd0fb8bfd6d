"""A verb that works on files alone is killed: nothing is under the output's name, and the same command does it all."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from grid.cli.exit_codes import DUPLICATES
from tests.grid.house import grid, until

COMMAND = Path(sys.executable).with_name("grid")


def size_of_all(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.parametrize("depth", ["sealed", "proven"])
@pytest.mark.parametrize("part", [0.0, 0.5, 0.98])
def test_a_killed_merge_is_done_by_the_same_command(
    tmp_path: Path, paths: list[Path], part: float, depth: str
) -> None:
    whole, folder = tmp_path / "whole.root", tmp_path / "killed"
    folder.mkdir()
    arguments = [*map(str, paths * 40), "--verify", depth, "--duplicates", "report"]
    grid("merge", whole, *arguments, code=DUPLICATES)
    child = subprocess.Popen([COMMAND, "merge", folder / "out.root", *arguments], stderr=subprocess.DEVNULL)
    until(lambda: size_of_all(folder) > part * whole.stat().st_size or child.poll() is not None)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    (left,) = folder.iterdir()
    assert left.name.startswith(".out.root."), "nothing is under the name"
    grid("merge", folder / "out.root", *arguments, code=DUPLICATES)
    assert [path.name for path in folder.iterdir()] == ["out.root"]
    assert (folder / "out.root").read_bytes() == whole.read_bytes()


def test_what_others_write_is_left_alone(tmp_path: Path, paths: list[Path]) -> None:
    """A process that still runs, another machine, a file that only looks alike."""
    grid("merge", tmp_path / "out.root", *paths)
    for name in (".out.root.elsewhere.1", ".out.root.note", ".out.root.1"):
        (tmp_path / name).write_text("theirs")
    (tmp_path / "out.root").unlink()
    grid("merge", tmp_path / "out.root", *paths)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"out.root", ".out.root.elsewhere.1", ".out.root.note", ".out.root.1"}
