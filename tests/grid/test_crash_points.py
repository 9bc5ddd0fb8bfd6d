"""A process is killed exactly where it hurts: every point of the protocols against every process of the farm.

The first process that reaches the point is held there while the victim is killed, and goes on afterwards (unless it
was the victim). Then the production has to end right by itself. The matrix is printed when the tests are over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from grid.farm.home import Home
from grid.farm.session import attach
from grid.mock.sample import make_sample
from tests.grid.drill import SCRIPT, Drill
from tests.grid.farm.conftest import processes_of, site_of
from tests.grid.house import SETTINGS, House, until
from tests.grid.matrix import MATRIX, VICTIMS, Cell, Row, impossible, rows
from tests.grid.scene import PATIENCE_S, STREAMS, prove, sweep

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.farm

#: What the default tests try: each victim some times, each line of the commit protocol once.
SAMPLE: list[Cell] = [
    (Row("claim.durable"), "dispatcher"),
    (Row("output.named", "process"), "payload"),
    (Row("commit.open", "process"), "gateway"),
    (Row("declare.durable"), "gateway"),
    (Row("attempt.ended@KIND", "merge"), "worker"),
    (Row("commit.durable", "merge"), "supervisor"),
    (Row("payload.done", "intake"), "worker"),
    (Row("dispatcher.claimed"), "dispatcher"),
    (Row("begin.durable"), "worker"),
    (Row("plan.open"), "gateway"),
    (Row("output.linked", "merge"), "payload"),
    (Row("renew.open"), "scheduler"),
    (Row("fail.durable"), "payload"),
    (Row("returns.begun"), "supervisor"),
    (Row("commit.durable", "intake"), "scheduler"),
    (Row("invalidate.open"), "gateway"),
    (Row("attempt.begun"), "payload"),
    (Row("sweep.removed"), "gateway"),
    (Row("reap.open"), "gateway"),
    (Row("attempt.committed"), "dispatcher"),
]
#: Rows that one farm goes through.
ROWS_AT_A_TIME = 5


def farm_rows() -> list[Row]:
    """The rows of a farm that works."""
    return [row for row in rows() if row.group != "tables" and not impossible(row, "worker")]


def some(chosen: Sequence[Row]) -> list[Cell]:
    return [(row, victim) for row in chosen for victim in VICTIMS if not impossible(row, victim)]


def slices() -> Iterator[list[Cell]]:
    every = farm_rows()
    for start in range(0, len(every), ROWS_AT_A_TIME):
        yield some(every[start : start + ROWS_AT_A_TIME])


CELLS = [
    pytest.param(SAMPLE, id="sample"),
    *(pytest.param(cells, id=f"{cells[0][0]}..{cells[-1][0]}", marks=pytest.mark.slow) for cells in slices()),
]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """More small files than any of these tests needs."""
    made = make_sample(tmp_path_factory.mktemp("raw") / "many", files=200, events=20)
    return [one.path for one in made]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home whose farm can be held at points."""
    (tmp_path / "points").mkdir()
    monkeypatch.setenv("MDCGRID_STOP_AT", str(tmp_path / "points"))
    made = Home(tmp_path / "home")
    made.prepare()
    made.settings.write_text(SETTINGS)
    yield made
    for process in processes_of(made):
        process.kill()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("cells", CELLS)
def test_kills_at_points(home: Home, raw: list[Path], tmp_path: Path, cells: list[Cell]) -> None:
    house = House(home.root)
    (production,) = house.scripted(tmp_path, SCRIPT.format(streams=STREAMS))
    with attach(home.root, "farm") as session:
        with Drill(session, tmp_path / "points", iter(raw), production) as drill:
            drill.run(cells)
            until(drill.over, PATIENCE_S)
        prove(house, "drill", drill.inputs)
    until(lambda: not processes_of(home), PATIENCE_S)
    sweep(house, site_of(home).catalog.url, drill.inputs)
    for row, victim in cells:
        MATRIX.note(row, victim, "passed")
