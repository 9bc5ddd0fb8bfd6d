"""Merge trees by copying their baskets as they are, and test on the way as much as was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from grid.rootio.copymerge import CopyMerge
from grid.rootio.events import ENTRY_BRANCHES, find_event_trees
from grid.rootio.known_branches import DEFAULT_IDENTITY
from grid.rootio.merging import CantCopy, identity_said
from grid.rootio.source import open_source
from grid.rootio.verbatim.copier import Copier
from sitecfg.errors import GridError, SchemaMismatch, UnsupportedContent

if TYPE_CHECKING:
    from grid.rootio.sink import Sink
    from grid.rootio.uniting.united import UnitedTree
    from grid.rootio.verbatim.inputs import Input

__all__ = ["TreeMerge"]


class TreeMerge(CopyMerge):
    """A merge that copies baskets."""

    another_way: ClassVar[tuple[type[GridError], ...]] = (SchemaMismatch, UnsupportedContent)

    def begin(self, first: Input) -> None:
        """Let the first input decide which trees hold the events, and what may tell these apart."""
        if not first.trees:
            raise CantCopy
        said = identity_said(first.record)
        made = tuple(branch.name for branch in ENTRY_BRANCHES)
        usual = [names for names in (said, DEFAULT_IDENTITY, made) if names]
        self._identities = usual if self.options.identity is None else [self.options.identity]
        if len(first.trees) + len(first.ntuples) == 1 and not self.options.event_trees:
            self.events = list(first.trees)
            return
        with open_source(first.path) as source:
            identity = self.options.identity or DEFAULT_IDENTITY
            self.events = [info.path for info in find_event_trees(source, self.options.event_trees, identity)]
        if not set(self.events) <= set(first.trees):
            raise CantCopy

    def appender(self, sink: Sink) -> Copier:
        """Return what appends trees."""
        options = self.options
        self._appender = Copier(
            sink,
            depth=options.verify,
            identities=self._identities,
            threads=options.threads,
            united=self._united() if options.schema == "backfill" else None,
        )
        return self._appender

    def _united(self) -> dict[str, UnitedTree]:
        """Unite trees that differ in branches; what that needs takes long to import."""
        from grid.rootio.uniting.survey import survey

        with self._copying():
            united, self.changes = survey(self.sources, self.events)
        lacking = {name for names in self.changes.names.values() for name in names}
        if any(not lacking.isdisjoint(names) for names in self._identities):
            raise CantCopy  # nothing may be made up that tells events apart
        return united

    @property
    def key(self) -> tuple[str, ...]:
        """The branches that tell the events apart, known from the first input on."""
        return self._appender.identity

    def check_kinds(self, source: Input) -> None:
        """Refuse an input that lacks one of the trees, or has something else in its place."""
        where = str(source.path)
        missing = [path for path in self.events if path not in source.trees]
        if other := [kind for path, kind in source.others if path in missing]:
            raise SchemaMismatch(
                f"its {missing[0]} is a {other[0]}, that of {self.sources[0]} a tree",
                where=where,
                todo="merge only files of one format",
            )
        if missing:
            raise SchemaMismatch(
                f"there is no tree {missing[0]}, which {self.sources[0]} has",
                where=where,
                todo=f"its trees are: {', '.join(source.trees) or 'none'}",
            )
