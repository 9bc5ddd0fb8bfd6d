"""Cut whole RNTuples into the outputs of all streams, in threads and bounded memory; then hold each against them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from grid.rootio.format.blocks import Compression
from grid.rootio.format.pagelists import PageList
from grid.rootio.gather.ahead import THREADS, ahead
from grid.rootio.gather.clusterfill import StreamFill
from grid.rootio.gather.clusters import Clusters
from grid.rootio.gather.fields import Fields
from grid.rootio.gather.pages import Received
from grid.rootio.ntuple import read_ntuple
from grid.rootio.verbatim.ntuple_output import NTupleOutput
from grid.rootio.verbatim.ntuple_schema import MergedSchema
from sitecfg.errors import ClosureError, SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from grid.rootio.gather.clusters import Cluster
    from grid.rootio.gather.fields import Pick
    from grid.rootio.sink import Sink
    from grid.rootio.verbatim.inputs import Input

__all__ = ["NTupleGatherer"]

#: What all columns of all streams together may hold back, and the sizes of pages.
_HELD: Final = 128 << 20
_SMALLEST, _LARGEST = 4 << 10, 1 << 20
#: The least that a cluster of an output holds, but for the last.
_CLUSTER: Final = 1 << 20


class NTupleGatherer:
    """One RNTuple of the input, cut into all outputs.

    Parameters
    ----------
    source, path
        The RNTuple.
    sinks
        The outputs.
    compression
        How everything is packed; ``None``: as each column is in the input.

    Raises
    ------
    CorruptFile
        If it contradicts itself.
    UnsupportedContent
        If it holds what can't be cut.
    """

    def __init__(self, source: Input, path: str, sinks: Sequence[Sink], compression: str | None) -> None:
        entry = source.ntuples[path]
        self._path = path
        self._first = read_ntuple(source.image, entry)
        self._schema = MergedSchema(self._first)
        self._clusters = Clusters(self._first)
        #: The number of entries.
        self.entries = self._first.entries
        title = entry.key.title.decode("utf-8", "surrogateescape")
        usual = Compression.of_word(source.skeleton.header.compression)
        packed = usual if compression is None else Compression.parse(compression)
        columns = len(self._clusters.codings)
        least = min(_LARGEST, max(_SMALLEST, _HELD // max(1, columns * len(sinks))))
        each = [packed] * columns if compression is not None else self._compressions(usual)
        self._fills = [
            StreamFill(
                NTupleOutput(sink, path, title, self._first, packed),
                self._clusters,
                (least, _LARGEST),
                each,
            )
            for sink in sinks
        ]

    def _compressions(self, usual: Compression) -> list[Compression]:
        """Return how each column is packed: as its first page is."""
        words = self._clusters.compressions()
        return [usual if word is None else Compression.of_word(word) for word in words]

    def run(
        self,
        chosen: Callable[[int, int], list[NDArray[np.int64]]],
        events: Sequence[int],
        progress: Callable[[float], None],
    ) -> None:
        """Write all pages, and tell the outputs what their RNTuples are; parameters as :meth:`Gatherer.run`."""
        self._append(self._clusters, chosen, progress)
        self.finish(events)

    def append(self, source: Input, chosen: Callable[[int, int], list[NDArray[np.int64]]]) -> None:
        """Go on with the RNTuple of another input, or begin with that of the first.

        Raises
        ------
        SchemaMismatch
            If it is described otherwise; the differences are named.
        """
        one = read_ntuple(source.image, source.ntuples[self._path], self._first)
        columns = len(self._clusters.codings)
        mapping = self._schema.match(one)
        if mapping.tolist() != list(range(columns)) or len(one.schema.columns) != columns:
            raise SchemaMismatch(
                f"its fields are encoded otherwise than those of {self._first.image.path}", where=one.where
            )
        self._append(Clusters(one), chosen, lambda _: None)

    def finish(self, events: Sequence[int]) -> None:
        """Tell the outputs what their RNTuples are, and how many entries each must have.

        Raises
        ------
        ClosureError
            If one has others.
        """
        with ThreadPoolExecutor(THREADS) as pool:
            self._end_clusters(pool, 0)
        for fill, number in zip(self._fills, events, strict=True):
            fill.finish(self._schema)
            if fill.out.entries != number:
                raise ClosureError(
                    f"{fill.out.entries} entries were gathered instead of {number}", where=self._first.where
                )

    def _append(
        self,
        clusters: Clusters,
        chosen: Callable[[int, int], list[NDArray[np.int64]]],
        progress: Callable[[float], None],
    ) -> None:
        usual = max(_CLUSTER, sum(clusters.unpacked) // max(1, len(clusters.all)))
        fields = Fields(clusters)
        with ThreadPoolExecutor(THREADS) as pool:
            for cluster in clusters.all:
                if any((fill.chosen != cluster.chosen).any() for fill in self._fills):
                    self._end_clusters(pool, 0)
                for fill in self._fills:
                    fill.chosen = cluster.chosen
                for start, stop in fields.sections(cluster):
                    picks = chosen(cluster.first + start, cluster.first + stop)
                    self._section(pool, fields, cluster, (start, stop), picks)
                    progress((cluster.first + stop) / max(self.entries, 1))
                self._end_clusters(pool, usual)

    def check(self, stream: int, found: Input, entries: int) -> None:
        """Hold an output that was read back against what was gathered for it: all pages, and every entry's values.

        Raises
        ------
        ClosureError
            If it is not what was to be written.
        InputError
            If it can't be read.
        """
        fill, where = self._fills[stream], found.image.where(self._path)
        if self._path not in found.ntuples:
            raise ClosureError("it is no RNTuple any more", where=where)
        one = read_ntuple(found.image, found.ntuples[self._path], self._first)
        if one.entries != entries or one.schema != self._schema.schema or one.known != self._schema.known:
            raise ClosureError(f"it does not have {entries} entries of the input's fields", where=where)
        clusters = Clusters(one)
        same = map(PageList.same, clusters.lists, fill.lists)
        if len(clusters.lists) != len(fill.lists) or not all(same):
            raise ClosureError("its fields don't have the pages that were written", where=where)
        fields, received = Fields(clusters), Received(len(clusters.codings))

        def again(field: int) -> None:
            for cluster in clusters.all:
                fields.pick(cluster, field, (0, cluster.entries), [None], [received], last=True)

        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(again, fields.top):
                pass
        if wrong := received.difference(fill.received):
            name = one.schema.fields[one.schema.columns[wrong[0]].field].name
            raise ClosureError(f"{name!r} does not hold what was gathered for it", where=where)

    def _section(
        self,
        pool: ThreadPoolExecutor,
        fields: Fields,
        cluster: Cluster,
        span: tuple[int, int],
        picks: list[NDArray[np.int64]],
    ) -> None:
        """Go on with all fields, a few at a time, and write the pages that are full, in order."""
        last = span[1] == cluster.entries
        some: list[Pick] = [None if len(pick) == span[1] - span[0] else pick for pick in picks]

        def step(field: int) -> Any:
            fields.pick(cluster, field, span, some, self._fills, last=last)
            return [fill.full(fields.columns[field]) for fill in self._fills]

        for ready in ahead(pool, step, fields.top):
            for fill, pages in zip(self._fills, ready, strict=True):
                fill.write(pages)
        for fill, pick in zip(self._fills, picks, strict=True):
            fill.entries += len(pick)

    def _end_clusters(self, pool: ThreadPoolExecutor, least: int) -> None:
        """Write what is held back for the streams whose cluster has at least so many bytes, and begin a new one."""
        ending = [fill for fill in self._fills if fill.entries and fill.bytes >= least]
        for fill in ending:
            columns = range(len(self._clusters.codings))
            for pages in pool.map(fill.end_column, columns):
                fill.write(pages)
            fill.end_cluster()
