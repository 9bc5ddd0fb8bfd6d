"""Commands that do the same work, timed in turn: A B C, A B C, and so on, so that all see the same machine.

What one found in the page cache the others find there too, and what one leaves behind is removed before the next.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_benchmark.fixture import BenchmarkFixture

_HERE: Final = Path(__file__).parent


@dataclass(frozen=True)
class Command:
    """A program with its arguments; ``stdout`` names the file that takes what it prints."""

    words: Sequence[str]
    stdout: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        said = {} if self.stdout is None else {"stdout": str(self.stdout)}
        return {"command": list(self.words), "environ": {**os.environ, **self.environ}, **said}


def ours(folder: Path, *words: str) -> list[Command]:
    """Return our command; the time that it waits for the disk is told apart."""
    # where it is installed its bytecode is there, so it has to be here, whatever the shell says
    environ = {"PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, str(_HERE / "synced.py"), str(folder / "timed.json"), *words]
    return [Command(command, environ=environ)]


def race(
    benchmark: BenchmarkFixture,
    ways: Mapping[str, Callable[[Path], Sequence[Command]]],
    inputs: Sequence[Path],
    folder: Path,
    check: Callable[[str, Path], None],
    *,
    rounds: int,
    against: Sequence[str],
) -> None:
    """Run all ways in turn, and leave what was measured in the benchmark's extra information.

    Parameters
    ----------
    ways
        By name, what makes the commands, whose outputs go to the given folder. One may leave ``timed.json`` there,
        with the seconds that count for it (``seconds``), or those in which it waited for the disk (``waited``).
    inputs
        What goes in; read once before, so that all find it in the page cache.
    folder
        Where each gets a folder for its outputs.
    check
        Called with the name of a way and its folder in the first round: holds the outputs against the truth.
    rounds
        How often each is run.
    against
        Those that the others are compared with.
    """
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in ways}

    read = sum(len(path.read_bytes()) for path in inputs)
    for number in range(rounds):
        for name, way in ways.items():
            out = folder / "out"
            out.mkdir()
            _touch(4 * read)
            measured[name].append(_timed(way(out), out))
            if number == 0:
                check(name, out)
            shutil.rmtree(out)
    benchmark.extra_info.update(race=measured, against=list(against), bytes=read)
    # only now: one that is interrupted within would take the results of the others with it
    benchmark.pedantic(lambda: None, rounds=1)  # type: ignore[no-untyped-call]


def _touch(size: int) -> None:
    """Write to memory that is then free again.

    A virtual machine may have given free memory back, and whoever writes to it first waits for it, ten times as long
    as otherwise: then the order of the commands would be what is measured.
    """
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    np.ones(min(size, free * 3 // 4), np.uint8)


def _timed(commands: Sequence[Command], out: Path) -> dict[str, float]:
    """Run commands; return seconds, peak bytes, and the seconds in which the disk was waited for."""
    launcher = [sys.executable, "-I", "-S", str(_HERE / "timed.py")]
    asked = json.dumps([one.to_json() for one in commands])
    done = subprocess.run(launcher, input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (commands, done.stderr[-4000:])
    told = out / "timed.json"
    itself = json.loads(told.read_text()) if told.exists() else {}
    return {"waited": 0.0, **json.loads(done.stdout), **itself}
