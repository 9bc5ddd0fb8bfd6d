"""Merge trees that hold no events, such as Runs and LuminosityBlocks: nothing lost, nothing doubled.

Rows of one original file are the same rows wherever they were copied to, and are kept once. Rows of
different original files are all kept; but a tree of nothing than runs and run sections says each
only once. Where nobody recorded from which file the rows of a run or run section are, rows that are
the same in every value are kept once, and a note says so. Rows without a run are kept.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from grid.rootio.carry import Carried, carry
from grid.rootio.known_branches import DEFAULT_IDENTITY
from grid.rootio.origins import Stretch, known_origins
from grid.rootio.reading import tally_rows
from grid.rootio.schema import same_branches
from grid.rootio.sinktree import SinkTree
from grid.rootio.source import open_source
from grid.rootio.tally import Tally, content_hashes
from grid.rootio.verbatim.inputs import Input
from kernels import unique
from sitecfg.errors import ClosureError, InputError, SchemaMismatch, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from grid.rootio.columns import Column
    from grid.rootio.gather.rows import NTupleRows
    from grid.rootio.merging import MergeOptions
    from grid.rootio.sink import Sink
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
    out: SinkTree | NTupleRows
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
        for first, columns, rows in self._read(source, start, stop, memory_bytes):
            tally.add(rows[:, 0].copy(), None)
            index = np.arange(len(rows), dtype=np.int64)
            if again and not self._only_keys:
                self.repeated += len(rows)
                continue
            if not self.everything:
                index = self._new(stretch, rows)
            self._write(columns, index, first)
            self.tally.add(rows[index, 0].copy(), None)
            self.stretches.append(Stretch(stretch.origin, len(index)))
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
    ) -> Iterator[tuple[int, dict[str, Column], NDArray[np.uint64]]]:
        """Yield the number of a first row, rows, and two independent hashes of each, uint64 ``[n, 2]``."""
        path, branches = self.carried.path, {self.carried.path: self.carried.branches}
        for low, high in source.ranges({path: self.carried.names}, memory_bytes):
            first, last = max(low, start), min(high, stop)
            if first < last:
                columns = source.read(path, self.carried.names, first, last)
                trees = {path: columns}
                hashes = [content_hashes(trees, branches, round_=round_) for round_ in (0, 1)]
                yield first, columns, np.stack(hashes, axis=1)

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

    def _write(self, columns: Mapping[str, Column], index: NDArray[np.int64], first: int) -> None:
        if isinstance(self.out, SinkTree):
            self.out.extend({name: column.take(index) for name, column in columns.items()})
        else:
            self.out.take(index + first)


class SideTrees:
    """All trees of the merged file that hold no events.

    Parameters
    ----------
    sink
        The merged file.
    options
        How files are merged.

    Attributes
    ----------
    dropped
        What was left out, and why: path and branch, or path and "".
    """

    def __init__(self, sink: Sink, options: MergeOptions) -> None:
        self._sink, self._options = sink, options
        self.trees: dict[str, SideTree] = {}
        self.dropped: dict[tuple[str, str], str] = {}

    def add(
        self,
        source: Source,
        raw: Input,
        event_trees: Collection[str],
        identity: tuple[str, ...] | None,
        reference: str,
    ) -> None:
        """Append what is new in an input's trees.

        Parameters
        ----------
        source, raw
            The input, to be read as values and as bytes.
        event_trees, identity
            What isn't meant, and what tells events apart.
        reference
            The first input, for messages.

        Raises
        ------
        SchemaMismatch
            If a tree has other branches than that of an earlier input, or is of another kind.
        UnsupportedContent
            If it holds what can't be carried.
        ClosureError
            As :meth:`SideTree.add`.
        """
        for path in source.tree_paths:
            if path in event_trees:
                continue
            info, where = source.info(path), f"{source.url}: {path}"
            carried = self._carry(info, source.url)
            if not carried.branches:
                continue
            if path not in self.trees:
                self.trees[path] = self._new(info, carried, identity, raw)
            side = self.trees[path]
            if self._stays(info) == isinstance(side.out, SinkTree):
                raise SchemaMismatch(
                    f"its kind is {info.kind}, and not that of {reference}",
                    where=where,
                    todo="merge only files of one format",
                )
            same_branches(side.carried.branches, carried.branches, where=where, reference=reference)
            side.add(source, self._options.memory_bytes)
            if not isinstance(side.out, SinkTree):
                side.out.append(raw)

    def finish(self) -> None:
        """Tell the output what its RNTuples are."""
        for side in self._ntuples:
            side.finish()

    def check(self, path: Path) -> None:
        """Hold the output against what was given to it: the values of all rows, and the pages of RNTuples.

        Raises
        ------
        ClosureError
            If it is not what was to be written.
        """
        if not self.trees:
            return
        with _read_again(), open_source(path) as source:
            for name, side in self.trees.items():
                found = tally_rows(source, side.carried, self._options.memory_bytes)
                if wrong := side.tally.difference(found):
                    raise ClosureError(wrong.replace("events", "rows"), where=f"{path}: {name}")
        self.check_pages(path)

    def check_pages(self, path: Path) -> None:
        """Do so for the pages of RNTuples alone."""
        if self._ntuples:
            with _read_again(), Input(path) as found:
                for side in self._ntuples:
                    side.check(found)

    @property
    def _ntuples(self) -> list[NTupleRows]:
        return [side.out for side in self.trees.values() if not isinstance(side.out, SinkTree)]

    def _stays(self, info: TreeInfo) -> bool:
        """Whether it is an RNTuple, and stays one."""
        return info.kind == "RNTuple" and self._options.format is None

    def _carry(self, info: TreeInfo, where: str) -> Carried:
        """Choose the branches that are written, or of an RNTuple those that are compared, which must be all."""
        stays = self._stays(info)
        how = self._options.on_refused
        if stays:
            how = "drop" if self._options.side == "concat" else "refuse"
        try:
            (part,) = carry([info], where=where, on_refused=how, format="ttree")
        except UnsupportedContent as error:
            if not stays or self._options.on_refused == "refuse":
                raise
            self.dropped[info.path, ""] = error.what
            return Carried(info.path, info.title, ())
        if stays and not part.branches:
            raise UnsupportedContent("none of its fields can be read", where=f"{where}: {info.path}")
        if not stays:
            self.dropped.update({(part.path, name): why for name, why in part.dropped})
        return part

    @property
    def notes(self) -> list[str]:
        """What a person should know of rows that were left out."""
        return [
            f"{path}: {side.guessed} rows are the same in every value as rows of earlier files and were not "
            "added again; which files they are from is not recorded"
            for path, side in self.trees.items()
            if side.guessed
        ]

    def _new(
        self, info: TreeInfo, carried: Carried, identity: tuple[str, ...] | None, raw: Input
    ) -> SideTree:
        keys = set(DEFAULT_IDENTITY[:-1]) | set((identity or ())[:-1])
        event = {DEFAULT_IDENTITY[-1], *(identity or ())[-1:]}
        out: SinkTree | NTupleRows
        if self._stays(info):
            # who has none need not load what gathers
            from grid.rootio.gather.rows import NTupleRows

            out = NTupleRows(self._sink, info.path, raw, self._options.compression)
        else:
            out = self._sink.tree(info.path, carried.branches, title=carried.title)
        return SideTree(carried, out, keys, event, self._options.side == "concat")


def _absent(rows: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the rows (uint64 ``[n, 2]``) that are not among `known`."""
    both = np.concatenate([known, rows])
    pairs = unique.duplicates([both[:, 0].copy(), both[:, 1].copy()])
    repeated = pairs[(pairs[:, 0] < len(known)) & (pairs[:, 1] >= len(known)), 1]
    return np.setdiff1d(np.arange(len(rows), dtype=np.int64), repeated - len(known))


@contextmanager
def _read_again() -> Iterator[None]:
    """Say that it is the output which can't be read."""
    try:
        yield
    except InputError as error:
        raise ClosureError(
            f"what was written can't be read again: {error.what}", where=error.where
        ) from error
