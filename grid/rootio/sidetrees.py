"""Merge trees that hold no events, such as Runs and LuminosityBlocks: nothing lost, nothing doubled.

Rows of one original file are the same rows wherever they were copied to, and are kept once. Rows of
different original files are all kept; but a tree of nothing than runs and run sections says each
only once. Where nobody recorded from which file the rows of a run or run section are, rows that are
the same in every value are kept once, and a note says so. Rows without a run are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from grid.rootio.events import DEFAULT_IDENTITY
from grid.rootio.origins import Stretch, known_origins
from grid.rootio.schema import same_branches
from grid.rootio.tally import Tally, content_hashes
from kernels import unique
from sitecfg.errors import ClosureError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from numpy.typing import NDArray

    from grid.rootio.carry import Carried
    from grid.rootio.columns import Column
    from grid.rootio.merging import MergeOptions
    from grid.rootio.sink import Sink, SinkTree
    from grid.rootio.source import Source, TreeInfo

__all__ = ["SideTree", "SideTrees"]


@dataclass
class SideTree:
    """One such tree of the merged file.

    Parameters
    ----------
    carried
        What is written of it; the first input that has it decides.
    out
        Where it is written.
    keys
        The branches that name a run or a run section.
    event
        The branches that name an event.
    everything
        Keep all rows, whatever they are.
    """

    carried: Carried
    out: SinkTree
    keys: Collection[str]
    event: Collection[str]
    everything: bool = False
    tally: Tally = field(default_factory=Tally)
    stretches: list[Stretch] = field(default_factory=list)
    #: Rows that were left out because they are there already.
    repeated: int = 0
    #: The same, found by their values alone.
    guessed: int = 0
    _seen: dict[str, Tally] = field(default_factory=dict)
    _rows: NDArray[np.uint64] = field(default_factory=lambda: np.zeros((0, 2), np.uint64))
    _unknown: NDArray[np.uint64] = field(default_factory=lambda: np.zeros((0, 2), np.uint64))

    @property
    def _only_keys(self) -> bool:
        return set(self.carried.names) <= set(self.keys)

    @property
    def _by_section(self) -> bool:
        """Whether a row belongs to a run or run section, not to an event or to nothing at all."""
        names = set(self.carried.names)
        return bool(names & set(self.keys)) and not names & set(self.event)

    def add(self, source: Source, memory_bytes: int) -> None:
        """Append what is new in the tree of the next input.

        Raises
        ------
        ClosureError
            If rows that should be those of an earlier input differ from them.
        """
        start = 0
        fresh: list[NDArray[np.uint64]] = []
        for stretch in known_origins(source, self.carried.path):
            stop = start + stretch.rows
            fresh += self._add(source, stretch, start, stop, memory_bytes)
            start = stop
        if fresh:
            self._rows = np.concatenate([self._rows, *fresh])

    def _add(
        self, source: Source, stretch: Stretch, start: int, stop: int, memory_bytes: int
    ) -> list[NDArray[np.uint64]]:
        tally, fresh = Tally(), []
        again = stretch.origin in self._seen and not self.everything
        for columns, rows in self._read(source, start, stop, memory_bytes):
            tally.add(rows[:, 0].copy(), None)
            index = np.arange(len(rows), dtype=np.int64)
            if again and not self._only_keys:
                self.repeated += len(rows)
                continue
            if not self.everything:
                index = self._new(stretch, rows)
            self._write(stretch, columns, rows, index)
            fresh.append(rows[index])
        if stretch.origin:
            if again and (wrong := self._seen[stretch.origin].difference(tally)):
                raise ClosureError(
                    f"its rows should be those of an earlier input: {wrong.replace('events', 'rows')}",
                    where=f"{source.url}: {self.carried.path}",
                )
            self._seen.setdefault(stretch.origin, tally)
        elif fresh:
            self._unknown = np.concatenate([self._unknown, *fresh])
        return fresh

    def _read(
        self, source: Source, start: int, stop: int, memory_bytes: int
    ) -> Iterator[tuple[dict[str, Column], NDArray[np.uint64]]]:
        """Yield rows, and two independent hashes of each, uint64 ``[n, 2]``."""
        path, branches = self.carried.path, {self.carried.path: self.carried.branches}
        for low, high in source.ranges({path: self.carried.names}, memory_bytes):
            first, last = max(low, start), min(high, stop)
            if first < last:
                columns = source.read(path, self.carried.names, first, last)
                trees = {path: columns}
                yield columns, np.stack([content_hashes(trees, branches, round_=r) for r in (0, 1)], axis=1)

    def _new(self, stretch: Stretch, rows: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Choose the rows of a chunk that aren't there yet."""
        if self._only_keys:
            index = _absent(rows, self._rows)
            self.repeated += len(rows) - len(index)
        elif self._by_section:
            index = _absent(rows, self._unknown if stretch.origin else self._rows)
            self.guessed += len(rows) - len(index)
        else:
            index = np.arange(len(rows), dtype=np.int64)
        return index

    def _write(
        self, stretch: Stretch, columns: dict[str, Column], rows: NDArray[np.uint64], index: NDArray[np.int64]
    ) -> None:
        self.out.extend({name: column.take(index) for name, column in columns.items()})
        self.tally.add(rows[index, 0].copy(), None)
        self.stretches.append(Stretch(stretch.origin, len(index)))


class SideTrees:
    """All trees of the merged file that hold no events.

    Parameters
    ----------
    sink
        The merged file.
    options
        How files are merged.
    carry
        Chooses the branches of a tree that are written.
    """

    def __init__(self, sink: Sink, options: MergeOptions, carry: Callable[[TreeInfo, str], Carried]) -> None:
        self._sink, self._options, self._carry = sink, options, carry
        self.trees: dict[str, SideTree] = {}

    def add(
        self, source: Source, event_trees: Collection[str], identity: tuple[str, ...] | None, reference: str
    ) -> None:
        """Append what is new in an input's trees; `reference` is the first input, for messages."""
        for path in source.tree_paths:
            if path in event_trees:
                continue
            carried = self._carry(source.info(path), source.url)
            if not carried.branches:
                continue
            if path not in self.trees:
                self.trees[path] = self._new(path, carried, identity)
            side = self.trees[path]
            same_branches(
                side.carried.branches, carried.branches, where=f"{source.url}: {path}", reference=reference
            )
            side.add(source, self._options.memory_bytes)

    @property
    def notes(self) -> list[str]:
        """What a person should know of rows that were left out."""
        return [
            f"{path}: {side.guessed} rows are the same in every value as rows of earlier files and were not "
            "added again; which files they are from is not recorded"
            for path, side in self.trees.items()
            if side.guessed
        ]

    def _new(self, path: str, carried: Carried, identity: tuple[str, ...] | None) -> SideTree:
        keys = set(DEFAULT_IDENTITY[:-1]) | set((identity or ())[:-1])
        event = {DEFAULT_IDENTITY[-1], *(identity or ())[-1:]}
        out = self._sink.tree(path, carried.branches, title=carried.title)
        return SideTree(carried, out, keys, event, self._options.side == "concat")


def _absent(rows: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the rows (uint64 ``[n, 2]``) that are not among `known`."""
    both = np.concatenate([known, rows])
    pairs = unique.duplicates([both[:, 0].copy(), both[:, 1].copy()])
    repeated = pairs[(pairs[:, 0] < len(known)) & (pairs[:, 1] >= len(known)), 1]
    return np.setdiff1d(np.arange(len(rows), dtype=np.int64), repeated - len(known))
