"""The packed blocks of many baskets at once: follow them, test the checksums that they carry, and unpack them.

One basket is soon done, and a file has ten thousands of them: what takes its time is going from one to the next.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from grid.rootio.format.unpack import unpack_block
from kernels.content import light
from sitecfg.errors import CorruptFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sitecfg.errors import InputError

    Index = NDArray[np.int64]
    Bytes = NDArray[np.uint8]

__all__ = ["Blocks", "Unpacked", "Unsound", "follow", "numba_pays_from", "refuse", "seals", "unpack"]

#: A block's head: two letters, a byte for the method, its packed and its own length.
_HEAD: Final = 9
_LETTERS: Final = {int.from_bytes(letters, "big"): letters for letters in (b"ZL", b"CS", b"L4", b"ZS", b"XZ")}
_KNOWN: Final = np.isin(np.arange(1 << 16), list(_LETTERS))
_LZ4: Final = int.from_bytes(b"L4", "big")
_SEAL: Final = 8
_UNSEALED: Final = "has a block (L4) whose xxh64 does not match"
#: Our own code for LZ4 may write so many bytes too far.
_SLACK: Final = 16
#: The largest array that a thread keeps.
_KEPT: Final = 32 << 20
_local = threading.local()
#: How many blocks take as long, each by itself, as numba takes to be loaded.
_MANY: Final = 32_768
_PER_BLOCK: Final = (1 << 21) // _MANY


class Unsound(Exception):
    """One of many is not what it should be: which of them (``row``), of what kind that is, and what is wrong."""

    def __init__(self, row: int, what: str, kind: type[InputError] = CorruptFile) -> None:
        super().__init__(row, what, kind)
        self.row, self.what, self.kind = row, what, kind


class Blocks(NamedTuple):
    """Packed blocks, ``[n]`` each: in which basket (``rows``, ascending), and where behind their heads.

    ``sizes`` is what they unpack to, ``letters`` how they are packed; 0: not at all.
    """

    rows: Index
    begins: Index
    ends: Index
    sizes: Index
    letters: Index

    def of(self, which: NDArray[np.bool_] | Index) -> Blocks:
        """Return some of them."""
        return Blocks(*(column[which] for column in self))

    def joined(self, others: Blocks) -> Blocks:
        """Return these and others, of other baskets."""
        if not len(self.rows) or not len(others.rows):
            return self if len(self.rows) else others
        both = Blocks(*map(np.concatenate, zip(self, others, strict=True)))
        return both.of(np.argsort(both.rows, kind="stable"))

    def of_baskets(self, rows: Index) -> Blocks:
        """Return those of some baskets (ascending), which are counted anew."""
        place = np.searchsorted(rows, self.rows)
        place[place == len(rows)] = 0
        which = rows[place] == self.rows
        return self.of(which)._replace(rows=place[which])


class Unpacked(NamedTuple):
    """What baskets hold: their bytes in one array, where each begins there, and how many packed bytes were covered."""

    data: Bytes
    begins: Index
    covered: int


def numba_pays_from(blocks: int) -> int:
    """Return how much work so many blocks are, as :func:`kernels.content.expect` counts it."""
    return blocks * _PER_BLOCK


def refuse(wrong: NDArray[np.bool_], what: str, rows: Index | None = None) -> None:
    """Raise :class:`Unsound` for the first of those that are wrong; ``rows`` says which they are, if not all."""
    if wrong.any():
        first = np.flatnonzero(wrong)[0]
        raise Unsound(int(first if rows is None else rows[first]), what)


def follow(data: Bytes, begins: Index, ends: Index, sizes: Index) -> Blocks:
    """Follow the blocks of baskets: they must fill them, and unpack to what the key says.

    Parameters
    ----------
    data
        What they lie in.
    begins, ends, sizes
        Where each basket lies behind its key, and how many bytes it unpacks to; if as many, it has no blocks.

    Raises
    ------
    Unsound
        They do not.
    """
    packed_ones = ends - begins != sizes
    open_ = np.flatnonzero(packed_ones)
    at, made = begins.copy(), np.zeros(len(begins), np.int64)
    rounds: list[Blocks] = []
    while len(open_):
        here = at[open_]
        refuse(here + _HEAD > ends[open_], "ends before its last block", open_)
        heads = data[here[:, None] + np.arange(_HEAD)].astype(np.int64)
        letters = heads[:, 0] << 8 | heads[:, 1]
        packed = heads[:, 3] | heads[:, 4] << 8 | heads[:, 5] << 16
        length = heads[:, 6] | heads[:, 7] << 8 | heads[:, 8] << 16
        refuse(~_KNOWN[letters], "is packed in an unknown way", open_)
        at[open_] += _HEAD + packed
        made[open_] += length
        wrong = (length == 0) | (at[open_] > ends[open_]) | (made[open_] > sizes[open_])
        refuse(wrong, "has a block that is larger than itself", open_)
        rounds.append(Blocks(open_, here + _HEAD, at[open_], length, letters))
        open_ = open_[made[open_] < sizes[open_]]
    refuse(packed_ones & (at != ends), "goes on after its last block")
    if len(rounds) == 1:
        return rounds[0]
    if not rounds:
        return Blocks(*(np.zeros(0, np.int64) for _ in Blocks._fields))
    every = Blocks(*(np.concatenate(columns) for columns in zip(*rounds, strict=True)))
    return every.of(np.argsort(every.rows, kind="stable"))


def seals(data: Bytes, buffer: memoryview, blocks: Blocks) -> int:
    """Test the checksums that can be tested without unpacking; return how many packed bytes they cover.

    Parameters
    ----------
    data, buffer
        What the blocks lie in, twice.
    blocks
        Those of baskets.

    Raises
    ------
    Unsound
        One does not match.
    """
    lz4 = blocks if (blocks.letters == _LZ4).all() else blocks.of(blocks.letters == _LZ4)
    if not len(lz4.rows):
        return 0
    refuse(lz4.ends - lz4.begins < _SEAL, _UNSEALED, lz4.rows)
    said = _words(data, lz4.begins)
    begins = lz4.begins + _SEAL
    if light(numba_pays_from(len(begins))):
        from xxhash import xxh64_intdigest

        rows = zip(begins.tolist(), lz4.ends.tolist(), strict=True)
        found = np.array([xxh64_intdigest(buffer[begin:end]) for begin, end in rows], np.uint64)
    else:
        from kernels import xxh64

        found = xxh64.digests(data, begins, lz4.ends)
    refuse(found != said, _UNSEALED, lz4.rows)
    return int((lz4.ends - lz4.begins).sum())


def unpack(
    data: Bytes, buffer: memoryview, begins: Index, ends: Index, sizes: Index, blocks: Blocks
) -> Unpacked:
    """Unpack baskets; what they hold is there until this thread unpacks others.

    Parameters
    ----------
    data, buffer
        What they lie in, twice.
    begins, ends, sizes, blocks
        As for and from :func:`follow`.

    Raises
    ------
    Unsound
        A block does not unpack, or its checksum does not match.
    """
    bounds = np.concatenate(([0], np.cumsum(sizes)))
    stored = np.flatnonzero(ends - begins == sizes)
    if light(numba_pays_from(len(blocks.rows))):
        none = np.zeros_like(stored)
        pieces = Blocks(stored, begins[stored], ends[stored], sizes[stored], none).joined(blocks)
        parts, covered = _by_libraries(buffer, pieces)
        return Unpacked(np.frombuffer(b"".join(parts), np.uint8), bounds[:-1], covered)
    out = _room(int(bounds[-1]) + _SLACK)
    before = np.cumsum(blocks.sizes) - blocks.sizes
    places = bounds[blocks.rows] + before - before[np.searchsorted(blocks.rows, blocks.rows)]
    lz4 = blocks.letters == _LZ4
    # first of all: each of them may write a few bytes too far
    covered = _all_lz4(data, buffer, blocks.of(lz4), out, places[lz4])
    parts, more = _by_libraries(buffer, blocks.of(~lz4))
    for place, part in zip(places[~lz4].tolist(), parts, strict=True):
        out[place : place + len(part)] = np.frombuffer(part, np.uint8)
    for row in stored.tolist():
        out[bounds[row] : bounds[row + 1]] = data[begins[row] : ends[row]]
    return Unpacked(out, bounds[:-1], covered + more)


def _all_lz4(data: Bytes, buffer: memoryview, blocks: Blocks, out: Bytes, places: Index) -> int:
    """Unpack blocks of LZ4 with our own code; what that finds unsound the library looks at again, and says why."""
    from kernels import lz4blocks

    covered = seals(data, buffer, blocks)
    at = 0
    while at < len(places):
        rest = slice(at, None)
        bad = lz4blocks.unpack(
            data, blocks.begins[rest] + _SEAL, blocks.ends[rest], out, places[rest], blocks.sizes[rest]
        )
        if bad < 0:
            break
        at += bad
        (part,), _ = _by_libraries(buffer, Blocks(*(column[at : at + 1] for column in blocks)))
        out[places[at] : places[at] + len(part)] = np.frombuffer(part, np.uint8)
        at += 1
    return covered


def _by_libraries(buffer: memoryview, blocks: Blocks) -> tuple[list[bytes | memoryview], int]:
    """Unpack blocks one by one; return what each holds, and how many packed bytes were covered."""
    parts: list[bytes | memoryview] = []
    covered = 0
    for row, begin, end, size, letters in zip(*(column.tolist() for column in blocks), strict=True):
        if not letters:
            parts.append(buffer[begin:end])
            continue
        try:
            data, sealed = unpack_block(_LETTERS[letters], buffer[begin:end], size, "")
        except CorruptFile as error:
            raise Unsound(row, f"is unsound: {error.what}") from error
        parts.append(data)
        covered += (end - begin) if sealed else 0
    return parts, covered


def _room(size: int) -> Bytes:
    """Return an array of some bytes, this thread's own: memory that was written to is quicker than new memory."""
    kept: Bytes | None = getattr(_local, "room", None)
    if kept is None or len(kept) < size:
        kept = np.empty(size, np.uint8)
        if size <= _KEPT:
            _local.room = kept
    return kept[:size]


def _words(data: Bytes, at: Index) -> NDArray[np.uint64]:
    """Return the big-endian words that stand at some places."""
    answer: NDArray[np.uint64] = data[at[:, None] + np.arange(8)].view(">u8")[:, 0].astype(np.uint64)
    return answer
