"""A small experiment for tests: files with events, and payloads that report what is true (or not)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from catalog import closure, files, jobs, productions, work
from catalog.closure import Tally
from catalog.leases import Lease
from catalog.states import Kind
from sitecfg.names import physical_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from catalog.engine import Catalog
    from catalog.leases import Begun, Ended

SCOPE = "test"
STREAMS = ("A", "B")
LEASE_S = 100.0


class Clock:
    """The time, in a table of the same database: every process and thread sees the same."""

    QUERY: ClassVar[str] = "SELECT seconds FROM test_clock"

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        with catalog.engine.connect() as tx, tx.begin():
            tx.exec_driver_sql("CREATE TABLE test_clock (seconds DOUBLE PRECISION NOT NULL)")
            tx.exec_driver_sql("INSERT INTO test_clock VALUES (1000000.0)")

    def advance(self, seconds: float) -> None:
        with self._catalog.write() as tx:
            tx.exec_driver_sql(f"UPDATE test_clock SET seconds = seconds + {seconds!r}")


def tally(events: Iterable[int]) -> Tally:
    """Count events by numbers that stand for their identities; the content is derived from them too."""
    one_each = [
        Tally(
            1,
            hashlib.blake2b(b"%d" % n, digest_size=16).hexdigest(),
            f"{n * 0x9E3779B97F4A7C15 % 2**64:016x}",
        )
        for n in events
    ]
    return closure.total(one_each)


def counted(events: Iterable[int]) -> dict[str, Any]:
    one = tally(events)
    return {"events": one.events, "fingerprint": one.fingerprint, "content": one.content}


def written(name: str, events: Iterable[int], *, run: int | None = 1, section: int = 1) -> dict[str, Any]:
    """The facts of a file whose bytes are determined by its name."""
    events = list(events)
    mark = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
    return {
        "bytes": 1000 + len(events),
        "adler32": mark[:8],
        "xxh3": mark,
        "sections": [] if run is None else [[run, section, len(events)]],
        "trees": {"Events": len(events)},
        **counted(events),
    }


def streams_of(event: int) -> int:
    """The stream mask of an event: even ones are in A, those divisible by three in B."""
    return (event % 2 == 0) | (event % 3 == 0) << 1


@dataclass
class World:
    """A catalog with the clock that it goes by."""

    catalog: Catalog
    clock: Clock

    def declare(self, names: Iterable[str], *, dataset: str = "raw") -> list[int]:
        """Register files and their intake jobs."""
        with self.catalog.write() as tx:
            target = files.add_dataset(tx, SCOPE, dataset, "raw")
            ids = files.register_files(tx, target.id, [(name, f"file:///raw/{name}") for name in names]).added
            jobs.add_jobs(tx, None, Kind.INTAKE, [jobs.NewJob(str(one), (one,)) for one in ids])
        return list(ids)

    def produce(self, inputs: Iterable[int], *, name: str = "pass1", **more: Any) -> int:
        """Submit a production with two streams, over files that are known."""
        with self.catalog.write() as tx:
            made = productions.submit_production(
                tx, SCOPE, name, recipe={"name": name}, recipe_hash="0" * 64, **more
            )
            for bit, stream in enumerate(STREAMS):
                for suffix, tier in ((".unmerged", "unmerged"), ("", "stream")):
                    files.add_dataset(
                        tx,
                        SCOPE,
                        f"{name}.{stream}{suffix}",
                        tier,
                        stream=stream,
                        stream_bit=bit,
                        production=made.id,
                    )
            productions.add_inputs(tx, made.id, inputs)
        return made.id

    def add(self, production: int | None, kind: Kind, inputs: Iterable[tuple[int, ...]]) -> list[int]:
        with self.catalog.write() as tx:
            return jobs.add_jobs(
                tx, production, kind, [jobs.NewJob("-".join(map(str, one)), one) for one in inputs]
            )

    def start(self, *, kinds: tuple[Kind, ...] | None = None) -> tuple[Lease, Begun]:
        """Claim one job and begin it."""
        with self.catalog.write() as tx:
            (claim,) = work.claim(tx, cell="here", limit=1, lease_s=LEASE_S, kinds=kinds)
        lease = Lease(claim.job, claim.epoch, uuid4().hex)
        return lease, self.begin(lease)

    def begin(self, lease: Lease, *, worker: str = "w1") -> Begun:
        with self.catalog.write() as tx:
            return work.begin(tx, lease, host="host", worker=worker, lease_s=LEASE_S)

    def commit(self, lease: Lease, result: dict[str, Any]) -> Ended:
        with self.catalog.write() as tx:
            return work.commit(tx, lease, result)

    def fail(self, lease: Lease, failure: str, message: str = "it failed") -> Ended:
        with self.catalog.write() as tx:
            return work.fail(tx, lease, failure, message)

    def take_in(self, events: dict[str, list[int]]) -> list[int]:
        """Declare files with these events and run their intake jobs; each is a run section of its own."""
        ids = self.declare(events)
        for section, _ in enumerate(events, start=1):
            lease, begun = self.start(kinds=(Kind.INTAKE,))
            name = begun.inputs[0].name
            self.commit(lease, {"file": written(name, events[name], section=section)})
        return ids


def processed(
    lease: Lease, begun: Begun, events: Iterable[int], *, dropped: Iterable[int] = ()
) -> dict[str, Any]:
    """What an honest process job reports about an input with these events."""
    source = begun.inputs[0]
    events = list(events)
    gone = set(dropped).intersection(events)
    kept = [event for event in events if event not in gone]
    masks = sorted({streams_of(event) for event in kept})
    return {
        "books": [{"mask": mask, **counted(e for e in kept if streams_of(e) == mask)} for mask in masks],
        "dropped": counted(gone),
        "outputs": [
            output(
                lease,
                begun,
                stream,
                bit,
                "unmerged",
                [e for e in kept if streams_of(e) >> bit & 1],
                source.name,
            )
            for bit, stream in enumerate(STREAMS)
        ],
        "measured": {"cpu_s": 1.5, "wall_s": 2.0, "peak_rss": 10**8, "bytes_in": 1000, "bytes_out": 500},
    }


def merged(lease: Lease, begun: Begun, stream: str, events: Iterable[int], number: int = 1) -> dict[str, Any]:
    """What an honest merge job reports."""
    bit = STREAMS.index(stream)
    return {"outputs": [output(lease, begun, stream, bit, "", events, f"merged-{number}")]}


def output(
    lease: Lease, begun: Begun, stream: str, bit: int, suffix: str, events: Iterable[int], name: str
) -> dict[str, Any]:
    logical = f"{begun.production}.{stream}--{name}"
    physical = physical_name(logical, lease.epoch, lease.runner)
    return {
        **written(logical, events),
        "stream": stream,
        "stream_bit": bit,
        "dataset": f"{SCOPE}:{begun.production}.{stream}" + (f".{suffix}" if suffix else ""),
        "name": logical,
        "url": f"file:///pool/{physical}",
        "parents": [str(one) for one in begun.inputs],
    }
