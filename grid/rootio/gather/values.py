"""What events hold as values, learnt from the bytes that are gathered: the content sums that are booked."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.tally import salt_of_branch
from kernels import content
from sitecfg.errors import CorruptFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from grid.rootio.gather.unpacked import Entries
    from grid.rootio.readers import BranchReader

__all__ = ["Values"]


class Values:
    """The values of the events of some trees; threads may share it, but not one branch.

    Parameters
    ----------
    entries
        How many events there are.
    readers
        What makes values of bytes, by tree and branch.
    """

    def __init__(self, entries: int, readers: Mapping[str, Mapping[str, BranchReader]]) -> None:
        self._sums = np.zeros(entries, np.uint64)
        self._readers = readers
        self._lock = threading.Lock()
        self._counters = {
            (path, one.branch.counter) for path, branches in readers.items() for one in branches.values()
        }
        #: For each branch that counts or is counted, the XXH3 of the lengths that it says.
        self._lengths: dict[tuple[str, str], Any] = {}

    def of(self, path: str, name: str) -> Callable[[int, Entries], None]:
        """Return what takes in the entries of a branch, in their order: from which on, and their bytes."""
        from xxhash import xxh3_64

        reader = self._readers[path][name]
        if (path, name) in self._counters or reader.branch.counter is not None:
            self._lengths[path, name] = xxh3_64()
        salt = int(salt_of_branch(path, reader.branch))
        return partial(self._add, reader, salt, self._lengths.get((path, name)))

    def _add(self, reader: BranchReader, salt: int, lengths: Any, first: int, entries: Entries) -> None:
        assert reader.of_bytes is not None
        column = reader.of_bytes(entries.data, entries.count, entries.edges)
        if lengths is not None:
            counts = column.values if reader.branch.counter is None else column.counts
            lengths.update(counts.astype(np.int64).data)
        hashes = column.content(salt)
        with self._lock:
            self._sums[first : first + len(hashes)] += hashes

    def check(self, where: str) -> None:
        """Hold the lengths of lists against the branches that count them.

        Raises
        ------
        CorruptFile
            If a list has not as many values as its counter says.
        """
        for path, readers in self._readers.items():
            for name, reader in readers.items():
                counter = reader.branch.counter
                if counter is not None and self._told(path, name) != self._told(path, counter):
                    raise CorruptFile(
                        f"it has not as many values as its counter {counter} says",
                        where=f"{where}: {path}/{name}",
                    )

    def _told(self, path: str, name: str) -> bytes:
        lengths = self._lengths.get((path, name))
        return b"" if lengths is None else bytes(lengths.digest())

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """The content hash of each event, uint64 ``[entries]``, as :func:`grid.rootio.tally.content_hashes` has it."""
        return content.seal(self._sums)
