"""What a run asks of the ledger costs the same among few jobs and among many."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from catalog import files, find, productions, status, work
from catalog.leases import Lease, Start
from catalog.states import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from tests.catalog.world import World

#: Rows that PostgreSQL has read for this connection since it last told the others.
ROWS_READ = "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"


class Effort:
    """How much the database had to look at: rows, or the steps of its machine where it counts no rows."""

    def __init__(self) -> None:
        self.spent = 0

    @contextmanager
    def watch(self, world: World) -> Iterator[Connection]:
        with world.catalog.write() as tx:
            if tx.dialect.name == "postgresql":
                before = tx.exec_driver_sql(ROWS_READ).scalar_one()
                yield tx
                self.spent += int(tx.exec_driver_sql(ROWS_READ).scalar_one() - before)
                return
            driver = tx.connection.dbapi_connection
            driver.set_progress_handler(self._step, 1)  # type: ignore[union-attr]
            yield tx
            driver.set_progress_handler(None, 0)  # type: ignore[union-attr]

    def _step(self) -> int:
        self.spent += 1
        return 0


def run_some(world: World) -> int:
    """Claim, begin, renew and commit three jobs; return what it cost."""
    effort = Effort()
    with effort.watch(world) as tx:
        assert not status.live_leases(tx)
        claims = work.claim(tx, cell="c", limit=3, lease_s=60)
    leases = [Lease(one.job, one.epoch, uuid4().hex) for one in claims]
    assert len(leases) == 3
    with effort.watch(world) as tx:
        begun = work.begin_all(tx, [Start(lease, "host", "w1", 7, 60) for lease in leases])
    assert all(isinstance(one, work.Begun) and one.inputs for one in begun)
    with effort.watch(world) as tx:
        assert not work.renew(tx, leases, lease_s=60).lost
    with effort.watch(world) as tx:
        ended = work.commit_all(tx, [(lease, {}) for lease in leases])
    assert all(isinstance(one, work.Ended) for one in ended)
    return effort.spent


def compared(world: World, tag: str, number: int) -> None:
    """Add jobs of one input each, whose results touch nothing but the ledger."""
    with world.catalog.write() as tx:
        raw = files.add_dataset(tx, "test", f"raw-{tag}", "raw")
        named = ((f"{tag}{n}.root", f"file:///raw/{tag}{n}.root") for n in range(number))
        ids = files.register_files(tx, raw.id, named).added
    world.add(world.produce(ids, name=tag), Kind.COMPARE, ((one,) for one in ids))


def look_over(world: World, how: str) -> None:
    """Do what PostgreSQL does by itself now and then: it learns how long a table is (and what is in it)."""
    if how and world.catalog.engine.dialect.name == "postgresql":
        with world.catalog.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(how)


@pytest.mark.parametrize(
    ("empty", "short", "long"),
    [
        ("", "", ""),
        ("", "VACUUM job", "VACUUM job"),
        # Of tables that it has seen empty, it thinks that any way through them is as good.
        ("ANALYZE", "", ""),
        ("VACUUM ANALYZE", "VACUUM", ""),
        ("", "ANALYZE", "VACUUM"),
        ("", "", "ANALYZE"),
    ],
)
def test_a_run_costs_no_more_among_many_jobs(world: World, empty: str, short: str, long: str) -> None:
    look_over(world, empty)
    compared(world, "few", 40)
    # Often enough for a database to decide how it does this from now on.
    few = [run_some(world) for _ in range(12)][-1]
    look_over(world, short)
    compared(world, "many", 3000)
    look_over(world, long)
    many = run_some(world)
    assert many < 2 * few


def test_what_troubles_a_production_is_found_without_reading_all_its_jobs(world: World) -> None:
    def ask() -> int:
        effort = Effort()
        with effort.watch(world) as tx:
            assert [one.epoch for one in status.struggling(tx, production, starts=2, limit=3)] == [2]
            assert [one.kind for one in status.held(tx, production, limit=3)] == [Kind.INTAKE]
        return effort.spent

    (bad,) = world.declare(["bad.root"], dataset="few")
    lease, _ = world.start()
    world.fail(lease, "source-bad")
    production = world.produce([bad], name="first")
    world.add(production, Kind.COMPARE, [(bad,)])
    lease, _ = world.start()
    with world.catalog.write() as tx:
        assert work.give_back(tx, [lease])
    world.start()
    few = ask()
    compared(world, "many", 3000)
    with world.catalog.write() as tx:
        many = find.dataset(tx, "test", "raw-many").id
        productions.add_dataset_inputs(tx, production, many)
        inputs = [one.id for one in find.files(tx, many)]
    world.add(production, Kind.COMPARE, ((one,) for one in inputs))
    assert ask() < 2 * few
