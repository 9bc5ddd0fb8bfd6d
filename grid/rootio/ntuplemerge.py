"""Merge RNTuples by copying their pages as they are, and test on the way as much as was asked for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from grid.rootio.eventids import EventIds
from grid.rootio.events import DEFAULT_IDENTITY, ENTRY_BRANCHES, find_event_trees
from grid.rootio.format.blocks import Compression
from grid.rootio.merging import (
    CantCopy,
    MergeInput,
    MergeReport,
    identity_said,
    said_by_inputs,
    same_table,
)
from grid.rootio.ntuple import read_ntuple
from grid.rootio.objects.objects import Objects
from grid.rootio.origins import origins_json
from grid.rootio.output import Output
from grid.rootio.sidetrees import SideTrees
from grid.rootio.sink import Sink
from grid.rootio.source import open_source
from grid.rootio.verbatim.inputs import Input
from grid.rootio.verbatim.ntuple_copier import NTupleCopier
from grid.rootio.verbatim.ntuple_proving import integer_fields
from sitecfg.errors import CorruptFile, SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from grid.rootio.checksums import Checksums
    from grid.rootio.duplicates import Duplicates
    from grid.rootio.merging import MergeOptions

__all__ = ["NTupleMerge", "fields_of_all"]


class NTupleMerge:
    """One merge that copies pages as they are. Raises :class:`CantCopy` where the events are not in RNTuples alone."""

    def __init__(
        self,
        sources: list[Path],
        out: Path,
        options: MergeOptions,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.sources, self.out, self.options, self.progress = sources, out, options, progress
        self.events: list[str] = []
        self.inputs: list[MergeInput] = []
        self.records: list[dict[str, Any]] = []
        self.dropped: dict[tuple[str, str], str] = {}
        self.objects = Objects(drop=options.on_refused == "drop", everything=options.side == "concat")
        self.ids = EventIds(options)
        #: What tells events apart: an RNTuple and its fields.
        self.identity: tuple[str, tuple[str, ...]] | None = None
        self.done = 0
        self.size = sum(path.stat().st_size for path in sources if path.exists())

    def run(self, given: Mapping[str, Any]) -> MergeReport:
        """Copy everything, then write what the output says of itself."""
        with Input(self.sources[0]) as first:
            self._begin(first)
            compression = str(Compression.of_word(first.skeleton.header.compression))
        with Sink(self.out, compression=compression) as sink:
            self.copier = copier = NTupleCopier(
                sink,
                depth=self.options.verify,
                identity=self.identity,
                threads=self.options.threads,
            )
            self.side = SideTrees(sink, self.options)
            for path in self.sources:
                with Input(path) as source:
                    self._add(source)
            copier.finish()
            self.side.finish()
            self.objects.put(sink)
            self.dropped.update(self.side.dropped)
            self.dropped.update({(path, ""): why for path, why in self.objects.dropped.items()})
            duplicates = self.ids.duplicates(str(self.sources[0]))
            sink.seed = json.dumps([one.xxh3 for one in self.inputs]).encode()
            sink.record = {**given, **self._found(duplicates)}
            written = sink.close(self._read_back)
        entries = {**copier.entries, **{path: side.tally.events for path, side in self.side.trees.items()}}
        output = Output(
            self.out,
            written.bytes,
            written.adler32,
            written.xxh3,
            copier.entries[self.events[0]],
            self.ids.fingerprint,
            None,
            self.ids.sections,
            entries,
        )
        return MergeReport(
            output,
            tuple(self.inputs),
            duplicates,
            tuple((path, name, why) for (path, name), why in self.dropped.items()),
            {path: side.repeated + side.guessed for path, side in self.side.trees.items()},
            (*copier.notes, *self.side.notes, *self.objects.notes, *self.ids.notes(duplicates)),
            self.options.verify,
            covered=None if self.options.verify == "copied" else copier.covered,
        )

    def _begin(self, first: Input) -> None:
        """Let the first input decide which RNTuples hold the events."""
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
        self.identity = self._choose(first)
        if self.identity is None and (self.options.verify == "proven" or self.options.identity is not None):
            raise CantCopy  # the other way compares the events' values, or may know how to read them

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
            if len(having) == 1:
                return having[0], tuple(names or ())
        return None

    def _add(self, source: Input) -> None:
        """Append an input."""
        where, copier = str(source.path), self.copier
        _check_kinds(source, self.events, str(self.sources[0]))
        record = source.record
        same_table(self.records, record, where, str(self.sources[0]))

        def tell(done: int) -> None:
            if self.progress is not None:
                self.progress(self.done + done, self.size)

        before = copier.entries.get(self.events[0], 0)
        self.records.append(record)
        added = copier.add(source, self.events, tell)
        known = {name for path in self.events for name in copier.fields(path)}
        if not set(self.options.identity or ()) <= known:
            raise CantCopy  # the other way says so, with near names
        if source.image.changed:
            raise CorruptFile("it changed while it was copied", where=where)
        if len(source.trees) + len(source.ntuples) > len(self.events):
            with open_source(source.path) as rows:
                self.side.add(rows, source, self.events, self._names, str(self.sources[0]))
        self.objects.add(source)
        sums = added.sums
        self.done += sums.bytes
        events = copier.entries[self.events[0]] - before
        told = self.ids.add(self.identity[1] if self.identity else (), added.columns, where, self.events[0])
        self.inputs.append(MergeInput(where, sums.bytes, sums.adler32, sums.xxh3, events, told, None))

    def _read_back(self, path: Path) -> Checksums:
        """Hold what was written against what was read."""
        added = self.copier.check(path)
        self.ids.hold(added.columns, str(path))
        self.side.check(path)
        self.objects.check(path)
        return added.sums

    @property
    def _names(self) -> tuple[str, ...] | None:
        said = identity_said(self.records[0])
        return self.identity[1] if self.identity else self.options.identity or said or None

    def _found(self, duplicates: Duplicates) -> dict[str, Any]:
        """Return what the output's record says."""
        return {
            **said_by_inputs(self.records),
            "identity": None if self._names is None else list(self._names),
            "event_trees": self.events,
            "inputs": [
                {"xxh3": part.xxh3, "events": part.events, "fingerprint": part.fingerprint}
                for part in self.inputs
            ],
            "origins": {path: origins_json(side.stretches) for path, side in self.side.trees.items()},
            "dropped": [[*key, why] for key, why in self.dropped.items()],
            **self.objects.record,
            "duplicates": duplicates.events if self.ids.looked else None,
            "verified": self.options.verify,
        }


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
