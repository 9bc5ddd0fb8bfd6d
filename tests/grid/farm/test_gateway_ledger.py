"""Calls that come together share a transaction, and those that are alike are done as one."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from catalog import files
from catalog.engine import Catalog, create
from catalog.schema_files import dataset
from grid.farm.gateway import Ledger
from grid.farm.gateway.bell import Bell
from sitecfg.errors import LedgerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from catalog.engine import Transaction


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    create(url)
    with Catalog.open(url) as catalog:
        made = Ledger(catalog, Bell())
        yield made
        made.close()


class Datasets:
    """Makes datasets, some together; a name that is no name breaks it."""

    def __init__(self) -> None:
        self.together: list[list[str]] = []

    def make(self, tx: Transaction, names: list[str]) -> list[int | UsageError]:
        self.together.append(names)
        made: list[int | UsageError] = []
        for name in names:
            if name == "refused":
                made.append(UsageError("not this one"))
                continue
            made.append(files.add_dataset(tx, "test", name, "raw").id)
            if name == "poison":
                raise RuntimeError(name)
        return made


def all_at_once(ledger: Ledger, names: list[str]) -> tuple[Datasets, list[Future[Any]]]:
    """Hand in calls while the ledger is busy, so that they wait together."""
    busy, go = threading.Event(), threading.Event()

    def wait(_tx: Transaction) -> None:
        busy.set()
        assert go.wait(20)

    ledger.submit(wait)
    assert busy.wait(20)
    makes = Datasets()
    work = makes.make
    answers = [ledger.share(work, name) for name in names]
    go.set()
    return makes, answers


def known(ledger: Ledger) -> set[str]:
    with ledger.catalog.read() as tx:
        return {row.name for row in tx.execute(select(dataset.c.name))}


def test_calls_that_are_alike_are_done_as_one(ledger: Ledger) -> None:
    makes, (a, refused, b) = all_at_once(ledger, ["a", "refused", "b"])
    assert (a.result(20), b.result(20)) == (1, 2)
    with pytest.raises(UsageError, match="not this one"):
        refused.result(20)
    assert makes.together == [["a", "refused", "b"]]
    assert known(ledger) == {"a", "b"}


def test_one_that_breaks_them_all_breaks_only_itself(ledger: Ledger) -> None:
    makes, (a, poison, b) = all_at_once(ledger, ["a", "poison", "b"])
    a.result(20)
    b.result(20)
    with pytest.raises(RuntimeError, match="poison"):
        poison.result(20)
    assert makes.together == [["a", "poison", "b"], ["a"], ["poison"], ["b"]]
    assert known(ledger) == {"a", "b"}


def test_nobody_is_told_of_success_when_the_database_gave_all_up(ledger: Ledger) -> None:
    """SQLite takes a whole transaction back over one statement of it, here because it is told to."""
    busy, go = threading.Event(), threading.Event()

    def wait(_tx: Transaction) -> None:
        busy.set()
        assert go.wait(20)

    def give_up(tx: Transaction) -> None:
        with suppress(IntegrityError):
            tx.exec_driver_sql("INSERT OR ROLLBACK INTO counter (name, last) VALUES ('file', 0)")

    ledger.submit(wait)
    assert busy.wait(20)
    good = ledger.submit(lambda tx: files.add_dataset(tx, "test", "good", "raw"))
    bad = ledger.submit(give_up)
    go.set()
    for each in (good, bad):
        with pytest.raises(LedgerError, match="gave the transaction up"):
            each.result(20)
    assert known(ledger) == set()
    ledger.run(lambda tx: files.add_dataset(tx, "test", "later", "raw"))
    assert known(ledger) == {"later"}
