"""Copy the pages of an input into an output as they are, testing on the way all that can be without unpacking them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from grid.rootio.format.envelopes import CHECKSUM
from grid.rootio.verbatim.blocks import Unsound, follow, refuse, seals
from kernels.adler import combine
from sitecfg.errors import CorruptFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from grid.rootio.checksums import Checksums
    from grid.rootio.format.ntuples import Schema
    from grid.rootio.format.pagelists import PageList
    from grid.rootio.image import Image
    from grid.rootio.outfile import OutFile
    from grid.rootio.verbatim.ntuple_proving import PageProver
    from grid.rootio.verbatim.stretches import Passage

__all__ = ["Copied", "Pages", "check_pages", "copy_pages"]

_STRETCH: Final = 4 << 20


@dataclass(slots=True)
class Pages:
    """The pages of an input, each once, in the order in which they lie there: ``[n]`` each.

    ``lengths`` are their unpacked sizes, ``extents`` their packed ones with the checksum, if they are ``sealed``.
    """

    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    extents: NDArray[np.int64]
    lengths: NDArray[np.int64]
    sealed: NDArray[np.bool_]

    @classmethod
    def of(cls, lists: Sequence[tuple[PageList, Schema]], image: Image) -> Pages:
        """Collect the pages of some lists; equal ones may share a place.

        Raises
        ------
        CorruptFile
            If pages overlap, or don't lie in the file.
        """
        parts = [
            (pages.offsets, pages.sizes, _lengths(pages, schema), pages.sealed.astype(np.int64))
            for pages, schema in lists
        ]
        table = np.stack(
            [np.concatenate([np.zeros(0, np.int64), *column]) for column in zip(*parts, strict=True)]
            if parts
            else [np.zeros(0, np.int64)] * 4
        )
        table = table[:, np.lexsort(table[::-1])]
        if table.shape[1]:
            table = table[:, np.append(True, (table[:, 1:] != table[:, :-1]).any(axis=0))]
        offsets, sizes, lengths, sealed = table
        extents = sizes + CHECKSUM * sealed
        bad = offsets > image.size - extents
        bad[1:] |= offsets[:-1] + extents[:-1] > offsets[1:]
        bad[1:] |= offsets[:-1] == offsets[1:]
        if bad.any():
            raise CorruptFile(
                f"the page at {offsets[np.flatnonzero(bad)[0]]} overlaps another, or ends outside of the file",
                where=str(image.path),
            )
        return cls(offsets, sizes, extents, lengths, sealed.astype(np.bool_))

    def numbers(self, pages: PageList) -> NDArray[np.int64]:
        """Return which of these each page of a list is."""
        return np.searchsorted(self.offsets, pages.offsets)


def _lengths(pages: PageList, schema: Schema) -> NDArray[np.int64]:
    bits = np.array([one.bits for one in schema.columns], np.int64)
    return (pages.elements * bits[pages.columns_of()[pages.ranges_of()]] + 7) // 8


@dataclass(frozen=True, slots=True)
class Copied:
    """Where each page lies now, the XXH3-64 of each, the input's checksums, and how much those inside it cover."""

    offsets: NDArray[np.int64]
    marks: NDArray[np.uint64]
    sums: Checksums
    covered: int


def copy_pages(
    image: Image,
    pages: Pages,
    out: OutFile,
    key: Callable[[int, int], bytes],
    *,
    sealed: bool,
    passage: Passage,
    prover: PageProver | None = None,
    progress: Callable[[int], None] | None = None,
) -> Copied:
    """Copy all pages of an input to the end of the output, a blob for each stretch.

    Parameters
    ----------
    image
        The input. All of it is read, for its checksum.
    pages
        Its pages.
    out
        The output.
    key
        Makes the key of a blob of a given size at a given position.
    sealed
        Whether checksums that need no unpacking are tested.
    passage
        What goes through it, several stretches at once.
    prover
        Looks into the pages.
    progress
        Called with the bytes done.

    Raises
    ------
    CorruptFile
        If a page is not what its list says; it is named.
    """
    stretches = list(_stretches(pages, image.size))
    room = len(key(0, 0))
    before = np.cumsum([0, *(room * (one.stop > one.first) for one in stretches)])
    counts = np.array([one.stop - one.first for one in stretches], np.int64)
    targets = np.cumsum(pages.extents) - pages.extents + np.repeat(before[1:], counts)
    size = int(pages.extents.sum() + before[-1])
    targets += out.region(size)
    worker = _Worker(image, pages, (out, targets, key), prover, sealed=sealed)
    sums, written, covered = _run(worker, passage, progress)
    out.region_done(written, size)
    return Copied(targets, worker.marks, sums, covered)


