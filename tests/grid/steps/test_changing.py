"""Inputs that change, or go away, while a step reads them: refused, whatever the step made of them."""

from __future__ import annotations

import importlib
import shutil
from typing import TYPE_CHECKING

import pytest

from grid import Production
from sitecfg.errors import CorruptFile, GridError, MissingFile
from tests.grid.steps.conftest import TABLE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.grid.steps.bench import Bench, Task


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def rewrite(path: Path) -> None:
    """Write the same bytes once more, as a copy that is not finished would."""
    with path.open("r+b") as file:
        file.write(path.read_bytes())


def exchange(path: Path) -> None:
    """Put an equal file in its place."""
    shutil.copy(path, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def remove(path: Path) -> None:
    path.unlink()


CHANGES = [append, rewrite, exchange, remove]


def run_while(task: Task, change: Callable[[Path], None], victim: Path) -> GridError | None:
    """Run a step and change a file when it says for the first time that it has read something."""
    changed = False

    def progress(_done: int, _total: int) -> None:
        nonlocal changed
        if not changed:
            changed = True
            change(victim)

    try:
        importlib.import_module(f"grid.steps.{task.kind}").run(task.spec, progress)
    except GridError as error:
        assert changed
        return error
    return None


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["intake", "process", "merge"])
def test_an_input_that_changes_while_it_is_read(
    bench: Bench, inputs: list[Path], tmp_path: Path, kind: str, change: Callable[[Path], None]
) -> None:
    raw = tmp_path / "raw.root"
    shutil.copy(inputs[0], raw)
    bench.submit(Production(name="p", input=[raw], split=TABLE, scope="cdf"))
    before = ["intake", "process", "merge"]
    bench.drain(before[: before.index(kind)])
    task = bench.next(kind)
    victim = raw
    if kind == "merge":
        (victim,) = [path for path in bench.pool() if "MUON" in path.name and path.suffix == ".root"]
        victim.chmod(0o644)
        if task.spec["stream"] != "MUON":
            task = bench.next(kind)
    pool = bench.pool()
    error = run_while(task, change, victim)
    assert isinstance(error, MissingFile if change is remove else CorruptFile)
    assert error.where == victim.as_uri(), "as the catalog knows it, so that it can be put aside"
    assert [path for path in bench.pool() if path != victim] == [path for path in pool if path != victim]
