"""An auditor who trusts nobody: reads rows with plain SQL and files with uproot, and decides in plain Python.

Nothing of ``catalog`` or ``grid`` is imported here, so that a fault there can't hide itself.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import uproot
import xxhash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.grid.chaos.sql import Sql

IDENTITY = ("run", "luminosityBlock", "event")

Event = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A production that is over, and what it was made from.

    Parameters
    ----------
    sql
        The catalog's database.
    production
        Its name.
    pool
        Where its outputs lie.
    inputs
        The raw files.
    streams
        Which trigger paths make up which stream.
    kept
        Whether the user's code keeps an event, from the event's values.
    columns
        The values that `kept` looks at.
    """

    sql: Sql
    production: str
    pool: Path
    inputs: Sequence[Path]
    streams: Mapping[str, Sequence[str]]
    kept: Callable[[Mapping[str, Any]], bool] = lambda _event: True
    columns: Sequence[str] = ()

    @property
    def number(self) -> int:
        ((number,),) = self.sql.rows(f"SELECT id FROM production WHERE name = '{self.production}'")
        return int(number)


def audit(case: Case) -> list[str]:
    """Return everything that is wrong; nothing is, if nothing is returned."""
    truth = {path: decide(path, case) for path in case.inputs}
    return [
        *_jobs(case.sql),
        *_leases(case.sql),
        *_files(case.sql),
        *_strangers(case),
        *_books(case, truth),
        *_streams(case, truth),
        *_parents(case.sql),
    ]


def decide(path: Path, case: Case) -> dict[Event, frozenset[str] | None]:
    """Return the streams that each event of a raw file belongs to; None if the user's code drops it."""
    wanted = sorted({*IDENTITY, *case.columns, *(one for paths in case.streams.values() for one in paths)})
    with uproot.open(path) as file:
        columns = {name: file["Events"][name].array(library="np").tolist() for name in wanted}
    answer: dict[Event, frozenset[str] | None] = {}
    for values in zip(*columns.values(), strict=True):
        event = dict(zip(columns, values, strict=True))
        fired = {name for name, paths in case.streams.items() if any(event[one] for one in paths)}
        answer[tuple(event[name] for name in IDENTITY)] = frozenset(fired) if case.kept(event) else None
    return answer


def _jobs(sql: Sql) -> Iterator[str]:
    for number, kind, state in sql.rows("SELECT id, kind, state FROM job WHERE state <> 'done'"):
        yield f"{kind} job {number} is {state}"
    done = Counter(number for (number,) in sql.rows("SELECT job FROM attempt WHERE outcome = 'done'"))
    for number, kind in sql.rows("SELECT id, kind FROM job WHERE state = 'done'"):
        if done[number] != 1:
            yield f"{kind} job {number} has {done[number]} attempts that are done"


def _leases(sql: Sql) -> Iterator[str]:
    for (number,) in sql.rows("SELECT id FROM job WHERE state = 'leased' OR lease_until IS NOT NULL"):
        yield f"job {number} is still leased"
    for job, epoch in sql.rows("SELECT job, epoch FROM attempt WHERE outcome = 'running'"):
        yield f"the attempt of job {job} epoch {epoch} still runs"


def _files(sql: Sql) -> Iterator[str]:
    known = sql.rows(
        "SELECT f.name, f.bytes, f.adler32, f.xxh3, r.url FROM file f LEFT JOIN replica r"
        " ON r.file = f.id AND r.state = 'AVAILABLE' WHERE f.state = 'on_disk'"
    )
    if not known:
        yield "no file is known"
    for name, size, adler, xxh3, url in known:
        path = place(url) if url else None
        if path is None or not path.is_file():
            yield f"{name} is not there"
            continue
        content = path.read_bytes()
        if len(content) != size:
            yield f"{name} has {len(content)} bytes and not {size}"
        found = (f"{zlib.adler32(content):08x}", xxhash.xxh3_128_hexdigest(content))
        if found != (adler, xxh3):
            yield f"{name} has other checksums than the catalog"


def _strangers(case: Case) -> Iterator[str]:
    known = {place(url) for (url,) in case.sql.rows("SELECT url FROM replica")}
    for path in sorted(case.pool.rglob("*")):
        if path.is_file() and path not in known:
            yield f"{path.name} lies in the pool and nobody knows it"


