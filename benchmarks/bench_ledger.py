"""The ledger: claims and commits per second, making jobs, and asking for the status of many."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from catalog import files, jobs, productions, status, work
from catalog.engine import Catalog, create
from catalog.leases import Lease
from catalog.states import JobState, Kind
from grid.farm import reception
from grid.farm.plan import Fate, Input, Plan, plan
from tests.services.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

_names = itertools.count()
#: Files and jobs at full size.
MANY = 1_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    server = Postgres(durable=True)
    yield server
    server.stop()


@pytest.fixture
def catalog(tmp_path: Path, request: pytest.FixtureRequest, database: str) -> Iterator[Catalog]:
    in_file = f"sqlite:///{tmp_path}/catalog.sqlite"
    url = in_file if database == "SQLite" else request.getfixturevalue("server").make()
    create(url)
    with Catalog.open(url) as catalog:
        yield catalog


def register(catalog: Catalog, number: int) -> list[int]:
    with catalog.write() as tx:
        raw = files.add_dataset(tx, "bench", "raw", "raw")
        first = next(_names)
        named = ((f"{first}-{n}.root", f"file:///raw/{first}/{n}.root") for n in range(number))
        return list(files.register_files(tx, raw.id, named).added)


def make_jobs(catalog: Catalog, ids: list[int]) -> int:
    """Make comparisons of one file each: jobs whose results touch nothing but the ledger."""
    with catalog.write() as tx:
        name = f"bench-{next(_names)}"
        recipe = {"inputs": "bench:raw"}
        made = productions.submit_production(tx, "bench", name, recipe=recipe, recipe_hash="0")
        jobs.add_jobs(tx, made.id, Kind.COMPARE, (jobs.NewJob(str(one), (one,)) for one in ids))
    return made.id


class Ledger:
    """Jobs as they are: claimed, begun and committed, each time with their leases checked.

    As in the gateway, only the commits wait for the disk: what a claim or a start says may be forgotten when the power
    fails, for whoever holds the lease fails with it.
    """

    def __init__(self, catalog: Catalog, number: int) -> None:
        self.catalog = catalog
        self.production = make_jobs(catalog, register(catalog, number))

    def work(self, together: int) -> None:
        result: dict[str, Any] = {"measured": {"cpu_s": 1.0, "wall_s": 1.0, "peak_rss": 10**8}}
        while leases := self.claim(together):
            with self.catalog.write(durable=False) as tx:
                work.begin_all(tx, [work.Start(lease, "host", "worker", 1, 600.0) for lease in leases])
            with self.catalog.write() as tx:
                work.commit_all(tx, [(lease, result) for lease in leases])

    def claim(self, limit: int) -> list[Lease]:
        with self.catalog.write(durable=False) as tx:
            claims = work.claim(tx, cell="bench", limit=limit, lease_s=600)
        return [Lease(one.job, one.epoch, uuid4().hex) for one in claims]

    def done(self) -> int:
        with self.catalog.read() as tx:
            return status.job_counts(tx, self.production)[Kind.COMPARE].get(JobState.DONE, 0)


class SQLiteAlone:
    """Rows that go through as many durable transactions, and no more: what the disk and the database cost."""

    def __init__(self, db: sqlite3.Connection, number: int) -> None:
        self.db = db
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE job (id INTEGER PRIMARY KEY, state TEXT)")
        db.execute("CREATE INDEX job_state ON job (state)")
        self._change("INSERT INTO job VALUES (?, 'ready')", [(n,) for n in range(number)])

    def work(self, together: int) -> None:
        ready = "SELECT id FROM job WHERE state = 'ready' LIMIT ?"
        while chosen := self.db.execute(ready, (together,)).fetchall():
            for state, synchronous in (("leased", "NORMAL"), ("running", "NORMAL"), ("done", "FULL")):
                self.db.execute(f"PRAGMA synchronous={synchronous}")
                self._change(f"UPDATE job SET state = '{state}' WHERE id = ?", chosen)

    def done(self) -> int:
        (count,) = self.db.execute("SELECT count(*) FROM job WHERE state = 'done'").fetchone()
        return int(count)

    def _change(self, command: str, rows: list[tuple[int]]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany(command, rows)
        self.db.execute("COMMIT")


on_both = pytest.mark.parametrize("database", ["SQLite", "PostgreSQL"])


@pytest.mark.parametrize("together", [1, 100])
@pytest.mark.parametrize(
    ("database", "way"), [("SQLite", "ours"), ("SQLite", "SQLite alone"), ("PostgreSQL", "ours")]
)
def test_claims_and_commits(
    benchmark: BenchmarkFixture, catalog: Catalog, tmp_path: Path, scale: float, together: int, way: str
) -> None:
    """Claim, begin and commit jobs, `together` of them in one transaction."""
    number = max(together, int((500 if together == 1 else 20_000) * scale))
    with closing(sqlite3.connect(tmp_path / "alone.sqlite", isolation_level=None)) as db:
        books = Ledger(catalog, number) if way == "ours" else SQLiteAlone(db, number)
        benchmark.extra_info["jobs"] = number
        benchmark.pedantic(books.work, args=(together,), rounds=1)  # type: ignore[no-untyped-call]
        assert books.done() == number


@on_both
def test_registering_files(benchmark: BenchmarkFixture, catalog: Catalog, scale: float) -> None:
    number = int(MANY * scale)
    ids = benchmark.pedantic(  # type: ignore[no-untyped-call]
        register, args=(catalog, number), rounds=1
    )
    benchmark.extra_info["files"] = number
    assert len(ids) == number


@on_both
def test_making_jobs(benchmark: BenchmarkFixture, catalog: Catalog, scale: float) -> None:
    ids = register(catalog, int(MANY * scale))
    production = benchmark.pedantic(  # type: ignore[no-untyped-call]
        make_jobs, args=(catalog, ids), rounds=1
    )
    benchmark.extra_info["jobs"] = len(ids)
    with catalog.read() as tx:
        assert status.job_counts(tx, production) == {Kind.COMPARE: {JobState.READY: len(ids)}}


@on_both
def test_asking_for_the_status(benchmark: BenchmarkFixture, catalog: Catalog, scale: float) -> None:
    """What ``grid status`` shows of one production."""
    ids = register(catalog, int(MANY * scale))
    number = make_jobs(catalog, ids)
    with catalog.write() as tx:
        productions.add_inputs(tx, number, ids)
        (production,) = productions.productions(tx)

    def ask() -> dict[str, Any]:
        with catalog.read() as tx:
            return reception.progress(tx, production.name)

    benchmark.extra_info["of"] = f"{len(ids):,} jobs"
    assert benchmark(ask)["total"] == {
        Kind.INTAKE: len(ids),
        Kind.COMPARE: len(ids),
        Kind.PROCESS: len(ids),
    }


def test_planning_without_a_farm(benchmark: BenchmarkFixture, scale: float) -> None:
    """What exists next for a production whose inputs have all been looked into."""
    number = int(MANY * scale)
    inputs = [Input(f"bench:{n}.root", Fate.DONE, sections=((1, n),)) for n in range(number)]

    def ask() -> Plan:
        return plan(inputs, [], streams=["A", "B"], compared={}, target=2_000_000_000)

    benchmark.extra_info["files"] = number
    answer = benchmark.pedantic(ask, rounds=1)  # type: ignore[no-untyped-call]
    assert len(answer.process) == number
    assert not answer.merge
