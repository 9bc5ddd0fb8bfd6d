"""Merge files by copying what they hold as it is: what trees and RNTuples have in common in that."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from grid.rootio.changes import Changes
from grid.rootio.checksums import compare
from grid.rootio.eventids import EventIds
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
from grid.rootio.verbatim.inputs import Input
from sitecfg.errors import CorruptFile, GridError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray

    from grid.rootio.checksums import Checksums
    from grid.rootio.duplicates import Duplicates
    from grid.rootio.merging import MergeOptions
    from grid.rootio.verbatim.appending import Added, Appender

__all__ = ["CopyMerge"]


class CopyMerge(ABC):
    """One merge that copies baskets or pages as they are.

    Raises :class:`grid.rootio.merging.CantCopy` where that is impossible.
    """

    #: Errors in copying that mean that the events may yet be unpacked and packed again.
    another_way: ClassVar[tuple[type[GridError], ...]] = ()

    def __init__(
        self,
        sources: list[Path],
        known: Sequence[Mapping[str, Any]],
        out: Path,
        options: MergeOptions,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.sources, self.known, self.out = sources, known, out
        self.options, self.progress = options, progress
        self.events: list[str] = []
        self.inputs: list[MergeInput] = []
        self.records: list[dict[str, Any]] = []
        self.dropped: dict[tuple[str, str], str] = {}
        self.objects = Objects(drop=options.on_refused == "drop", everything=options.side == "concat")
        self.changes = Changes()
        self.ids = EventIds(options, out.absolute().parent)
        self.done = 0
        self.size = sum(path.stat().st_size for path in sources if path.exists())

    @abstractmethod
    def begin(self, first: Input) -> None:
        """Let the first input decide what holds the events (:attr:`events`), and what tells them apart."""

    @abstractmethod
    def appender(self, sink: Sink) -> Appender:
        """Return what appends inputs to the output."""

    @abstractmethod
    def check_kinds(self, source: Input) -> None:
        """Refuse an input whose events are missing, or something else than the first one's."""

    @property
    @abstractmethod
    def key(self) -> tuple[str, ...]:
        """What tells the events apart in what is copied: names of branches or fields; none if nothing does."""

    def telling(self, source: Input, added: Added) -> Sequence[NDArray[Any]]:  # noqa: ARG002
        """Return what tells the events of an input apart that was appended, ``[entries]`` each; or nothing."""
        return added.columns

    def run(self, given: Mapping[str, Any]) -> MergeReport:
        """Copy everything, then write what the output says of itself."""
        with Input(self.sources[0]) as first:
            self.begin(first)
            compression = str(Compression.of_word(first.skeleton.header.compression))
        with Sink(self.out, compression=compression) as sink, self.ids:
            self.copier = copier = self.appender(sink)
            self.side = SideTrees(sink, self.options)
            self._add_all()
            copier.finish()
            self.side.finish()
            self.objects.put(sink)
            self.dropped.update(self.side.dropped)
            self.dropped.update({(path, ""): why for path, why in self.objects.dropped.items()})
            duplicates = self.ids.duplicates(str(self.sources[0]))
            sink.seed = json.dumps([one.xxh3 for one in self.inputs]).encode()
            sink.record = {**given, **self._found(duplicates)}
            written = sink.close(self._read_back)
        return self._report(written, duplicates)

    def _add_all(self) -> None:
        """Append all inputs; the next one is opened and understood while one is copied."""
        with ThreadPoolExecutor(1) as pool:
            coming: Future[tuple[Input, Any]] | None = pool.submit(self._open, self.sources[0])
            try:
                for number, path in enumerate([*self.sources[1:], None]):
                    assert coming is not None
                    source, prepared = coming.result()
                    coming = None if path is None else pool.submit(self._open, path)
                    with source:
                        self._add(number, source, prepared)
            finally:
                if coming is not None:
                    coming.add_done_callback(_close)

    def _open(self, path: Path) -> tuple[Input, Any]:
        source = Input(path)
        try:
            self.check_kinds(source)
            with self._copying():
                return source, self.copier.prepare(source, self.events)
        except BaseException:
            source.close()
            raise

    @contextmanager
    def _copying(self) -> Iterator[None]:
        try:
            yield
        except self.another_way as error:
            raise CantCopy from error

    def _add(self, number: int, source: Input, prepared: Any) -> None:
        """Append an input."""
        where, copier = str(source.path), self.copier
        same_table(self.records, source.record, where, str(self.sources[0]))

        def tell(done: int) -> None:
            if self.progress is not None:
                self.progress(self.done + done, self.size)

        before = copier.entries.get(self.events[0], 0)
        self.records.append(source.record)
        self.objects.add(source)
        with self._copying():
            added = copier.add(prepared, tell)
        sums, columns = added.sums, self.telling(source, added)
        if source.image.changed:
            raise CorruptFile("it changed while it was copied", where=where)
        if self.known:
            compare(sums, self.known[number], where=where)
        self._check_identity()
        if len(source.trees) + len(source.ntuples) > len(self.events):
            with open_source(source.path) as rows:
                self.side.add(rows, source, self.events, self._identity, str(self.sources[0]))
        self.done += sums.bytes
        events = copier.entries[self.events[0]] - before
        told = self.ids.add(self.key, columns, where, self.events[0])
        self.inputs.append(MergeInput(where, sums.bytes, sums.adler32, sums.xxh3, events, told, None))

    def _check_identity(self) -> None:
        """Leave it to the other way, if what is to tell events apart can't be had by copying: it may, or says why."""
        wanted = set(self.options.identity or ())
        there = wanted <= {name for path in self.events for name in self.copier.names(path)}
        if not there or (self.options.verify != "copied" and wanted and self.options.identity != self.key):
            raise CantCopy

    def _read_back(self, path: Path) -> Checksums:
        """Hold what was written against what was read."""
        sums = self.copier.check(path, self.ids.see)
        self.ids.hold(str(path))
        self.side.check(path)
        self.objects.check(path)
        return sums

    @property
    def _identity(self) -> tuple[str, ...] | None:
        return self.key or self.options.identity or identity_said(self.records[0]) or None

    def _found(self, duplicates: Duplicates) -> dict[str, Any]:
        """Return what the output's record says."""
        return {
            **said_by_inputs(self.records),
            "identity": None if self._identity is None else list(self._identity),
            "event_trees": self.events,
            "inputs": [
                {"xxh3": part.xxh3, "events": part.events, "fingerprint": part.fingerprint}
                for part in self.inputs
            ],
            "origins": {path: origins_json(side.stretches) for path, side in self.side.trees.items()},
            "dropped": [[*key, why] for key, why in self.dropped.items()],
            **self.objects.record,
            "duplicates": duplicates.events if self.ids.looked else None,
            **self.changes.record,
            "verified": self.options.verify,
        }

    def _report(self, written: Checksums, duplicates: Duplicates) -> MergeReport:
        copier, side = self.copier, self.side.trees
        output = Output(
            self.out,
            written.bytes,
            written.adler32,
            written.xxh3,
            copier.entries[self.events[0]],
            self.ids.fingerprint,
            None,
            self.ids.sections,
            {**copier.entries, **{path: one.tally.events for path, one in side.items()}},
        )
        return MergeReport(
            output,
            tuple(self.inputs),
            duplicates,
            tuple((path, name, why) for (path, name), why in self.dropped.items()),
            {path: one.repeated + one.guessed for path, one in side.items()},
            (
                *self.changes.notes,
                *copier.notes,
                *self.side.notes,
                *self.objects.notes,
                *self.ids.notes(duplicates),
            ),
            self.options.verify,
            self.changes.names,
            self.changes.types,
            covered=None if self.options.verify == "copied" else copier.covered,
        )


def _close(opened: Future[tuple[Input, Any]]) -> None:
    if not opened.cancelled() and opened.exception() is None:
        opened.result()[0].close()
