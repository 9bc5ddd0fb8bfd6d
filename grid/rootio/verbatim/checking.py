"""Test the baskets of a stretch of a file, and give them the positions that they will have in another."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from grid.rootio.format.baskets import AS_SIZES
from grid.rootio.format.keys import parse_text
from grid.rootio.format.objects import text
from grid.rootio.verbatim.blocks import Unsound, follow, refuse, seals, unpack
from grid.rootio.verbatim.proving import LARGEST, Insides
from kernels.adler import combine
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from grid.rootio.image import Image
    from grid.rootio.outfile import OutFile
    from grid.rootio.verbatim.blocks import Blocks
    from grid.rootio.verbatim.proving import Inside
    from sitecfg.errors import InputError

__all__ = ["SHORTEST", "Checker", "Chunk", "Job", "Looker"]

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
#: The head of a block.
_BLOCK: Final = 9
_NARROW: Final = (1 << 31) - 1
#: Names up to this length are compared all at once.
_COMPARED: Final = 128
#: Baskets are unpacked together until they hold so many bytes.
_TOGETHER: Final = 4 << 20
#: The upper 16 bits of a directory's position are an offset into the process ids.
_PLACE: Final = (1 << 48) - 1


@dataclass(slots=True)
class Job:
    """The baskets of an input, in the order in which they lie there: ``[n]`` each.

    ``kinds`` says which of ``names`` (class, branch, tree, as the key has them), ``parents`` (where the directory lies)
    and ``homes`` (where it lies in the output) are a basket's.
    """

    seeks: NDArray[np.int64]
    nbytes: NDArray[np.integer[Any]]
    firsts: NDArray[np.int64]
    entries: NDArray[np.integer[Any]]
    kinds: NDArray[np.integer[Any]]
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


class Looker(Protocol):
    """Looks into baskets, as a :class:`grid.rootio.verbatim.proving.Prover` does."""

    def wants(self, kinds: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which baskets have to be unpacked, by their kinds."""
        ...

    def skim(self, inside: Inside, payload: memoryview) -> int:
        """Look into a basket that is too large to be unpacked with others; return how many bytes were covered."""
        ...

    def look(self, inside: Insides, data: NDArray[np.uint8], begins: NDArray[np.int64]) -> None:
        """Look into baskets, unpacked."""
        ...


