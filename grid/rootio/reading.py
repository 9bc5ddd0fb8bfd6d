"""Read the events of a file chunk by chunk, from all its event trees at once, and add them up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from grid.rootio.events import ENTRY_BRANCHES
from grid.rootio.sections import check_countable
from grid.rootio.tally import Tally, content_hashes
from sitecfg.errors import UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from grid.rootio.carry import Carried
    from grid.rootio.columns import Branch, Column
    from grid.rootio.events import Identity
    from grid.rootio.source import Source

__all__ = ["MEMORY_BYTES", "EventChunk", "EventReader", "tally_rows"]

#: Unpacked bytes of one chunk, unless a caller says otherwise.
MEMORY_BYTES = 128 << 20


@dataclass(frozen=True, slots=True)
class EventChunk:
    """The events ``start <= i < stop``: columns by tree and branch."""

    start: int
    stop: int
    trees: dict[str, dict[str, Column]]

    def __len__(self) -> int:
        return self.stop - self.start


class EventReader:
    """Reads the carried branches of the event trees of a file, and some that are only looked at.

    Parameters
    ----------
    source
        The file.
    carried
        What is carried of each event tree; the trees have the same number of entries.
    identity
        What identifies an event; ``None``: nothing does.
    look
        Further branches to read, by tree.
    """

    def __init__(
        self,
        source: Source,
        carried: Sequence[Carried],
        identity: Identity | None,
        look: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.source = source
        self.identity = identity
        self.entries = source.info(carried[0].path).entries
        #: The branches that make up an event's content, by tree; includes those that are made.
        self.branches: dict[str, tuple[Branch, ...]] = {part.path: part.branches for part in carried}
        self._names: dict[str, list[str]] = {part.path: list(part.names) for part in carried}
        if identity is not None and identity.origin:
            self.branches[identity.tree] += ENTRY_BRANCHES
        elif identity is not None:
            self._look(identity.tree, identity.names)
        for path, names in (look or {}).items():
            self._look(path, names)

    def _look(self, path: str, names: Sequence[str]) -> None:
        known = self._names[path]
        known += [name for name in dict.fromkeys(names) if name not in known]

    def chunks(self, memory_bytes: int = MEMORY_BYTES) -> Iterator[EventChunk]:
        """Yield the events in order; one chunk with no event for a file without events."""
        if self.entries == 0:
            empty = {path: self.source.info(path).by_name() for path in self._names}
            yield self._chunk(
                0, 0, {p: {n: empty[p][n].empty() for n in ns} for p, ns in self._names.items()}
            )
        for start, stop in self.source.ranges(self._names, memory_bytes):
            trees = {path: self.source.read(path, names, start, stop) for path, names in self._names.items()}
            yield self._chunk(start, stop, trees)

    def _chunk(self, start: int, stop: int, trees: dict[str, dict[str, Column]]) -> EventChunk:
        if self.identity is not None:
            trees[self.identity.tree].update(self.identity.made(start, stop))
            self._countable(self.identity, trees)
        return EventChunk(start, stop, trees)

    def _countable(self, identity: Identity, trees: Mapping[str, Mapping[str, Column]]) -> None:
        """Refuse runs and run sections that no account of them can hold."""
        for name in identity.section or ():
            check_countable(
                name, trees[identity.tree][name].values, f"{self.source.url}: {identity.tree}/{name}"
            )

    def keys(self, chunk: EventChunk) -> NDArray[np.uint64] | None:
        """Return the event keys of a chunk, uint64 ``[n, 2]``, or ``None`` without identity."""
        return None if self.identity is None else self.identity.keys(chunk.trees, chunk.start, chunk.stop)

    def hashes(self, chunk: EventChunk, *, round_: int = 0) -> NDArray[np.uint64]:
        """Return the content hashes of a chunk, uint64 ``[n]``.

        Raises
        ------
        UnsupportedContent
            If no branch of the events can be carried: then there is nothing to prove.
        """
        if not any(self.branches.values()):
            raise UnsupportedContent(
                "no branch of the events can be carried",
                where=f"{self.source.url}: {', '.join(self.branches)}",
            )
        return content_hashes(chunk.trees, self.branches, round_=round_)


def tally_rows(source: Source, carried: Carried, memory_bytes: int = MEMORY_BYTES) -> Tally:
    """Add up the rows of a tree, by content and order."""
    tally = Tally()
    for chunk in source.chunks(carried.path, carried.names, memory_bytes):
        tally.add(content_hashes({carried.path: chunk.columns}, {carried.path: carried.branches}), None)
    return tally
