"""Cut whole trees into the outputs of all streams, in threads and bounded memory; then hold each against them."""

from __future__ import annotations

import threading
from array import array
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from grid.rootio.format.blocks import Compression
from grid.rootio.gather.ahead import AHEAD, THREADS, ahead
from grid.rootio.gather.branch import BranchCut
from grid.rootio.gather.masks import picked
from grid.rootio.gather.pieces import pieces_of
from grid.rootio.gather.rereading import Again
from grid.rootio.gather.tree import CutTree
from grid.rootio.gather.unpacked import Raw
from grid.rootio.verbatim.baskets import baskets_of
from grid.rootio.verbatim.sums import EntrySums
from grid.rootio.verbatim.template import Differs, Template
from grid.rootio.verbatim.tree import in_order, laid
from grid.rootio.verbatim.treeindex import same
from sitecfg.errors import ClosureError, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from grid.rootio.format.baskets import Packed
    from grid.rootio.gather.branch import Basket, Picks
    from grid.rootio.gather.values import Values
    from grid.rootio.sink import Sink
    from grid.rootio.verbatim.inputs import Input
    from grid.rootio.verbatim.treeindex import TreeIndex

__all__ = ["Gatherer"]

#: What may be held back of all branches for all streams; beyond it baskets are written that are not full.
_HELD: Final = 96 << 20
#: Unpacked bytes of a tree that are gone through branch by branch, and of a branch for all streams together.
_SECTION, _OF_BRANCH = 256 << 20, 32 << 20
#: Bytes that one thread packs at a time.
_BUNDLE: Final = 1 << 20
#: Entries that are compared at once.
_COMPARED: Final = 1 << 18
#: The usual size of a basket lies between these.
_SMALLEST, _LARGEST = 4 << 10, 4 << 20


