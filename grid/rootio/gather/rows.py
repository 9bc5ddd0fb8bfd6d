"""Put rows of an RNTuple of several inputs into one of an output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from grid.rootio.gather.masks import by_rows
from grid.rootio.gather.ntuple import NTupleGatherer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grid.rootio.sink import Sink
    from grid.rootio.verbatim.inputs import Input

__all__ = ["NTupleRows"]


class NTupleRows:
    """An RNTuple of an output, row by row; its header is that of the first input.

    Parameters
    ----------
    sink, path
        Where it goes; the inputs have it at the same path.
    first
        The first input.
    compression
        How everything is packed; ``None``: as each column is in the first input.

    Raises
    ------
    CorruptFile, UnsupportedContent
        As :class:`NTupleGatherer`.
    """

    def __init__(self, sink: Sink, path: str, first: Input, compression: str | None) -> None:
        self._gatherer = NTupleGatherer(first, path, [sink], compression)
        self._taken: list[NDArray[np.int64]] = []
        self._entries = 0

    def take(self, rows: NDArray[np.int64]) -> None:
        """Choose rows of the next input, ascending, int64 ``[n]``."""
        self._taken.append(rows)

    def append(self, source: Input) -> None:
        """Append the rows that were chosen.

        Raises
        ------
        SchemaMismatch
            If it is described otherwise than that of the first input.
        """
        rows = np.concatenate([np.zeros(0, np.int64), *self._taken])
        self._taken = []
        self._gatherer.append(source, by_rows(rows))
        self._entries += len(rows)

    def finish(self) -> None:
        """Tell the output what it is."""
        self._gatherer.finish([self._entries])

    def check(self, found: Input) -> None:
        """Hold the output against what was given to it; raises as :meth:`NTupleGatherer.check`."""
        self._gatherer.check(0, found, self._entries)
