"""Which trees hold the events, and what tells one event from another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grid.rootio.columns import Branch, Column
from grid.rootio.known_branches import DEFAULT_IDENTITY
from kernels import fingerprint
from sitecfg.errors import MissingIdentity, SchemaMismatch, UnsupportedContent
from sitecfg.names import near

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from grid.rootio.source import Source, TreeInfo

__all__ = ["ENTRY_BRANCHES", "Identity", "find_event_trees", "find_identity"]

#: What ``identity="entry"`` adds to each event: the first word of its file's XXH3-128, and its entry number there.
ENTRY_BRANCHES = (
    Branch(
        "mdcgrid_file",
        "first 64 bits of the XXH3-128 of the file that the event is from",
        np.dtype(np.uint64),
    ),
    Branch("mdcgrid_entry", "the event's entry number in that file", np.dtype(np.uint64)),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """What identifies the events of one file.

    Parameters
    ----------
    tree
        The event tree that has the branches.
    names
        The branches, in the order in which they are hashed.
    origin
        The XXH3-128 of the file, where the branches are to be made from it and the entry number; else "".
    """

    tree: str
    names: tuple[str, ...]
    origin: str = ""

    def columns(
        self, trees: Mapping[str, Mapping[str, Column]], start: int, stop: int
    ) -> list[NDArray[np.int64]]:
        """Return the identifying integers of the entries ``start <= i < stop``, one array per branch."""
        if self.origin:
            return [column.values for column in self.made(start, stop).values()]
        return [trees[self.tree][name].values for name in self.names]

    def made(self, start: int, stop: int) -> dict[str, Column]:
        """Return the columns that have to be added to the events; none when their file has them."""
        if not self.origin:
            return {}
        file, entry = (branch.name for branch in ENTRY_BRANCHES)
        word = np.uint64(int(self.origin[:16], 16))
        return {
            file: Column(np.full(stop - start, word, np.uint64)),
            entry: Column(np.arange(start, stop, dtype=np.uint64)),
        }

    def keys(self, trees: Mapping[str, Mapping[str, Column]], start: int, stop: int) -> NDArray[np.uint64]:
        """Return the event keys, uint64 ``[n, 2]``."""
        return fingerprint.event_keys(self.columns(trees, start, stop))

    @property
    def section(self) -> tuple[str, str] | None:
        """The branches of run and run section; only the field's own names are known."""
        if "run" in self.names and "luminosityBlock" in self.names:
            return "run", "luminosityBlock"
        return None


def find_event_trees(
    source: Source, named: Sequence[str] = (), identity: Sequence[str] = DEFAULT_IDENTITY
) -> list[TreeInfo]:
    """Return the trees that hold the events: those named, else those that our own record names, else the one found.

    Without names and record it is the one tree that has all `identity` branches, else the one that is called
    ``Events`` (in any case), else the only tree.

    Raises
    ------
    UnsupportedContent
        If there is no tree, or which of them holds the events isn't clear.
    SchemaMismatch
        If trees that are named together differ in their number of entries.
    """
    said = (source.record or {}).get("event_trees")
    if not named and isinstance(said, list) and all(path in source.tree_paths for path in said):
        named = said
    if named:
        found = [source.info(path) for path in named]
        if len({info.entries for info in found}) > 1:
            lengths = ", ".join(f"{info.path} {info.entries}" for info in found)
            raise SchemaMismatch(f"parallel event trees differ in length: {lengths}", where=source.url)
        return found
    paths = source.tree_paths
    if not paths:
        held = ", ".join(f"{path} ({kind})" for path, kind in source.others[:5])
        raise UnsupportedContent(
            f"there is no tree in it, but {held}" if held else "there is nothing in it", where=source.url
        )
    if len(paths) == 1:
        return [source.info(paths[0])]
    having = [path for path in paths if set(identity) <= set(source.info(path).by_name())]
    called = [path for path in having or paths if path.rpartition("/")[2].lower() == "events"]
    for choice in (having, called):
        if len(choice) == 1:
            return [source.info(choice[0])]
    raise UnsupportedContent(
        f"which tree holds the events isn't clear: {', '.join(paths)}",
        where=source.url,
        todo="name it with tree= (--tree)",
    )


def find_identity(
    source: Source, trees: Sequence[TreeInfo], identity: Sequence[str] = DEFAULT_IDENTITY, origin: str = ""
) -> Identity:
    """Return what identifies the events.

    Parameters
    ----------
    source, trees
        The file and its event trees.
    identity
        Names of integer branches, all in one of the trees; or ``("entry",)``.
    origin
        The file's XXH3-128, needed for ``("entry",)``.

    Raises
    ------
    MissingIdentity
        If the branches aren't there, or are no plain integers; near names are listed.
    """
    made = tuple(branch.name for branch in ENTRY_BRANCHES)
    names = made if tuple(identity) == ("entry",) else tuple(identity)
    for info in trees:
        branches = info.by_name()
        if set(names) <= set(branches):
            bad = [name for name in names if _plain_integer(branches[name]) is False]
            if bad:
                raise MissingIdentity(
                    f"{', '.join(bad)} are no plain integers", where=f"{source.url}: {info.path}"
                )
            return Identity(info.path, names)
    if names == made and origin:
        return Identity(trees[0].path, names, origin)
    known = [branch.name for info in trees for branch in info.branches]
    missing = [name for name in names if name not in known]
    close = sorted({other for name in missing for other in near(name, known, limit=3)})
    raise MissingIdentity(
        f"the branches that identify an event aren't there: {', '.join(missing or names)}",
        where=f"{source.url}: {', '.join(info.path for info in trees)}",
        todo=f"name others with identity= (--identity; near: {', '.join(close)})"
        if close
        else 'name others, or say identity="entry" (--identity entry)',
    )


def _plain_integer(branch: Branch) -> bool:
    return branch.dtype.kind in "iu" and not branch.levels and not branch.shape
