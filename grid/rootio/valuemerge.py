"""Merge files event by event: every value is read and counted; copied where that can be, else packed again.

It takes what can't be copied as it is: other branches or types, another compression, RNTuples that become TTrees, and
what has no integers that tell its events apart.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grid.rootio.backfill import fill_all, unite
from grid.rootio.carry import Carried, carry
from grid.rootio.changes import Changes
from grid.rootio.checksums import Checksums, checksums_of
from grid.rootio.duplicates import Duplicates, Finder
from grid.rootio.events import find_event_trees, find_identity
from grid.rootio.identities import choose_identity
from grid.rootio.known_branches import DEFAULT_IDENTITY
from grid.rootio.merging import (
    CantCopy,
    MergeInput,
    MergeReport,
    events_occur_twice,
    said_by_inputs,
    same_table,
)
from grid.rootio.objects.objects import Objects
from grid.rootio.origins import origins_json
from grid.rootio.output import Output
from grid.rootio.proof import Expected, Proven, prove
from grid.rootio.reading import EventReader
from grid.rootio.schema import same_branches
from grid.rootio.sidetrees import SideTrees
from grid.rootio.sink import Sink
from grid.rootio.source import open_source
from grid.rootio.tally import Tally, content_hashes
from grid.rootio.verbatim.copier import Copier
from grid.rootio.verbatim.inputs import Input
from grid.rootio.verify import verify
from kernels import fingerprint
from sitecfg.errors import (
    CorruptFile,
    SchemaMismatch,
    UnsupportedContent,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from grid.rootio.columns import Branch
    from grid.rootio.events import Identity
    from grid.rootio.merging import MergeOptions
    from grid.rootio.sink import SinkTree
    from grid.rootio.source import Source, TreeInfo
    from grid.rootio.verbatim.appending import Appender

__all__ = ["ValueMerge"]


class ValueMerge:
    """One merge, from the first input to the proof: every event is unpacked and counted."""

    def __init__(
        self,
        sources: list[Path],
        known: Sequence[Mapping[str, Any]],
        out: Path,
        options: MergeOptions,
        progress: Callable[[int, int], None] | None,
        *,
        copying: bool,
    ) -> None:
        self.sources, self.out, self.options, self.progress = sources, out, options, progress
        self.copying = copying
        self.sums = checksums_of(sources, known)
        self.events: list[Carried] = []
        self.trees: dict[str, SinkTree] = {}
        self.kinds: dict[str, str] = {}
        self.identity: tuple[str, ...] | None = None
        self.finder = Finder((), out.absolute().parent)
        self.total = Tally()
        self.inputs: list[MergeInput] = []
        self.records: list[dict[str, Any]] = []
        self.started = 0
        self.dropped: dict[tuple[str, str], str] = {}
        self.objects = Objects(drop=options.on_refused == "drop", everything=options.side == "concat")
        #: Branches that are copied, but whose values nobody here can read.
        self.unread = False
        self.notes: list[str] = []
        self.changes = Changes()

    def run(self, given: Mapping[str, Any]) -> MergeReport:
        """Read and write everything, then prove the output."""
        with ExitStack() as stack:
            stack.enter_context(self.finder)
            first = stack.enter_context(open_source(self.sources[0]))
            self._begin(first)
            compression = self.options.compression or first.compression
            sink = stack.enter_context(Sink(self.out, compression=compression, seed=self._seed()))
            stack.push(self._remove_on_error)
            self.side = SideTrees(sink, self.options)
            copier = Copier(sink, depth="sealed") if self.copying else None
            if copier is None:
                for part in self.events:
                    self.trees[part.path] = sink.tree(part.path, part.branches, title=part.title)
            for number, (path, sums) in enumerate(zip(self.sources, self.sums, strict=True)):
                self.started = number
                with open_source(path) as source:
                    self._add(source, sums, copier)
            if copier is not None:
                copier.finish()
                self.notes += copier.notes
            self.side.finish()
            self.dropped.update(self.side.dropped)
            self.objects.put(sink)
            self.dropped.update({(path, ""): why for path, why in self.objects.dropped.items()})
            duplicates = self._duplicates()
            record = sink.record = {**given, **self._found(duplicates)}
            written = sink.close(copier.check) if copier else sink.close()
            self.side.check_pages(self.out)
            self.objects.check(self.out)
            self.started = len(self.sources)
            found = self._prove(record)
            self._tell(1, 1)
        return self._report(written, found, duplicates)

    def _tell(self, done: int, entries: int) -> None:
        """Report events done of the input, or the proof, that was started last."""
        if self.progress is not None:
            self.progress(
                1000 * self.started + 1000 * done // max(entries, 1), 1000 * (len(self.sources) + 1)
            )

    def _remove_on_error(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.out.unlink(missing_ok=True)

    def _seed(self) -> bytes:
        return json.dumps([sums.xxh3 for sums in self.sums]).encode()

    def _carry(self, infos: Sequence[TreeInfo], where: str) -> list[Carried]:
        """Choose the branches of event trees that are read, and written unless they are copied."""
        if self.copying:
            if any(info.kind == "RNTuple" for info in infos):
                raise CantCopy
            parts = carry(infos, where=where, on_refused="drop", format="ttree")
            self.unread |= any(part.dropped for part in parts)
            return parts
        choose = partial(carry, where=where, on_refused=self.options.on_refused, format=self.options.format)
        parts = choose(infos)
        self._drop(parts)
        return parts

    def _drop(self, parts: Sequence[Carried]) -> None:
        self.dropped.update({(part.path, name): why for part in parts for name, why in part.dropped})

    def _begin(self, source: Source) -> None:
        """Let the first input decide on event trees, branches and identity."""
        infos = find_event_trees(source, self.options.event_trees, self.options.identity or DEFAULT_IDENTITY)
        self.identity = choose_identity(source, infos, self.options)
        self.events = self._carry(infos, source.url)
        if self.options.schema == "backfill":
            self.events = self._unite()
        self.finder.names = self.identity or ()
        if self.identity is None:
            which = "those values of each event that can be read" if self.unread else "each event's values"
            self.notes.append(f"events have no identity: a hash of {which} was compared")

    def _unite(self) -> list[Carried]:
        """Let all inputs together decide on the branches."""
        told: dict[str, list[tuple[str, Sequence[Branch]]]] = {part.path: [] for part in self.events}
        for path in self.sources:
            with open_source(path) as source:
                there = [part for part in self.events if part.path in source.tree_paths]
                for part in self._carry([source.info(part.path) for part in there], source.url):
                    told[part.path].append((f"{source.url}: {part.path}", part.branches))
        return [Carried(part.path, part.title, unite(told[part.path])) for part in self.events]

    def _add(self, source: Source, sums: Checksums, copier: Appender | None) -> None:
        """Append the events of an input, and what is new in its other trees."""
        carried = self._same_schema(source)
        self._same_table(source)
        infos = [source.info(part.path) for part in carried]
        identity = None if self.identity is None else find_identity(source, infos, self.identity)
        events = [part.path for part in self.events]
        with Input(Path(source.url)) as raw:
            if copier is not None:
                self._copy(raw, sums, copier)
            self.objects.add(raw)
            tally = self._add_events(EventReader(source, carried, identity), identity)
            self.side.add(source, raw, events, self.identity, str(self.sources[0]))
        self.notes += [
            note for info in source.trees.values() for note in info.notes if note not in self.notes
        ]
        self.inputs.append(
            MergeInput(
                source.url,
                sums.bytes,
                sums.adler32,
                sums.xxh3,
                tally.events,
                tally.fingerprint,
                tally.content,
            )
        )

    def _copy(self, source: Input, sums: Checksums, copier: Appender) -> None:
        """Copy the baskets or pages of an input's event trees."""
        if self.unread:
            verify(source.path)  # what can't be read as values must at least unpack
        paths = [part.path for part in self.events]
        try:
            same = copier.add(copier.prepare(source, paths)).sums == sums
        except (SchemaMismatch, UnsupportedContent) as error:
            raise CantCopy from error
        if not same:
            raise CorruptFile("it changed while it was read", where=str(source.path))

    def _same_schema(self, source: Source) -> list[Carried]:
        """Check that an input has the event trees and branches of the first."""
        reference = str(self.sources[0])
        found = []
        for part in self.events:
            if part.path not in source.tree_paths:
                raise SchemaMismatch(
                    f"there is no tree {part.path}, which {reference} has",
                    where=source.url,
                    todo=f"its trees are: {', '.join(source.tree_paths) or 'none'}",
                )
            found.append(source.info(part.path))
            self.kinds.setdefault(part.path, found[-1].kind)
            if found[-1].kind != self.kinds[part.path]:
                raise SchemaMismatch(
                    f"its kind is {found[-1].kind}, that of {reference} is {self.kinds[part.path]}",
                    where=f"{source.url}: {part.path}",
                    todo="merge only files of one format",
                )
        carried = self._carry(found, source.url)
        if self.options.schema == "backfill":
            for part, mine in zip(self.events, carried, strict=True):
                named = {branch.name: branch for branch in mine.branches}
                self.changes.add(source.url, part.path, named, part.branches)
            return carried
        for part, mine in zip(self.events, carried, strict=True):
            same_branches(
                part.branches, mine.branches, where=f"{source.url}: {part.path}", reference=reference
            )
        return [
            Carried(part.path, mine.title, part.branches)
            for part, mine in zip(self.events, carried, strict=True)
        ]

    def _same_table(self, source: Source) -> None:
        """Refuse to mix files that were split by different trigger tables."""
        mine = source.record or {}
        same_table(self.records, mine, source.url, str(self.sources[0]))
        self.records.append(mine)

    def _add_events(self, reader: EventReader, identity: Identity | None) -> Tally:
        tally = Tally(known=identity is not None)
        wanted = {part.path: part.branches for part in self.events}
        for chunk in reader.chunks(self.options.memory_bytes):
            filled = chunk.trees
            if self.options.schema == "backfill":
                filled = fill_all(
                    chunk.trees, reader.branches, wanted, len(chunk), reader.source.url, chunk.start
                )
            hashes, keys = reader.hashes(chunk), reader.keys(chunk)
            tally.add(hashes, keys)
            if filled is not chunk.trees:
                hashes = content_hashes(filled, wanted)
            self.total.add(hashes, keys)
            if identity is None:
                seen = [content_hashes(filled, wanted, round_=turn).view("i8") for turn in (0, 1)]
            else:
                seen = identity.columns(chunk.trees, chunk.start, chunk.stop)
            self.finder.add(reader.source.url, seen, fingerprint.event_keys(seen))
            for path, tree in self.trees.items():
                tree.extend({branch.name: filled[path][branch.name] for branch in wanted[path]})
            self._tell(chunk.stop, reader.entries)
        return tally

    def _duplicates(self) -> Duplicates:
        found = self.finder.find()
        if found.events and self.options.duplicates == "refuse":
            raise events_occur_twice(found, str(self.sources[0]))
        return found

    def _found(self, duplicates: Duplicates) -> dict[str, Any]:
        """Return what the output's record says."""
        return {
            **said_by_inputs(self.records),
            "identity": None if self.identity is None else list(self.identity),
            "event_trees": [part.path for part in self.events],
            "inputs": [
                {"xxh3": part.xxh3, "events": part.events, "fingerprint": part.fingerprint}
                for part in self.inputs
            ],
            "origins": {path: origins_json(side.stretches) for path, side in self.side.trees.items()},
            "dropped": [[*key, why] for key, why in self.dropped.items()],
            **self.objects.record,
            "duplicates": duplicates.events,
            **self.changes.record,
            "verified": "proven",
        }

    def _prove(self, record: dict[str, Any]) -> Proven:
        expected = Expected(
            {part.path: part.branches for part in self.events},
            self.total,
            self.identity,
            {path: (side.carried.branches, side.tally) for path, side in self.side.trees.items()},
            record,
            exact=not self.copying,
        )
        return prove(self.out, expected, memory_bytes=self.options.memory_bytes, progress=self._tell)

    def _report(self, written: Checksums, found: Proven, duplicates: Duplicates) -> MergeReport:
        self.notes += [*self.changes.notes, *self.side.notes, *self.objects.notes]
        if duplicates.events:
            self.notes.append(f"{duplicates.events} events occur more than once; all of them were kept")
        return MergeReport(
            Output.of(self.out, written, found),
            tuple(self.inputs),
            duplicates,
            tuple((path, name, why) for (path, name), why in self.dropped.items()),
            {path: side.repeated + side.guessed for path, side in self.side.trees.items()},
            tuple(self.notes),
            "proven",
            self.changes.names,
            self.changes.types,
        )
