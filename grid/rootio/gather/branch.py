"""Cut one branch: read and unpack each of its baskets once, and gather from it for all streams."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias, TypeGuard

from grid.rootio.format.baskets import BasketKey
from grid.rootio.gather.filling import Filler, Full
from grid.rootio.gather.pieces import read_pieces
from grid.rootio.gather.unpacked import Entries, Raw, join
from grid.rootio.merging import CantCopy

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from grid.rootio.format.blocks import Compression
    from grid.rootio.gather.pieces import Pieces
    from grid.rootio.image import Image
    from grid.rootio.verbatim.sums import EntrySums

__all__ = ["Basket", "BranchCut"]

#: What is to be written: a basket that is still to be packed, or one as it is.
Basket: TypeAlias = "Full | Raw"
#: See :func:`grid.rootio.gather.masks.picked`.
Picks: TypeAlias = "Callable[[tuple[int, ...]], list[tuple[NDArray[np.int64], list[int]]]]"
#: Unpacked bytes of a branch that are gathered from at once.
_WINDOW: Final = 4 << 20


class BranchCut:
    """One branch, on its way to all streams. Not for two threads at once.

    Parameters
    ----------
    image, of
        Where its baskets lie.
    names
        Of the branch and of the tree.
    sums
        What the entries of the tree hold, and the branch's number in that.
    values
        Takes in the entries, in their order, too.
    target
        The unpacked bytes of an output's basket.
    room
        What the branch says of the size of its baskets.
    compression
        How baskets are packed.
    streams
        How many there are.
    whole
        Whether a basket that goes to a stream whole is copied as it is.
    """

    def __init__(
        self,
        image: Image,
        of: Pieces,
        names: tuple[str, str],
        sums: tuple[EntrySums, int],
        values: Callable[[int, Entries], None] | None,
        *,
        target: int,
        room: int,
        compression: Compression,
        streams: int,
        whole: bool,
    ) -> None:
        self.of = of
        self._image, self._names, self._room, self._whole = image, names, room, whole
        self._called = tuple(name.encode("utf-8", "surrogateescape") for name in names)
        (self._sums, self._number), self._values = sums, values
        self.key = BasketKey(*names, room, 0, 0)
        self._target = target
        self.compression = compression
        self.fillers = [Filler(self.key.length, target) for _ in range(streams)]
        self._next = 0
        self._width: int | None = None

    @property
    def held(self) -> int:
        """The memory that is held for what is held back for all streams, in bytes."""
        return sum(filler.memory for filler in self.fillers)

    def step(self, stop: int, picks: Picks, *, flush: bool) -> list[list[Basket]]:
        """Go on to the baskets that begin before entry `stop`; return for each stream what is to be written."""
        ready: list[list[Basket]] = [[] for _ in self.fillers]
        window: list[tuple[Raw | None, Entries]] = []
        size = 0
        for piece in read_pieces(self._image, self.of, stop, self._next):
            window.append(piece)
            size += len(piece[1].data)
            if size >= _WINDOW:
                self._gather(window, picks, ready)
                window, size = [], 0
        if window:
            self._gather(window, picks, ready)
        if flush:
            for filler, baskets in zip(self.fillers, ready, strict=True):
                baskets.extend(filler.flush())
        return ready

    def _gather(
        self,
        window: list[tuple[Raw | None, Entries]],
        picks: Picks,
        ready: list[list[Basket]],
    ) -> None:
        """Pick from some baskets for each stream."""
        edges = self.of.edges[self._next : self._next + len(window) + 1]
        joined = join([entries for _, entries in window])
        self._next += len(window)
        if not joined.count:
            return
        if self._width not in {None, joined.width}:
            raise CantCopy
        if self._width is None:
            self._width = joined.width
            self.key = BasketKey(*self._names, self._room, max(joined.width, 0), 0)
        joined.add_to(self._sums, self._number, edges[0])
        if self._values is not None:
            self._values(edges[0], joined)
        for (index, cuts), filler, baskets in zip(picks(tuple(edges)), self.fillers, ready, strict=True):
            at = 0
            for number, (start, stop) in enumerate(pairwise(cuts)):
                raw, entries = window[number]
                if not self._goes_whole(raw, entries, stop - start):
                    continue
                baskets.extend(filler.add(joined.take(index[at:start])))
                at = start
                if 2 * filler.held >= self._target:
                    baskets.extend(filler.flush())
                if filler.empty:
                    baskets.append(raw)
                    at = stop
            if at < len(index):
                baskets.extend(filler.add(joined.take(index[at:])))

    def _goes_whole(self, raw: Raw | None, entries: Entries, taken: int) -> TypeGuard[Raw]:
        """Whether a basket of which so many entries are taken can go as it is."""
        return self._whole and raw is not None and taken == entries.count > 0 and raw.names == self._called
