"""Questions about datasets and files. Nothing here changes anything."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from catalog.given import ForRows, among
from catalog.rows import Dataset, File
from catalog.schema import RowId
from catalog.schema_files import dataset as dataset_table
from catalog.schema_files import file as file_table
from catalog.schema_files import file_section, parentage, replica
from catalog.schema_work import job_input
from catalog.states import ReplicaState
from sitecfg.errors import NotFound
from sitecfg.names import near

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection

_DATASET = [dataset_table.c[name] for name in Dataset.__slots__]
_FILE = [file_table.c[name] for name in File.__slots__ if name != "urls"]
_WITH_COPIES = select(*_FILE, replica.c.url).join_from(
    file_table,
    replica,
    (replica.c.file == file_table.c.id) & (replica.c.state == ReplicaState.AVAILABLE),
    isouter=True,
)
_OLDEST_COPY = (replica.c.created, replica.c.url)
_INPUTS = ForRows(
    lambda given: (
        select(job_input.c.job, job_input.c.file)
        .where(among(job_input.c.job, given.c.job))
        .order_by(job_input.c.job, job_input.c.position)
    ),
    job=RowId,
)
_BY_ID = ForRows(
    lambda given: _WITH_COPIES.where(among(file_table.c.id, given.c.file)).order_by(
        file_table.c.id, *_OLDEST_COPY
    ),
    file=RowId,
)


def dataset_or_none(tx: Connection, scope: str, name: str) -> Dataset | None:
    """Return the dataset ``scope:name``, or None."""
    row = tx.execute(
        select(*_DATASET).where(dataset_table.c.scope == scope, dataset_table.c.name == name)
    ).one_or_none()
    return None if row is None else Dataset(*row)


def dataset(tx: Connection, scope: str, name: str) -> Dataset:
    """Return the dataset ``scope:name``.

    Raises
    ------
    NotFound
        There is none; near names are listed.
    """
    found = dataset_or_none(tx, scope, name)
    if found is None:
        all_names = [f"{row.scope}:{row.name}" for row in tx.execute(select(*_DATASET))]
        alike = near(f"{scope}:{name}", all_names)
        raise NotFound(
            "there is no such dataset",
            where=f"{scope}:{name}",
            todo=f"did you mean {', '.join(alike)}?" if alike else "list them with: grid ls",
        )
    return found


def dataset_by_id(tx: Connection, dataset_id: int) -> Dataset:
    """Return a dataset by its number.

    Raises
    ------
    NotFound
        There is none.
    """
    row = tx.execute(select(*_DATASET).where(dataset_table.c.id == dataset_id)).one_or_none()
    if row is None:
        raise NotFound("there is no such dataset", where=f"dataset {dataset_id}")
    return Dataset(*row)


def datasets(tx: Connection, *, production: int | None = None) -> list[Dataset]:
    """Return every dataset, or those of one production, by name."""
    query = select(*_DATASET).order_by(dataset_table.c.scope, dataset_table.c.name)
    if production is not None:
        query = query.where(dataset_table.c.production == production)
    return [Dataset(*row) for row in tx.execute(query)]


def file(tx: Connection, scope: str, name: str) -> File:
    """Return the file ``scope:name`` with the URLs of its readable copies.

    Raises
    ------
    NotFound
        There is none.
    """
    found = _files(tx, (file_table.c.scope == scope) & (file_table.c.name == name))
    if not found:
        raise NotFound("there is no such file", where=f"{scope}:{name}", todo="list them with: grid ls")
    return found[0]


def files(tx: Connection, dataset_id: int, *, states: Iterable[str] | None = None) -> list[File]:
    """Return a dataset's files by name, with the URLs of their readable copies."""
    where = file_table.c.dataset == dataset_id
    if states is not None:
        where &= file_table.c.state.in_(list(states))
    return _files(tx, where)


def files_by_id(tx: Connection, ids: Iterable[int]) -> dict[int, File]:
    """Return files by their numbers; a number that isn't there is left out."""
    wanted = [{"file": number} for number in ids]
    return {one.id: one for one in _fold(_BY_ID.run(tx, wanted).all())} if wanted else {}


def inputs_of(tx: Connection, job: int) -> list[File]:
    """Return a job's input files in their order."""
    return inputs_of_all(tx, [job]).get(job, [])


def inputs_of_all(tx: Connection, jobs: Sequence[int]) -> dict[int, list[File]]:
    """Return the input files of jobs, each in their order; a job without inputs is left out."""
    pairs = _INPUTS.run(tx, [{"job": job} for job in jobs]).all()
    known = files_by_id(tx, {pair.file for pair in pairs})
    found: dict[int, list[File]] = {}
    for pair in pairs:
        found.setdefault(pair.job, []).append(known[pair.file])
    return found


def facts(tx: Connection, file_id: int) -> dict[str, Any]:
    """Return what intake or the writing step recorded beside the columns: trees, notes, record."""
    found = tx.execute(select(file_table.c.facts).where(file_table.c.id == file_id)).scalar_one_or_none()
    return dict(found or {})


def sections(tx: Connection, file_id: int) -> list[tuple[int, int, int]]:
    """Return a file's ``(run, section, events)``, in order."""
    query = (
        select(file_section.c.run, file_section.c.section, file_section.c.events)
        .where(file_section.c.file == file_id)
        .order_by(file_section.c.run, file_section.c.section)
    )
    return [(row.run, row.section, row.events) for row in tx.execute(query)]


def parents(tx: Connection, file_id: int) -> list[File]:
    """Return the files that this one was made from, by name."""
    return _files(tx, file_table.c.id.in_(select(parentage.c.parent).where(parentage.c.child == file_id)))


def children(tx: Connection, file_id: int) -> list[File]:
    """Return the files that were made from this one, by name."""
    return _files(tx, file_table.c.id.in_(select(parentage.c.child).where(parentage.c.parent == file_id)))


def _files(tx: Connection, where: ColumnElement[bool]) -> list[File]:
    query = _WITH_COPIES.where(where).order_by(file_table.c.scope, file_table.c.name, *_OLDEST_COPY)
    return list(_fold(tx.execute(query).all()))


def _fold(rows: Iterable[Sequence[Any]]) -> Iterator[File]:
    """Join the rows of one file, which differ in the URL only."""
    for _, group in groupby(rows, key=lambda row: row[0]):
        same = list(group)
        urls = tuple(row[-1] for row in same if row[-1] is not None)
        yield File(*(*same[0][:-1], urls))
