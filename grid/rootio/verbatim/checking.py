"""Test the baskets of a stretch of a file, and give them the positions that they will have in another."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from xxhash import xxh64_intdigest

from grid.rootio.format.baskets import AS_SIZES
from grid.rootio.format.keys import parse_text
from grid.rootio.format.objects import text
from grid.rootio.verbatim.proving import Inside, Offsets
from kernels.adler import combine
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from grid.rootio.image import Image
    from grid.rootio.outfile import OutFile
    from grid.rootio.verbatim.proving import Prover
    from sitecfg.errors import InputError

__all__ = ["SHORTEST", "Checker", "Chunk", "Job"]

#: A key up to its names: size, version, unpacked size, date, length, cycle, own position, directory.
_BIG: Final = np.dtype(
    [
        ("nbytes", ">i4"),
        ("version", ">i2"),
        ("object", ">i4"),
        ("date", ">u4"),
        ("length", ">i2"),
        ("cycle", ">i2"),
        ("seek", ">i8"),
        ("parent", ">i8"),
    ]
)
_SMALL: Final = np.dtype(
    [
        ("nbytes", ">i4"),
        ("version", ">i2"),
        ("object", ">i4"),
        ("date", ">u4"),
        ("length", ">i2"),
        ("cycle", ">i2"),
        ("seek", ">i4"),
        ("parent", ">i4"),
    ]
)
#: No key is shorter.
SHORTEST: Final = _SMALL.itemsize
#: What a basket adds: version, size of its buffer, room for offsets; and behind one byte of features, if that is
#: negative: entries, end of the data, flag.
_TAIL: Final = np.dtype([("version", ">i2"), ("buffer", ">i4"), ("room", ">i4")])
_END: Final = np.dtype([("entries", ">i4"), ("last", ">i4"), ("flag", "u1")])
_BLOCK: Final = 9
_SEAL: Final = np.dtype([("xxh64", ">u8")])
_UNSEALED: Final = "has a block (L4) whose xxh64 does not match"
_LETTERS: Final = np.array(
    [int.from_bytes(letters, "big") for letters in (b"ZL", b"L4", b"ZS", b"XZ", b"CS")]
)
_NARROW: Final = (1 << 31) - 1
#: Names up to this length are compared all at once.
_COMPARED: Final = 128
_LZ4: Final = int.from_bytes(b"L4", "big")
#: The upper 16 bits of a directory's position are an offset into the process ids.
_PLACE: Final = (1 << 48) - 1


@dataclass(slots=True)
class Job:
    """The baskets of an input, in the order in which they lie there: ``[n]`` each.

    ``kinds`` says which of ``names`` (class, branch, tree, as the key has them), ``parents`` (where the directory lies)
    and ``homes`` (where it lies in the output) are a basket's.
    """

    seeks: NDArray[np.int64]
    nbytes: NDArray[np.int64]
    firsts: NDArray[np.int64]
    entries: NDArray[np.int64]
    kinds: NDArray[np.int64]
    names: Sequence[bytes]
    parents: NDArray[np.int64]
    homes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of the input, and the baskets (numbers) that lie in them."""

    begin: int
    end: int
    first: int
    stop: int


