"""Which branches tell the events of a merge apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grid.rootio.events import ENTRY_BRANCHES, find_identity
from grid.rootio.known_branches import DEFAULT_IDENTITY
from grid.rootio.merging import identity_said
from sitecfg.errors import MissingIdentity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grid.rootio.merging import MergeOptions
    from grid.rootio.source import Source, TreeInfo

__all__ = ["choose_identity"]


def choose_identity(
    source: Source, infos: Sequence[TreeInfo], options: MergeOptions
) -> tuple[str, ...] | None:
    """Return those that are asked for, else those that the file's record names, the usual, or made ones.

    Raises
    ------
    MissingIdentity
        If those that are asked for aren't there.
    """
    if options.identity is not None:
        return find_identity(source, infos, options.identity).names
    made = tuple(branch.name for branch in ENTRY_BRANCHES)
    said = identity_said(source.record)
    for names in dict.fromkeys(names for names in (said, DEFAULT_IDENTITY, made) if names):
        try:
            return find_identity(source, infos, names).names
        except MissingIdentity:
            continue
    return None
