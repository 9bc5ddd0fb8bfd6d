"""Split a file by gathering the bytes of events from its baskets; only identities and trigger bits are looked at.

Raises :class:`grid.rootio.merging.CantCopy` where that is impossible.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.books import Books, MaskBook, difference, total, with_contents
from grid.rootio.carry import carry
from grid.rootio.events import find_event_trees, find_identity
from grid.rootio.facts import menu_notes
from grid.rootio.format.blocks import Compression
from grid.rootio.gather.clusters import Clusters
from grid.rootio.gather.gatherer import Gatherer
from grid.rootio.gather.masks import by_masks, every
from grid.rootio.gather.ntuple import NTupleGatherer
from grid.rootio.gather.rereading import read_again
from grid.rootio.gather.values import Values
from grid.rootio.keep import parse
from grid.rootio.merging import CantCopy
from grid.rootio.ntuple import read_ntuple
from grid.rootio.origins import known_origins, origins_json
from grid.rootio.proof import Proven
from grid.rootio.reading import EventReader
from grid.rootio.sections import listed, sections_of
from grid.rootio.sink import Sink
from grid.rootio.source import open_source
from grid.rootio.splitting import SplitOutput, SplitReport, check_outputs, objects_of, refuse_parallel
from grid.rootio.streams import Streams
from grid.rootio.tally import NOTHING
from grid.rootio.verbatim.inputs import Input
from grid.rootio.verbatim.ntuple_proving import integer_fields
from kernels import bits, fingerprint
from sitecfg.errors import ClosureError, InputError, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from grid.rootio.checksums import Checksums
    from grid.rootio.events import Identity
    from grid.rootio.gather.rereading import Again
    from grid.rootio.source import Source, TreeInfo
    from grid.rootio.splitting import SplitRecipe

__all__ = ["GatherSplit"]

#: How far looking at the events gets, of what is told as progress; and writing and proving them.
_LOOKED, _WRITTEN, _PROVEN = 0.5, 1.0, 2.0


class GatherSplit:
    """One split, from plan to proof."""

    def __init__(
        self,
        source: Source,
        outputs: Mapping[str, Path],
        recipe: SplitRecipe,
        origin: str,
        record: Mapping[str, Any],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.source, self.recipe, self.progress = source, recipe, progress
        infos = find_event_trees(source, recipe.event_trees, recipe.identity)
        self.streams = Streams(recipe.table, infos, recipe.menu_prefix, source.url)
        self.identity = find_identity(source, infos, recipe.identity, origin)
        check_outputs(outputs, self.streams.names)
        self._only_trees(recipe)
        self.notes = menu_notes(infos, recipe.menu_prefix) if recipe.table is not None else ()
        self.paths = [outputs[stream] for stream in self.streams.names]
        self.events = [info.path for info in infos]
        others = [info for path, info in source.trees.items() if path not in self.events]
        refuse_parallel(source, infos[0], others)
        if recipe.format == "ttree" and any(info.kind != "TTree" for info in (*infos, *others)):
            raise CantCopy
        self.rows = [info.path for info in others]
        self.entries = infos[0].entries
        self.objects, self.dropped = objects_of(source, recipe.on_refused, origin)
        self.record = {
            **record,
            "made_by": "split",
            "table": self.streams.label,
            "identity": list(self.identity.names),
            "event_trees": self.events,
            "inputs": [{"xxh3": origin, "events": self.entries}],
            "origins": {path: origins_json(known_origins(source, path, origin)) for path in self.rows},
            "dropped": [list(item) for item in self.dropped],
            **self.objects.record,
        }
        self.overlap = np.zeros((len(self.paths), len(self.paths)), np.int64)

    def _only_trees(self, recipe: SplitRecipe) -> None:
        """Leave to the other way what changes branches, and what it has to refuse."""
        if (
            recipe.keep
            or self.identity.origin
            or recipe.format not in {None, "ttree"}
            or recipe.on_refused not in {"refuse", "drop"}
        ):
            raise CantCopy

    def run(self) -> SplitReport:
        """Write all outputs, then prove each."""
        with ExitStack() as stack:
            source = stack.enter_context(Input(Path(self.source.url)))
            sinks = [stack.enter_context(self._sink(bit, source)) for bit in range(len(self.paths))]
            stack.push(self._remove_on_error)
            for sink in sinks:
                sink.streamers = source.streamers
            with _left_to_the_other_way(unless=bool(source.ntuples)):
                values = self._values()
                gatherers = [
                    self._gatherer(source, path, sinks, values if path in self.events else None)
                    for path in (*self.events, *self.rows)
                ]
            masks, books = self._look()
            counts = self.overlap.diagonal().tolist()
            for number, gatherer in enumerate(gatherers):
                is_events = number < len(self.events)
                chosen = by_masks(masks, len(sinks)) if is_events else every(len(sinks))
                wanted = counts if is_events else [gatherer.entries] * len(sinks)
                gatherer.run(chosen, wanted, partial(self._tell_written, number, len(gatherers)))
            if values is not None:
                values.check(self.source.url)
                books = with_contents(books, masks, values.hashes)
            for sink in sinks:
                self.objects.put(sink)
            outputs = tuple(
                self._finish(bit, sink, gatherers, total(books, bit)) for bit, sink in enumerate(sinks)
            )
        return SplitReport(
            self.entries,
            self.streams.names,
            outputs,
            books,
            MaskBook(0, 0, NOTHING, None if values is None else NOTHING),
            tuple(map(tuple, self.overlap.tolist())),
            self.dropped,
            (*self.notes, *self.objects.copied),
        )

    def _values(self) -> Values | None:
        """Return what takes in the events' values, where the bytes of all branches tell them."""
        readers = {path: self.source.of_bytes(path) for path in self.events}
        plain = {path: found for path, found in readers.items() if found}
        return Values(self.entries, plain) if len(plain) == len(readers) else None

    def _gatherer(
        self, source: Input, path: str, sinks: Sequence[Sink], values: Values | None
    ) -> Gatherer | NTupleGatherer:
        if path in source.ntuples:
            return NTupleGatherer(source, path, sinks, self.recipe.compression)
        return Gatherer(source, path, sinks, self.recipe.compression, values)

    def _sink(self, bit: int, source: Input) -> Sink:
        record = {**self.record, "stream": self.streams.names[bit]}
        seed = json.dumps(record, sort_keys=True).encode()
        word = source.skeleton.header.compression
        compression = self.recipe.compression or str(Compression.of_word(word))
        return Sink(self.paths[bit], compression=compression, seed=seed, record=record)

    def _remove_on_error(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for path in self.paths:
                path.unlink(missing_ok=True)

    def _tell(self, share: float) -> None:
        """Say how far it is, of twice the events: writing them, and proving them."""
        if self.progress is not None:
            whole = max(self.entries, 1)
            self.progress(int(whole * share), 2 * whole)

    def _tell_written(self, number: int, of: int, share: float) -> None:
        self._tell(_LOOKED + (_WRITTEN - _LOOKED) * (number + share) / of)

    def _look(self) -> tuple[NDArray[np.uint64], tuple[MaskBook, ...]]:
        """Read who the events are and which streams each goes to; the books must be the input."""
        books, parts = Books(), []
        read = np.zeros(2, np.uint64)
        infos = [self.source.info(path) for path in self.events]
        reader = _only(self.source, infos, self.identity, self.streams.look)
        for chunk in reader.chunks(self.recipe.memory_bytes):
            keys = self.identity.keys(chunk.trees, chunk.start, chunk.stop)
            masks = self.streams.masks(chunk, keys)
            read += fingerprint.fingerprint(keys)
            books.add(masks, keys, None)
            self.overlap += bits.overlap(masks, len(self.paths))
            parts.append(masks)
            self._tell(_LOOKED * chunk.stop / max(self.entries, 1))
        closed = books.close()
        if wrong := difference(self.entries, fingerprint.to_hex(read), {"booked": total(closed)}):
            raise ClosureError(wrong, where=self.source.url)
        return np.concatenate(parts), closed

    def _finish(
        self, bit: int, sink: Sink, gatherers: Sequence[Gatherer | NTupleGatherer], booked: MaskBook
    ) -> SplitOutput:
        """Close an output, which reads it again."""
        proven: list[Proven] = []

        def read_back(_: Path) -> Checksums:
            found, sums = self._prove(bit, gatherers, booked)
            proven.append(found)
            return sums

        written = sink.close(read_back)
        stream = {"stream": self.streams.names[bit], "stream_bit": bit}
        return SplitOutput.of(self.paths[bit], written, proven[0], **stream)

    def _prove(
        self, bit: int, gatherers: Sequence[Gatherer | NTupleGatherer], booked: MaskBook
    ) -> tuple[Proven, Checksums]:
        """Read an output again and hold it against what was gathered for it, and who it should hold."""
        path = self.paths[bit]
        try:
            with Input(path) as found:
                if set(found.trees | found.ntuples) != {*self.events, *self.rows}:
                    raise ClosureError("it has other trees than the input", where=str(path))
                if found.record != {**self.record, "stream": self.streams.names[bit]}:
                    raise ClosureError("its record is not the one that was written", where=str(path))
                trees, known, sums = self._hold(bit, found, gatherers, booked.events)
                number, mark, sections = self._who(found, known)
            self.objects.check(path)
        except InputError as error:
            raise ClosureError(
                f"what was written can't be read again: {error.what}", where=error.where
            ) from error
        if (number, mark) != (booked.events, booked.fingerprint):
            raise ClosureError(
                f"it holds {number} events ({mark}), the books {booked.events} ({booked.fingerprint})",
                where=str(path),
            )
        self._tell(_WRITTEN + (_PROVEN - _WRITTEN) * (bit + 1) / len(self.paths))
        return Proven(trees, number, mark, booked.content, listed(sections)), sums

    def _hold(
        self, bit: int, found: Input, gatherers: Sequence[Gatherer | NTupleGatherer], events: int
    ) -> tuple[dict[str, int], list[list[NDArray[Any]]], Checksums]:
        """Hold what an output has against what was gathered for it.

        Returns its trees' entries, who the events are where that comes with reading the trees, and the checksums.
        """
        trees: dict[str, int] = {}
        again: list[tuple[Gatherer, Again]] = []
        for name, gatherer in zip((*self.events, *self.rows), gatherers, strict=True):
            trees[name] = events if name in self.events else gatherer.entries
            if isinstance(gatherer, NTupleGatherer):
                gatherer.check(bit, found, trees[name])
            else:
                names = self.identity.names if name == self.identity.tree else ()
                again.append((gatherer, gatherer.again(bit, found, trees[name], names)))
        sums = read_again(found.image, [tree for _, tree in again])
        for gatherer, tree in again:
            gatherer.check(bit, tree.sums, str(found.path))
        return trees, [list(tree.columns.values()) for _, tree in again if tree.columns], sums

    def _who(
        self, found: Input, known: Sequence[Sequence[NDArray[Any]]]
    ) -> tuple[int, str, Counter[tuple[int, int]]]:
        """Return how many events an output has, which, and in what run sections; who they are may be known already."""
        sections = Counter[tuple[int, int]]()
        read, number = np.zeros(2, np.uint64), 0
        for columns in known or self._identities(found):
            read += fingerprint.fingerprint(fingerprint.event_keys(columns))
            number += len(columns[0])
            for run, section, count in sections_of(dict(zip(self.identity.names, columns, strict=True))):
                sections[run, section] += count
        return number, fingerprint.to_hex(read), sections

    def _identities(self, found: Input) -> Iterator[Sequence[NDArray[Any]]]:
        """Yield what identifies the events of an output, some at a time."""
        tree, names = self.identity.tree, self.identity.names
        if tree in found.ntuples:
            one = read_ntuple(found.image, found.ntuples[tree])
            if set(names) <= set(integer_fields(one.schema)):
                yield from Clusters(one).integers(names)
                return
        with open_source(found.path) as source:
            infos = [source.info(name) for name in self.events]
            identity = find_identity(source, infos, names)
            for chunk in _only(source, infos, identity).chunks(self.recipe.memory_bytes):
                yield identity.columns(chunk.trees, chunk.start, chunk.stop)


def _only(
    source: Source,
    infos: Sequence[TreeInfo],
    identity: Identity,
    look: Mapping[str, Sequence[str]] | None = None,
) -> EventReader:
    """Return what reads nothing but the identity, and some branches."""
    nothing = carry(infos, where=source.url, on_refused="drop", rules=parse(("drop *",)), format="ttree")
    return EventReader(source, nothing, identity, look)


@contextmanager
def _left_to_the_other_way(*, unless: bool) -> Iterator[None]:
    """Leave what can't be gathered to the other way, which carries it or says why not; `unless` it couldn't."""
    try:
        yield
    except (UnsupportedContent, KeyError) as error:
        if unless and isinstance(error, UnsupportedContent):
            raise
        raise CantCopy from error
