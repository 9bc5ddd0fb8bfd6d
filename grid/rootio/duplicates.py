"""Find events that several files hold, exactly, and say which."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, Self

import numpy as np

from grid.rootio.outfile import output_error
from kernels import unique

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = ["Duplicates", "Finder"]

_NAMED: Final = 20
#: What is kept in memory before anything goes to disk.
_IN_MEMORY: Final = 4 << 20


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


class _Block(NamedTuple):
    """Events whose identities lie in the store: where, how many, and of what types."""

    at: int
    events: int
    dtypes: tuple[np.dtype[Any], ...]


class Finder:
    """Collects what identifies the events of all files.

    Of each event 8 bytes are held in memory, a hash; what identifies it is kept on disk, and read again only to compare
    those events whose hashes are equal. A context manager.

    Parameters
    ----------
    names
        What the columns are called; empty for hashes.
    folder
        Where there is room on disk; what is put there has no name, and is gone with the process.
    """

    def __init__(self, names: tuple[str, ...], folder: Path) -> None:
        self.names = names
        self._folder = folder
        self._store: IO[bytes] | None = None
        self._blocks: list[_Block] = []
        self._hashes: list[NDArray[np.uint64]] = []
        self._files: list[str] = []
        self._ends: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._store is not None:
            self._store.close()

    def add(self, file: str, columns: Sequence[NDArray[Any]], keys: NDArray[np.uint64]) -> None:
        """Append events of a file, with their :func:`kernels.fingerprint.event_keys`; files come one after the other.

        Raises
        ------
        NoSpace, OutputError
            If there is no room on disk.
        """
        size = len(keys)
        self._hashes.append(keys[:, 0].copy())
        try:
            if self._store is None:
                self._store = SpooledTemporaryFile(  # noqa: SIM115 -- closed on leaving
                    _IN_MEMORY, dir=str(self._folder)
                )
            self._blocks.append(_Block(self._store.tell(), size, tuple(column.dtype for column in columns)))
            for column in columns:
                self._store.write(np.ascontiguousarray(column).data)
            self._store.flush()  # what there is no room for is known here, not when it is read or closed
        except OSError as error:
            self._give_up()
            raise output_error(error, self._folder) from error
        if self._files and self._files[-1] == file:
            self._ends[-1] += size
        else:
            self._files.append(file)
            self._ends.append((self._ends[-1] if self._ends else 0) + size)

    def find(self) -> Duplicates:
        """Compare everything, exactly."""
        hashes = np.concatenate([np.zeros(0, np.uint64), *self._hashes])
        hashes.sort()
        repeated = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
        del hashes
        if not len(repeated):
            return Duplicates(by=self.names)
        entries, columns = self._having(repeated)
        pairs = unique.duplicates(columns)
        if not len(pairs):
            return Duplicates(by=self.names)
        named = [self._name(pair, entries, columns) for pair in pairs[:_NAMED].tolist()]
        file = np.searchsorted(np.asarray(self._ends), entries[pairs], side="right")
        between, counts = np.unique(file, axis=0, return_counts=True)
        return Duplicates(
            len(pairs),
            self.names,
            tuple(named),
            tuple(
                (self._files[a], self._files[b], count)
                for (a, b), count in zip(between.tolist(), counts.tolist(), strict=True)
            ),
        )

    def clear(self) -> None:
        """Forget all events."""
        self._blocks, self._hashes = [], []

    def _give_up(self) -> None:
        """Close the store though it can't be written."""
        if self._store is not None:
            with suppress(OSError):
                self._store.close()
            self._store = None

    def _having(self, repeated: NDArray[np.uint64]) -> tuple[NDArray[np.int64], list[NDArray[Any]]]:
        """Return the events that have one of these hashes, and what identifies each."""
        entries: list[NDArray[np.int64]] = []
        columns: list[list[NDArray[Any]]] = []
        before = 0
        for block, hashes in zip(self._blocks, self._hashes, strict=True):
            place = np.searchsorted(repeated, hashes)
            place[place == len(repeated)] = 0
            rows = np.flatnonzero(repeated[place] == hashes)
            if len(rows):
                entries.append(rows + before)
                columns.append([column[rows] for column in self._stored(block)])
            before += block.events
        return np.concatenate(entries), [np.concatenate(parts) for parts in zip(*columns, strict=True)]

    def _stored(self, block: _Block) -> Iterator[NDArray[Any]]:
        assert self._store is not None
        self._store.seek(block.at)
        for dtype in block.dtypes:
            yield np.frombuffer(self._store.read(dtype.itemsize * block.events), dtype)

    def _name(self, pair: list[int], entries: NDArray[np.int64], columns: Sequence[NDArray[Any]]) -> str:
        places = " and ".join(self._place(int(entries[row])) for row in pair)
        what = ", ".join(
            f"{name} {column[pair[0]]}" for name, column in zip(self.names, columns, strict=False)
        )
        return f"{what}: {places}" if what else f"the same values: {places}"

    def _place(self, entry: int) -> str:
        number = int(np.searchsorted(np.asarray(self._ends), entry, side="right"))
        before = self._ends[number - 1] if number else 0
        return f"{self._files[number]} entry {entry - before}"
