"""Bring a restored catalog and the files on disk together again: what was made since the backup, what has gone since.

What the catalog doesn't know is made again by the job that made it, for nothing but a commit makes a file true, and
the books of that commit were lost with the catalog. So nothing is adopted; until then nothing is removed either.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from catalog import backup, productions, sweep
from grid.farm.sweeper import Sweeper
from grid.storage.fetch import local_path
from sitecfg.errors import GridError
from sitecfg.points import reach

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from catalog.engine import Catalog

__all__ = ["Reconciliation", "reconcile"]


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What was found.

    Attributes
    ----------
    taken
        When the backup was taken, Unix seconds; None if the catalog is no restored one.
    again
        Files of each known production that the catalog doesn't know; its jobs make them again.
    unknown
        Files of each production that the catalog doesn't know either: its script has to be submitted again.
    unfinished
        Files that were never finished.
    missing
        Copies that the catalog knows and that aren't there, or have another size.
    """

    taken: float | None
    again: Mapping[str, int]
    unknown: Mapping[str, int]
    unfinished: int
    missing: tuple[str, ...]


def reconcile(catalog: Catalog, pool: Path, *, dry_run: bool = False) -> Reconciliation:
    """Compare a catalog with a pool, have every production planned again, and let the sweeper work. Idempotent.

    Opens every file of the pool that the catalog doesn't know.
    """
    made: Counter[str] = Counter()
    unfinished = 0
    for path in Sweeper(pool, age_s=0.0).orphans(catalog):
        production = _made_for(path)
        if production:
            made[production] += 1
        else:
            unfinished += 1
    with catalog.read() as tx:
        taken = backup.restored_at(tx)
        known = {one.name for one in productions.productions(tx)}
        missing = tuple(_missing(sweep.copies(tx)))
    if not dry_run:
        with catalog.write() as tx:
            productions.plan_again(tx, [one.id for one in productions.productions(tx)])
            backup.reconciled(tx)
            reach("reconcile.open")
        reach("reconcile.durable")
    return Reconciliation(
        taken,
        {name: count for name, count in sorted(made.items()) if name in known},
        {name: count for name, count in sorted(made.items()) if name not in known},
        unfinished,
        missing,
    )


def _made_for(path: Path) -> str:
    """Return the production that a finished file says it was made for; empty when it says nothing."""
    from grid.rootio.source import open_source

    if path.name.startswith("."):
        return ""
    try:
        with open_source(path) as source:
            return str((source.record or {}).get("production", ""))
    except GridError:
        return ""  # what can't be read was not finished, or is made again in any case


def _missing(copies: Iterable[tuple[str, int | None]]) -> Iterable[str]:
    for url, size in copies:
        path = local_path(url)
        if path is not None and not (path.is_file() and path.stat().st_size == size):
            yield url
