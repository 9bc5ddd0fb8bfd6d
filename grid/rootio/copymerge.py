"""Merge files without unpacking their events: structure and checksums are tested, values are not looked at."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from grid.rootio.carry import carry
from grid.rootio.checksums import checksum_file
from grid.rootio.duplicates import Duplicates
from grid.rootio.events import DEFAULT_IDENTITY, find_event_trees
from grid.rootio.format.blocks import Compression
from grid.rootio.merging import CantCopy, MergeInput, MergeReport, said_by_inputs, same_table
from grid.rootio.objects.objects import Objects
from grid.rootio.origins import origins_json
from grid.rootio.output import Output
from grid.rootio.sidetrees import SideTrees
from grid.rootio.sink import Sink
from grid.rootio.source import open_source
from grid.rootio.verbatim.copier import Copier
from grid.rootio.verbatim.inputs import Input
from kernels.adler import hex8
from sitecfg.errors import CorruptFile, SchemaMismatch, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from grid.rootio.carry import Carried
    from grid.rootio.checksums import Checksums
    from grid.rootio.merging import MergeOptions
    from grid.rootio.source import TreeInfo

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
        self.done = 0
        self.size = sum(path.stat().st_size for path in sources if path.exists())

    def run(self, given: Mapping[str, Any]) -> MergeReport:
        """Copy everything, then write what the output says of itself."""
        with Input(self.sources[0]) as first:
            self._begin(first)
            compression = str(Compression.of_word(first.skeleton.header.compression))
        with ThreadPoolExecutor(1) as hashing, Sink(self.out, compression=compression) as sink:
            sums = hashing.map(checksum_file, self.sources)
            copier = Copier(sink, sealed=self.options.verify == "sealed")
            self.side = SideTrees(sink, self.options, self._carry_side)
            for path in self.sources:
                with Input(path) as source:
                    self._add(source, copier, next(sums))
            copier.finish()
            self.objects.put(sink)
            self.dropped.update({(path, ""): why for path, why in self.objects.dropped.items()})
            sink.seed = json.dumps([one.xxh3 for one in self.inputs]).encode()
            sink.record = {**given, **self._found()}
            written = sink.close()
            self._check_output(copier, written)
        entries = {**copier.entries, **{path: side.tally.events for path, side in self.side.trees.items()}}
        output = Output(
            self.out,
            written.bytes,
            written.adler32,
            written.xxh3,
            copier.entries[self.events[0]],
            None,
            None,
            (),
            entries,
        )
        return MergeReport(
            output,
            tuple(self.inputs),
            Duplicates(),
            tuple((path, name, why) for (path, name), why in self.dropped.items()),
            {path: side.repeated + side.guessed for path, side in self.side.trees.items()},
            (
                *copier.notes,
                *self.side.notes,
                *self.objects.notes,
                *self._seals(copier),
                "events were not looked at: whether some occur twice is not known",
            ),
            self.options.verify,
        )

    def _begin(self, first: Input) -> None:
        """Let the first input decide which trees hold the events."""
        if not first.trees or first.ntuples:
            raise CantCopy
        if len(first.trees) == 1 and not self.options.event_trees:
            self.events = list(first.trees)
            return
        with open_source(first.path) as source:
            identity = self.options.identity or DEFAULT_IDENTITY
            self.events = [info.path for info in find_event_trees(source, self.options.event_trees, identity)]

    def _add(self, source: Input, copier: Copier, sums: Checksums) -> None:
        """Append an input."""
        where = str(source.path)
        self._check(source, where)
        record = source.record
        same_table(self.records, record, where, str(self.sources[0]))

        def tell(done: int) -> None:
            if self.progress is not None:
                self.progress(self.done + done, self.size)

        before = copier.entries.get(self.events[0], 0)
        self.records.append(record)
        try:
            adler = copier.add(source, self.events, tell)
        except (SchemaMismatch, UnsupportedContent) as error:
            raise CantCopy from error
        known = {name for path in self.events for name in copier.branches(path)}
        if not {name.encode("utf-8", "surrogateescape") for name in self.options.identity or ()} <= known:
            raise CantCopy  # the other way says so, with near names
        if (source.image.size, hex8(adler)) != (sums.bytes, sums.adler32):
            raise CorruptFile("it changed while it was copied", where=where)
        if len(source.trees) > len(self.events):
            with open_source(source.path) as rows:
                self.side.add(rows, self.events, self._identity(), str(self.sources[0]))
        self.objects.add(source)
        self.done += sums.bytes
        events = copier.entries[self.events[0]] - before
        self.inputs.append(MergeInput(where, sums.bytes, sums.adler32, sums.xxh3, events, None, None))

    def _check_output(self, copier: Copier, written: Checksums) -> None:
        """Test what was written as inputs are tested; what isn't sound doesn't stay."""
        try:
            copier.check(self.out, int(written.adler32, 16))
            self.objects.check(self.out)
        except BaseException:
            self.out.unlink(missing_ok=True)
            raise

    def _check(self, source: Input, where: str) -> None:
        if missing := [path for path in self.events if path not in source.trees]:
            raise SchemaMismatch(
                f"there is no tree {missing[0]}, which {self.sources[0]} has",
                where=where,
                todo=f"its trees are: {', '.join(source.trees) or 'none'}",
            )
        if source.ntuples:
            raise CantCopy  # the other way names them

    def _seals(self, copier: Copier) -> list[str]:
        """Say how much of the inputs was tested against checksums in them."""
        if self.options.verify != "sealed":
            return []
        return [f"{copier.covered:,} of {self.size:,} bytes were tested against checksums inside the inputs"]

    def _identity(self) -> tuple[str, ...] | None:
        said = tuple(self.records[0].get("identity") or ())
        return self.options.identity or said or None

    def _carry_side(self, info: TreeInfo, where: str) -> Carried:
        parts: Sequence[Carried] = carry([info], where=where, on_refused=self.options.on_refused)
        self.dropped.update({(part.path, name): why for part in parts for name, why in part.dropped})
        return parts[0]

    def _found(self) -> dict[str, Any]:
        """Return what the output's record says."""
        identity = self._identity()
        return {
            **said_by_inputs(self.records),
            "identity": None if identity is None else list(identity),
            "event_trees": self.events,
            "inputs": [{"xxh3": part.xxh3, "events": part.events} for part in self.inputs],
            "origins": {path: origins_json(side.stretches) for path, side in self.side.trees.items()},
            "dropped": [[*key, why] for key, why in self.dropped.items()],
            **self.objects.record,
            "verified": self.options.verify,
        }
