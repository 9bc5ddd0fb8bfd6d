"""The auditor says nothing of a sound production, and notices each thing that is broken."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.grid.chaos.auditor import Case, audit
from tests.grid.chaos.sql import Sql
from tests.grid.chaos.stage import STREAMS, Stage
from tests.grid.house import changed
from tests.grid.steps.bench import Bench

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A production of two files that is over. What a test breaks, it mends."""
    from catalog.engine import create

    folder = tmp_path_factory.mktemp("audited")
    empty = folder / "empty.sqlite"
    create(f"sqlite:///{empty}")
    stage = Stage(folder, files=2, events=100)
    bench = Bench(stage.home.root, empty)
    (production,) = stage.house.scripted(folder / "script", stage.script.read_text())
    bench.submit(production)
    bench.drain()
    assert bench.standing("chaos") == "complete"
    bench.catalog.close()
    return stage.case()


@pytest.fixture
def copy(finished: Case, tmp_path: Path) -> Case:
    """The same files, and a copy of the rows to break."""
    rows = tmp_path / "catalog.sqlite"
    shutil.copy(finished.sql.url.removeprefix("sqlite:///"), rows)
    return replace(finished, sql=Sql(f"sqlite:///{rows}"))


def test_a_sound_production(finished: Case) -> None:
    assert audit(finished) == []


MERGED = "(SELECT max(f.id) FROM file f JOIN dataset d ON d.id = f.dataset WHERE d.stream = 'JET')"
RAW = "(SELECT min(id) FROM file)"


@pytest.mark.parametrize(
    ("breaks", "told"),
    [
        ("UPDATE job SET state = 'held' WHERE kind = 'merge'", "merge job 5 is held"),
        ("UPDATE job SET state = 'leased', lease_until = 1 WHERE id = 1", "job 1 is still leased"),
        ("UPDATE attempt SET outcome = 'failed' WHERE job = 1", "intake job 1 has 0 attempts that are done"),
        (
            "INSERT INTO attempt (job, epoch, runner, worker, host, started, ended, outcome)"
            " VALUES (1, 2, 'other', 'w', 'h', 0, 1, 'done')",
            "intake job 1 has 2 attempts that are done",
        ),
        (
            "INSERT INTO attempt (job, epoch, runner, worker, host, started, outcome)"
            " VALUES (1, 2, 'other', 'w', 'h', 0, 'running')",
            "the attempt of job 1 epoch 2 still runs",
        ),
        (f"UPDATE file SET bytes = bytes + 1 WHERE id = {MERGED}", " bytes and not "),
        (f"UPDATE file SET adler32 = '00000001' WHERE id = {RAW}", "has other checksums than the catalog"),
        (f"UPDATE file SET xxh3 = 'x' WHERE id = {MERGED}", "has other checksums than the catalog"),
        (f"UPDATE file SET events = events - 1 WHERE id = {MERGED}", " events and not "),
        (f"UPDATE file SET state = 'retired' WHERE id = {MERGED}", "events are missing in JET merged"),
        (f"DELETE FROM replica WHERE file = {MERGED}", "nobody knows it"),
        ("UPDATE book SET events = events + 1 WHERE mask = 3", "the books of sample_0000.root say"),
        ("DELETE FROM book WHERE dropped", "the books of sample_0001.root say"),
        (f"DELETE FROM parentage WHERE child = {MERGED} AND parent % 2", "has the parents"),
        (
            f"UPDATE parentage SET parent = {RAW} WHERE child = {MERGED} AND parent ="
            f" (SELECT min(parent) FROM parentage WHERE child = {MERGED})",
            "itself says that its parents are",
        ),
    ],
)
def test_a_row_that_was_changed(copy: Case, breaks: str, told: str) -> None:
    copy.sql.change(breaks)
    assert any(told in one for one in audit(copy)), audit(copy)


def test_a_file_that_is_registered_twice(copy: Case) -> None:
    """The same events would be in a stream twice."""
    copy.sql.change(
        "INSERT INTO file (id, dataset, scope, name, purpose, state, bytes, adler32, xxh3, events, created)"
        " SELECT 1000, dataset, scope, name || '.again', purpose, state, bytes, adler32, xxh3, events, created"
        f" FROM file WHERE id = {MERGED}"
    )
    copy.sql.change(
        "INSERT INTO replica (file, url, state, created) SELECT 1000, url, state, created FROM replica"
        " WHERE file = (SELECT max(id) FROM file WHERE id < 1000)"
    )
    assert any("events too many are in JET merged" in one for one in audit(copy))


def test_a_file_that_is_gone(finished: Case, tmp_path: Path) -> None:
    victim = next(finished.pool.rglob("*.root"))
    victim.rename(tmp_path / "away.root")
    try:
        assert any(one.endswith("is not there") for one in audit(finished))
    finally:
        (tmp_path / "away.root").rename(victim)


def test_a_byte_that_flipped(finished: Case) -> None:
    for path in (finished.inputs[0], next(finished.pool.rglob("*.root"))):
        with changed(path, lambda content: content.append(0)):
            assert any(" bytes and not " in one for one in audit(finished))
        with changed(path, lambda content: content.__setitem__(-1, content[-1] ^ 1)):
            assert any("has other checksums than the catalog" in one for one in audit(finished))


def test_an_orphan(finished: Case) -> None:
    for name in ("left.e1.01234567.root", ".hidden", "folder/any"):
        orphan = finished.pool / name
        orphan.parent.mkdir(exist_ok=True)
        orphan.touch()
        assert audit(finished) == [f"{orphan.name} lies in the pool and nobody knows it"]
        orphan.unlink()


def test_another_idea_of_what_belongs_where(finished: Case) -> None:
    """The decision is the auditor's own: another table, or code that drops less, doesn't fit the files."""
    other = replace(finished, streams={**STREAMS, "JET": ["HLT_PFJet140_v4"]})
    assert any("events too many are in JET merged" in one for one in audit(other))
    assert any(
        "events are missing in JET" in one for one in audit(replace(finished, kept=lambda _event: True))
    )
