"""Register what process and merge jobs wrote: file, replica, parents and sections, in the commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from catalog import closure, counters, find, runs
from catalog.engine import now
from catalog.schema_files import file, parentage, replica
from catalog.states import DatasetState, FileState, ReplicaState
from sitecfg.errors import ClosureError, OutputExists, UsageError
from sitecfg.names import Name, physical_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from catalog.leases import Lease
    from catalog.results import Output
    from catalog.rows import Dataset, File

#: The tier of what process jobs write when it is merged afterwards.
UNMERGED = "unmerged"


def add_outputs(
    tx: Connection,
    production: int,
    lease: Lease,
    inputs: Sequence[File],
    written: Sequence[Output],
    *,
    every_stream: bool,
) -> None:
    """Make outputs known. ``every_stream``: there must be one for each stream, empty ones too.

    Raises
    ------
    UsageError
        An output isn't one that this run of this job can have: another production's dataset, another
        stream, a physical name without this epoch and start token.
    ClosureError
        A stream has no output, or an output's run sections don't add up.
    OutputExists
        A logical name is taken.
    """
    targets = {str(one): one for one in find.datasets(tx, production=production)}
    for one in written:
        _check(one, targets.get(one.dataset), lease, inputs)
    if every_stream:
        _every_stream(list(targets.values()), written, inputs)
    _free_names(tx, [Name(targets[one.dataset].scope, one.name) for one in written])
    ids = counters.take(tx, "file", len(written))
    at = now(tx)
    tx.execute(
        insert(file),
        [
            {
                "id": number,
                "dataset": targets[one.dataset].id,
                "scope": targets[one.dataset].scope,
                "name": one.name,
                "purpose": "output",
                "state": FileState.ON_DISK,
                "bytes": one.bytes,
                "adler32": one.adler32,
                "xxh3": one.xxh3,
                "events": one.events,
                "fingerprint": one.fingerprint,
                "content": one.content,
                "facts": {"trees": one.trees, "notes": list(one.notes)},
                "created": at,
            }
            for number, one in zip(ids, written, strict=True)
        ],
    )
    tx.execute(
        insert(replica),
        [
            {
                "file": number,
                "url": one.url,
                "state": ReplicaState.AVAILABLE,
                "epoch": lease.epoch,
                "runner": lease.runner,
                "created": at,
            }
            for number, one in zip(ids, written, strict=True)
        ],
    )
    tx.execute(
        insert(parentage), [{"child": number, "parent": parent.id} for number in ids for parent in inputs]
    )
    for number, one in zip(ids, written, strict=True):
        runs.record_sections(tx, number, one.sections)


def _check(one: Output, target: Dataset | None, lease: Lease, inputs: Sequence[File]) -> None:
    if target is None:
        raise UsageError("the production has no such dataset", where=one.dataset)
    if (target.stream, target.stream_bit) != (one.stream, one.stream_bit):
        raise UsageError(
            f"stream {one.stream} (bit {one.stream_bit}) doesn't belong there: "
            f"the dataset is for {target.stream} (bit {target.stream_bit})",
            where=one.dataset,
        )
    if target.state != DatasetState.OPEN:
        raise UsageError(f"the dataset is {target.state}", where=one.dataset)
    expected = physical_name(one.name, lease.epoch, lease.runner)
    if one.url.rpartition("/")[2] != expected:
        raise UsageError(f"this run's file would be named {expected}", where=one.url)
    names = {parent.name for parent in inputs}
    if one.parents and {parent.rpartition(":")[2] for parent in one.parents} != names:
        raise UsageError("the output's parents are not the job's inputs", where=one.name)
    wrong = closure.sections(one.events, one.sections)
    if wrong:
        raise ClosureError(wrong[0], where=one.name)


def _every_stream(targets: Sequence[Dataset], written: Sequence[Output], inputs: Sequence[File]) -> None:
    unmerged = [one for one in targets if one.tier == UNMERGED] or targets
    expected = {str(one) for one in unmerged if one.stream is not None}
    missing = sorted(expected ^ {one.dataset for one in written})
    if missing:
        raise ClosureError(
            f"there is not exactly one output per stream: {', '.join(missing)}",
            where=str(inputs[0]),
            todo="an empty stream has an empty output",
        )


def _free_names(tx: Connection, names: Sequence[Name]) -> None:
    """Refuse names that are taken; they are the few that one job writes."""
    if len(set(names)) != len(names):
        raise OutputExists("two outputs have one name", where=str(names[0]))
    for one in names:
        taken = tx.execute(
            select(file.c.id).where(file.c.scope == one.scope, file.c.name == one.name)
        ).scalar()
        if taken is not None:
            raise OutputExists("the logical name of the output is taken", where=str(one))
