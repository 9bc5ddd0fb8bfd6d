"""Remove what attempts left behind in the pool and nobody registered."""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from catalog import backup, sweep
from sitecfg.points import reach

if TYPE_CHECKING:
    from catalog.engine import Catalog

__all__ = ["Sweeper"]

_log = logging.getLogger(__name__)

#: A file that one attempt wrote, finished or not: ``<logical>.e<epoch>.<runner8>.root``, perhaps with a mark before
#: or behind it. Nothing else in the pool is ever touched.
_OURS = re.compile(r"\.e\d+\.(?P<runner>[0-9a-z]{8})\.root")


class Sweeper:
    """A daemon that removes files of attempts that ended without a commit.

    A file goes only if all of this holds: its name says which attempt wrote it, no run with that start token can still
    commit, no row of the catalog names it, and it has not been written to for a lease and a grace. The folder is listed
    first and the catalog asked afterwards, so what is committed meanwhile is seen. A catalog that was restored from a
    backup doesn't know what was written since: then nothing goes before it is reconciled.

    Parameters
    ----------
    pool
        The folder that is swept, with its subfolders.
    age_s
        A lease and a grace, seconds.
    """

    name = "sweep"

    def __init__(self, pool: Path, age_s: float) -> None:
        self._pool = pool
        self._age_s = age_s
        self._next = 0.0

    def step(self, catalog: Catalog) -> float:
        """Sweep, if it is time to; returns the seconds until the next time. Commits wake it in vain."""
        left = self._next - time.monotonic()
        if left > 0:
            return left
        pause = max(1.0, self._age_s / 4)
        self._next = time.monotonic() + pause
        with catalog.read() as tx:
            if backup.restored_at(tx) is not None:
                _log.warning(
                    "nothing is swept: the catalog is older than the files until 'grid catalog reconcile'"
                )
                return pause
        for path in self.orphans(catalog):
            reach("sweep.found")
            path.unlink(missing_ok=True)
            _log.info("swept %s", path)
            reach("sweep.removed")
        return pause

    def orphans(self, catalog: Catalog) -> list[Path]:
        """Return what would be removed now; nothing is changed."""
        oldest = time.time() - self._age_s  # compared with the file system's clock, which is this host's
        old = {}
        for folder, _, names in os.walk(self._pool, onerror=_unless_gone):
            for name in names:
                match, path = _OURS.search(name), Path(folder, name)
                if match and _written_before(path, oldest):
                    old[path] = match["runner"]
        if not old:
            return []
        with catalog.read() as tx:
            live = {runner[:8] for runner in sweep.live_runners(tx)}
            known = sweep.registered(tx, [path.as_uri() for path in old])
        return [path for path, runner in old.items() if runner not in live and path.as_uri() not in known]


def _written_before(path: Path, when: float) -> bool:
    """Whether there is a file that nobody has written to since; attempts name and remove theirs meanwhile."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_mtime < when


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
