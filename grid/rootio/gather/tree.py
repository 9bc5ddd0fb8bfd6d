"""A tree of an output: the input's own description, with the counts and positions of a selection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.verbatim.tree import MergedTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grid.rootio.verbatim.baskets import Baskets
    from grid.rootio.verbatim.reftable import RefTable
    from grid.rootio.verbatim.slots import TreeView
    from grid.rootio.verbatim.treeindex import TreeIndex

__all__ = ["CutTree"]

#: Bytes between flushes, as ROOT itself has it: what a number of entries said holds for the input only.
_AUTO_FLUSH = -30_000_000


class CutTree(MergedTree):
    """Describes a selection of the entries of one input. Limits stay: they hold for each part of what they hold for."""

    def hold(
        self,
        view: TreeView,
        baskets: Baskets,
        lie: NDArray[Any],
        unpacked: NDArray[np.int64],
        entries: int,
        index: TreeIndex | None,
        table: RefTable | None,
    ) -> None:
        """Say what the output holds.

        Parameters
        ----------
        view, baskets
            The input.
        lie
            As :meth:`lie` returns it.
        unpacked
            The unpacked size of each of these, with its key.
        entries
            The number of entries.
        index, table
            Theirs.
        """
        self._refuse_far(lie)
        self.entries = entries
        numbers = view.numbers(self.template.tree)
        self._first = {**numbers, "fAutoFlush": min(numbers.get("fAutoFlush", 0), 0)}
        if numbers.get("fAutoFlush", 0) > 0:
            self._first["fAutoFlush"] = _AUTO_FLUSH
        self._limits = [view.gather(group) for group in self.template.limits]
        self._baskets, self._in_order = [lie], True
        self._indices, self.table = [(0, index)], table
        number = len(self.template.branches)
        self._branches = dict(baskets.numbers)
        follows = self._branches["fEntries"] == numbers["fEntries"]
        self._branches["fEntries"] = np.where(follows, entries, self._branches["fEntries"])
        for name, sizes in (("fTotBytes", unpacked), ("fZipBytes", lie["nbytes"])):
            self._branches[name] = np.zeros(number, np.int64)
            np.add.at(self._branches[name], lie["branch"], sizes)
