"""Datasets and files: make them known, and mark them bad. Questions are in :mod:`catalog.find`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from catalog import counters, find
from catalog.batches import IN_LIST, ROWS, batches
from catalog.dialects import insert_missing
from catalog.engine import now
from catalog.schema_files import dataset, file, file_section, replica
from catalog.schema_runs import stream as stream_table
from catalog.states import DatasetState, FileState, Kind, ReplicaState
from sitecfg.errors import DuplicateEvents, OutputExists, UsageError
from sitecfg.names import Name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from catalog.rows import Dataset


@dataclass(frozen=True, slots=True)
class Registered:
    """Which files a call has made known, and how many were known before. Row numbers, in the given order."""

    added: tuple[int, ...]
    known: tuple[int, ...]


def add_dataset(
    tx: Connection,
    scope: str,
    name: str,
    tier: str,
    *,
    stream: str | None = None,
    stream_bit: int | None = None,
    production: int | None = None,
) -> Dataset:
    """Make a dataset, open for files. Idempotent: the same call again returns the same dataset.

    Raises
    ------
    OutputExists
        A dataset of this name exists, but of another tier, stream or production.
    BadName
        The name breaks the rules.
    """
    Name(scope, name)
    found = find.dataset_or_none(tx, scope, name)
    if found is None:
        tx.execute(
            insert(dataset).values(
                scope=scope,
                name=name,
                tier=tier,
                stream=stream,
                stream_bit=stream_bit,
                production=production,
                state=DatasetState.OPEN,
                created=now(tx),
            )
        )
        if stream is not None:
            insert_missing(tx, stream_table, [{"name": stream, "first_seen": now(tx)}])
        return find.dataset(tx, scope, name)
    if (found.tier, found.stream, found.stream_bit, found.production) != (
        tier,
        stream,
        stream_bit,
        production,
    ):
        raise OutputExists(
            f"the dataset exists already, as tier {found.tier}, stream {found.stream or '-'}, "
            f"of {'a production' if found.production else 'declared files'}",
            where=str(found),
            todo="choose another name",
        )
    return found


def set_dataset_state(tx: Connection, dataset_id: int, state: DatasetState) -> None:
    """Open, close or freeze a dataset. Idempotent.

    Raises
    ------
    NotFound
        There is no such dataset.
    UsageError
        The dataset is frozen: that is for ever.
    """
    found = find.dataset_by_id(tx, dataset_id)
    if found.state == DatasetState.FROZEN and state != DatasetState.FROZEN:
        raise UsageError("a frozen dataset stays as it is", where=str(found))
    tx.execute(update(dataset).where(dataset.c.id == dataset_id).values(state=state))


def register_files(tx: Connection, dataset_id: int, files: Iterable[tuple[str, str]]) -> Registered:
    """Make files that others wrote known by ``(name, url)``; each waits for its intake job.

    Idempotent: a file that is known under this name, in this dataset and at this URL is left alone. Meant
    for any number of files at once. The caller adds the intake jobs in the same transaction
    (:func:`catalog.jobs.add_jobs`, key = the file's number), so that no file waits without a job.

    Raises
    ------
    OutputExists
        A name is known already, for another URL or in another dataset.
    UsageError
        The dataset is closed, or one URL is given two names.
    """
    target = find.dataset_by_id(tx, dataset_id)
    added: list[int] = []
    known: list[int] = []
    at = now(tx)
    for piece in batches(files, ROWS):
        before = _known(tx, target, [name for name, _ in piece])
        new: dict[str, str] = {}
        for name, url in piece:
            if name in before:
                known.append(_same(target, name, url, before[name]))
            elif new.setdefault(name, url) != url:
                raise OutputExists("two files are given one name", where=f"{target.scope}:{name}")
        if new and target.state != DatasetState.OPEN:
            raise UsageError(
                f"the dataset is {target.state}: no files can be added",
                where=str(target),
                todo="declare them as another dataset",
            )
        _one_name_each(tx, target, new)
        ids = counters.take(tx, "file", len(new))
        added.extend(ids)
        _insert(tx, target, new, ids, at)
    return Registered(tuple(added), tuple(known))


def mark_bad(tx: Connection, file_id: int, why: str, *, job: int | None = None) -> None:
    """Mark a file bad and its copies unusable, for a reason. Idempotent; the first reason stays.

    `job` is the job that found it out: freeing that job takes the mark away again.
    """
    changed = tx.execute(
        update(file)
        .where(file.c.id == file_id, file.c.state != FileState.BAD)
        .values(state=FileState.BAD, why=why, blamed_by=job)
    )
    if changed.rowcount:
        tx.execute(update(replica).where(replica.c.file == file_id).values(state=ReplicaState.BAD))


def unmark_bad(tx: Connection, job: int, kind: Kind) -> None:
    """Take back every mark that `job` has set, so that its next attempt can look again. Idempotent.

    A file that an intake job had refused waits for intake again, without facts.
    """
    marked = (file.c.blamed_by == job, file.c.state == FileState.BAD)
    ids = list(tx.execute(select(file.c.id).where(*marked)).scalars())
    for piece in batches(ids, IN_LIST):
        tx.execute(update(replica).where(replica.c.file.in_(piece)).values(state=ReplicaState.AVAILABLE))
        if kind == Kind.INTAKE:
            tx.execute(delete(file_section).where(file_section.c.file.in_(piece)))
            tx.execute(update(file).where(file.c.id.in_(piece)).values(state=FileState.CLOSED, **_UNKNOWN))
        else:
            tx.execute(
                update(file)
                .where(file.c.id.in_(piece))
                .values(state=FileState.ON_DISK, why=None, blamed_by=None)
            )


_UNKNOWN = dict.fromkeys(
    ("bytes", "adler32", "xxh3", "events", "fingerprint", "content", "menu", "facts", "why", "blamed_by")
)


def _known(tx: Connection, target: Dataset, names: Sequence[str]) -> dict[str, tuple[int, int, set[str]]]:
    """Return what is known of the names in the dataset's scope: file, dataset, URLs."""
    answer: dict[str, tuple[int, int, set[str]]] = {}
    for piece in batches(names, IN_LIST):
        for row in tx.execute(
            select(file.c.name, file.c.id, file.c.dataset, replica.c.url)
            .join_from(file, replica, replica.c.file == file.c.id, isouter=True)
            .where(file.c.scope == target.scope, file.c.name.in_(piece))
        ):
            answer.setdefault(row.name, (row.id, row.dataset, set()))[2].add(row.url)
    return answer


def _same(target: Dataset, name: str, url: str, before: tuple[int, int, set[str]]) -> int:
    file_id, dataset_id, urls = before
    if dataset_id != target.id:
        raise OutputExists("the file is in another dataset already", where=f"{target.scope}:{name}")
    if url not in urls:
        raise OutputExists(
            f"the name stands for {', '.join(sorted(urls)) or 'another file'} already",
            where=f"{target.scope}:{name}",
            todo=f"give {url} another name",
        )
    return file_id


def _one_name_each(tx: Connection, target: Dataset, new: Mapping[str, str]) -> None:
    """Refuse a URL that has two names in the dataset."""
    seen = {url: name for name, url in new.items()}
    clash = next(((name, seen[url], url) for name, url in new.items() if seen[url] != name), None)
    copies: dict[int, str] = {}
    for piece in batches(seen, IN_LIST):
        copies.update(
            tuple(row)
            for row in tx.execute(select(replica.c.file, replica.c.url).where(replica.c.url.in_(piece)))
        )
    for numbers in batches(copies, IN_LIST):
        for number, name in tx.execute(
            select(file.c.id, file.c.name).where(file.c.id.in_(numbers), file.c.dataset == target.id)
        ):
            clash = clash or (name, seen[copies[number]], copies[number])
    if clash:
        raise DuplicateEvents(
            f"one file under two names: {clash[0]} and {clash[1]}", where=clash[2], todo="declare it once"
        )


def _insert(tx: Connection, target: Dataset, new: Mapping[str, str], ids: Sequence[int], at: float) -> None:
    if not new:
        return
    tx.execute(
        insert(file),
        [
            {
                "id": number,
                "dataset": target.id,
                "scope": target.scope,
                "name": Name(target.scope, name).name,
                "purpose": "input",
                "state": FileState.CLOSED,
                "created": at,
            }
            for number, name in zip(ids, new, strict=True)
        ],
    )
    tx.execute(
        insert(replica),
        [
            {"file": number, "url": url, "state": ReplicaState.AVAILABLE, "created": at}
            for number, url in zip(ids, new.values(), strict=True)
        ],
    )
