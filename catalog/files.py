"""Datasets and files: make them known, and mark them bad. Questions are in :mod:`catalog.find`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Double, String, Text, and_, bindparam, case, delete, func, insert, select, update

from catalog import counters, dialects, find
from catalog.batches import IN_LIST, ROWS, batches
from catalog.dialects import insert_missing
from catalog.engine import now
from catalog.given import ForRows
from catalog.schema import RowId
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
        dialects.after_many(tx, len(new), file, replica)
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

    Raises
    ------
    DuplicateEvents
        The bytes of such a file have come in under another name since.
    """
    marked = (file.c.blamed_by == job, file.c.state == FileState.BAD)
    ids = list(tx.execute(select(file.c.id).where(*marked)).scalars())
    for piece in batches(ids, IN_LIST):
        tx.execute(update(replica).where(replica.c.file.in_(piece)).values(state=ReplicaState.AVAILABLE))
        if kind == Kind.INTAKE:
            tx.execute(delete(file_section).where(file_section.c.file.in_(piece)))
            tx.execute(update(file).where(file.c.id.in_(piece)).values(state=FileState.CLOSED, **_UNKNOWN))
        else:
            _no_twins(tx, piece)
            tx.execute(
                update(file)
                .where(file.c.id.in_(piece))
                .values(state=FileState.ON_DISK, why=None, blamed_by=None)
            )


def _no_twins(tx: Connection, ids: Sequence[int]) -> None:
    twin = file.alias("twin")
    same = [file.c[name] == twin.c[name] for name in ("dataset", "purpose", "bytes", "adler32", "xxh3")]
    used = twin.c.state.not_in((FileState.BAD, FileState.RETIRED))
    query = select(file.c.scope, file.c.name, twin.c.name).join_from(file, twin, and_(used, *same))
    found = tx.execute(query.where(file.c.id.in_(ids), file.c.purpose == "input")).first()
    if found is not None:
        raise DuplicateEvents(
            f"its very bytes have come in as {found[2]} since",
            where=f"{found[0]}:{found[1]}",
            todo="put one of the two aside with: grid cancel",
        )


_UNKNOWN = dict.fromkeys(
    ("bytes", "adler32", "xxh3", "events", "fingerprint", "content", "menu", "facts", "why", "blamed_by")
)


#: Which file of a scope has each of these names, and which of a dataset each of these URLs; NULL where there is none.
#: Subqueries, for the same reason as in catalog.jobs.
_NAMES = ForRows(
    lambda given: select(
        select(file.c.id)
        .where(file.c.scope == bindparam("scope"), file.c.name == given.c.name)
        .scalar_subquery()
    ).select_from(given),
    name=String(),
)
_URLS = ForRows(
    lambda given: select(
        given.c.url,
        # The dataset is no condition of the join: PostgreSQL would begin with all its files.
        select(func.min(case((file.c.dataset == bindparam("dataset"), file.c.name))))
        .join_from(replica, file, file.c.id == replica.c.file)
        .where(replica.c.url == given.c.url)
        .scalar_subquery()
        .label("name"),
    ),
    url=Text(),
)
_NEW_FILES = ForRows(
    lambda given: insert(file).from_select(
        ["id", "dataset", "scope", "name", "purpose", "state", "created"],
        select(
            given.c.id,
            bindparam("dataset", type_=RowId),
            bindparam("scope", type_=String()),
            given.c.name,
            bindparam("purpose", type_=String()),
            bindparam("state", type_=String()),
            bindparam("created", type_=Double()),
        ),
    ),
    id=RowId,
    name=String(),
)
_NEW_COPIES = ForRows(
    lambda given: insert(replica).from_select(
        ["file", "url", "state", "created"],
        select(
            given.c.id,
            given.c.url,
            bindparam("state", type_=String()),
            bindparam("created", type_=Double()),
        ),
    ),
    id=RowId,
    url=Text(),
)


def _known(tx: Connection, target: Dataset, names: Sequence[str]) -> dict[str, tuple[int, int, set[str]]]:
    """Return what is known of the names in the dataset's scope: file, dataset, URLs."""
    answer: dict[str, tuple[int, int, set[str]]] = {}
    found = _NAMES.run(tx, [{"name": name} for name in names], scope=target.scope)
    for piece in batches((number for number in found.scalars() if number is not None), IN_LIST):
        for row in tx.execute(
            select(file.c.name, file.c.id, file.c.dataset, replica.c.url)
            .join_from(file, replica, replica.c.file == file.c.id, isouter=True)
            .where(file.c.id.in_(piece))
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
    for row in _URLS.run(tx, [{"url": url} for url in seen], dataset=target.id):
        if row.name is not None:
            clash = clash or (row.name, seen[row.url], row.url)
    if clash:
        raise DuplicateEvents(
            f"one file under two names: {clash[0]} and {clash[1]}", where=clash[2], todo="declare it once"
        )


def _insert(tx: Connection, target: Dataset, new: Mapping[str, str], ids: Sequence[int], at: float) -> None:
    rows = [
        {"id": number, "name": Name(target.scope, name).name, "url": url}
        for number, (name, url) in zip(ids, new.items(), strict=True)
    ]
    _NEW_FILES.run(
        tx,
        rows,
        dataset=target.id,
        scope=target.scope,
        purpose="input",
        state=FileState.CLOSED,
        created=at,
    )
    _NEW_COPIES.run(tx, rows, state=ReplicaState.AVAILABLE, created=at)
