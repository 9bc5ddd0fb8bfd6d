"""What a stretch of events adds up to: how many, which ones, and what is in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from kernels import content, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from grid.rootio.columns import Branch, Column

__all__ = ["NOTHING", "Tally", "content_hashes", "salt_of_branch", "sum_hex"]

#: The fingerprint, and the content, of no event.
NOTHING = "0" * 32


@dataclass(slots=True)
class Tally:
    """Sums over the events of a file, a stream or a tree, in the order in which they were given.

    Attributes
    ----------
    events
        The number of events.
    identities, contents, ordered
        uint64 ``[2]``: sums mod 2**64 of the hashes of the identities, of the contents, and of
        contents with their positions. The last tells a changed order, the others don't.
    known
        Whether every event had an identity.
    """

    events: int = 0
    identities: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(2, np.uint64))
    contents: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(2, np.uint64))
    ordered: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(2, np.uint64))
    known: bool = True

    def add(self, hashes: NDArray[np.uint64], keys: NDArray[np.uint64] | None) -> None:
        """Append events.

        Parameters
        ----------
        hashes
            uint64 ``[n]`` from :func:`content_hashes`.
        keys
            uint64 ``[n, 2]`` from ``kernels.fingerprint.event_keys``; ``None`` without identity.
        """
        position = np.arange(self.events, self.events + len(hashes), dtype=np.int64)
        self.events += len(hashes)
        self.contents += fingerprint.fingerprint(fingerprint.event_keys([hashes]))
        self.ordered += fingerprint.fingerprint(fingerprint.event_keys([hashes, position]))
        if keys is None:
            self.known = False
        else:
            self.identities += fingerprint.fingerprint(keys)

    @property
    def fingerprint(self) -> str | None:
        """The event-set fingerprint, 32 hex digits; ``None`` when events have no identity."""
        return fingerprint.to_hex(self.identities) if self.known else None

    @property
    def content(self) -> str:
        """The content sum, 32 hex digits."""
        return fingerprint.to_hex(self.contents)

    def difference(self, other: Tally, *, order: bool = True) -> str | None:
        """Say in words how `other` differs, or return ``None``."""
        if self.events != other.events:
            return f"it holds {other.events} events instead of {self.events}"
        if self.known and other.known and (self.identities != other.identities).any():
            return f"it holds {other.events} events as it should, but other ones"
        if (self.contents != other.contents).any():
            return f"it holds the right {other.events} events, but their contents changed"
        if order and (self.ordered != other.ordered).any():
            return f"it holds the right {other.events} events, but in another order"
        return None


def content_hashes(
    trees: Mapping[str, Mapping[str, Column]], branches: Mapping[str, Sequence[Branch]], *, round_: int = 0
) -> NDArray[np.uint64]:
    """Hash everything that each event holds, over all branches of all its trees.

    Parameters
    ----------
    trees
        Columns by tree and branch, all of the same length.
    branches
        The branches that count, by tree; at least one.
    round_
        Another number gives independent hashes of the same events.

    Returns
    -------
    uint64 ``[n]``
        The values of one event are tied together: two events that exchange a value change both.
    """
    total: Any = None
    for path, columns in trees.items():
        for branch in branches[path]:
            hashes = columns[branch.name].content(int(salt_of_branch(path, branch, round_=round_)))
            total = hashes if total is None else total + hashes
    if total is None:
        raise ValueError("there is no branch to take the content of")
    return content.seal(total)


def salt_of_branch(path: str, branch: Branch, *, round_: int = 0) -> np.uint64:
    """Return what keeps the values of a tree's branch apart from those of others."""
    return content.salt_of(f"{round_} {path} {branch.name} {branch.dtype.str} {branch.shape} {branch.levels}")


def sum_hex(words: Iterable[str]) -> str:
    """Add fingerprints, or content sums; no word gives :data:`NOTHING`."""
    return fingerprint.add(NOTHING, *words)
