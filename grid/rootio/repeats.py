"""Find the events that more than one of several files hold, exactly, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from grid.rootio.carry import Carried
from grid.rootio.events import find_event_trees, find_identity
from grid.rootio.reading import EventReader
from grid.rootio.source import open_source
from kernels import unique

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["repeated_events"]

#: So many offenders are named; the rest are counted.
_NAMED = 20


def repeated_events(
    paths: Sequence[Path],
    *,
    names: Sequence[str],
    identity: Sequence[str],
    event_trees: Sequence[str],
    memory_bytes: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[str, ...]:
    """Compare files event by event.

    Events are dealt out by a hash of their identity into as many passes over the files as memory asks for, so that
    equal events always meet in the same pass. Identities themselves are compared, never hashes.

    Parameters
    ----------
    paths, names
        Local files, and what they are called in the answer.
    identity, event_trees
        What identifies an event, and the trees that hold the events (found if none is named).
    memory_bytes
        About the memory that identities may take at once.
    progress
        Called with ``(files read, files to read)``, over all passes.

    Returns
    -------
    tuple of str
        The first repeated events in words, then how many more there are; empty when there is none.
    """
    total = 0
    for path in paths:
        with open_source(path) as source:
            total += find_event_trees(source, event_trees, identity)[0].entries
    needed = total * 8 * (len(identity) + 3)
    passes = max(1, -(-needed // memory_bytes))
    named: list[str] = []
    count = 0
    for number in range(passes):
        columns, owner = [], []
        for place, path in enumerate(paths):
            part = _identities(path, identity, event_trees, number, passes, memory_bytes)
            columns.append(part)
            owner.append(np.full(len(part[0]), place, np.int64))
            if progress is not None:
                progress(number * len(paths) + place + 1, passes * len(paths))
        joined = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
        files = np.concatenate(owner)
        pairs = unique.duplicates(joined)
        count += len(pairs)
        for first, again in pairs[: _NAMED - len(named)].tolist():
            event = ", ".join(
                f"{name} {column[first]}" for name, column in zip(identity, joined, strict=True)
            )
            named.append(f"{event}: in {names[files[first]]} and in {names[files[again]]}")
    if count > len(named):
        named.append(f"{count - len(named)} more")
    return tuple(named)


def _identities(
    path: Path,
    identity: Sequence[str],
    event_trees: Sequence[str],
    number: int,
    passes: int,
    memory_bytes: int,
) -> list[NDArray[np.int64]]:
    """Return the identities of one pass's share of a file's events, one int64 array per branch."""
    with open_source(path) as source:
        infos = find_event_trees(source, event_trees, identity)
        who = find_identity(source, infos, identity)
        reader = EventReader(source, [Carried(info.path, info.title, ()) for info in infos], who)
        parts: list[list[NDArray[np.int64]]] = [[np.empty(0, np.int64)] for _ in who.names]
        for chunk in reader.chunks(memory_bytes):
            found = who.columns(chunk.trees, chunk.start, chunk.stop)
            mine = slice(None) if passes == 1 else reader.keys(chunk)[:, 0] % np.uint64(passes) == number  # type: ignore[index]
            for part, column in zip(parts, found, strict=True):
                part.append(column.astype(np.int64)[mine])
        return [np.concatenate(part) for part in parts]
