"""Pick entries from a field of an RNTuple, with everything that is below it."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import numpy as np

from kernels import jagged

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from grid.rootio.gather.clusters import Cluster, Clusters

__all__ = ["Fields", "Pick", "Receiver"]

#: Unpacked bytes of a field that are gone through at once.
_SECTION: Final = 16 << 20
#: Which values are picked, ascending or not; ``None``: all of them.
Pick: TypeAlias = "NDArray[np.int64] | None"


class Receiver(Protocol):
    """Takes what was picked from the columns, in the order of the entries."""

    def rows(self, column: int, rows: NDArray[np.uint8]) -> None:
        """Take elements as they are."""

    def sizes(self, column: int, sizes: NDArray[np.int64]) -> None:
        """Take the sizes of collections."""

    def choices(self, column: int, tags: NDArray[np.int64]) -> None:
        """Take what is chosen; the places follow from it."""


class Fields:
    """The fields of an RNTuple, each to be gone through with all below it."""

    def __init__(self, clusters: Clusters) -> None:
        self._clusters = clusters
        #: The entries of the RNTuple.
        self.entries = sum(cluster.entries for cluster in clusters.all)
        #: The fields that each one holds.
        self.children: dict[int, list[int]] = defaultdict(list)
        fields = clusters.schema.fields
        for number, one in enumerate(fields):
            if one.parent != number:
                self.children[one.parent].append(number)
        #: How many values of a field there are for each of the one that holds it.
        self.repeated = [max(1, one.repeated) for one in fields]
        #: Those that no other holds; a projected one has no values of its own.
        self.top = [number for number, one in enumerate(fields) if one.parent == number and not one.projected]
        #: The columns of each of them, with all below it.
        self.columns: dict[int, list[int]] = defaultdict(list)
        for number, column in enumerate(clusters.schema.columns):
            owner = column.field
            while fields[owner].parent != owner:
                owner = fields[owner].parent
            self.columns[owner].append(number)

    def sections(self, cluster: Cluster) -> Iterable[tuple[int, int]]:
        """Cut a cluster's entries into parts of which the largest field may be unpacked at once."""
        unpacked = self._clusters.unpacked
        largest = max((sum(unpacked[column] for column in self.columns[one]) for one in self.top), default=0)
        share = cluster.entries / max(1, self.entries)
        step = -(-cluster.entries // max(1, round(largest * share / _SECTION))) or 1
        return pairwise([*range(0, cluster.entries, step), cluster.entries])

    def pick(
        self,
        cluster: Cluster,
        field: int,
        span: tuple[int, int],
        picks: Sequence[Pick],
        receivers: Sequence[Receiver],
        *,
        last: bool,
    ) -> None:
        """Go through the values of a field that belong to some entries, and all below them.

        Parameters
        ----------
        cluster, field
            Which.
        span
            The first and the end of the values, counted in their cluster.
        picks
            For each receiver the values to give to it, counted from the first one.
        receivers
            What takes them.
        last
            Whether no more must be in the cluster.

        Raises
        ------
        CorruptFile, UnsupportedContent
            As :meth:`Clusters.rows`.
        """
        times = self.repeated[field]
        if times > 1:
            span = span[0] * times, span[1] * times
            picks = [
                None if one is None else (one[:, None] * times + np.arange(times)).reshape(-1)
                for one in picks
            ]
        known = self._clusters.fields.get(field, [])
        columns = next((one for one in known if cluster.chosen[one].any()), [])
        coding = self._clusters.codings[columns[0]] if columns else None
        if coding is None:
            for child in self.children[field]:
                self.pick(cluster, child, span, picks, receivers, last=last)
        elif coding.switch:
            self._variant(cluster, field, columns[0], span, picks, receivers, last=last)
        elif coding.index:
            self._collection(cluster, field, columns, span, picks, receivers, last=last)
        else:
            rows = self._clusters.rows(cluster, columns[0], *span, last=last)
            for pick, receiver in zip(picks, receivers, strict=True):
                receiver.rows(columns[0], rows if pick is None else jagged.take_fixed(rows, pick))

    def _collection(
        self,
        cluster: Cluster,
        field: int,
        columns: Sequence[int],
        span: tuple[int, int],
        picks: Sequence[Pick],
        receivers: Sequence[Receiver],
        *,
        last: bool,
    ) -> None:
        """Go through collections, texts, or objects that were streamed into bytes."""
        ends = self._clusters.ends(cluster, columns[0], *span, last=last)
        inner, edges = (int(ends[0]), int(ends[-1])), ends - ends[0]
        sizes = np.diff(edges)
        for pick, receiver in zip(picks, receivers, strict=True):
            receiver.sizes(columns[0], sizes if pick is None else sizes[pick])
        for column in columns[1:]:
            data = self._clusters.rows(cluster, column, *inner, last=last)
            width = data.shape[1]
            for pick, receiver in zip(picks, receivers, strict=True):
                if pick is None:
                    receiver.rows(column, data)
                else:
                    taken, _ = jagged.gather_bytes(data.reshape(-1), edges * width, pick)
                    receiver.rows(column, taken.reshape(-1, width))
        if self.children[field]:
            below = [None if pick is None else jagged.gather(edges, pick)[1] for pick in picks]
            for child in self.children[field]:
                self.pick(cluster, child, inner, below, receivers, last=last)

    def _variant(
        self,
        cluster: Cluster,
        field: int,
        column: int,
        span: tuple[int, int],
        picks: Sequence[Pick],
        receivers: Sequence[Receiver],
        *,
        last: bool,
    ) -> None:
        """Go through values that are of one of several fields each."""
        rows = self._clusters.rows(cluster, column, *span, last=last)
        places, tags = self._clusters.codings[column].choices(rows)
        if (tags > len(self.children[field])).any() or (places[tags > 0] < 0).any():
            raise self._clusters.error(column, "it chooses what is not there")
        for pick, receiver in zip(picks, receivers, strict=True):
            receiver.choices(column, tags if pick is None else tags[pick])
        for tag, child in enumerate(self.children[field], start=1):
            mine = places[tags == tag]
            if not len(mine):
                continue
            inner = int(mine.min()), int(mine.max()) + 1
            taken = ((places, tags) if pick is None else (places[pick], tags[pick]) for pick in picks)
            below = [at[chosen == tag] - inner[0] for at, chosen in taken]
            self.pick(cluster, child, inner, below, receivers, last=False)
