"""Which streams an event goes to: the trigger bits of a chunk against a trigger table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.facts import menu_of
from kernels import bits, prescale
from sitecfg.errors import TriggerTableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from grid.rootio.reading import EventChunk
    from grid.rootio.source import TreeInfo
    from grid.trigger.table import Resolved, TriggerTable

__all__ = ["ALL", "Streams"]

#: The one stream of a split without a trigger table.
ALL = "all"


class Streams:
    """A trigger table on the menu of one file.

    Parameters
    ----------
    table
        ``None``: every event goes to the one stream ``all``.
    trees
        The event trees; their trigger paths are the menu.
    menu_prefix
        What the names of trigger-path branches begin with.
    where
        The file, for messages.

    Raises
    ------
    TriggerTableError
        If the table doesn't fit the menu, with near names.
    """

    def __init__(
        self, table: TriggerTable | Resolved | None, trees: Sequence[TreeInfo], menu_prefix: str, where: str
    ) -> None:
        menu = menu_of(trees, menu_prefix)
        self._table: Resolved | None = None
        self.names: tuple[str, ...] = (ALL,)
        #: What the outputs' record says about the table.
        self.label: dict[str, Any] | None = None
        if table is None:
            self._tree_of: dict[str, str] = {}
            return
        self._table = table.resolve(menu) if hasattr(table, "resolve") else table
        self.names = self._table.stream_names
        self.label = {"name": self._table.label, "hash": getattr(table, "hash", "")}
        if missing := [path for path in self._table.paths if path not in menu]:
            raise TriggerTableError(f"the file has no trigger path {', '.join(missing[:5])}", where=where)
        self._tree_of = {path: menu[path] for path in self._table.paths}

    @property
    def look(self) -> dict[str, list[str]]:
        """The branches to read, by tree."""
        found: dict[str, list[str]] = {}
        for path, tree in self._tree_of.items():
            found.setdefault(tree, []).append(path)
        return found

    def masks(self, chunk: EventChunk, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return for each event the streams of which a path fired and was kept, uint64 ``[n]``, bit per stream."""
        table = self._table
        if table is None:
            return np.ones(len(chunk), np.uint64)
        fired = [chunk.trees[tree][path].values for path, tree in self._tree_of.items()]
        words = bits.pack_columns(fired, len(chunk))
        if (table.prescales != 1).any():
            words = prescale.apply_prescales(words, keys, table.prescales, table.salts)
        return bits.stream_masks(words, table.masks)
