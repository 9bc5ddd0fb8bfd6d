"""How every process of the farm starts: its settings, its log, and what it says when it can't start."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from grid.farm.home import Home, read_state, write_state
from grid.farm.locks import FileLock
from sitecfg.errors import GridError, from_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sitecfg.models import Site

_log = logging.getLogger(__name__)

__all__ = ["complaint", "forget_complaint", "reporting", "running", "settings"]


def settings(home: Home) -> Site:
    """Return the settings of a home; the environment may change them."""
    from sitecfg.load import load_site

    return load_site(home.root).site


@contextmanager
def reporting(name: str, place: Path) -> Iterator[None]:
    """Log to stderr, and leave the reason behind when a process can't go on.

    Parameters
    ----------
    name
        The process.
    place
        The home's folder.
    """
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
    )
    try:
        yield
    except GridError as error:
        _log.exception("%s can't go on", name)
        write_state(_complaint_of(name, Home(place)), error.to_json())
        sys.exit(error.exit_code)


def complaint(name: str, home: Home) -> GridError | None:
    """Return why a process could not go on, if it said so."""
    state = read_state(_complaint_of(name, home))
    return from_json(state) if state is not None else None


def forget_complaint(name: str, home: Home) -> None:
    """Forget what a process said; it is being started anew."""
    _complaint_of(name, home).unlink(missing_ok=True)


def running(home: Home) -> bool:
    """Whether a supervisor lives in this home."""
    if not home.supervisor_lock.exists():
        return False
    with FileLock(home.supervisor_lock) as lock:
        return not lock.alone()


def _complaint_of(name: str, home: Home) -> Path:
    return home.run / f"{name}.error.json"
