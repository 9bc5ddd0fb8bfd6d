"""Read a file once more and compare it with what the catalog says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sitecfg.errors import ClosureError, CorruptFile, GridError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["check_bytes", "reread"]


def reread(
    known: Mapping[str, Any],
    *,
    identity: Sequence[str],
    tree: Sequence[str],
    scratch: Path,
    memory: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[GridError]:
    """Read a whole file again: its bytes, its events and their contents.

    Parameters
    ----------
    known
        ``name``, ``urls``, ``bytes``, ``adler32``, ``xxh3``, ``events``, ``fingerprint``, ``content``.
    identity, tree
        What identifies an event, and the event trees.
    scratch
        Where a remote file is copied to meanwhile.
    memory
        Unpacked bytes of a chunk.
    progress
        Called with ``(events done, events in all)``.

    Returns
    -------
    list of GridError
        What is wrong, for each readable copy; empty when all is as it was.
    """
    from grid.rootio.facts import file_facts
    from grid.storage.fetch import local_copy

    wrong: list[GridError] = []
    for url in known["urls"]:
        try:
            with local_copy(url, scratch) as path:
                check_bytes(path, known, where=url)
                facts = file_facts(
                    path, identity=identity, event_trees=tree, memory_bytes=memory, progress=progress
                )
            for what in ("events", "fingerprint", "content"):
                found = getattr(facts, what)
                if known[what] is not None and found != known[what]:
                    raise ClosureError(f"its {what} is {found}, the catalog has {known[what]}", where=url)
        except GridError as error:
            wrong.append(error)
    if not known["urls"]:
        wrong.append(CorruptFile("the catalog knows no readable copy of it", where=known["name"]))
    return wrong


def check_bytes(path: Path, known: Mapping[str, Any], *, where: str) -> None:
    """Compare a local file's size and checksums with those that the catalog knows.

    Raises
    ------
    CorruptFile
        They differ: the copy was damaged or replaced.
    """
    from grid.rootio.checksums import checksum_file, compare

    compare(checksum_file(path), known, where=where)
