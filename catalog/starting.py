"""Begin claimed jobs: bind each to one physical run, and say what there is to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from catalog import find, hot
from catalog.batches import rounds
from catalog.engine import now
from catalog.holding import as_row, extend, stale
from catalog.leases import Begun, Start
from catalog.states import Outcome
from sitecfg.errors import StaleLease

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import TypeAlias

    from sqlalchemy import Connection, Row

    from catalog.leases import Lease
    from catalog.rows import File

    _Row: TypeAlias = Row[*tuple[Any, ...]]


def begin(
    tx: Connection,
    lease: Lease,
    *,
    host: str,
    worker: str,
    lease_s: float,
    pid: int | None = None,
) -> Begun:
    """Bind a claim to one physical run by its start token, and say what there is to do.

    Idempotent for the same start token. The first token wins: a second start of the same claim, such as one
    that Dask makes by itself, is refused.

    Raises
    ------
    StaleLease
        Another run began this claim, or the claim ran out and the job was claimed again.
    """
    (answer,) = begin_all(tx, [Start(lease, host, worker, pid, lease_s)])
    if isinstance(answer, StaleLease):
        raise answer
    return answer


def begin_all(tx: Connection, starts: Sequence[Start]) -> list[Begun | StaleLease]:
    """Begin several claims at once, as :func:`begin` does each of them; the answers are in their order.

    A start that is refused is answered with its error, and stops none of the others.
    """
    answers: list[Begun | StaleLease] = []
    for part in rounds(starts, lambda start: start.lease.job):
        answers += _begin_different(tx, part)
    return answers


def _begin_different(tx: Connection, starts: Sequence[Start]) -> list[Begun | StaleLease]:
    at = now(tx)
    rows = [{**as_row(start.lease), "worker": start.worker, "until": at + start.lease_s} for start in starts]
    fresh = set(hot.BEGIN.run(tx, rows).scalars())
    going = {start.lease for start in starts if start.lease.job in fresh}
    _record(tx, [start for start in starts if start.lease in going], at)
    for start in starts:
        if start.lease not in going:
            going |= extend(tx, [start.lease], at + start.lease_s)
    tasks = {row.id: row for row in hot.TASK.run(tx, [{"job": lease.job} for lease in going]).all()}
    owners = _productions(tx, {row.production for row in tasks.values()})
    inputs = find.inputs_of_all(tx, list(tasks))
    return [
        _begun(start.lease, tasks[start.lease.job], owners, inputs)
        if start.lease in going
        else stale(start.lease, "it can't be begun")
        for start in starts
    ]


def _record(tx: Connection, starts: Sequence[Start], at: float) -> None:
    if not starts:
        return
    rows = [
        {
            **as_row(start.lease),
            "worker": start.worker,
            "host": start.host,
            "pid": start.pid,
            "started": at,
            "outcome": Outcome.RUNNING,
        }
        for start in starts
    ]
    hot.STARTED.run(tx, rows)


def _productions(tx: Connection, numbers: Iterable[int | None]) -> dict[int | None, _Row]:
    """Return name and shared specs of productions: read once, however many of their jobs begin."""
    wanted = [{"production": number} for number in numbers if number is not None]
    if not wanted:
        return {}
    return {row.id: row for row in hot.OWNER.run(tx, wanted)}


def _begun(
    lease: Lease, row: _Row, owners: Mapping[int | None, _Row], inputs: Mapping[int, Sequence[File]]
) -> Begun:
    owner = owners.get(row.production)
    spec = {**((owner.shared or {}).get(row.kind, {}) if owner else {}), **row.spec}
    return Begun(
        lease.job,
        lease.epoch,
        lease.runner,
        row.kind,
        owner.name if owner else None,
        row.key,
        spec,
        tuple(inputs.get(lease.job, ())),
    )