def _books(case: Case, truth: Mapping[Path, Mapping[Event, frozenset[str] | None]]) -> Iterator[str]:
    """Compare the books with a count of the raw events, by file and exact set of streams."""
    bits = dict(
        case.sql.rows(
            "SELECT stream, stream_bit FROM dataset WHERE stream IS NOT NULL AND production ="
            f" {case.number} AND tier = 'unmerged'"
        )
    )
    if set(bits) != set(case.streams):
        yield f"there are datasets for the streams {sorted(bits)}"
        return
    booked: dict[Path | None, Counter[int | None]] = defaultdict(Counter)
    for url, dropped, mask, events in case.sql.rows(
        "SELECT r.url, b.dropped, b.mask, b.events FROM book b JOIN replica r ON r.file = b.file"
        f" WHERE b.production = {case.number}"
    ):
        booked[place(url)][None if dropped else mask] += events
    for path, events in truth.items():
        counted = Counter(
            None if fired is None else sum(1 << bits[one] for one in fired) for fired in events.values()
        )
        found = +booked.pop(path, Counter())
        if found != counted:
            yield f"the books of {path.name} say {dict(found)}, and its events {dict(counted)}"
    for other in booked:
        yield f"there are books of {other}, which is no input"


def _streams(case: Case, truth: Mapping[Path, Mapping[Event, frozenset[str] | None]]) -> Iterator[str]:
    """Look for each event of the inputs in the files of each stream, merged and not."""
    found: dict[tuple[str, str], Counter[Event]] = defaultdict(Counter)
    for stream, tier, name, events, url in case.sql.rows(
        "SELECT d.stream, d.tier, f.name, f.events, r.url FROM dataset d JOIN file f ON f.dataset = d.id"
        " JOIN replica r ON r.file = f.id WHERE f.state = 'on_disk' AND d.stream IS NOT NULL"
        f" AND d.production = {case.number}"
    ):
        path = place(url)
        there = _identities(path) if path.is_file() else []
        if len(there) != events:
            yield f"{name} has {len(there)} events and not {events}"
        found[stream, "unmerged" if tier == "unmerged" else "merged"].update(there)
    for stream in case.streams:
        wanted = Counter(
            event for events in truth.values() for event, fired in events.items() if stream in (fired or ())
        )
        for tier in ("unmerged", "merged"):
            lost, more = wanted - found[stream, tier], found[stream, tier] - wanted
            if lost:
                yield f"{lost.total()} events are missing in {stream} {tier}: {sorted(lost)[:3]}"
            if more:
                yield f"{more.total()} events too many are in {stream} {tier}: {sorted(more)[:3]}"


def _parents(sql: Sql) -> Iterator[str]:
    """Compare three answers: the job that wrote a file, the rows of its parents, and what the file itself says."""
    inputs: dict[int, set[str]] = defaultdict(set)
    for job, name in sql.rows(
        "SELECT i.job, f.scope || ':' || f.name FROM job_input i JOIN file f ON f.id = i.file"
    ):
        inputs[job].add(name)
    parents: dict[int, set[str]] = defaultdict(set)
    for child, name in sql.rows(
        "SELECT p.child, f.scope || ':' || f.name FROM parentage p JOIN file f ON f.id = p.parent"
    ):
        parents[child].add(name)
    written = sql.rows(
        "SELECT f.id, f.name, r.url, a.job, a.outcome FROM file f JOIN replica r ON r.file = f.id"
        " LEFT JOIN attempt a ON a.epoch = r.epoch AND a.runner = r.runner"
        " WHERE f.state = 'on_disk' AND f.purpose = 'output'"
    )
    for number, name, url, job, outcome in written:
        if outcome != "done":
            yield f"{name} was not written by an attempt that is done"
        if parents[number] != inputs[job]:
            yield f"{name} has the parents {sorted(parents[number])}, its job read {sorted(inputs[job])}"
        path = place(url)
        if path.is_file() and _said_parents(path) != parents[number]:
            yield f"{name} itself says that its parents are {sorted(_said_parents(path))}"


def _identities(path: Path) -> list[Event]:
    with uproot.open(path) as file:
        columns = [file["Events"][name].array(library="np").tolist() for name in IDENTITY]
    return list(zip(*columns, strict=True))


def _said_parents(path: Path) -> set[str]:
    with uproot.open(path) as file:
        return {one["name"] for one in json.loads(str(file["mdcgrid"]))["parents"]}


def place(url: str) -> Path:
    """Return where a copy lies."""
    return Path(unquote(url.removeprefix("file://")))