def check_pages(
    image: Image, pages: Pages, *, sealed: bool, passage: Passage, prover: PageProver | None = None
) -> Copied:
    """Test all pages of a file as :func:`copy_pages` does, and copy none."""
    worker = _Worker(image, pages, None, prover, sealed=sealed)
    sums, _, covered = _run(worker, passage, None)
    return Copied(pages.offsets, worker.marks, sums, covered)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Bytes of the input, and the pages (numbers) that lie in them."""

    begin: int
    end: int
    first: int
    stop: int


def _stretches(pages: Pages, size: int) -> Iterator[_Stretch]:
    """Cut a file into stretches of about 4 MB; a page is in one of them whole."""
    ends = pages.offsets + pages.extents
    at = first = 0
    while at < size:
        stop = int(np.searchsorted(ends, at + _STRETCH, side="right"))
        end = int(ends[stop - 1]) if stop > first else min(at + _STRETCH, size)
        if stop == first < len(ends) and pages.offsets[first] < end:
            # a gap before a page that doesn't fit, or that large page itself
            end = int(pages.offsets[first])
            if end == at:
                end, stop = int(ends[first]), first + 1
        yield _Stretch(at, end, first, stop)
        at, first = end, stop


def _run(
    worker: _Worker, passage: Passage, progress: Callable[[int], None] | None
) -> tuple[Checksums, int, int]:
    """Return the file's checksums, the adler32 of all that was written, and the bytes that inner checksums cover."""
    written, covered = 1, 0

    def done(one: _Stretch, answer: tuple[int, int, int]) -> None:
        nonlocal written, covered
        put, size, inside = answer
        written = combine(written, put, size)
        covered += inside
        if progress is not None:
            progress(one.end)

    image = worker.image
    sums = passage.through(image, _stretches(worker.pages, image.size), worker, done)
    return sums, written, covered


class _Worker:
    """Tests and copies one stretch after the other; threads may share it."""

    def __init__(
        self,
        image: Image,
        pages: Pages,
        target: tuple[OutFile, NDArray[np.int64], Callable[[int, int], bytes]] | None,
        prover: PageProver | None,
        *,
        sealed: bool,
    ) -> None:
        self.image, self.pages, self.target, self.sealed = image, pages, target, sealed
        self.prover = prover
        self.marks = np.zeros(len(pages.offsets), np.uint64)

    def __call__(self, one: _Stretch, buffer: memoryview) -> tuple[int, int, int]:
        """Return the adler32 of what was written of a stretch, its size, and the bytes that checksums cover."""
        from isal.isal_zlib import adler32

        if one.stop == one.first:
            return 1, 0, 0
        numbers = np.arange(one.first, one.stop)
        begins = self.pages.offsets[numbers] - one.begin
        covered = self._blocks(buffer, numbers, begins) + self._seals(buffer, numbers, begins)
        if self.prover is not None:
            covered += self._look_inside(self.prover, buffer, numbers, begins)
        if self.target is None:
            return 1, 0, covered
        out, targets, key = self.target
        ends = begins + self.pages.extents[numbers]
        cuts = np.flatnonzero(begins[1:] != ends[:-1]) + 1
        parts = [
            buffer[begins[low] : ends[high - 1]]
            for low, high in zip([0, *cuts], [*cuts, len(numbers)], strict=True)
        ]
        payload = sum(map(len, parts))
        room = len(key(0, 0))
        place = int(targets[one.first]) - room
        written, size = 1, 0
        for part in (memoryview(key(place, payload)), *parts):
            out.put(part, place + size)
            written, size = adler32(part, written), size + len(part)
        return written, size, covered

    def _look_inside(
        self, prover: PageProver, buffer: memoryview, numbers: NDArray[np.int64], begins: NDArray[np.int64]
    ) -> int:
        """Unpack pages; return how many bytes are under checksums that only then can be tested."""
        covered = 0
        ends, sealed = begins + self.pages.sizes[numbers], self.pages.sealed[numbers]
        rows = zip(numbers.tolist(), begins.tolist(), ends.tolist(), sealed.tolist(), strict=True)
        for number, begin, end, has in rows:
            if prover.wants(number):
                inside = prover.look(number, buffer[begin:end])
                covered += 0 if has or not prover.everything else inside
        return covered

    def _seals(self, buffer: memoryview, numbers: NDArray[np.int64], begins: NDArray[np.int64]) -> int:
        """Mark the pages, and hold those that have a checksum against it; return the bytes that this covers."""
        from xxhash import xxh3_64_intdigest

        covered = 0
        sizes, sealed = self.pages.sizes[numbers].tolist(), self.pages.sealed[numbers].tolist()
        marks = []
        for begin, size, has in zip(begins.tolist(), sizes, sealed, strict=True):
            end = begin + size
            marks.append(xxh3_64_intdigest(buffer[begin:end]))
            if has and self.sealed:
                if marks[-1] != int.from_bytes(buffer[end : end + CHECKSUM], "little"):
                    raise self._wrong(int(numbers[len(marks) - 1]), "its xxh3 does not match")
                covered += size + CHECKSUM
        self.marks[numbers] = marks
        return covered

    def _blocks(self, buffer: memoryview, numbers: NDArray[np.int64], begins: NDArray[np.int64]) -> int:
        """Follow the blocks of packed pages; return the bytes that the checksums in these alone cover."""
        data = np.frombuffer(buffer, np.uint8)
        sizes, lengths = self.pages.sizes[numbers], self.pages.lengths[numbers]
        try:
            refuse(sizes > lengths, "is longer than what it holds")
            blocks = follow(data, begins, begins + sizes, lengths)
            if not self.sealed or (self.prover is not None and self.prover.everything):
                return 0
            return seals(data, buffer, blocks.of(~self.pages.sealed[numbers][blocks.rows]))
        except Unsound as error:
            raise self._wrong(int(numbers[error.row]), f"it {error.what}") from error

    def _wrong(self, number: int, why: str) -> CorruptFile:
        return CorruptFile(why, where=self.image.where(f"a page at {self.pages.offsets[number]}"))
