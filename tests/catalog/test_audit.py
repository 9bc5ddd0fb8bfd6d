"""Audit and invariants: whatever somebody changes behind the ledger's back is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from catalog import planning, productions, sweep, work
from catalog.audit import audit
from catalog.invariants import violations
from catalog.states import Kind
from tests.catalog.world import LEASE_S, merged, processed

if TYPE_CHECKING:
    from catalog.audit import Audit
    from tests.catalog.databases import Databases
    from tests.catalog.world import World

#: The merged file once more, under another name.
TWIN = (
    "INSERT INTO file (id, dataset, scope, name, purpose, state, created, bytes, adler32, xxh3, events) "
    "SELECT 99, dataset, scope, 'twin', purpose, state, created, bytes, adler32, xxh3, events FROM file WHERE id = 7; "
    "INSERT INTO parentage SELECT 99, parent FROM parentage WHERE child = 7"
)

A, B = list(range(1, 13)), list(range(13, 31))


@pytest.fixture
def done(world: World) -> World:
    """A production whose stream A is merged, and whose stream B isn't."""
    ids = world.take_in({"a.root": A, "b.root": B})
    production = world.produce(ids)
    world.add(production, Kind.PROCESS, [(one,) for one in ids])
    for events in (A, B):
        lease, begun = world.start()
        world.commit(lease, processed(lease, begun, events, dropped=[5, 17]))
    with world.catalog.read() as tx:
        files = [one.file for one in planning.stream_outputs(tx, production) if one.stream == "A"]
    world.add(production, Kind.MERGE, [tuple(files)])
    lease, begun = world.start()
    world.commit(lease, merged(lease, begun, "A", [e for e in A + B if e % 2 == 0]))
    return world


def ask(world: World) -> Audit:
    with world.catalog.read() as tx:
        return audit(tx, productions.get(tx, "pass1"))


def test_a_sound_production_closes(done: World) -> None:
    found = ask(done)
    assert found.findings == ()
    assert (found.inputs, found.processed, found.events_in, found.booked) == (2, 2, 30, 30)
    assert found.dropped + found.in_no_stream + sum(e % 2 == 0 or e % 3 == 0 for e in A + B) == 30
    a, b = found.streams
    assert (a.booked, a.written, a.merged, a.waiting) == (15, 15, 15, 0)
    assert (b.booked, b.written, b.merged, b.waiting) == (10, 10, 0, 10)
    assert not found.complete


@pytest.mark.parametrize(
    ("change", "invariant", "where"),
    [
        ("UPDATE file SET events = events - 1 WHERE name = 'pass1.A--a.root'", "I1", "a.root"),
        ("UPDATE file SET fingerprint = '{0:032x}' WHERE name = 'pass1.A--merged-1'", "I1", "merged-1"),
        ("UPDATE file SET content = '{0:016x}' WHERE name = 'pass1.A--merged-1'", "I1", "merged-1"),
        ("UPDATE file SET fingerprint = '{0:032x}' WHERE name = 'b.root'", "I1", "b.root"),
        ("UPDATE book SET events = events + 1 WHERE mask = 1 AND file = 1", "I1", "a.root"),
        ("DELETE FROM book WHERE file = 2", "I1", "b.root"),
        ("UPDATE job SET state = 'ready' WHERE id = 3", "I1", "a.root"),
        ("DELETE FROM parentage WHERE child = 4", "I9", "a.root"),
        ("DELETE FROM parentage WHERE child = 4", "I10", "B--a.root"),
        ("UPDATE replica SET state = 'BAD' WHERE file = 3", "I3", "A--a.root"),
        ("UPDATE file SET state = 'bad', why = 'flipped' WHERE name = 'pass1.B--a.root'", "I4", "B--a.root"),
        ("DELETE FROM attempt WHERE job = 3", "I5", "job 3"),
        ("UPDATE job SET state = 'held' WHERE id = 3", "I7", "job 3"),
        ("UPDATE job SET state = 'leased', lease_until = 5 WHERE id = 3", "I7", "job 3"),
        ("UPDATE production SET state = 'complete'; UPDATE job SET state = 'ready'", "I7", "pass1"),
        ("UPDATE production SET state = 'complete'", "I1", "pass1.B"),
        ("UPDATE production SET state = 'complete'; DELETE FROM job_input WHERE job = 3", "I1", "pass1"),
        ("UPDATE file_section SET events = 1 WHERE file = 1", "I1", "a.root"),
        (TWIN, "I2", "A--a.root"),
        (
            "UPDATE file SET (bytes, xxh3) = (SELECT bytes, xxh3 FROM file WHERE id = 1) WHERE id = 2",
            "I2",
            "pass1",
        ),
    ],
)
def test_whatever_is_changed_by_hand_is_named(
    done: World, databases: Databases, url: str, change: str, invariant: str, where: str
) -> None:
    databases.tamper(url, change.format(7).split(";"))
    with done.catalog.read() as tx:
        found = violations(tx)
    assert any(one.invariant == invariant and where in one.where for one in found), list(map(str, found))


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_rows_that_point_to_nothing_are_named(done: World, databases: Databases, url: str) -> None:
    """PostgreSQL never lets such rows be; SQLite does for whoever does not ask it to look."""
    databases.tamper(url, ["DELETE FROM file WHERE id = 1"])
    with done.catalog.read() as tx:
        found = violations(tx)
    assert any(one.invariant == "catalog" and "book" in one.where for one in found)


def test_a_sweeper_is_told_what_is_known_and_who_may_still_commit(done: World) -> None:
    done.declare(["late.root"])
    lease, _ = done.start()
    with done.catalog.write() as tx:
        urls = list(tx.execute(text("SELECT url FROM replica")).scalars())
        assert sweep.registered(tx, [*urls, "file:///stray.root"]) == set(urls)
        assert sweep.live_runners(tx) == {lease.runner}
    done.clock.advance(LEASE_S + 1)
    with done.catalog.write() as tx:
        work.reap(tx)
        assert sweep.live_runners(tx) == {lease.runner}, "nobody claimed the job since: it may come back"
        work.claim(tx, cell="c", limit=1, lease_s=1)
        assert sweep.live_runners(tx) == set()
