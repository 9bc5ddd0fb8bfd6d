"""Merge RNTuples by copying their pages as they are, and test on the way as much as was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grid.rootio.copymerge import CopyMerge
from grid.rootio.events import ENTRY_BRANCHES, find_event_trees
from grid.rootio.gather.entryhashes import entry_hashes
from grid.rootio.known_branches import DEFAULT_IDENTITY
from grid.rootio.merging import CantCopy, identity_said
from grid.rootio.ntuple import read_ntuple
from grid.rootio.source import open_source
from grid.rootio.verbatim.inputs import Input
from grid.rootio.verbatim.ntuple_copier import NTupleCopier
from grid.rootio.verbatim.ntuple_proving import integer_fields
from sitecfg.errors import SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from grid.rootio.sink import Sink
    from grid.rootio.verbatim.appending import Added

__all__ = ["NTupleMerge", "fields_of_all"]


class NTupleMerge(CopyMerge):
    """A merge that copies pages; impossible where the events are not in RNTuples alone."""

    def begin(self, first: Input) -> None:
        """Let the first input decide which RNTuples hold the events, and what tells these apart."""
        #: An RNTuple and its fields.
        self._telling: tuple[str, tuple[str, ...]] | None = None
        if len(first.trees) + len(first.ntuples) == 1 and not self.options.event_trees:
            self.events = list(first.ntuples)
        elif first.ntuples:
            with open_source(first.path) as source:
                identity = self.options.identity or DEFAULT_IDENTITY
                self.events = [
                    info.path for info in find_event_trees(source, self.options.event_trees, identity)
                ]
        if not self.events or not set(self.events) <= set(first.ntuples):
            raise CantCopy
        if self.options.verify == "copied":
            return
        self._telling = self._choose(first)
        if not self._telling and self.options.identity is not None:
            raise CantCopy  # the other way may know how to read it

    def appender(self, sink: Sink) -> NTupleCopier:
        """Return what appends RNTuples."""
        options = self.options
        return NTupleCopier(sink, depth=options.verify, identity=self._telling, threads=options.threads)

    def telling(self, source: Input, added: Added) -> Sequence[NDArray[Any]]:
        """Return the values of the identity; hashes of all that the events hold, if all is to be proven."""
        if self._telling or self.options.verify != "proven":
            return added.columns
        return entry_hashes(source, self.events, self.options.threads)

    @property
    def key(self) -> tuple[str, ...]:
        """The fields that tell the events apart."""
        return self._telling[1] if self._telling else ()

    def check_kinds(self, source: Input) -> None:
        """Refuse an input that lacks one of the RNTuples, or has something else in its place."""
        _check_kinds(source, self.events, str(self.sources[0]))

    def _choose(self, first: Input) -> tuple[str, tuple[str, ...]] | None:
        """Return what tells the events apart: an RNTuple, and fields of it that are plain integers."""
        made = tuple(branch.name for branch in ENTRY_BRANCHES)
        usual = (identity_said(first.record), DEFAULT_IDENTITY, made)
        schemas = {path: read_ntuple(first.image, first.ntuples[path]).schema for path in self.events}
        for names in (self.options.identity,) if self.options.identity is not None else usual:
            having = [
                path
                for path, schema in schemas.items()
                if names and set(names) <= set(integer_fields(schema))
            ]
            if having:
                return having[0], tuple(names or ())
        return None


def fields_of_all(sources: Sequence[Path], paths: list[str]) -> dict[str, set[str]]:
    """Return the top fields that the RNTuples of all inputs have from their first entry on, by path."""
    found: dict[str, set[str]] = {}
    for path in sources:
        with Input(path) as source:
            _check_kinds(source, paths, str(sources[0]))
            for name in paths:
                schema = read_ntuple(source.image, source.ntuples[name]).schema
                mine = schema.top - schema.deferred
                found[name] = found.get(name, mine) & mine
    return found


def _check_kinds(source: Input, paths: list[str], reference: str) -> None:
    """Test that a file has RNTuples of these paths, as `reference` has.

    Raises
    ------
    SchemaMismatch
        If one is missing, or something else.
    """
    where = str(source.path)
    for path in paths:
        if path in source.trees:
            raise SchemaMismatch(
                f"its kind is TTree, that of {reference} is RNTuple",
                where=f"{where}: {path}",
                todo="merge only files of one format",
            )
        if path not in source.ntuples:
            raise SchemaMismatch(
                f"there is no tree {path}, which {reference} has",
                where=where,
                todo=f"its trees are: {', '.join([*source.trees, *source.ntuples]) or 'none'}",
            )
