"""Unpack baskets that are copied: every checksum, length and offset in them is tested, and events are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from grid.rootio.format.baskets import entry_offsets
from grid.rootio.format.unpack import blocks_of
from grid.rootio.verbatim.blocks import Unsound, refuse
from grid.rootio.verbatim.segments import Segments
from grid.rootio.verbatim.sums import EntrySums
from kernels import baskets
from kernels.rows import falling
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["LARGEST", "NOT_FILLED", "Inside", "Insides", "Prover"]

#: The largest basket of which more is looked at than its checksums.
LARGEST: Final = 1 << 28
#: What is wrong with a basket that its entries don't fill.
NOT_FILLED: Final = "is unsound: its entries do not lie one behind the other, from its first byte to its last"
#: Two independent hashes of each event, where nothing else tells them apart.
_ROUNDS: Final = 2


class Inside(NamedTuple):
    """What lies behind a basket's key: ``size`` bytes unpacked, ``data`` of them the entries; the rest says where.

    Attributes
    ----------
    kind
        Its branch.
    first, entries
        Which entries it holds.
    key_length
        What its offsets count from is this far before the data.
    sizes
        Whether it has sizes of entries instead of offsets.
    """

    kind: int
    first: int
    entries: int
    size: int
    data: int
    key_length: int
    sizes: bool


class Insides(NamedTuple):
    """The same of many baskets, ``[n]`` each."""

    kinds: NDArray[np.int64]
    firsts: NDArray[np.int64]
    entries: NDArray[np.int64]
    sizes: NDArray[np.int64]
    data: NDArray[np.int64]
    key_lengths: NDArray[np.int64]
    as_sizes: NDArray[np.bool_]

    def rows(self, rows: NDArray[np.int64]) -> Insides:
        """Return some of them."""
        return Insides._make(column[rows] for column in self)

    def row(self, row: int) -> Inside:
        """Return one of them."""
        return Inside(*(column[row].item() for column in self))

    def lie(self, begins: NDArray[np.int64]) -> baskets.Lie:
        """Return how their entries lie, where they begin at `begins`."""
        return baskets.Lie(begins, self.sizes, self.data, self.entries, self.key_lengths, self.as_sizes)


class Prover:
    """Looks into the baskets of one input; threads may share it.

    Parameters
    ----------
    entries
        How many events the input has.
    identity
        The branches (by kind) that tell events apart, with their types; none: a hash of all that an event holds does.
    salts
        For each kind a name of its branch, the same in all inputs; what of it goes into the hashes.
    everything
        Whether every basket is unpacked, or only those of the identity.
    seen
        Takes the identity of some events after the other, in any order; it is not held then.
    """

    def __init__(
        self,
        entries: int,
        identity: Mapping[int, np.dtype[Any]],
        salts: Sequence[str],
        *,
        everything: bool,
        seen: Callable[[Sequence[NDArray[Any]]], None] | None = None,
    ) -> None:
        self._identity, self._everything = dict(identity), everything
        self._identifies = np.isin(np.arange(len(salts)), list(identity))
        self._segments = None if seen is None else Segments(entries, identity, seen)
        held = identity if seen is None else {}
        self._columns = {kind: np.zeros(entries, dtype.newbyteorder("=")) for kind, dtype in held.items()}
        hashing = everything and not identity
        self._sums = EntrySums(entries, salts, rounds=_ROUNDS) if hashing else None
        self._entries = entries

    @property
    def columns(self) -> list[NDArray[Any]]:
        """What tells the events apart, ``[entries]`` each: the identity in its order, else two hashes; or nothing."""
        if self._identity:
            return list(self._columns.values())
        if self._sums is None:
            return []
        return [hashes.view(np.int64) for hashes in self._sums.sealed(0, self._entries)]

    def wants(self, kinds: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which baskets have to be unpacked, by their kinds."""
        if self._everything:
            return np.ones(len(kinds), bool)
        return self._identifies[kinds]

    def skim(self, inside: Inside, payload: memoryview) -> int:
        """Test the checksums of a basket that is too large to be held; return how many of its packed bytes they cover.

        Raises
        ------
        CorruptFile
            If they, or lengths, contradict the bytes.
        UnsupportedContent
            If more of the basket should be looked at.
        """
        if inside.data != inside.size or self._sums is not None or inside.kind in self._identity:
            raise UnsupportedContent(f"it unpacks to {inside.size} bytes, and at most {LARGEST} can be held")
        return sum(block.packed for block in blocks_of(payload, inside.size, "") if block.covered)

    def look(self, inside: Insides, data: NDArray[np.uint8], begins: NDArray[np.int64]) -> None:
        """Test what baskets hold, unpacked: that it is entries one behind the other, as many as their keys say.

        Parameters
        ----------
        inside
            What is known of them.
        data, begins
            Where they lie, each behind its key.

        Raises
        ------
        Unsound
            If lengths or offsets contradict each other.
        """
        if self._sums is not None:
            torn = self._sums.add_baskets(inside.kinds, inside.firsts, data, inside.lie(begins))
            if torn >= 0:
                raise Unsound(torn, NOT_FILLED)
            return
        ragged = inside.data != inside.sizes
        looked_at = self._identifies[inside.kinds]
        for row in np.flatnonzero(looked_at | (ragged & inside.as_sizes)).tolist():
            one, begin = inside.row(row), int(begins[row])
            try:
                self.entries(one, data[begin : begin + one.size].tobytes())
            except CorruptFile as error:
                raise Unsound(row, f"is unsound: {error.what}") from error
        rows = np.flatnonzero(ragged & ~looked_at & ~inside.as_sizes)
        if len(rows):
            _one_behind_the_other(inside.rows(rows), data, begins[rows], rows)

    def entries(self, inside: Inside, data: bytes) -> None:
        """Test what a basket holds, unpacked.

        Raises
        ------
        CorruptFile
            If it isn't entries one behind the other, as many as its key says.
        """
        if inside.kind in self._identity:
            self._identify(inside, data)
        if inside.data == inside.size and self._sums is None:
            return
        try:
            offsets = entry_offsets(data, inside.data, inside.entries, inside.key_length, sizes=inside.sizes)
        except ValueError as error:
            raise CorruptFile(str(error)) from error
        if self._sums is not None:
            self._sums.add(inside.kind, inside.first, offsets, np.frombuffer(data, np.uint8))

    def _identify(self, inside: Inside, data: bytes) -> None:
        dtype = self._identity[inside.kind]
        if inside.data != inside.entries * dtype.itemsize:
            raise CorruptFile(
                f"it holds {inside.data} bytes for {inside.entries} numbers of {dtype.itemsize} bytes"
            )
        values = np.frombuffer(data, dtype, inside.entries)
        if self._segments is not None:
            self._segments.put(inside.kind, inside.first, values)
        else:
            self._columns[inside.kind][inside.first : inside.first + inside.entries] = values


def _one_behind_the_other(
    inside: Insides, data: NDArray[np.uint8], begins: NDArray[np.int64], rows: NDArray[np.int64]
) -> None:
    """Test the entry offsets of baskets: as many as entries and one more, from the first byte to the last."""
    listed = begins + inside.data
    room = inside.sizes - inside.data - 4
    refuse(room < 0, "is unsound: its entry offsets are cut short", rows)
    counts = data[listed[:, None] + np.arange(4)].view(">i4")[:, 0].astype(np.int64)
    wrong = (counts != inside.entries + 1) | (counts * 4 > room)
    refuse(wrong, "is unsound: it has another number of entry offsets than of entries", rows)
    ends = inside.key_lengths + inside.data
    bad = falling(data, listed + 4, inside.entries, inside.key_lengths, ends)
    if bad >= 0:
        raise Unsound(int(rows[bad]), "is unsound: its entry offsets are out of order")