class Gatherer:
    """One tree of the input, cut into all outputs.

    Parameters
    ----------
    source, path
        The tree.
    sinks
        The outputs.
    compression
        How everything is packed; ``None``: as each branch is in the input.
    values
        Takes in what is gathered from, as values.

    Raises
    ------
    CorruptFile
        If the tree contradicts itself.
    UnsupportedContent
        If it holds what can't be copied like this.
    """

    def __init__(
        self,
        source: Input,
        path: str,
        sinks: Sequence[Sink],
        compression: str | None,
        values: Values | None = None,
    ) -> None:
        entry = source.trees[path]
        self._source, self._path, self._sinks = source, path, sinks
        where = source.image.where(path)
        self._template = Template(
            source.unpacked(entry), entry.key.length, entry.class_name, source.streamers.classes, where
        )
        if self._template.friends:
            raise UnsupportedContent("its friends go with all of its entries, not with some", where=where)
        self._view = self._template.view()
        self._baskets, self._index = baskets_of(self._view, where), self._view.index(where)
        self._table = self._view.table(where)
        #: For each stream what it has for an index.
        self._indices: list[TreeIndex | None] = [None] * len(sinks)
        #: The entries of the tree.
        self.entries = int(self._view.numbers(self._template.tree)["fEntries"])
        title = entry.key.title.decode("utf-8", "surrogateescape")
        self._made = [sink.object(path, entry.class_name, title) for sink in sinks]
        self._words = self._baskets.numbers["fCompress"].astype(np.int64)
        self._words[self._words < 0] = source.skeleton.header.compression
        if compression is not None:
            self._words[:] = self._baskets.numbers["fCompress"][:] = Compression.parse(compression).word
        names = [branch.name.decode("utf-8", "surrogateescape") for branch in self._template.branches]
        self._names = [f"{number} {name}" for number, name in enumerate(names)]
        #: What each entry holds, of all that was gathered from.
        self._sums = EntrySums(self.entries, self._names)
        self._cuts = list(self._branches(values, whole=compression is None))
        #: For each stream: branch, size, first entry and position of every basket, and its unpacked size.
        self._lie = [array("q") for _ in sinks]
        self._held, self._lock = 0, threading.Lock()
        self._written = np.zeros((len(self._cuts), len(sinks)), np.int64)

    def run(
        self,
        chosen: Callable[[int, int], list[NDArray[np.int64]]],
        events: Sequence[int],
        progress: Callable[[float], None],
    ) -> None:
        """Write all baskets, and tell the outputs what their trees are.

        Parameters
        ----------
        chosen
            Which entries go to each stream: see :mod:`grid.rootio.gather.masks`.
        events
            How many do.
        progress
            Called with the share that is done.
        """
        self._chosen = chosen
        steps, picks = self._steps(progress), picked(chosen)
        with ThreadPoolExecutor(THREADS) as pool:
            if len(self._cuts) > AHEAD:
                self._go(pool, picks, steps)
            else:  # else a branch could go on to two sections at once
                while some := list(islice(steps, len(self._cuts))):
                    self._go(pool, picks, some)
        if self._index is not None:
            rows = chosen(0, self.entries)
            self._indices = [self._index.cut(mine, self.entries) for mine in rows]
        for stream, entries in enumerate(events):
            self._made[stream].body = self._tree(stream, entries).body

    def again(self, stream: int, found: Input, entries: int, names: Sequence[str]) -> Again:
        """Hold the tree of an output that was read back against what was written; return it, to be read.

        The values of the branches of those names come with it, if all are there once and are plain integers.

        Raises
        ------
        ClosureError
            If it is not described as it was to be written.
        InputError
            If it can't be read.
        """
        entry, where = found.trees[self._path], found.image.where(self._path)
        try:
            view = self._template.match(found.unpacked(entry), entry.key.length)
        except Differs as error:
            raise ClosureError("its tree is not described as that of the input", where=where) from error
        baskets = baskets_of(view, where)
        lie = laid(baskets.branches, baskets.nbytes, baskets.firsts, baskets.seeks)
        wanted, _ = self._lies(stream)
        if view.numbers(self._template.tree)["fEntries"] != entries or baskets.embedded:
            raise ClosureError(f"its tree does not have {entries} entries", where=where)
        if lie.shape != wanted.shape or (in_order(lie) != wanted).any():
            raise ClosureError("its branches don't have the baskets that were written", where=where)
        if not same(view.index(where), self._indices[stream]):
            raise ClosureError("its tree does not have the index of its entries", where=where)
        if view.table(where) != self._table:
            raise ClosureError("its tree does not have the table of references of the input", where=where)
        branches = [branch.name for branch in self._template.branches]
        types = self._template.integers_of(names) or {}
        columns = {number: np.zeros(entries, dtype.newbyteorder("=")) for number, dtype in types.items()}
        sums = EntrySums(entries, self._names)
        return Again(entry.key.name, branches, baskets, entry.key.parent, sums, columns)

    def check(self, stream: int, found: EntrySums, where: str) -> None:
        """Hold what the entries of an output hold against the entries of the input that were chosen for it.

        Raises
        ------
        ClosureError
            If one is another one.
        """
        at = 0
        for start in range(0, self.entries, _COMPARED):
            stop = min(start + _COMPARED, self.entries)
            rows = self._chosen(start, stop)[stream]
            (wanted,), (held,) = self._sums.sealed(start, stop), found.sealed(at, at + len(rows))
            wrong = np.flatnonzero(held != wanted[rows])
            if len(wrong):
                raise ClosureError(
                    f"entry {at + wrong[0]} of {self._path} does not hold what was gathered for it",
                    where=where,
                )
            at += len(rows)

    @property
    def _section(self) -> int:
        """How many entries are gone through branch by branch before the next ones are."""
        unpacked = self._baskets.numbers["fTotBytes"].astype(float)
        share = max(unpacked.sum() / _SECTION, unpacked.max(initial=0.0) * len(self._sinks) / _OF_BRANCH)
        return max(1, int(self.entries / max(share, 1.0)))

    def _branches(self, values: Values | None, *, whole: bool) -> Iterator[tuple[int, BranchCut]]:
        """Yield the branches that have entries of their own."""
        numbers = self._baskets.numbers
        laid = pieces_of(self._view, self._baskets, self._source.image.where(self._path))
        tree = self._source.trees[self._path].key.name.decode("utf-8", "surrogateescape")
        for index, of in laid.items():
            room = int(numbers["fBasketSize"][index])
            usual = max(room, int(numbers["fTotBytes"][index]) // (len(of.edges) - 1))
            name = self._template.branches[index].name.decode("utf-8", "surrogateescape")
            yield (
                index,
                BranchCut(
                    self._source.image,
                    of,
                    (name, tree),
                    (self._sums, index),
                    None if values is None else values.of(self._path, name),
                    target=min(_LARGEST, max(_SMALLEST, usual)),
                    room=max(room, 0),
                    compression=Compression.of_word(int(self._words[index])),
                    streams=len(self._sinks),
                    whole=whole,
                ),
            )

    def _steps(self, progress: Callable[[float], None]) -> Iterator[tuple[int, int]]:
        """Yield which branch goes on to which entry: one after the other to the end of a section, then of the next."""
        section, whole = self._section, max(self.entries, 1)
        for start in range(0, whole, section):
            stop = min(start + section, self.entries)
            for number in range(len(self._cuts)):
                yield number, stop
            progress(stop / whole)

    def _go(self, pool: ThreadPoolExecutor, picks: Picks, steps: Iterable[tuple[int, int]]) -> None:
        """Go on with branches, a few at a time, and write what comes of each, in order."""

        def step(one: tuple[int, int]) -> tuple[int, list[list[Basket]]]:
            number, stop = one
            _, cut = self._cuts[number]
            before = cut.held
            ready = cut.step(stop, picks, flush=stop == self.entries or self._held > _HELD)
            with self._lock:
                self._held += cut.held - before
            return number, ready

        for number, baskets in ahead(pool, self._packed, _bundles(ahead(pool, step, steps))):
            for stream, basket in baskets:
                self._write(number, stream, basket)

    def _packed(
        self, bundle: tuple[int, list[tuple[int, Basket]]]
    ) -> tuple[int, list[tuple[int, Packed | Raw]]]:
        """Pack the baskets of a bundle."""
        number, baskets = bundle
        how = self._cuts[number][1].compression
        return number, [(stream, one if isinstance(one, Raw) else one.packed(how)) for stream, one in baskets]

    def _write(self, number: int, stream: int, basket: Packed | Raw) -> None:
        index, cut = self._cuts[number]
        out, parent = self._sinks[stream].out, self._made[stream].place
        if isinstance(basket, Raw):
            head, payload = basket.moved(out.position, parent), bytes(basket.payload)
        else:
            head, payload = cut.key.encode(basket, out.position, parent), basket.payload
        first, size = int(self._written[number, stream]), len(head) + len(payload)
        place = out.append(head, payload)
        self._lie[stream].extend((index, size, first, place, basket.unpacked + len(head)))
        self._written[number, stream] += basket.entries

    def _lies(self, stream: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the baskets of an output as `MergedTree.lie` has them, and their unpacked sizes."""
        branches, nbytes, firsts, seeks, unpacked = (
            np.frombuffer(self._lie[stream], np.int64).reshape(-1, 5).T
        )
        order = np.lexsort((firsts, branches))
        return laid(branches, nbytes, firsts, seeks)[order], unpacked[order]

    def _tree(self, stream: int, entries: int) -> CutTree:
        tree = CutTree(self._template)
        index = self._indices[stream]
        tree.hold(self._view, self._baskets, *self._lies(stream), entries, index, self._table)
        return tree


def _bundles(
    cut: Iterable[tuple[int, list[list[Basket]]]],
) -> Iterator[tuple[int, list[tuple[int, Basket]]]]:
    """Cut what comes of each branch, for each stream, into what one thread packs at a time."""
    for number, ready in cut:
        bundle, size = [], 0
        for stream, baskets in enumerate(ready):
            for basket in baskets:
                bundle.append((stream, basket))
                size += basket.size
                if size >= _BUNDLE:
                    yield number, bundle
                    bundle, size = [], 0
        if bundle:
            yield number, bundle