class Checker:
    """Copies one chunk after the other; threads may share it."""

    def __init__(
        self,
        image: Image,
        job: Job,
        target: tuple[OutFile, NDArray[np.int64]] | None,
        prover: Looker | None,
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
            mine, places = numbers[which], at[which]
            if not len(mine):
                continue
            with self._named(mine):
                heads = self._heads(data, mine, places, layout)
            if self.target is None:
                # what was written is what was tested, but for the places in the keys; who the events are is read anew
                wanted = self._wanted(mine)
                mine, places, heads = mine[wanted], places[wanted], heads[wanted]
                if not len(mine):
                    continue
            with self._named(mine):
                covered += self._check_alike(buffer, data, mine, places, heads)
        return covered

    def _wanted(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        if self.prover is None:
            return np.zeros(len(numbers), np.bool_)
        return self.prover.wants(self.job.kinds[numbers].astype(np.int64))

    def _heads(
        self,
        data: NDArray[np.uint8],
        numbers: NDArray[np.int64],
        at: NDArray[np.int64],
        layout: np.dtype[Any],
    ) -> NDArray[Any]:
        """Return what keys say up to their names, and test where they say that they lie, and how large they are."""
        job = self.job
        refuse(job.nbytes[numbers] < layout.itemsize, "is too short")
        heads = _gather(data, at, layout)
        parents = heads["parent"].astype(np.int64) & _PLACE
        refuse(heads["nbytes"] != job.nbytes[numbers], "has another size than its tree says")
        refuse(heads["seek"] != job.seeks[numbers], "says that it lies elsewhere")
        refuse(parents != job.parents[job.kinds[numbers]], "belongs to another directory")
        return heads

    def _check_alike(
        self,
        buffer: memoryview,
        data: NDArray[np.uint8],
        numbers: NDArray[np.int64],
        at: NDArray[np.int64],
        heads: NDArray[Any],
    ) -> int:
        job, layout = self.job, _BIG if heads.dtype == _BIG else _SMALL
        kinds = job.kinds[numbers].astype(np.int64)
        names_at = at + layout.itemsize
        odd = self._odd_names(data, names_at, kinds)
        if len(odd):
            self._same_names(buffer, numbers[odd], names_at[odd], kinds[odd])
        tail_at = names_at + self._lengths[kinds]
        refuse(at + job.nbytes[numbers] < tail_at + _TAIL.itemsize + 1 + _END.itemsize, "is too short")
        tail = _gather(data, tail_at, _TAIL)
        extra = (tail["room"] < 0).astype(np.int64)
        end = _gather(data, tail_at + _TAIL.itemsize + extra, _END)
        length = layout.itemsize + self._lengths[kinds] + _TAIL.itemsize + extra + _END.itemsize
        parents = heads["parent"].astype(np.int64)
        last, unpacked = end["last"].astype(np.int64), heads["object"].astype(np.int64)
        for wrong, what in (
            (heads["length"] != length, "has a key of another length than its names"),
            (end["entries"] != job.entries[numbers], "has other entries than its tree says"),
            ((last < length) | (last > length + unpacked), "ends outside of itself"),
        ):
            refuse(wrong, what)
        begins, ends = at + length, at + job.nbytes[numbers]
        blocks = follow(data, begins, ends, unpacked)
        covered = seals(data, buffer, blocks) if self.sealed else 0
        if self.prover is not None:
            sizes = extra * (data[tail_at + _TAIL.itemsize] & AS_SIZES)
            said = (kinds, job.firsts[numbers], job.entries[numbers].astype(np.int64))
            inside = Insides(*said, unpacked, last - length, length, sizes.astype(np.bool_))
            covered += self._look_inside(self.prover, buffer, data, begins, ends, inside, blocks)
        if self.target is not None:
            self._move(data, numbers, at, layout, job.homes[kinds] | (parents & ~_PLACE))
        return covered

    def _look_inside(
        self,
        prover: Looker,
        buffer: memoryview,
        data: NDArray[np.uint8],
        begins: NDArray[np.int64],
        ends: NDArray[np.int64],
        inside: Insides,
        blocks: Blocks,
    ) -> int:
        """Unpack baskets; return how many of their bytes are under checksums that only then can be tested."""
        covered = 0
        wanted = prover.wants(inside.kinds)
        large = wanted & (inside.sizes > LARGEST)
        for row in np.flatnonzero(large).tolist():
            try:
                covered += prover.skim(inside.row(row), buffer[begins[row] : ends[row]])
            except (CorruptFile, UnsupportedContent) as error:
                raise Unsound(row, f"is unsound: {error.what}", type(error)) from error
        for rows in _together(np.flatnonzero(wanted & ~large), inside.sizes):
            some = inside.rows(rows)
            try:
                found = unpack(data, buffer, begins[rows], ends[rows], some.sizes, blocks.of_baskets(rows))
                prover.look(some, found.data, found.begins)
            except Unsound as one:
                raise Unsound(int(rows[one.row]), one.what, one.kind) from one.__cause__
            covered += found.covered
        return 0 if self.sealed else covered

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
                raise self._error(CorruptFile, int(numbers[row]), "has the name of another branch or tree")

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

    @contextmanager
    def _named(self, numbers: NDArray[np.int64]) -> Iterator[None]:
        """Say which basket it is that is unsound."""
        try:
            yield
        except Unsound as one:
            raise self._error(one.kind, int(numbers[one.row]), one.what) from one.__cause__

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


def _together(rows: NDArray[np.int64], sizes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut baskets into groups that are unpacked at once."""
    ends, at, done = np.cumsum(sizes[rows]), 0, 0
    while at < len(rows):
        stop = max(at + 1, int(np.searchsorted(ends, done + _TOGETHER, side="right")))
        yield rows[at:stop]
        at, done = stop, int(ends[stop - 1])


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
