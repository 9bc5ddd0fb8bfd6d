"""Split a file by trigger bit: one output per stream, every event accounted for.

Where nobody changes the events, their bytes are gathered from baskets and pages (:mod:`grid.rootio.gathersplit`).

Where a user's function or keep rules do, or their identity has to be made, or the input is a remote one, events are
read as values, once, in chunks of bounded size; each goes to every stream of which a path fired. Other trees are copied
whole into every output. Then each output is read again, from the file, and held against the books.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.books import Books, MaskBook, difference, total
from grid.rootio.carry import carry
from grid.rootio.checksums import checksum_file
from grid.rootio.events import find_event_trees, find_identity
from grid.rootio.facts import menu_notes
from grid.rootio.gathersplit import GatherSplit
from grid.rootio.guard import Guard
from grid.rootio.keep import parse
from grid.rootio.known import Known
from grid.rootio.merging import CantCopy
from grid.rootio.origins import known_origins, origins_json
from grid.rootio.proof import Expected, prove
from grid.rootio.reading import EventReader
from grid.rootio.sink import Sink
from grid.rootio.source import open_source
from grid.rootio.splitting import (
    SplitOutput,
    SplitRecipe,
    SplitReport,
    check_outputs,
    objects_of,
    refuse_parallel,
)
from grid.rootio.streams import ALL, Streams
from grid.rootio.tally import NOTHING, Tally, content_hashes
from kernels import bits, fingerprint, jagged
from sitecfg.errors import ClosureError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from grid.rootio.columns import Branch
    from grid.rootio.reading import EventChunk
    from grid.rootio.sink import SinkTree
    from grid.rootio.source import Source, TreeInfo

__all__ = ["ALL", "SplitOutput", "SplitRecipe", "SplitReport", "split"]

#: Bytes of events that all outputs together hold back before they write them.
_HELD = 64 << 20


def split(
    source: Path | str,
    outputs: Mapping[str, Path],
    recipe: SplitRecipe | None = None,
    *,
    process: Callable[[Any, Any], Any] | None = None,
    record: Mapping[str, Any] | None = None,
    origin: str | None = None,
    made: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SplitReport:
    """Split a file into one output per stream.

    Blocks until every output is written, durable, read again and proven. On any error no output is left.

    Parameters
    ----------
    source
        The input, a local path or a URL.
    outputs
        A new file for each stream of the table, or for ``all``.
    recipe
        How; see :class:`grid.rootio.splitting.SplitRecipe`.
    process
        ``f(events, conditions)``, called on each chunk (once with no event for an empty input).
    record
        Provenance to store in the outputs, beside what is found here.
    origin
        The input's XXH3-128 if it is known; computed if not.
    made
        What a program made of the input: its events go to the streams that those of the input belong to.
    progress
        Called with (steps done, steps in all): events read, and events read back.

    Raises
    ------
    InputError, TriggerTableError, UsageError
        If the input, the table or the rules are wrong.
    UserCodeError
        If the user's function fails or breaks a rule, or the program's file does.
    OutputExists, NoSpace, OutputError
        If an output can't be written.
    ClosureError
        If what was written isn't what was read; the file is named.
    """
    recipe = recipe or SplitRecipe()
    if origin is None:
        origin = checksum_file(Path(source)).xxh3
    with ExitStack() as stack:
        raw = stack.enter_context(open_source(source))
        if process is None and made is None and _stay_as_they_are(raw, recipe):
            with suppress(CantCopy):
                return GatherSplit(raw, outputs, recipe, origin, record or {}, progress).run()
        opened = raw if made is None else stack.enter_context(open_source(made))
        return _Split(raw, opened, outputs, recipe, origin, record or {}, progress).run(process)


def _stay_as_they_are(source: Source, recipe: SplitRecipe) -> bool:
    """Whether trees of a local file stay what they are, with all of their branches."""
    if "://" in source.url or recipe.keep:
        return False
    return recipe.format is None or all(info.kind != "RNTuple" for info in source.trees.values())


class _Split:
    """One split, from plan to proof."""

    def __init__(
        self,
        raw: Source,
        source: Source,
        outputs: Mapping[str, Path],
        recipe: SplitRecipe,
        origin: str,
        record: Mapping[str, Any],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.source, self.recipe, self.origin, self.progress = source, recipe, origin, progress
        raw_infos = find_event_trees(raw, recipe.event_trees, recipe.identity)
        self.streams = Streams(recipe.table, raw_infos, recipe.menu_prefix, raw.url)
        self.raw_entries = raw_infos[0].entries
        self.known = None if raw is source else self._read_raw(raw, raw_infos)
        infos = raw_infos
        if raw is not source:
            infos = find_event_trees(source, recipe.event_trees, recipe.identity)
        self.identity = find_identity(source, infos, recipe.identity, origin)
        check_outputs(outputs, self.streams.names)
        self.notes = menu_notes(raw_infos, recipe.menu_prefix) if recipe.table is not None else ()
        self.paths = [outputs[stream] for stream in self.streams.names]
        choose = partial(carry, where=source.url, on_refused=recipe.on_refused, format=recipe.format)
        self.events = choose(infos, rules=parse(recipe.keep), need=self.identity.names)
        others = [info for path, info in source.trees.items() if path not in {info.path for info in infos}]
        refuse_parallel(source, infos[0], others)
        rows = [part for info in others for part in choose([info])]
        self.rows = [part for part in rows if part.branches]
        self.objects, left = objects_of(source, recipe.on_refused, origin)
        self.dropped_branches = (
            tuple((part.path, name, why) for part in (*self.events, *rows) for name, why in part.dropped)
            + left
        )
        self.record = {**record, **self._found()}
        self.tallies = [Tally() for _ in self.paths]
        self.row_tallies = {part.path: Tally() for part in self.rows}
        self.books = Books()
        self.gone, self.gone_keys = 0, np.zeros(2, np.uint64)
        self.read_keys = np.zeros(2, np.uint64)
        self.overlap = np.zeros((len(self.paths), len(self.paths)), np.int64)

    def _read_raw(self, raw: Source, infos: Sequence[TreeInfo]) -> Known:
        """Learn who the input's events are, and which streams each belongs to."""
        identity = find_identity(raw, infos, self.recipe.identity)
        nothing = carry(infos, where=raw.url, on_refused="drop", rules=parse(("drop *",)), format="ttree")
        reader = EventReader(raw, nothing, identity, self.streams.look)
        return Known(reader, identity, self.streams, self.recipe.memory_bytes)

    def run(self, process: Callable[[Any, Any], Any] | None) -> SplitReport:
        """Write all outputs, then prove each."""
        look = self.streams.look if self.known is None else None
        reader = EventReader(self.source, self.events, self.identity, look)
        guard = None if process is None else Guard(process, self.recipe.conditions, reader, self.identity)
        with ExitStack() as stack:
            sinks = [stack.enter_context(self._sink(bit)) for bit in range(len(self.paths))]
            stack.push(self._remove_on_error)
            branches = self._write_events(reader, guard, sinks)
            books, dropped = self._close_books()
            self._write_rows(sinks)
            for sink in sinks:
                self.objects.put(sink)
                sink.close()
            outputs = tuple(
                self._prove(bit, sink, branches, reader.entries) for bit, sink in enumerate(sinks)
            )
        return SplitReport(
            self.raw_entries,
            self.streams.names,
            outputs,
            books,
            dropped,
            tuple(map(tuple, self.overlap.tolist())),
            self.dropped_branches,
            (
                *self.notes,
                *(note for info in self.source.trees.values() for note in info.notes),
                *self.objects.copied,
            ),
        )

    def _found(self) -> dict[str, Any]:
        """Return what the outputs' records say, apart from the stream."""
        return {
            "made_by": "split",
            "table": self.streams.label,
            "identity": list(self.identity.names),
            "event_trees": [part.path for part in self.events],
            "inputs": [{"xxh3": self.origin, "events": self.raw_entries}],
            "origins": {
                part.path: origins_json(known_origins(self.source, part.path, self.origin))
                for part in self.rows
            },
            "dropped": [list(item) for item in self.dropped_branches],
            **self.objects.record,
        }

    def _sink(self, bit: int) -> Sink:
        record = {**self.record, "stream": self.streams.names[bit]}
        seed = json.dumps(record, sort_keys=True).encode()
        compression = self.recipe.compression or self.source.compression
        return Sink(self.paths[bit], compression=compression, seed=seed, record=record)

    def _remove_on_error(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for path in self.paths:
                path.unlink(missing_ok=True)

    def _write_events(
        self, reader: EventReader, guard: Guard | None, sinks: Sequence[Sink]
    ) -> dict[str, tuple[Branch, ...]]:
        branches: dict[str, tuple[Branch, ...]] = {}
        trees: list[dict[str, SinkTree]] = []
        for chunk in reader.chunks(self.recipe.memory_bytes):
            keys = self.identity.keys(chunk.trees, chunk.start, chunk.stop)
            masks = self._masks(chunk, keys)
            columns = chunk.trees
            if guard is not None:
                place, columns = guard(chunk)
                self._book_gone(keys, place)
                keys, masks = keys[place], masks[place]
            if not trees:
                branches = reader.branches if guard is None else guard.branches
                trees = self._open_trees(branches, sinks)
            hashes = content_hashes(columns, branches)
            self.books.add(masks, keys, hashes)
            self.overlap += bits.overlap(masks, len(sinks))
            for bit, index in enumerate(jagged.partition(masks, len(sinks))):
                self.tallies[bit].add(hashes[index], keys[index])
                for path, tree in trees[bit].items():
                    tree.extend(
                        {branch.name: columns[path][branch.name].take(index) for branch in branches[path]}
                    )
            if self.progress is not None:
                self.progress(chunk.stop, 2 * max(reader.entries, 1))
        return branches

    def _masks(self, chunk: EventChunk, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
        if self.known is None:
            self.read_keys += fingerprint.fingerprint(keys)
            return self.streams.masks(chunk, keys)
        return self.known.masks(
            self.identity.columns(chunk.trees, chunk.start, chunk.stop),
            f"{self.source.url}: entries {chunk.start} to {chunk.stop}",
        )

    def _open_trees(
        self, branches: Mapping[str, Sequence[Branch]], sinks: Sequence[Sink]
    ) -> list[dict[str, SinkTree]]:
        """Begin the event trees of all outputs; what they hold back depends on the number of streams alone."""
        titles = {part.path: part.title for part in self.events}
        size = min(16 << 20, max(1 << 20, _HELD // len(sinks)))
        return [
            {
                path: sink.tree(path, of, title=titles[path], cluster_bytes=size)
                for path, of in branches.items()
            }
            for sink in sinks
        ]

    def _book_gone(self, keys: NDArray[np.uint64], place: NDArray[np.int64]) -> None:
        gone = np.ones(len(keys), np.bool_)
        gone[place] = False
        self.gone += int(gone.sum())
        self.gone_keys += fingerprint.fingerprint(keys[gone])

    def _close_books(self) -> tuple[tuple[MaskBook, ...], MaskBook]:
        """Return the books, and one for what was dropped; together they must be the input."""
        if self.known is not None:
            self.read_keys = self.known.fingerprint
            gone = self.known.gone
            self.gone, self.gone_keys = len(gone), fingerprint.fingerprint(gone)
        books = self.books.close()
        dropped = MaskBook(0, self.gone, fingerprint.to_hex(self.gone_keys), NOTHING)
        parts = {"booked": total(books), "dropped": dropped}
        if wrong := difference(self.raw_entries, fingerprint.to_hex(self.read_keys), parts):
            raise ClosureError(wrong, where=self.source.url)
        return books, dropped

    def _write_rows(self, sinks: Sequence[Sink]) -> None:
        """Copy every tree that holds no events whole into every output."""
        for part in self.rows:
            trees = [sink.tree(part.path, part.branches, title=part.title) for sink in sinks]
            for chunk in self.source.chunks(part.path, part.names, self.recipe.memory_bytes):
                hashes = content_hashes({part.path: chunk.columns}, {part.path: part.branches})
                self.row_tallies[part.path].add(hashes, None)
                for tree in trees:
                    tree.extend(chunk.columns)

    def _prove(
        self, bit: int, sink: Sink, branches: Mapping[str, Sequence[Branch]], entries: int
    ) -> SplitOutput:
        """Read an output again and hold it against what was given to it."""
        expected = Expected(
            branches,
            self.tallies[bit],
            self.identity.names,
            {part.path: (part.branches, self.row_tallies[part.path]) for part in self.rows},
            {**self.record, "stream": self.streams.names[bit]},
        )

        def tell(done: int, here: int) -> None:
            if self.progress is not None:
                share = (bit + done / max(here, 1)) / len(self.paths)
                self.progress(whole + int(whole * share), 2 * whole)

        whole = max(entries, 1)
        found = prove(self.paths[bit], expected, memory_bytes=self.recipe.memory_bytes, progress=tell)
        self.objects.check(self.paths[bit])
        tell(1, 1)
        stream = {"stream": self.streams.names[bit], "stream_bit": bit}
        return SplitOutput.of(self.paths[bit], sink.close(), found, **stream)
