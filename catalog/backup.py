"""Copies of a catalog: taken while it is in use, and put where there is none.

A backup is itself a catalog, in one SQLite file, whatever database it was taken from: it can be opened, listed and
checked like any other, and restored into either kind of database.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from glob import escape
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select

from catalog import dialects
from catalog.batches import ROWS, batches
from catalog.engine import Catalog, create, now
from catalog.invariants import violations
from catalog.schema import metadata
from catalog.schema_work import counter
from sitecfg.errors import GridError, LedgerError, OutputError, OutputExists
from sitecfg.points import reach
from sitecfg.show import hide_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sqlalchemy import Connection

    from catalog.audit import Finding

__all__ = ["Backup", "backup", "check", "reconciled", "restore", "restored_at"]

#: The counter that a restored catalog has until it is reconciled: when its backup was taken, in Unix seconds.
_RESTORED = "restored"


@dataclass(frozen=True, slots=True)
class Backup:
    """What a copy holds: rows by table, and when it was taken, in Unix seconds."""

    taken: float
    rows: Mapping[str, int]


def backup(source: Catalog, target: Path) -> Backup:
    """Copy a catalog, as it is at one moment, to a new file. Others go on writing; blocks until it is durable.

    The file appears whole, or not at all.

    Raises
    ------
    OutputExists
        There is a file already.
    NoSpace, OutputError
        The disk refuses.
    """
    if target.exists():
        raise OutputExists("there is a file already", where=str(target), todo="give the backup another name")
    _forget_dead(target)
    part = _part(target, os.getpid())
    try:
        create(f"sqlite:///{part.absolute()}")
        with source.read() as tx, Catalog.open(f"sqlite:///{part.absolute()}") as copy:
            taken = now(tx)
            with copy.write() as out:
                rows = _copy(tx, out)
                _mark(out, taken)
                reach("backup.open")
        with part.open("rb") as written:
            os.fsync(written.fileno())
        reach("backup.durable")
        os.link(part, target)
        reach("backup.named")
        folder = os.open(target.absolute().parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except GridError:
        raise
    except FileExistsError as error:
        raise OutputExists("there is a file already", where=str(target)) from error
    except OSError as error:
        raise OutputError(
            f"the backup can't get its name: {error.strerror}",
            where=str(target),
            todo="write it to a disk that knows hard links, and copy it from there",
        ) from error
    finally:
        for left in _parts(target):
            if left.name.startswith(part.name):
                left.unlink()
    return Backup(taken, rows)


def _part(target: Path, process: int) -> Path:
    """Return the hidden name under which a process fills a backup; SQLite puts others beside it, which begin alike."""
    return target.with_name(f".{target.name}.{process}.part")


def _parts(target: Path) -> list[Path]:
    return list(target.parent.glob(f".{escape(target.name)}.*.part*"))


def _forget_dead(target: Path) -> None:
    """Remove what processes have left that were killed while they wrote this backup."""
    for left in _parts(target):
        try:
            os.kill(int(left.name.removeprefix(f".{target.name}.").partition(".")[0]), 0)
        except ProcessLookupError:
            left.unlink(missing_ok=True)
        except (ValueError, PermissionError):
            continue  # somebody else's


def restore(source: Path, url: str) -> Backup:
    """Fill a place where there is no catalog from a backup, in one transaction.

    The catalog that comes back is older than the files: nothing is swept before it is reconciled.

    Raises
    ------
    OutputExists
        There is a catalog already, with rows in it.
    SchemaRevision, NotFound
        The backup isn't one of this software.
    """
    with Catalog.open(f"sqlite:///{source.absolute()}") as copy, copy.read() as tx:
        taken = restored_at(tx)
        if taken is None:  # the sweeper would take it for the present truth
            raise LedgerError(
                "this catalog is no backup", where=str(source), todo="take one: grid catalog backup"
            )
        create(url)
        with Catalog.open(url) as target, target.write() as out:
            if any(_counts(out).values()):
                raise OutputExists(
                    "there is a catalog already", where=hide_secrets(url), todo="restore to a fresh place"
                )
            rows = _copy(tx, out)
            dialects.continue_numbers(out, metadata)
            reach("restore.open")
    reach("restore.durable")
    return Backup(taken, rows)


def check(source: Catalog) -> list[Finding]:
    """Return what is wrong in a catalog or a backup: the database's own check of its pages, and every invariant."""
    with source.read() as tx:
        damage = dialects.damaged_parts(tx)
        if damage:
            raise LedgerError(
                f"the database is damaged: {'; '.join(damage[:3])}",
                where=hide_secrets(source.engine.url.render_as_string()),
                todo="restore a backup: grid catalog restore",
            )
        return violations(tx)


def restored_at(tx: Connection) -> float | None:
    """Return when the backup was taken from which this catalog was restored; None once it is reconciled."""
    found = tx.execute(select(counter.c.last).where(counter.c.name == _RESTORED)).scalar()
    return None if found is None else float(found)


def reconciled(tx: Connection) -> None:
    """Take the mark of a restored catalog away: what lies in the pool and isn't known may be swept. Idempotent."""
    tx.execute(delete(counter).where(counter.c.name == _RESTORED))


def _mark(out: Connection, taken: float) -> None:
    reconciled(out)
    out.execute(insert(counter).values(name=_RESTORED, last=int(taken)))


def _copy(tx: Connection, out: Connection) -> dict[str, int]:
    """Copy every row, parents before children; return how many there were of each table."""
    out.execute(delete(counter))
    rows: dict[str, int] = {}
    for table in metadata.sorted_tables:
        found = tx.execute(select(table).execution_options(yield_per=ROWS)).mappings()
        rows[table.name] = 0
        for piece in batches(found, ROWS):
            out.execute(insert(table), [dict(row) for row in piece])
            rows[table.name] += len(piece)
    del rows[counter.name]
    return rows


def _counts(tx: Connection) -> dict[str, int]:
    """Count the rows of each table but the counters, of which a backup has one more."""
    return {
        table.name: tx.execute(select(func.count()).select_from(table)).scalar_one()
        for table in metadata.sorted_tables
        if table is not counter
    }
