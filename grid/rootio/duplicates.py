"""Find events that several files hold, exactly, and say which."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from kernels import unique

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Duplicates", "Finder"]

_NAMED = 20


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Events that occur more than once.

    Attributes
    ----------
    events
        How many entries repeat an earlier one.
    by
        What was compared: the names of the identity's branches, or "" for a hash of each event's values.
    first
        The first of them, in words.
    files
        For each pair of files (earlier, later) that share events, how many.
    """

    events: int = 0
    by: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    files: tuple[tuple[str, str, int], ...] = ()


@dataclass
class Finder:
    """Collects what identifies the events of all files.

    Parameters
    ----------
    names
        What the columns are called; empty for hashes.
    """

    names: tuple[str, ...]
    _columns: list[list[NDArray[Any]]] = field(default_factory=list)
    _files: list[str] = field(default_factory=list)
    _ends: list[int] = field(default_factory=list)

    def add(self, file: str, columns: Sequence[NDArray[Any]]) -> None:
        """Append events of a file; the files come one after the other."""
        self._columns.append([column.copy() for column in columns])
        size = len(columns[0])
        if self._files and self._files[-1] == file:
            self._ends[-1] += size
        else:
            self._files.append(file)
            self._ends.append((self._ends[-1] if self._ends else 0) + size)

    def find(self) -> Duplicates:
        """Compare everything; takes one sort, or less, in memory."""
        if not self._columns:
            return Duplicates(by=self.names)
        columns = [np.concatenate(parts) for parts in zip(*self._columns, strict=True)]
        pairs = unique.duplicates(columns)
        if not len(pairs):
            return Duplicates(by=self.names)
        file = np.searchsorted(np.asarray(self._ends), pairs, side="right")
        between, counts = np.unique(file, axis=0, return_counts=True)
        return Duplicates(
            len(pairs),
            self.names,
            tuple(self._name(pair, columns) for pair in pairs[:_NAMED].tolist()),
            tuple(
                (self._files[a], self._files[b], count)
                for (a, b), count in zip(between.tolist(), counts.tolist(), strict=True)
            ),
        )

    def _name(self, pair: list[int], columns: Sequence[NDArray[Any]]) -> str:
        places = " and ".join(self._place(entry) for entry in pair)
        what = ", ".join(
            f"{name} {column[pair[0]]}" for name, column in zip(self.names, columns, strict=False)
        )
        return f"{what}: {places}" if what else f"the same values: {places}"

    def _place(self, entry: int) -> str:
        number = int(np.searchsorted(np.asarray(self._ends), entry, side="right"))
        before = self._ends[number - 1] if number else 0
        return f"{self._files[number]} entry {entry - before}"
