"""What tells the events of copied files apart, collected over all inputs, and held against the output."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from grid.rootio.duplicates import Finder
from grid.rootio.known_branches import DEFAULT_IDENTITY
from grid.rootio.merging import events_occur_twice, not_looked_at
from grid.rootio.sections import check_countable, listed, sections_of
from kernels import fingerprint
from sitecfg.errors import ClosureError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from grid.rootio.duplicates import Duplicates
    from grid.rootio.merging import MergeOptions

__all__ = ["EventIds"]

#: So many events are looked at together.
_AT_ONCE: Final = 1 << 20


class EventIds:
    """The identities of all events of a merge, or hashes of the events where they have none. A context manager.

    Parameters
    ----------
    options
        How files are merged.
    folder
        Where there is room on disk.

    Attributes
    ----------
    looked
        Whether anything tells the events apart.
    sections
        The run sections of the output and their events, once it was held against the inputs.
    """

    def __init__(self, options: MergeOptions, folder: Path) -> None:
        self._options = options
        self._finder = Finder((), folder)
        self._total, self._seen = np.zeros(2, np.uint64), np.zeros(2, np.uint64)
        self._sections = Counter[tuple[int, int]]()
        self._names: tuple[str, ...] = ()
        self.looked = False
        self.sections: tuple[tuple[int, int, int], ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finder.__exit__(kind, error, trace)

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of all events, if they have an identity."""
        return fingerprint.to_hex(self._total) if self._names else None

    def add(
        self, names: tuple[str, ...], columns: Sequence[NDArray[Any]], file: str, tree: str
    ) -> str | None:
        """Take in the events of an input; return their fingerprint, if they have an identity (`names`).

        Raises
        ------
        UsageError
            If events that occur twice are to be refused, and nothing tells them apart.
        """
        if not columns and self._options.duplicates == "refuse":
            raise not_looked_at(self._options.verify)
        if not columns:
            return None
        self.looked = True
        self._names = self._finder.names = names
        keys = fingerprint.event_keys(columns)
        self._finder.add(file, columns, keys)
        if not names:
            return None
        for name, values in zip(names, columns, strict=True):
            if name in DEFAULT_IDENTITY[:2]:
                check_countable(name, values, f"{file}: {tree}/{name}")
        words = fingerprint.fingerprint(keys)
        self._total += words
        return fingerprint.to_hex(words)

    def duplicates(self, reference: str) -> Duplicates:
        """Return the events that occur twice.

        Raises
        ------
        DuplicateEvents
            If there are some, and they are to be refused.
        """
        found = self._finder.find()
        self._finder.clear()
        if found.events and self._options.duplicates == "refuse":
            raise events_occur_twice(found, reference)
        return found

    def see(self, columns: Sequence[NDArray[Any]]) -> None:
        """Take in some events of the output; in any order."""
        for start in range(0, len(columns[0]) if columns else 0, _AT_ONCE):
            some = [column[start : start + _AT_ONCE] for column in columns]
            self._seen += fingerprint.fingerprint(fingerprint.event_keys(some))
            for run, section, events in sections_of(dict(zip(self._names, some, strict=False))):
                self._sections[run, section] += events

    def hold(self, path: str) -> None:
        """Hold the events of the output, all of which were seen, against those of the inputs.

        Raises
        ------
        ClosureError
            If they are others.
        """
        if self._names and (self._seen != self._total).any():
            raise ClosureError("it holds other events than its inputs", where=path)
        self.sections = listed(self._sections)

    def notes(self, duplicates: Duplicates) -> list[str]:
        """Say what is not known of the events, and what is odd."""
        notes = []
        if duplicates.events:
            notes.append(f"{duplicates.events} events occur more than once; all of them were kept")
        if not self._names and self._options.verify == "proven":
            notes.append("events have no identity: a hash of each event's bytes was compared")
        elif not self._names:
            notes.append("events were not looked at: whether some occur twice is not known")
        return notes
