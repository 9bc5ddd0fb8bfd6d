"""What is known of every event of a file before somebody else's program reads it: who it is, and its streams.

The program's events are held against it: each must be one of the file's, at most once. Their order is free, since
programs with threads change it. Memory: the identity, two words and a byte for each event of the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernels import fingerprint
from sitecfg.errors import UserCodeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grid.rootio.events import Identity
    from grid.rootio.reading import EventReader
    from grid.rootio.streams import Streams

__all__ = ["Known"]

_NAMED = 5


class Known:
    """The events of a file, by identity.

    Parameters
    ----------
    reader, identity, streams
        The file, read here once from end to end.
    memory_bytes
        About the size of what is unpacked at once.
    """

    def __init__(self, reader: EventReader, identity: Identity, streams: Streams, memory_bytes: int) -> None:
        columns: list[list[NDArray[np.int64]]] = []
        keys: list[NDArray[np.uint64]] = []
        masks: list[NDArray[np.uint64]] = []
        for chunk in reader.chunks(memory_bytes):
            columns.append(identity.columns(chunk.trees, chunk.start, chunk.stop))
            keys.append(identity.keys(chunk.trees, chunk.start, chunk.stop))
            masks.append(streams.masks(chunk, keys[-1]))
        self._names = identity.names
        self._columns = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
        self._keys, self._masks = np.concatenate(keys), np.concatenate(masks)
        self._order = np.argsort(self._keys[:, 0], kind="stable")
        self._sorted = self._keys[self._order, 0]
        self._seen = np.zeros(len(self._keys), np.bool_)
        #: How many events there are, and the sum of their keys.
        self.events = len(self._keys)
        self.fingerprint = fingerprint.fingerprint(self._keys)

    def masks(self, columns: list[NDArray[np.int64]], where: str) -> NDArray[np.uint64]:
        """Return the stream mask of each event that came back, uint64 ``[n]``, and remember that it did.

        Raises
        ------
        UserCodeError
            An event is none of the file's, or comes back a second time; the first ones are named.
        """
        place = self._find(columns)
        self._refuse("invented or re-keyed", np.flatnonzero(place < 0), columns, where)
        _, first = np.unique(place, return_index=True)
        again = self._seen[place]
        again[np.setdiff1d(np.arange(len(place)), first)] = True
        self._refuse("repeated", np.flatnonzero(again), columns, where)
        self._seen[place] = True
        return self._masks[place]

    @property
    def gone(self) -> NDArray[np.uint64]:
        """The keys of the events that did not come back, uint64 ``[n, 2]``."""
        return self._keys[~self._seen]

    def _find(self, columns: list[NDArray[np.int64]]) -> NDArray[np.int64]:
        """Return the entry of each event, -1 for those that aren't there; compares identities, not only hashes."""
        wanted = fingerprint.event_keys(columns)[:, 0]
        at = np.searchsorted(self._sorted, wanted)
        place = np.full(len(wanted), -1, np.int64)
        open_ = np.arange(len(wanted))
        while len(open_):
            open_ = open_[at[open_] < self.events]
            open_ = open_[self._sorted[at[open_]] == wanted[open_]]
            candidate = self._order[at[open_]]
            same = np.ones(len(open_), np.bool_)
            for mine, theirs in zip(self._columns, columns, strict=True):
                same &= mine[candidate] == theirs[open_]
            place[open_[same]] = candidate[same]
            open_ = open_[~same]
            at[open_] += 1
        return place

    def _refuse(
        self, what: str, offenders: NDArray[np.int64], columns: list[NDArray[np.int64]], where: str
    ) -> None:
        if not len(offenders):
            return
        named = [
            dict(zip(self._names, (int(column[i]) for column in columns), strict=True))
            for i in offenders[:_NAMED]
        ]
        words = "; ".join(", ".join(f"{name} {value}" for name, value in event.items()) for event in named)
        raise UserCodeError(
            f"the program {what} {len(offenders)} events, first: {words}",
            where=where,
            todo="it must write events of its input, each at most once",
            offenders=named,
        )