class Checker:
    """Copies one chunk after the other; threads may share it."""

    def __init__(
        self,
        image: Image,
        job: Job,
        target: tuple[OutFile, NDArray[np.int64]] | None,
        prover: Prover | None,
        *,
        sealed: bool,
    ) -> None:
        self.image, self.job, self.target, self.prover, self.sealed = image, job, target, prover, sealed
        self._names = list(job.names)
        self._lengths = np.array([len(names) for names in job.names], np.int64)
        width = min(_COMPARED, max((len(names) for names in job.names), default=0))
        padded = b"".join(names[:width].ljust(width, b"\0") for names in job.names)
        #: The names again, ``[kinds, width]``, and which bytes of that are theirs.
        self._table = np.frombuffer(padded, np.uint8).reshape(len(job.names), width)
        self._theirs = np.arange(width) < self._lengths[:, None]
        #: The kinds of baskets that are called otherwise than their branch and tree.
        self.renamed: set[int] = set()
        self._lock = threading.Lock()

    def __call__(self, chunk: Chunk, buffer: memoryview) -> tuple[int, int]:
        """Return the adler32 of what was written of a chunk's bytes, and how many of these its checksums cover."""
        from isal.isal_zlib import adler32

        if chunk.stop == chunk.first:
            return 1, 0
        data = np.frombuffer(buffer, np.uint8)
        numbers = np.arange(chunk.first, chunk.stop)
        at = self.job.seeks[numbers] - chunk.begin
        covered = self._check(buffer, data, numbers, at)
        written = 1
        if self.target is not None:
            out, targets = self.target
            for begin, end, number in self._stretches(numbers, at):
                part = buffer[begin:end]
                written = combine(written, adler32(part), end - begin)
                out.put(part, int(targets[number]))
        return written, covered

    def _stretches(self, numbers: NDArray[np.int64], at: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
        """Yield what lies together: begin, end, and its first basket."""
        ends = at + self.job.nbytes[numbers]
        cuts = np.flatnonzero(at[1:] != ends[:-1]) + 1
        for first, stop in zip([0, *cuts], [*cuts, len(at)], strict=True):
            yield int(at[first]), int(ends[stop - 1]), int(numbers[first])

    def _check(
        self,
        buffer: memoryview,
        data: NDArray[np.uint8],
        numbers: NDArray[np.int64],
        at: NDArray[np.int64],
    ) -> int:
        """Test the keys of a chunk's baskets, and give them their new positions."""
        versions = _gather(data, at + 4, np.dtype(">i2"))
        covered = 0
        for layout, which in ((_BIG, versions > 1000), (_SMALL, versions <= 1000)):
            if which.any():
                covered += self._check_alike(buffer, data, numbers[which], at[which], layout)
        return covered

    def _check_alike(
        self,
        buffer: memoryview,
        data: NDArray[np.uint8],
        numbers: NDArray[np.int64],
        at: NDArray[np.int64],
        layout: np.dtype[Any],
    ) -> int:
        job = self.job
        kinds = job.kinds[numbers]
        names_at = at + layout.itemsize
        odd = self._odd_names(data, names_at, kinds)
        if len(odd):
            self._same_names(buffer, numbers[odd], names_at[odd], kinds[odd])
        tail_at = names_at + self._lengths[kinds]
        self._refuse(
            at + job.nbytes[numbers] < tail_at + _TAIL.itemsize + 1 + _END.itemsize, numbers, "is too short"
        )
        head = _gather(data, at, layout)
        tail = _gather(data, tail_at, _TAIL)
        extra = (tail["room"] < 0).astype(np.int64)
        end = _gather(data, tail_at + _TAIL.itemsize + extra, _END)
        length = layout.itemsize + self._lengths[kinds] + _TAIL.itemsize + extra + _END.itemsize
        parents = head["parent"].astype(np.int64)
        last, unpacked = end["last"].astype(np.int64), head["object"].astype(np.int64)
        for wrong, what in (
            (head["nbytes"] != job.nbytes[numbers], "has another size than its tree says"),
            (head["seek"] != job.seeks[numbers], "says that it lies elsewhere"),
            (parents & _PLACE != job.parents[kinds], "belongs to another directory"),
            (head["length"] != length, "has a key of another length than its names"),
            (end["entries"] != job.entries[numbers], "has other entries than its tree says"),
            ((last < length) | (last > length + unpacked), "ends outside of itself"),
        ):
            self._refuse(wrong, numbers, what)
        begins, ends = at + length, at + job.nbytes[numbers]
        covered = self._blocks(buffer, data, numbers, begins, ends, unpacked)
        if self.prover is not None:
            which = self.prover.wants(kinds)
            sizes = extra * (data[tail_at + _TAIL.itemsize] & AS_SIZES)
            columns = (numbers, begins, ends, unpacked, last - length, length, sizes)
            covered += self._look_inside(self.prover, buffer, *(column[which] for column in columns))
        if self.target is not None:
            self._move(data, numbers, at, layout, job.homes[kinds] | (parents & ~_PLACE))
        return covered

    def _look_inside(
        self,
        prover: Prover,
        buffer: memoryview,
        numbers: NDArray[np.int64],
        begins: NDArray[np.int64],
        ends: NDArray[np.int64],
        sizes: NDArray[np.int64],
        data: NDArray[np.int64],
        lengths: NDArray[np.int64],
        as_sizes: NDArray[np.int64],
    ) -> int:
        """Unpack baskets; return how many of their bytes are under checksums that only then can be tested."""
        job = self.job
        said = (job.kinds[numbers], job.firsts[numbers], job.entries[numbers])
        described = (*said, sizes, data, lengths, as_sizes)
        rows = zip(*(column.tolist() for column in (begins, ends, *described)), strict=True)
        covered, offsets = 0, Offsets()
        for number, (begin, end, *inside) in zip(numbers.tolist(), rows, strict=True):
            try:
                covered += prover.look(number, Inside(*inside), buffer[begin:end], offsets)
            except (CorruptFile, UnsupportedContent) as error:
                raise self._error(type(error), number, f"is unsound: {error.what}") from error
            if offsets.many:
                self._check_offsets(offsets)
        self._check_offsets(offsets)
        return 0 if self.sealed else covered

    def _check_offsets(self, offsets: Offsets) -> None:
        if (number := offsets.unsound()) is not None:
            raise self._error(CorruptFile, number, "is unsound: its entry offsets are out of order")

    def _odd_names(
        self, data: NDArray[np.uint8], at: NDArray[np.int64], kinds: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return which keys have other names than their branch and tree, or may have: too long to be compared here."""
        width = self._table.shape[1]
        fit = (at + width <= len(data)) & (self._lengths[kinds] <= width)
        rows = np.flatnonzero(fit)
        if len(rows):
            found = _windows(data, width)[at[rows]]
            fit[rows] = ~((found != self._table[kinds[rows]]) & self._theirs[kinds[rows]]).any(axis=1)
        return np.flatnonzero(~fit)

    def _same_names(
        self,
        buffer: memoryview,
        numbers: NDArray[np.int64],
        at: NDArray[np.int64],
        kinds: NDArray[np.int64],
    ) -> None:
        """Check that keys name their branch and tree; or that all keys of a branch have other names, the same ones.

        A branch or tree that got a new name leaves the old one in its baskets.
        """
        known, ends = self._names, at + self._lengths[kinds]
        rows = zip(range(len(at)), at.tolist(), ends.tolist(), kinds.tolist(), strict=True)
        others = [(row, begin, kind) for row, begin, end, kind in rows if buffer[begin:end] != known[kind]]
        for row, begin, kind in others:
            names = self._called(kind)
            if buffer[begin : begin + len(names)] != names:
                self._refuse(np.ones(1, bool), numbers[row:], "has the name of another branch or tree")

    def _called(self, kind: int) -> bytes:
        """Find out from its first basket how a branch's baskets are called."""
        with self._lock:
            if kind not in self.renamed:
                first = int(self.job.seeks[np.flatnonzero(self.job.kinds == kind)[0]])
                key = self.image.key(first, "a basket")
                names = text(key.class_name) + text(key.name) + text(key.title)
                if key.class_name == b"TBasket" and names != self.job.names[kind]:
                    # the length first: who finds the new names goes on with it at once
                    self._lengths[kind] = len(names)
                    self._names[kind] = names
                    self.renamed.add(kind)
            return self._names[kind]

    def _move(
        self,
        data: NDArray[np.uint8],
        numbers: NDArray[np.int64],
        at: NDArray[np.int64],
        layout: np.dtype[Any],
        homes: NDArray[np.int64],
    ) -> None:
        """Give keys their new positions, and those of their directories."""
        assert self.target is not None
        _, targets = self.target
        small = layout is _SMALL
        if small and targets[numbers].max() > _NARROW:
            raise UnsupportedContent(
                "its baskets have keys with 4-byte positions, and the output is larger than these can say",
                where=str(self.image.path),
            )
        places = layout.fields
        assert places is not None
        _scatter(data, at + places["seek"][1], targets[numbers], layout["seek"])
        _scatter(data, at + places["parent"][1], homes & _PLACE if small else homes, layout["parent"])

    def _blocks(
        self,
        buffer: memoryview,
        data: NDArray[np.uint8],
        numbers: NDArray[np.int64],
        begins: NDArray[np.int64],
        ends: NDArray[np.int64],
        unpacked: NDArray[np.int64],
    ) -> int:
        """Follow the blocks of packed baskets: they must fill them, and unpack to what the key says."""
        open_ = np.flatnonzero(ends - begins != unpacked)
        at, made = begins.copy(), np.zeros(len(begins), np.int64)
        covered = 0
        while len(open_):
            here = at[open_]
            self._refuse(here + _BLOCK > ends[open_], numbers[open_], "ends before its last block")
            heads = data[here[:, None] + np.arange(_BLOCK)].astype(np.int64)
            letters = heads[:, 0] << 8 | heads[:, 1]
            packed = heads[:, 3] | heads[:, 4] << 8 | heads[:, 5] << 16
            length = heads[:, 6] | heads[:, 7] << 8 | heads[:, 8] << 16
            self._refuse(~np.isin(letters, _LETTERS), numbers[open_], "is packed in an unknown way")
            at[open_] += _BLOCK + packed
            made[open_] += length
            wrong = (length == 0) | (at[open_] > ends[open_]) | (made[open_] > unpacked[open_])
            self._refuse(wrong, numbers[open_], "has a block that is larger than itself")
            if self.sealed:
                covered += self._seals(buffer, data, numbers[open_], here + _BLOCK, packed, letters == _LZ4)
            open_ = open_[made[open_] < unpacked[open_]]
        packed_ones = ends - begins != unpacked
        self._refuse(packed_ones & (at != ends), numbers, "goes on after its last block")
        return covered

    def _seals(
        self,
        buffer: memoryview,
        data: NDArray[np.uint8],
        numbers: NDArray[np.int64],
        at: NDArray[np.int64],
        packed: NDArray[np.int64],
        lz4: NDArray[np.bool_],
    ) -> int:
        """Test the checksums of lz4 blocks; return how many bytes they cover."""
        begins, sizes = at[lz4], packed[lz4]
        self._refuse(sizes < 8, numbers[lz4], _UNSEALED)
        seals = _gather(data, begins, _SEAL)["xxh64"].tolist()
        rows = zip(range(len(seals)), (begins + 8).tolist(), (begins + sizes).tolist(), seals, strict=True)
        bad = [row for row, begin, end, seal in rows if xxh64_intdigest(buffer[begin:end]) != seal]
        self._refuse(np.ones(len(bad), bool), numbers[lz4][bad], _UNSEALED)
        return int(sizes.sum())

    def _refuse(self, wrong: NDArray[np.bool_], numbers: NDArray[np.int64], what: str) -> None:
        """Raise for the first basket of those that are wrong."""
        if not wrong.any():
            return
        raise self._error(CorruptFile, int(numbers[np.flatnonzero(wrong)[0]]), what)

    def _error(self, kind: type[InputError], number: int, what: str) -> InputError:
        names = self.job.names[int(self.job.kinds[number])]
        _, at = parse_text(names, 0)
        branch, at = parse_text(names, at)
        tree, _ = parse_text(names, at)
        said = [name.decode("utf-8", "backslashreplace") for name in (tree, branch)]
        return kind(
            f"a basket of branch {said[1]!r} at {int(self.job.seeks[number])} {what}",
            where=self.image.where(said[0]),
            todo="copy the file again from where it came from",
        )


def _windows(data: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Return the `width` bytes from every place on, ``[len(data) - width + 1, width]``; shares them."""
    return np.ndarray((len(data) - width + 1, width), np.uint8, data.data, strides=(1, 1))


def _gather(data: NDArray[np.uint8], at: NDArray[np.int64], layout: np.dtype[Any]) -> NDArray[Any]:
    """Return what stands at some places."""
    answer: NDArray[Any] = _windows(data, layout.itemsize)[at].view(layout).reshape(-1)
    return answer


def _scatter(
    data: NDArray[np.uint8], at: NDArray[np.int64], values: NDArray[np.int64], layout: np.dtype[Any]
) -> None:
    """Put values at some places."""
    _windows(data, layout.itemsize)[at] = values.astype(layout).view(np.uint8).reshape(len(at), -1)
