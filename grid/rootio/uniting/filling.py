"""Make the baskets that an input lacks, and those of the branches that it has in a narrower type."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from grid.rootio.backfill import check_counts, not_as_long, widened
from grid.rootio.columns import Column
from grid.rootio.format.baskets import BasketKey
from grid.rootio.gather.pieces import read_pieces
from grid.rootio.verbatim.fitting import Made
from grid.rootio.verbatim.proving import LARGEST
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from grid.rootio.columns import Branch
    from grid.rootio.gather.pieces import Pieces
    from grid.rootio.gather.unpacked import Entries
    from grid.rootio.image import Image

__all__ = ["Filling", "Task"]

#: The least and the most that a basket holds, whatever a branch says of it.
_LEAST: Final = 1 << 12
_MOST: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class Task:
    """A branch of the output that isn't simply copied.

    Attributes
    ----------
    branch
        Its number in the output.
    wanted
        What it is there.
    source, mine
        Its number in the input, and what it is there; ``None`` if there is none.
    """

    branch: int
    wanted: Branch
    source: int | None
    mine: Branch | None

    @property
    def packs(self) -> bool:
        """Whether its baskets are made; else it is only read, to know how long lists are."""
        return self.mine is None or self.mine.dtype != self.wanted.dtype


class Filling:
    """What one input does not have as the output has it.

    Parameters
    ----------
    tasks
        For which branches.
    pieces
        The baskets of the input, by its own numbers.
    numbers
        What the output's branches say of themselves.
    entries
        How many the input has.
    where
        File and tree, for errors.
    counting
        The branches of the output that count others.
    largest
        Told the largest value of these.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        pieces: Mapping[int, Pieces],
        numbers: Mapping[str, NDArray[Any]],
        entries: int,
        where: str,
        counting: Collection[str],
        largest: Callable[[str, int], None],
    ) -> None:
        # what is read comes first: it shows whether there are as many entries as the tree says
        self._tasks = {task.wanted.name: task for task in sorted(tasks, key=lambda task: task.mine is None)}
        self._pieces, self._numbers, self._entries, self._where = pieces, numbers, entries, where
        self._counting, self._largest = counting, largest
        self._known: dict[str, NDArray[np.int64]] = {}
        #: Packed bytes whose checksums were tested.
        self.covered = 0

    def baskets(self, image: Image, tree: str) -> Iterator[Made]:
        """Make the baskets, branch by branch.

        Raises
        ------
        CorruptFile
            If what is read is not what it says.
        SchemaMismatch, UnsupportedContent
            If a list and its counter contradict each other, or a value is too large.
        """
        for task in self._tasks.values() if self._entries else ():
            wanted = task.wanted
            if wanted.name in self._counting:
                columns = self._told(wanted, self._lengths(image, wanted.name))
            elif task.mine is None:
                lengths = None if wanted.counter is None else self._lengths(image, wanted.counter)
                columns = self._nothing(wanted, lengths)
            else:
                lengths = None if wanted.counter is None else self._lengths(image, wanted.counter)
                columns = self._read(image, task, task.mine, lengths)
            if task.packs:
                yield from self._cut(task, columns, tree)
            else:
                deque(columns, maxlen=0)  # lengths are compared

    def _cut(self, task: Task, columns: Iterator[tuple[int, Column]], tree: str) -> Iterator[Made]:
        """Cut columns into baskets."""
        wanted = task.wanted
        room = int(self._numbers["fBasketSize"][task.branch])
        size = min(max(room, _LEAST), _MOST)
        width = wanted.dtype.itemsize * math.prod(wanted.shape)
        key = BasketKey(wanted.name, tree, room, 0 if wanted.jagged else width, 0)
        disk = wanted.dtype.newbyteorder(">")
        for first, column in columns:
            edges = (column.offsets[0] if wanted.jagged else np.arange(len(column) + 1)) * width
            at = 0
            while at < len(column):
                stop = max(at + 1, int(np.searchsorted(edges, edges[at] + size, side="right")) - 1)
                data = column.slice(at, stop).values.astype(disk).tobytes()
                places = edges[at : stop + 1] - edges[at] if wanted.jagged else None
                held = key.with_offsets(data, places)
                yield Made(task.branch, first + at, stop - at, held, len(data), key)
                at = stop

    def _told(self, wanted: Branch, values: NDArray[np.int64]) -> Iterator[tuple[int, Column]]:
        """Yield what a branch says that counts others."""
        for at in range(0, self._entries, _MOST):
            yield at, widened(Column(values[at : at + _MOST]), wanted, self._where, at)

    def _nothing(self, wanted: Branch, lengths: NDArray[np.int64] | None) -> Iterator[tuple[int, Column]]:
        """Yield what stands for a branch that isn't there: 0, in lists as often as their counter says."""
        most = max(1, _MOST // (wanted.dtype.itemsize * math.prod(wanted.shape)))
        if lengths is None:
            for at in range(0, self._entries, most):
                shape = min(most, self._entries - at), *wanted.shape
                yield at, Column(np.zeros(shape, wanted.dtype))
            return
        check_counts(wanted, lengths, self._where)
        ends = np.concatenate([[0], np.cumsum(lengths)])
        at = 0
        while at < self._entries:
            stop = max(at + 1, int(np.searchsorted(ends, ends[at] + most, side="right")) - 1)
            offsets = ends[at : stop + 1] - ends[at]
            yield at, Column(np.zeros((int(offsets[-1]), *wanted.shape), wanted.dtype), (offsets,))
            at = stop

    def _lengths(self, image: Image, counter: str) -> NDArray[np.int64]:
        """Return what a branch says that counts lists, int64 ``[entries]``; if it isn't there, how long they are."""
        if counter not in self._known:
            task = self._tasks[counter]
            lists = [one for one in self._tasks.values() if one.wanted.counter == counter and one.mine]
            if task.mine is not None:
                parts = [column.values for _, column in self._read(image, task, task.mine, None)]
            elif lists:
                assert lists[0].mine is not None
                parts = [column.counts for _, column in self._read(image, lists[0], lists[0].mine, None)]
            else:
                parts = [np.zeros(self._entries, np.int64)]
            found = self._known[counter] = np.concatenate(parts).astype(np.int64)
            self._largest(counter, int(found.max()))
        return self._known[counter]

    # What is read.

    def _read(
        self, image: Image, task: Task, mine: Branch, counts: NDArray[np.int64] | None
    ) -> Iterator[tuple[int, Column]]:
        """Yield the values of a branch, basket by basket, in the output's type."""
        assert task.source is not None
        pieces = self._pieces.get(task.source)
        if pieces is None or pieces.edges[-1] != self._entries:
            raise CorruptFile(f"the baskets of branch {mine.name!r} are not there", where=self._where)
        for seek in pieces.seeks:
            if image.key(seek, f"a basket of {mine.name}").object_bytes > LARGEST:
                raise UnsupportedContent(
                    f"a basket of branch {mine.name!r} unpacks to more than {LARGEST} bytes",
                    where=self._where,
                )
        first = 0
        for raw, entries in read_pieces(image, pieces, self._entries):
            self.covered += 0 if raw is None else raw.covered
            column = widened(self._column(entries, mine), task.wanted, self._where, first)
            stop = first + len(column)
            if counts is not None and (column.counts != counts[first:stop]).any():
                raise not_as_long(task.wanted, self._where)
            yield first, column
            first = stop

    def _column(self, entries: Entries, mine: Branch) -> Column:
        """Return the values of entries, from their bytes."""
        width = mine.dtype.itemsize * math.prod(mine.shape)
        values = np.frombuffer(entries.data, mine.dtype.newbyteorder(">"))
        edges = entries.edges
        if edges is None:
            edges = np.arange(entries.count + 1) * entries.width
        offsets, rest = np.divmod(edges, width)
        if rest.any() or (not mine.jagged and (np.diff(offsets) != 1).any()):
            raise CorruptFile(
                f"a basket of branch {mine.name!r} has an entry of another size than its type",
                where=self._where,
            )
        values = values.astype(mine.dtype).reshape(-1, *mine.shape)
        return Column(values, (offsets,) if mine.jagged else ())
