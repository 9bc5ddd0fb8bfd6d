"""What the sweeper removes, and what it never does."""

from __future__ import annotations

import os
import shutil
from threading import Event, Thread
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from catalog import backup, files, jobs, work
from catalog.engine import Catalog, create
from catalog.leases import Lease
from catalog.states import Kind
from grid.farm.reconcile import reconcile
from grid.farm.sweeper import Sweeper

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    url = f"sqlite:///{tmp_path}/catalog.sqlite"
    create(url)
    with Catalog.open(url) as made:
        yield made


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    folder = tmp_path / "pool" / "cdf" / "pass1.A"
    folder.mkdir(parents=True)
    return tmp_path / "pool"


def left_behind(pool: Path, runner: str, *, old: bool = True) -> Path:
    """A file as an attempt leaves it, an hour ago."""
    path = pool / "cdf" / "pass1.A" / f"x.root.e1.{runner[:8]}.root"
    path.write_bytes(b"root")
    if old:
        os.utime(path, (path.stat().st_mtime - 3600,) * 2)
    return path


def swept(catalog: Catalog, pool: Path) -> set[Path]:
    before = {path for path in pool.rglob("*") if path.is_file()}
    Sweeper(pool, age_s=60.0).step(catalog)
    return {path for path in before if not path.exists()}


def running(catalog: Catalog) -> str:
    """Begin a job; return the start token of its run."""
    with catalog.write() as tx:
        raw = files.add_dataset(tx, "cdf", "raw", "raw")
        ids = files.register_files(tx, raw.id, [("a.root", "file:///a.root")]).added
        jobs.add_jobs(tx, None, Kind.INTAKE, [jobs.NewJob("a", tuple(ids))])
        (claim,) = work.claim(tx, cell="here", limit=1, lease_s=600)
        lease = Lease(claim.job, claim.epoch, uuid4().hex)
        work.begin(tx, lease, host="h", worker="w", lease_s=600)
    return lease.runner


def test_what_an_ended_attempt_left_goes_and_nothing_else(catalog: Catalog, pool: Path) -> None:
    orphan = left_behind(pool, uuid4().hex)
    left_behind(pool, uuid4().hex, old=False)
    mine = pool / "notes.txt"
    mine.write_text("of mine")
    os.utime(mine, (0, 0))
    (pool / "x.root").write_bytes(b"root")
    os.utime(pool / "x.root", (0, 0))
    assert swept(catalog, pool) == {orphan}


def test_what_goes_by_itself_meanwhile_is_no_error(catalog: Catalog, pool: Path) -> None:
    runner, stop = uuid4().hex, Event()
    left_behind(pool, uuid4().hex)

    def come_and_go() -> None:
        folder = pool / "cdf" / "pass2.A"
        while not stop.is_set():
            folder.mkdir()
            for number in range(5):
                (folder / f"{number}.root.e1.{runner[:8]}.root").touch()
            shutil.rmtree(folder)

    other = Thread(target=come_and_go)
    other.start()
    try:
        for _ in range(200):
            assert len(Sweeper(pool, age_s=60.0).orphans(catalog)) == 1
    finally:
        stop.set()
        other.join()


def test_a_file_of_a_run_that_may_still_commit_stays(catalog: Catalog, pool: Path) -> None:
    left_behind(pool, running(catalog))
    assert swept(catalog, pool) == set()


def test_what_the_catalog_knows_stays(catalog: Catalog, pool: Path) -> None:
    known = left_behind(pool, uuid4().hex)
    with catalog.write() as tx:
        raw = files.add_dataset(tx, "cdf", "raw", "raw")
        files.register_files(tx, raw.id, [(known.name, known.as_uri())])
    assert swept(catalog, pool) == set()


def test_nothing_is_swept_before_a_restored_catalog_is_reconciled(
    catalog: Catalog, pool: Path, tmp_path: Path
) -> None:
    backup.backup(catalog, tmp_path / "kept.sqlite")
    orphan = left_behind(pool, uuid4().hex)
    place = f"sqlite:///{tmp_path}/restored.sqlite"
    backup.restore(tmp_path / "kept.sqlite", place)
    with Catalog.open(place) as restored:
        assert swept(restored, pool) == set()
        assert reconcile(restored, pool, dry_run=True).unfinished == 1
        assert swept(restored, pool) == set()
        assert reconcile(restored, pool).taken is not None
        assert swept(restored, pool) == {orphan}


def test_copies_that_are_missing_are_named(catalog: Catalog, pool: Path) -> None:
    there = left_behind(pool, uuid4().hex)
    with catalog.write() as tx:
        raw = files.add_dataset(tx, "cdf", "raw", "raw")
        named = [("a.root", there.as_uri()), ("b.root", (pool / "none.root").as_uri())]
        ids = files.register_files(tx, raw.id, named).added
        jobs.add_jobs(tx, None, Kind.INTAKE, [jobs.NewJob(str(one), (one,)) for one in ids])
        for name, size in (("a", there.stat().st_size), ("b", 7)):
            (claim,) = work.claim(tx, cell="here", limit=1, lease_s=600)
            lease = Lease(claim.job, claim.epoch, uuid4().hex)
            work.begin(tx, lease, host="h", worker="w", lease_s=600)
            mark = name * 32
            facts = {"bytes": size, "adler32": mark[:8], "xxh3": mark, "events": 0, "content": mark[:16]}
            work.commit(tx, lease, {"file": {**facts, "trees": {}, "sections": []}})
    assert reconcile(catalog, pool).missing == ((pool / "none.root").as_uri(),)
