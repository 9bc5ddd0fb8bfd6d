"""Merge files by copying their baskets as they are, and test on the way as much as was asked for."""

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
from grid.rootio.objects.objects import Objects
from grid.rootio.origins import origins_json
from grid.rootio.output import Output
from grid.rootio.sidetrees import SideTrees
from grid.rootio.sink import Sink
from grid.rootio.source import open_source
from grid.rootio.verbatim.copier import Copier
from grid.rootio.verbatim.inputs import Input
from sitecfg.errors import CorruptFile, SchemaMismatch, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from grid.rootio.checksums import Checksums
    from grid.rootio.duplicates import Duplicates
    from grid.rootio.merging import MergeOptions

__all__ = ["CopyMerge"]


class CopyMerge:
    """One merge that copies baskets as they are. Raises :class:`CantCopy` where that is impossible."""

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
        self.done = 0
        self.size = sum(path.stat().st_size for path in sources if path.exists())

    def run(self, given: Mapping[str, Any]) -> MergeReport:
        """Copy everything, then write what the output says of itself."""
        with Input(self.sources[0]) as first:
            self._begin(first)
            compression = str(Compression.of_word(first.skeleton.header.compression))
        with Sink(self.out, compression=compression) as sink:
            self.copier = copier = Copier(
                sink, depth=self.options.verify, identities=self._identities(), threads=self.options.threads
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
        """Let the first input decide which trees hold the events."""
        if not first.trees:
            raise CantCopy
        if len(first.trees) + len(first.ntuples) == 1 and not self.options.event_trees:
            self.events = list(first.trees)
            return
        with open_source(first.path) as source:
            identity = self.options.identity or DEFAULT_IDENTITY
            self.events = [info.path for info in find_event_trees(source, self.options.event_trees, identity)]
        if not set(self.events) <= set(first.trees):
            raise CantCopy

    def _identities(self) -> list[tuple[str, ...]]:
        """Return what may tell events apart, as names of branches."""
        if self.options.identity is not None:
            return [self.options.identity]
        with Input(self.sources[0]) as first:
            said = identity_said(first.record)
        made = tuple(branch.name for branch in ENTRY_BRANCHES)
        return [names for names in (said, DEFAULT_IDENTITY, made) if names]

    def _add(self, source: Input) -> None:
        """Append an input."""
        where, copier = str(source.path), self.copier
        self._check(source, where)
        record = source.record
        same_table(self.records, record, where, str(self.sources[0]))

        def tell(done: int) -> None:
            if self.progress is not None:
                self.progress(self.done + done, self.size)

        before = copier.entries.get(self.events[0], 0)
        self.records.append(record)
        try:
            added = copier.add(source, self.events, tell)
        except (SchemaMismatch, UnsupportedContent) as error:
            raise CantCopy from error
        known = {name for path in self.events for name in copier.branches(path)}
        if not {name.encode("utf-8", "surrogateescape") for name in self.options.identity or ()} <= known:
            raise CantCopy  # the other way says so, with near names
        if source.image.changed:
            raise CorruptFile("it changed while it was copied", where=where)
        if self.options.verify != "copied" and self.options.identity not in {None, copier.identity}:
            raise CantCopy  # the other way may know how to read them
        if len(source.trees) + len(source.ntuples) > len(self.events):
            with open_source(source.path) as rows:
                self.side.add(rows, source, self.events, self._identity(), str(self.sources[0]))
        self.objects.add(source)
        self.done += added.sums.bytes
        events = copier.entries[self.events[0]] - before
        self.inputs.append(
            MergeInput(
                where,
                added.sums.bytes,
                added.sums.adler32,
                added.sums.xxh3,
                events,
                self.ids.add(copier.identity, added.columns, where, self.events[0]),
                None,
            )
        )

    def _read_back(self, path: Path) -> Checksums:
        """Hold what was written against what was read."""
        added = self.copier.check(path)
        self.ids.hold(added.columns, str(path))
        self.side.check(path)
        self.objects.check(path)
        return added.sums

    def _check(self, source: Input, where: str) -> None:
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

    def _identity(self) -> tuple[str, ...] | None:
        said = identity_said(self.records[0])
        return self.copier.identity or self.options.identity or said or None

    def _found(self, duplicates: Duplicates) -> dict[str, Any]:
        """Return what the output's record says."""
        identity = self._identity()
        return {
            **said_by_inputs(self.records),
            "identity": None if identity is None else list(identity),
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
