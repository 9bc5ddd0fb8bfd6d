"""A process is killed exactly where it hurts: every point of the protocols against every process of the farm.

The first process that reaches the point is held there while the victim is killed, and goes on afterwards (unless it
was the victim). Then the production has to end right by itself. The matrix is printed when the tests are over.
"""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from catalog.backup import restored_at
from catalog.engine import Catalog
from catalog.invariants import violations
from grid.farm.home import Home
from grid.farm.reception import declare
from grid.farm.session import attach
from grid.mock.sample import make_sample
from sitecfg.errors import SchemaRevision
from sitecfg.names import Name
from tests.grid.drill import SCRIPT, Drill
from tests.grid.farm.conftest import processes_of, site_of
from tests.grid.holding import Points, kill, pid
from tests.grid.house import SETTINGS, House, until
from tests.grid.matrix import NOTED, TITLE, VICTIMS, Cell, Row, impossible, note, rows
from tests.grid.scene import COMMAND, PATIENCE_S, STREAMS, prove, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.farm

#: What the default tests try: each victim some times, each line of the commit protocol once.
SAMPLE: list[Cell] = [
    (Row("claim.durable"), "dispatcher"),
    (Row("output.named", "process"), "payload"),
    (Row("commit.open", "process"), "gateway"),
    (Row("declare.durable"), "gateway"),
    (Row("payload.done", "merge"), "worker"),
    (Row("commit.durable", "merge"), "supervisor"),
    (Row("attempt.ended@KIND", "process"), "worker"),
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
TABLES = ("tables.begun", "tables.open", "tables.durable")
#: Rows that one farm goes through.
ROWS_AT_A_TIME = 6


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


@pytest.fixture(autouse=True)
def told(told_at_the_end: Callable[[str, str, Iterable[str]], None]) -> Iterator[None]:
    """What became of the cells is put together at the end: these tests may run in several processes."""
    yield
    for cell, became in NOTED.items():
        told_at_the_end(TITLE, cell, [became])
    NOTED.clear()


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """More small files than any of these tests needs."""
    made = make_sample(tmp_path_factory.mktemp("raw") / "many", files=200, events=20)
    return [one.path for one in made]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home whose farm can be held at points."""
    monkeypatch.setenv("MDCGRID_STOP_AT", str(tmp_path / "points"))
    made = Home(tmp_path / "home")
    made.prepare()
    made.settings.write_text(SETTINGS)
    yield made
    for process in processes_of(made):
        process.kill()


@pytest.fixture
def points(tmp_path: Path) -> Points:
    return Points(tmp_path / "points")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("cells", CELLS)
def test_kills_at_points(
    home: Home, points: Points, raw: list[Path], tmp_path: Path, cells: list[Cell]
) -> None:
    house = House(home.root)
    (production,) = house.scripted(tmp_path, SCRIPT.format(streams=STREAMS))
    with attach(home.root, "farm") as session:
        with Drill(session, points, iter(raw), production) as drill:
            drill.run(cells)
            drill.finish()
        prove(house, "drill", drill.inputs)
    until(lambda: not processes_of(home), PATIENCE_S)
    sweep(house, site_of(home).catalog.url, drill.inputs)
    for row, victim in cells:
        note(row, victim, "passed")


@pytest.mark.slow
def test_kills_while_the_tables_are_made(home: Home, points: Points, raw: list[Path], tmp_path: Path) -> None:
    """A catalog is taken from a farm that runs, and the gateway that makes another is held."""
    house = House(home.root)
    (production,) = house.scripted(tmp_path, SCRIPT.format(streams=STREAMS))
    cells = [(row, victim) for row, victim in some([Row(one) for one in TABLES]) if victim != "command"]
    with attach(home.root, "farm") as session:
        for row, victim in cells:
            note(row, victim, "FAILED")
            gateway = pid(home, "gateway")
            os.kill(gateway, signal.SIGSTOP)
            for path in home.root.glob("catalog.sqlite*"):
                path.unlink()
            points.lay(row.point)
            kill(gateway)
            holder = points.held(row.point)
            kill(holder if victim == "gateway" else pid(home, victim))
            points.let_go()
            assert session.client.get("/productions", patience_s=PATIENCE_S) == {"productions": []}
            note(row, victim, "passed")
        with Drill(session, points, iter(raw), production) as drill:
            drill.finish()
        prove(house, "drill", drill.inputs)


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "point", [pytest.param(one, marks=() if one == "tables.open" else pytest.mark.slow) for one in TABLES]
)
def test_the_command_is_killed_while_it_makes_the_tables(
    home: Home, points: Points, request: pytest.FixtureRequest, database: str, point: str
) -> None:
    url = f"sqlite:///{home.catalog}"
    if database == "postgresql":
        url = request.getfixturevalue("postgres").make()
        home.settings.write_text(f'[catalog]\nurl = "{url}"\n')
    _kill_command(home, points, point, "init")
    if point == "tables.durable":
        Catalog.open(url).close()
    else:
        with pytest.raises(SchemaRevision, match="none"):
            Catalog.open(url)
    House(home.root)("init")
    with Catalog.open(url) as catalog, catalog.read() as tx:
        assert violations(tx) == []


@pytest.mark.slow
def test_the_command_is_killed_while_it_backs_up_and_restores(
    home: Home, points: Points, tmp_path: Path
) -> None:
    house = House(home.root)
    house("init")
    with Catalog.open(site_of(home).catalog.url) as catalog, catalog.write() as tx:
        declare(tx, Name("cdf", "raw"), [("a.root", "file:///a.root")], identity=["event"], tree=[])
    for point in ("backup.open", "backup.durable", "backup.named"):
        kept = tmp_path / f"{point}.sqlite"
        _kill_command(home, points, point, "catalog", "backup", kept)
        assert kept.exists() == (point == "backup.named")
        house("catalog", "backup", kept, code=8 if kept.exists() else 0)
        with Catalog.open(f"sqlite:///{kept}") as catalog, catalog.read() as tx:
            assert (violations(tx), bool(restored_at(tx))) == ([], True)
    for point in ("restore.open", "restore.durable"):
        home = Home(tmp_path / point)
        house = House(home.root)
        _kill_command(home, points, point, "catalog", "restore", kept)
        house("catalog", "restore", kept, code=8 if point == "restore.durable" else 0)
        assert [one["name"] for one in house.files("cdf:raw")] == ["cdf:a.root"]
    for point in ("reconcile.open", "reconcile.durable"):
        _kill_command(home, points, point, "catalog", "reconcile")
        with Catalog.open(site_of(home).catalog.url) as catalog, catalog.read() as tx:
            assert bool(restored_at(tx)) == (point == "reconcile.open")
        house("catalog", "reconcile")
        with Catalog.open(site_of(home).catalog.url) as catalog, catalog.read() as tx:
            assert restored_at(tx) is None


def _kill_command(home: Home, points: Points, point: str, *words: str | Path) -> None:
    """Kill a command while it is held at a point."""
    note(Row(point), "command", "FAILED")
    points.lay(point)
    with subprocess.Popen([COMMAND, "--home", home.root, *words], stdout=subprocess.DEVNULL) as child:
        assert points.held(point) == child.pid
        kill(child.pid)
    points.let_go()
    note(Row(point), "command", "passed")
