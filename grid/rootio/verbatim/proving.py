"""Unpack baskets that are copied: every checksum, length and offset in them is tested, and events are told apart."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from grid.rootio.format.baskets import entry_offsets
from grid.rootio.format.unpack import blocks_of
from kernels import content
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["Inside", "Prover"]

#: The largest basket of which more is looked at than its checksums.
_LARGEST: Final = 1 << 28
#: Two independent hashes of each event, where nothing else tells them apart.
_ROUNDS: Final = 2


@dataclass(frozen=True, slots=True)
class Inside:
    """What lies behind a basket's key: ``size`` bytes unpacked, ``data`` of them the entries; the rest says where.

    Attributes
    ----------
    kind
        Its branch.
    first, entries
        Which entries it holds.
    key_length
        What its offsets count from is this far before the data.
    """

    kind: int
    first: int
    entries: int
    size: int
    data: int
    key_length: int


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
    """

    def __init__(
        self,
        entries: int,
        identity: Mapping[int, np.dtype[Any]],
        salts: Sequence[str],
        *,
        everything: bool,
    ) -> None:
        self._identity, self._everything = dict(identity), everything
        self._columns = {kind: np.zeros(entries, dtype.newbyteorder("=")) for kind, dtype in identity.items()}
        hashing = everything and not identity
        self._salts = (
            [[int(content.salt_of(f"{turn} {name}")) for turn in range(_ROUNDS)] for name in salts]
            if hashing
            else []
        )
        self._sums = [np.zeros(entries if hashing else 0, np.uint64) for _ in range(_ROUNDS)]
        self._lock = threading.Lock()

    @property
    def columns(self) -> list[NDArray[Any]]:
        """What tells the events apart, ``[entries]`` each: the identity in its order, else two hashes; or nothing."""
        if self._identity:
            return list(self._columns.values())
        return [content.seal(sums).view(np.int64) for sums in self._sums] if self._salts else []

    def wants(self, kinds: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which baskets have to be unpacked, by their kinds."""
        if self._everything:
            return np.ones(len(kinds), bool)
        return np.isin(kinds, list(self._identity))

    def look(self, inside: Inside, payload: memoryview) -> int:
        """Test a basket; return how many of its packed bytes are under checksums, which all hold.

        Raises
        ------
        CorruptFile
            If lengths, offsets or checksums contradict each other.
        UnsupportedContent
            If the basket is too large to be held.
        """
        blocks = blocks_of(payload, inside.size, "")
        if not self._salts and inside.data == inside.size and inside.kind not in self._identity:
            return sum(block.packed for block in blocks if block.covered)
        if inside.size > _LARGEST:
            raise UnsupportedContent(f"it unpacks to {inside.size} bytes, and at most {_LARGEST} can be held")
        held = list(blocks)
        self.entries(inside, held[0].data if len(held) == 1 else b"".join(block.data for block in held))
        return sum(block.packed for block in held if block.covered)

    def entries(self, inside: Inside, data: bytes) -> None:
        """Test what a basket holds, unpacked.

        Raises
        ------
        CorruptFile
            If it isn't entries one behind the other, as many as its key says.
        """
        if inside.kind in self._identity:
            self._identify(inside, data)
        if inside.data == inside.size and not self._salts:
            return
        try:
            offsets = entry_offsets(data, inside.data, inside.entries, inside.key_length)
        except ValueError as error:
            raise CorruptFile(str(error)) from error
        if self._salts:
            self._hash(inside, data, offsets)

    def _identify(self, inside: Inside, data: bytes) -> None:
        dtype = self._identity[inside.kind]
        if inside.data != inside.entries * dtype.itemsize:
            raise CorruptFile(
                f"it holds {inside.data} bytes for {inside.entries} numbers of {dtype.itemsize} bytes"
            )
        stop = inside.first + inside.entries
        self._columns[inside.kind][inside.first : stop] = np.frombuffer(data, dtype, inside.entries)

    def _hash(self, inside: Inside, data: bytes, offsets: NDArray[np.int64]) -> None:
        whole = np.frombuffer(data, np.uint8)
        stretch = slice(inside.first, inside.first + inside.entries)
        for salt, sums in zip(self._salts[inside.kind], self._sums, strict=True):
            hashes = content.jagged(offsets[:-1], offsets[1:], whole, salt)
            with self._lock:
                sums[stretch] += hashes
