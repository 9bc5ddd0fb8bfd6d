"""A backup is taken while others write, is whole or not there, and comes back as it was, in either database."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from catalog import backup, files, find, productions, status
from catalog.audit import audit
from catalog.engine import Catalog
from catalog.invariants import violations
from catalog.schema import metadata
from catalog.states import Kind
from sitecfg.errors import LedgerError, OutputError, OutputExists
from tests.catalog.world import Clock, World, processed

if TYPE_CHECKING:
    from tests.catalog.databases import Databases, SQLite

A, B = list(range(1, 13)), list(range(13, 31))


@pytest.fixture
def half(world: World) -> World:
    """A production with one of two inputs processed, and one attempt running."""
    ids = world.take_in({"a.root": A, "b.root": B})
    production = world.produce(ids)
    world.add(production, Kind.PROCESS, [(one,) for one in ids])
    lease, begun = world.start()
    world.commit(lease, processed(lease, begun, A))
    return world


def rows(catalog: Catalog) -> dict[str, list[tuple[object, ...]]]:
    with catalog.read() as tx:
        return {
            table.name: sorted(tuple(map(str, row)) for row in tx.execute(select(table)))
            for table in metadata.sorted_tables
            if table.name != "counter"
        }


def test_what_comes_back_is_what_there_was(half: World, sqlite: SQLite, tmp_path: Path) -> None:
    kept = backup.backup(half.catalog, tmp_path / "kept.sqlite")
    assert kept.rows["file"] == 4
    assert kept.rows["job"] == 4
    assert [path.name for path in tmp_path.iterdir()] == ["kept.sqlite"]
    place = sqlite.empty()
    assert backup.restore(tmp_path / "kept.sqlite", place).rows == kept.rows
    with Catalog.open(place) as back:
        assert rows(back) == rows(half.catalog)
        with back.read() as tx:
            assert backup.restored_at(tx) == int(kept.taken)
            assert violations(tx) == []


def test_a_catalog_moves_to_another_kind_of_database_and_goes_on(
    half: World, databases: Databases, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    other: Databases = request.getfixturevalue("postgresql" if databases.kind == "sqlite" else "sqlite")
    backup.backup(half.catalog, tmp_path / "kept.sqlite")
    place = other.empty()
    backup.restore(tmp_path / "kept.sqlite", place)
    with Catalog.open(place, clock=Clock.QUERY) as catalog:
        world = World(catalog, Clock(catalog))
        lease, begun = world.start()
        world.commit(lease, processed(lease, begun, B))
        world.take_in({"c.root": [99]})
        with catalog.write() as tx:
            assert files.add_dataset(tx, "test", "another", "raw").id > 0, "its number is new"
        with catalog.read() as tx:
            assert audit(tx, productions.get(tx, "pass1")).closes
            assert violations(tx) == []
            assert status.job_counts(tx, productions.get(tx, "pass1").id)["process"] == {"done": 2}


def test_a_backup_sees_one_moment_while_others_write(half: World, tmp_path: Path) -> None:
    lease, begun = half.start()
    backup.backup(half.catalog, tmp_path / "before.sqlite")
    half.commit(lease, processed(lease, begun, B))
    with Catalog.open(f"sqlite:///{tmp_path}/before.sqlite") as kept, kept.read() as tx:
        assert status.one_job(tx, lease.job).state == "leased"
    assert backup.check(half.catalog) == []


def test_nothing_is_overwritten(half: World, url: str, sqlite: SQLite, tmp_path: Path) -> None:
    (tmp_path / "there.sqlite").write_text("something of mine")
    with pytest.raises(OutputExists):
        backup.backup(half.catalog, tmp_path / "there.sqlite")
    assert (tmp_path / "there.sqlite").read_text() == "something of mine"
    backup.backup(half.catalog, tmp_path / "kept.sqlite")
    before = rows(half.catalog)
    with pytest.raises(OutputExists, match="fresh place"):
        backup.restore(tmp_path / "kept.sqlite", url)
    assert rows(half.catalog) == before


def test_what_a_killed_backup_left_goes_with_the_next(half: World, tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    for process in (ended.pid, os.getppid()):
        (tmp_path / f".kept.sqlite.{process}.part").touch()
        (tmp_path / f".kept.sqlite.{process}.part-wal").touch()
    (tmp_path / ".kept.sqlite.mine.part").touch()
    backup.backup(half.catalog, tmp_path / "kept.sqlite")
    alive = f".kept.sqlite.{os.getppid()}.part"
    assert {path.name for path in tmp_path.iterdir()} == {
        "kept.sqlite",
        ".kept.sqlite.mine.part",
        alive,
        f"{alive}-wal",
    }


def test_a_disk_without_hard_links_is_named(
    half: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(OutputError, match="hard links"):
        backup.backup(half.catalog, tmp_path / "kept.sqlite")
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_a_catalog_in_use_is_no_backup(half: World, sqlite: SQLite, tmp_path: Path) -> None:
    place, target = sqlite.catalog(), sqlite.empty()
    with Catalog.open(place) as used, used.write() as tx:
        files.add_dataset(tx, "test", "raw", "raw")
    with pytest.raises(LedgerError, match="no backup"):
        backup.restore(Path(place.removeprefix("sqlite:///")), target)
    assert not Path(target.removeprefix("sqlite:///")).exists(), "no farm may take it for the truth"


def test_a_damaged_backup_is_found(half: World, tmp_path: Path) -> None:
    kept = tmp_path / "kept.sqlite"
    backup.backup(half.catalog, kept)
    whole = bytearray(kept.read_bytes())
    for at in range(8192, len(whole) - 8192, 4096):
        whole[at : at + 100] = b"\xff" * 100
    kept.write_bytes(whole)
    with pytest.raises(LedgerError), Catalog.open(f"sqlite:///{kept}") as catalog:
        backup.check(catalog)
    with pytest.raises(LedgerError):
        backup.restore(kept, f"sqlite:///{tmp_path}/new.sqlite")


def test_the_mark_goes_with_the_reconciliation(half: World, sqlite: SQLite, tmp_path: Path) -> None:
    backup.backup(half.catalog, tmp_path / "kept.sqlite")
    place = sqlite.empty()
    backup.restore(tmp_path / "kept.sqlite", place)
    with Catalog.open(place) as back:
        for _ in range(2):
            with back.write() as tx:
                backup.reconciled(tx)
        with back.read() as tx:
            assert backup.restored_at(tx) is None
            assert find.dataset(tx, "test", "raw").name == "raw"
