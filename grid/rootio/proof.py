"""Read a file that was just written, from the beginning, and hold it against what should be in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grid.rootio.carry import Carried
from grid.rootio.events import find_identity
from grid.rootio.reading import MEMORY_BYTES, EventReader, tally_rows
from grid.rootio.sections import count_sections, listed
from grid.rootio.source import open_source
from grid.rootio.tally import Tally
from sitecfg.errors import ClosureError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from grid.rootio.columns import Branch
    from grid.rootio.source import Source

__all__ = ["Expected", "Proven", "prove"]


@dataclass(frozen=True)
class Expected:
    """What a written file should hold.

    Parameters
    ----------
    events
        Branches of each event tree, and the tally of the events.
    identity
        The branches that identify an event; ``None``: nothing does.
    rows
        Branches of each other tree, and the tally of its rows.
    record
        The provenance stored in the file.
    exact
        Whether the event trees have no other branches than these.
    """

    events: Mapping[str, Sequence[Branch]]
    tally: Tally
    identity: Sequence[str] | None
    rows: Mapping[str, tuple[Sequence[Branch], Tally]]
    record: dict[str, Any]
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Proven:
    """What a written file was found to hold."""

    trees: dict[str, int]
    events: int
    fingerprint: str | None
    content: str | None
    sections: tuple[tuple[int, int, int], ...]


def prove(
    path: Path,
    expected: Expected,
    *,
    memory_bytes: int = MEMORY_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> Proven:
    """Recompute everything from the file itself; nothing that the writer had in memory is used.

    Raises
    ------
    ClosureError
        If a tree, a branch, an event or a value is not what it should be; the file is named.
    """
    try:
        with open_source(path) as source:
            return _prove(source, expected, memory_bytes, progress)
    except InputError as error:
        raise ClosureError(
            f"what was written can't be read again: {error.what}", where=error.where
        ) from error


def _prove(
    source: Source, expected: Expected, memory_bytes: int, progress: Callable[[int, int], None] | None
) -> Proven:
    wanted = {**expected.events, **{path: branches for path, (branches, _) in expected.rows.items()}}
    if set(source.tree_paths) != set(wanted):
        raise ClosureError(
            f"it has the trees {', '.join(source.tree_paths)} instead of {', '.join(wanted)}",
            where=source.url,
        )
    if source.record != expected.record:
        raise ClosureError("its record is not the one that was written", where=source.url)
    carried = {
        path: _check_branches(source, path, branches, exact=expected.exact or path in expected.rows)
        for path, branches in wanted.items()
    }
    tally, sections = _events(
        source, [carried[path] for path in expected.events], expected, memory_bytes, progress
    )
    if wrong := expected.tally.difference(tally):
        raise ClosureError(wrong, where=source.url)
    for path, (_, rows) in expected.rows.items():
        if wrong := rows.difference(tally_rows(source, carried[path], memory_bytes)):
            raise ClosureError(wrong.replace("events", "rows"), where=f"{source.url}: {path}")
    trees = {path: source.info(path).entries for path in wanted}
    return Proven(trees, tally.events, tally.fingerprint, tally.content, listed(sections))


def _check_branches(source: Source, path: str, wanted: Sequence[Branch], *, exact: bool) -> Carried:
    info = source.info(path)
    found = info.by_name()
    wrong = [
        branch.name for branch in wanted if not branch.same_type(found.get(branch.name, _nothing(branch)))
    ]
    if exact:
        names = {branch.name for branch in wanted}
        wrong += [name for name in found if name not in names]
        wrong += [name for name, _ in info.refused]
    if wrong:
        raise ClosureError(
            f"these branches are not what they should be: {', '.join(wrong[:5])}",
            where=f"{source.url}: {path}",
        )
    return Carried(path, info.title, tuple(found[branch.name] for branch in wanted))


def _nothing(branch: Branch) -> Branch:
    return type(branch)("", "", branch.dtype)


def _events(
    source: Source,
    carried: Sequence[Carried],
    expected: Expected,
    memory_bytes: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[Tally, Counter[tuple[int, int]]]:
    infos = [source.info(part.path) for part in carried]
    identity = None if expected.identity is None else find_identity(source, infos, expected.identity)
    reader = EventReader(source, carried, identity)
    tally, sections = Tally(known=identity is not None), Counter[tuple[int, int]]()
    for chunk in reader.chunks(memory_bytes):
        tally.add(reader.hashes(chunk), reader.keys(chunk))
        if identity is not None:
            count_sections(sections, identity, chunk)
        if progress is not None:
            progress(chunk.stop, reader.entries)
    return tally, sections
