"""Unpack baskets that are copied: every checksum, length and offset in them is tested, and events are told apart."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from grid.rootio.format.baskets import entry_offsets, from_sizes
from grid.rootio.format.unpack import blocks_of, unpack_covered
from kernels import content
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["Inside", "Offsets", "Prover"]

#: The largest basket of which more is looked at than its checksums.
_LARGEST: Final = 1 << 28
#: The farthest that an entry offset can say.
_FARTHEST: Final = (1 << 31) - 1
#: Entry offsets are looked at so many bytes at a time.
_TOGETHER: Final = 1 << 20
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


class Offsets:
    """The entry offsets of many baskets, tested together: one basket has few, and numpy takes long to begin."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._parts: list[bytes] = []
        self._said: list[tuple[int, int, int, int]] = []
        self._bytes = 0

    def add(self, number: int, inside: Inside, data: bytes) -> None:
        """Take those of a basket, which its number tells from others.

        Raises
        ------
        CorruptFile
            If they aren't as many as its entries.
        """
        size, entries = inside.data, inside.entries
        count = int.from_bytes(data[size : size + 4], "big")
        if count != entries + 1 or count * 4 > len(data) - size - 4:
            raise CorruptFile(f"it has {count} entry offsets for {entries} entries")
        if entries:
            listed = data[size + 4 : size + 4 + 4 * entries]
            if inside.sizes:
                begins = from_sizes(np.frombuffer(listed, ">i4"), inside.key_length)
                listed = np.minimum(begins, _FARTHEST).astype(">i4").tobytes()
            self._parts.append(listed)
            self._said.append((number, entries, inside.key_length, inside.key_length + size))
            self._bytes += 4 * entries

    @property
    def many(self) -> bool:
        """Whether there are so many that they should be looked at before more come."""
        return self._bytes >= _TOGETHER

    def unsound(self) -> int | None:
        """Return the number of a basket whose entries don't lie one behind the other, if there is one; forget all."""
        if not self._said:
            return None
        numbers, entries, least, most = np.array(self._said, np.int64).T
        offsets = np.frombuffer(b"".join(self._parts), ">i4").astype(np.int32)
        self._clear()
        ends = np.cumsum(entries)
        begins = ends - entries
        falls = offsets[1:] < offsets[:-1]
        falls[begins[1:] - 1] = False
        owners = np.searchsorted(ends, np.flatnonzero(falls), side="right")
        wrong = (offsets[begins] < least) | (offsets[ends - 1] > most)
        wrong[owners] = True
        return int(numbers[wrong][0]) if wrong.any() else None


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

    def look(self, number: int, inside: Inside, payload: memoryview, offsets: Offsets) -> int:
        """Test a basket; return how many of its packed bytes are under checksums, which all hold.

        Its entry offsets may be left to `offsets`, with the basket's number.

        Raises
        ------
        CorruptFile
            If lengths, offsets or checksums contradict each other.
        UnsupportedContent
            If the basket is too large to be held.
        """
        fixed = inside.data == inside.size and not self._salts and inside.kind not in self._identity
        if inside.size > _LARGEST:
            if fixed:
                return sum(block.packed for block in blocks_of(payload, inside.size, "") if block.covered)
            raise UnsupportedContent(f"it unpacks to {inside.size} bytes, and at most {_LARGEST} can be held")
        data, covered = unpack_covered(payload, inside.size, "")
        if self._salts or inside.kind in self._identity:
            self.entries(inside, data)
        elif not fixed:
            offsets.add(number, inside, data)
        return covered

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
            offsets = entry_offsets(data, inside.data, inside.entries, inside.key_length, sizes=inside.sizes)
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
