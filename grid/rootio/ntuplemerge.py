"""Merge RNTuples by copying their pages as they are, and test on the way as much as was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from grid.rootio.copymerge import CopyMerge
from grid.rootio.events import ENTRY_BRANCHES, find_event_trees, find_identity
from grid.rootio.known_branches import DEFAULT_IDENTITY
from grid.rootio.merging import CantCopy, identity_said
from grid.rootio.ntuple import read_ntuple
from grid.rootio.source import open_source
from grid.rootio.verbatim.ntuple_copier import NTupleCopier
from grid.rootio.verbatim.ntuple_proving import integer_fields
from sitecfg.errors import MissingIdentity, SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from grid.rootio.sink import Sink
    from grid.rootio.verbatim.appending import Added
    from grid.rootio.verbatim.inputs import Input

__all__ = ["NTupleMerge"]


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
            self._no_identity(first, self.options.identity)

    def appender(self, sink: Sink) -> NTupleCopier:
        """Return what appends RNTuples."""
        options = self.options
        return NTupleCopier(sink, depth=options.verify, identity=self._telling, threads=options.threads)

    def telling(self, source: Input, added: Added) -> Sequence[NDArray[Any]]:
        """Return the values of the identity; hashes of all that the events hold, if all is to be proven."""
        if self._telling or self.options.verify != "proven":
            return added.columns
        from grid.rootio.gather.entryhashes import entry_hashes

        return entry_hashes(source, self.events, self.options.threads)

    @property
    def key(self) -> tuple[str, ...]:
        """The fields that tell the events apart."""
        return self._telling[1] if self._telling else ()

    def check_kinds(self, source: Input) -> None:
        """Refuse an input that lacks one of the RNTuples, or has something else in its place."""
        where, reference = str(source.path), str(self.sources[0])
        for path in self.events:
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

    def _no_identity(self, first: Input, names: tuple[str, ...]) -> NoReturn:
        """Say what is wrong with the fields that are to tell the events apart."""
        with open_source(first.path) as source:
            found = find_identity(source, [source.info(path) for path in self.events], names)
        raise MissingIdentity(f"{', '.join(found.names)} are no plain integers", where=str(first.path))

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
