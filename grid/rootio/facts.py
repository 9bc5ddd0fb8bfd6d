"""What is true of one file: its checksums, its events, its run sections, its trigger menu."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.carry import Carried, unwritable
from grid.rootio.checksums import Checksums, checksum_file
from grid.rootio.events import find_event_trees, find_identity
from grid.rootio.known_branches import DEFAULT_IDENTITY
from grid.rootio.reading import MEMORY_BYTES, EventReader
from grid.rootio.sections import count_sections, listed
from grid.rootio.source import open_source
from grid.rootio.tally import Tally
from grid.trigger.menu import MENU_PREFIX, menu_hash
from kernels import unique
from sitecfg.errors import MissingIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from grid.rootio.events import Identity
    from grid.rootio.source import Source, TreeInfo

__all__ = ["FileFacts", "file_facts", "menu_notes", "menu_of"]

#: So many duplicates are named; the rest are counted.
_NAMED = 20


@dataclass(frozen=True)
class FileFacts:
    """What is true of one file.

    Attributes
    ----------
    bytes, adler32, xxh3
        Size and checksums of the whole file.
    trees
        Entries of each tree, highest cycle.
    event_trees
        The trees that hold the events.
    events
        The number of events.
    fingerprint
        The event-set fingerprint, 32 hex digits; ``None`` without identity.
    content
        The content sum over all branches that can be carried, 32 hex digits.
    sections
        (run, run section, events), ascending; empty where events have no run and section.
    menu
        The trigger paths: the event trees' bool branches with the menu's prefix, sorted.
    menu_hash
        A hash of the menu, the same for every order; "" without menu.
    duplicates
        The first events that occur twice, in words; and how many there are in all.
    record
        What our own writer stored in the file, or ``None``.
    refused
        What can't be carried, by tree, with the reason: (tree, branch, why).
    notes
        What else a person should know.
    """

    bytes: int
    adler32: str
    xxh3: str
    trees: dict[str, int]
    event_trees: tuple[str, ...]
    events: int
    fingerprint: str | None
    content: str
    sections: tuple[tuple[int, int, int], ...] = ()
    menu: tuple[str, ...] = ()
    menu_hash: str = ""
    duplicates: tuple[str, ...] = ()
    record: dict[str, Any] | None = None
    refused: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


def file_facts(
    path: Path | str,
    *,
    identity: Sequence[str] | None = DEFAULT_IDENTITY,
    event_trees: Sequence[str] = (),
    menu_prefix: str = MENU_PREFIX,
    memory_bytes: int = MEMORY_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> FileFacts:
    """Read a whole file once, in bounded memory, and say what is true of it.

    Parameters
    ----------
    path
        A local file.
    identity
        The branches that identify an event, or ``("entry",)``. ``None``: the usual ones if they
        are there; a file without them has no fingerprint.
    event_trees
        The trees that hold the events; found if not given.
    menu_prefix
        What the names of trigger-path branches begin with.
    memory_bytes
        About the size of what is unpacked at once.
    progress
        Called with (events done, events in all).

    Raises
    ------
    InputError
        Of the kind that fits, naming file and key.
    MissingIdentity
        If `identity` was named and isn't there.
    """
    local = Path(path)
    sums = checksum_file(local)
    with open_source(local) as source:
        return _facts(source, sums, identity, event_trees, menu_prefix, memory_bytes, progress)


def menu_of(trees: Sequence[TreeInfo], prefix: str = MENU_PREFIX) -> dict[str, str]:
    """Return the trigger paths of event trees, sorted, with the tree of each: bool branches named with `prefix`."""
    found = {
        branch.name: info.path
        for info in reversed(trees)
        for branch in info.branches
        if branch.name.startswith(prefix)
        and branch.dtype == np.bool_
        and not branch.levels
        and not branch.shape
    }
    return dict(sorted(found.items()))


def menu_notes(trees: Sequence[TreeInfo], prefix: str = MENU_PREFIX) -> tuple[str, ...]:
    """Say which branches of event trees are named like trigger paths, but are none."""
    menu = menu_of(trees, prefix)
    others = [
        branch
        for info in trees
        for branch in info.branches
        if branch.name.startswith(prefix) and branch.name not in menu
    ]
    if not others:
        return ()
    some = ", ".join(f"{branch.name} ({branch.typename or branch.dtype})" for branch in others[:5])
    more = f" and {len(others) - 5} more" if len(others) > 5 else ""
    return (f"branches named {prefix}* that are no single bools are no trigger paths: {some}{more}",)


def _facts(
    source: Source,
    sums: Checksums,
    identity: Sequence[str] | None,
    event_trees: Sequence[str],
    menu_prefix: str,
    memory_bytes: int,
    progress: Callable[[int, int], None] | None,
) -> FileFacts:
    infos = find_event_trees(source, event_trees, identity or DEFAULT_IDENTITY)
    who, notes = _identity(source, infos, identity, sums.xxh3)
    bad = {path: {**unwritable(info), **dict(info.refused)} for path, info in source.trees.items()}
    carried = [
        Carried(info.path, info.title, tuple(b for b in info.branches if b.name not in bad[info.path]))
        for info in infos
    ]
    # branches that identity="entry" adds are no part of what this file holds
    reader = EventReader(source, carried, None if who and who.origin else who)
    tally, columns = Tally(), []
    sections: Counter[tuple[int, int]] = Counter()
    for chunk in reader.chunks(memory_bytes):
        keys = None
        if who is not None:
            identifying = who.columns(chunk.trees, chunk.start, chunk.stop)
            keys = who.keys(chunk.trees, chunk.start, chunk.stop)
            columns.append(identifying)
            count_sections(sections, who, chunk)
        tally.add(reader.hashes(chunk), keys)
        if progress is not None:
            progress(chunk.stop, reader.entries)
    menu = tuple(menu_of(infos, menu_prefix))
    notes += menu_notes(infos, menu_prefix)
    notes += tuple(note for info in source.trees.values() for note in info.notes)
    if source.others:
        some = ", ".join(f"{key} ({kind})" for key, kind in source.others[:5])
        notes += (f"{len(source.others)} objects are no trees: {some}",)
    return FileFacts(
        sums.bytes,
        sums.adler32,
        sums.xxh3,
        {path: info.entries for path, info in source.trees.items()},
        tuple(info.path for info in infos),
        tally.events,
        None if who is None else tally.fingerprint,
        tally.content,
        listed(sections),
        menu,
        menu_hash(menu) if menu else "",
        _duplicates(columns, who) if who is not None else (),
        source.record,
        tuple((path, name, why) for path, reasons in bad.items() for name, why in reasons.items()),
        notes,
    )


def _identity(
    source: Source, infos: Sequence[TreeInfo], wanted: Sequence[str] | None, origin: str
) -> tuple[Identity | None, tuple[str, ...]]:
    try:
        return find_identity(source, infos, wanted or DEFAULT_IDENTITY, origin), ()
    except MissingIdentity as error:
        if wanted is not None:
            raise
        return None, (f"events have no identity: {error.what}",)


def _duplicates(chunks: Sequence[Sequence[NDArray[np.int64]]], who: Identity) -> tuple[str, ...]:
    if not chunks:
        return ()
    columns = [np.concatenate(parts) for parts in zip(*chunks, strict=True)]
    pairs = unique.duplicates(columns)
    named = [
        f"entries {first} and {repeated}: "
        + ", ".join(f"{name} {column[first]}" for name, column in zip(who.names, columns, strict=True))
        for first, repeated in pairs[:_NAMED].tolist()
    ]
    if len(pairs) > _NAMED:
        named.append(f"{len(pairs) - _NAMED} more")
    return tuple(named)
