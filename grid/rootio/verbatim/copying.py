"""Copy baskets from one file into another as they are, testing them on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from grid.rootio.verbatim.checking import SHORTEST, Checker, Chunk
from kernels.adler import combine
from sitecfg.errors import CorruptFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from grid.rootio.checksums import Checksums
    from grid.rootio.image import Image
    from grid.rootio.outfile import OutFile
    from grid.rootio.verbatim.checking import Job, Looker
    from grid.rootio.verbatim.stretches import Passage

__all__ = ["Copied", "check", "chunks_of", "copy"]

_CHUNK: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied: where each basket lies now, the whole input's checksums, and how much those inside it cover.

    ``renamed`` are the kinds whose baskets are
    called otherwise than their branch or tree.
    """

    seeks: NDArray[np.int64]
    sums: Checksums
    covered: int
    renamed: tuple[int, ...]


def copy(
    image: Image,
    job: Job,
    out: OutFile,
    *,
    sealed: bool,
    passage: Passage,
    prover: Looker | None = None,
    progress: Callable[[int], None] | None = None,
) -> Copied:
    """Copy all baskets of an input to the end of the output.

    Parameters
    ----------
    image
        The input. All of it is read, for its checksum.
    job
        Its baskets.
    out
        The output.
    sealed
        Whether checksums that need no unpacking are tested.
    passage
        What goes through it, several chunks at once.
    prover
        Looks into the baskets.
    progress
        Called with the bytes done.

    Raises
    ------
    CorruptFile
        A basket is not what its tree says; it is named.
    UnsupportedContent
        A basket has a key with 4-byte positions, and would lie beyond what these can say.
    """
    places = np.concatenate([[0], np.cumsum(job.nbytes)])
    size = int(places[-1])
    targets = places[:-1] + out.region(size)
    worker = Checker(image, job, (out, targets), prover, sealed=sealed)
    sums, written, covered = _run(worker, passage, progress)
    out.region_done(written, size)
    return Copied(targets, sums, covered, tuple(sorted(worker.renamed)))


def check(image: Image, job: Job, *, sealed: bool, passage: Passage, prover: Looker | None = None) -> Copied:
    """Test all baskets of a file as :func:`copy` does, and copy none."""
    worker = Checker(image, job, None, prover, sealed=sealed)
    sums, _, covered = _run(worker, passage, None)
    return Copied(job.seeks, sums, covered, tuple(sorted(worker.renamed)))


def _run(
    worker: Checker, passage: Passage, progress: Callable[[int], None] | None
) -> tuple[Checksums, int, int]:
    """Return the file's checksums, the adler32 of all that was written, and the bytes that inner checksums cover."""
    image, job = worker.image, worker.job
    _check_extents(image, job)
    places = np.concatenate([[0], np.cumsum(job.nbytes)])
    written, covered = 1, 0

    def done(chunk: Chunk, answer: tuple[int, int]) -> None:
        nonlocal written, covered
        put, inside = answer
        written = combine(written, put, int(places[chunk.stop] - places[chunk.first]))
        covered += inside
        if progress is not None:
            progress(chunk.end)

    sums = passage.through(image, chunks_of(job, image.size), worker, done)
    return sums, written, covered


def _check_extents(image: Image, job: Job) -> None:
    ends = job.seeks + job.nbytes
    bad = (job.nbytes < SHORTEST) | (ends > image.size)
    bad[1:] |= ends[:-1] > job.seeks[1:]
    if bad.any():
        where = int(job.seeks[np.flatnonzero(bad)[0]])
        raise CorruptFile(
            f"the basket at {where} overlaps another, or ends outside of the file, or is no basket",
            where=str(image.path),
        )


def chunks_of(job: Job, size: int) -> Iterator[Chunk]:
    """Cut the file into stretches of about 8 MB; a basket is in one stretch whole."""
    ends = job.seeks + job.nbytes
    at = first = 0
    while at < size:
        stop = int(np.searchsorted(ends, at + _CHUNK, side="right"))
        if stop > first:
            end = int(ends[stop - 1])
        elif first < len(ends) and job.seeks[first] < at + _CHUNK:
            # a gap before a basket that doesn't fit, or that large basket itself
            end = int(job.seeks[first]) if job.seeks[first] > at else int(ends[first])
            stop = first if job.seeks[first] > at else first + 1
        else:
            end, stop = min(at + _CHUNK, size), first
        yield Chunk(at, end, first, stop)
        at, first = end, stop
