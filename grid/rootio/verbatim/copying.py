"""Copy baskets from one file into another as they are, testing on the way all that can be without unpacking them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from grid.rootio.verbatim.checking import SHORTEST, Checker, Chunk
from kernels.adler import combine
from sitecfg.errors import CorruptFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from grid.rootio.image import Image
    from grid.rootio.outfile import OutFile
    from grid.rootio.verbatim.checking import Job

__all__ = ["Copied", "check", "chunks_of", "copy"]

_CHUNK: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied: where each basket lies now, the adler32 of the whole input, and what its checksums cover.

    ``marks`` are the XXH3-64 of what each basket holds behind its key. ``renamed`` are the kinds whose baskets are
    called otherwise than their branch or tree.
    """

    seeks: NDArray[np.int64]
    adler: int
    covered: int
    marks: NDArray[np.uint64]
    renamed: tuple[int, ...]


def copy(
    image: Image,
    job: Job,
    out: OutFile,
    *,
    sealed: bool,
    threads: int,
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
    threads
        How many chunks are under way at once.
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
    worker = Checker(image, job, (out, targets), sealed=sealed)
    adler, written, covered = _run(worker, threads, progress)
    out.region_done(written, size)
    return Copied(targets, adler, covered, worker.marks, tuple(sorted(worker.renamed)))


def check(image: Image, job: Job, *, sealed: bool, threads: int) -> Copied:
    """Test all baskets of a file as :func:`copy` does, and copy none."""
    worker = Checker(image, job, None, sealed=sealed)
    adler, _, covered = _run(worker, threads, None)
    return Copied(job.seeks, adler, covered, worker.marks, tuple(sorted(worker.renamed)))


def _run(worker: Checker, threads: int, progress: Callable[[int], None] | None) -> tuple[int, int, int]:
    """Return the adler32 of the whole file and of all that was written, and the bytes that checksums cover."""
    image, job = worker.image, worker.job
    _check_extents(image, job)
    places = np.concatenate([[0], np.cumsum(job.nbytes)])
    adler, written, covered = 1, 1, 0
    chunks = list(chunks_of(job, image.size))
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for chunk, (one, put, inside) in _in_order(pool, worker, chunks, threads):
            adler = combine(adler, one, chunk.end - chunk.begin)
            written = combine(written, put, int(places[chunk.stop] - places[chunk.first]))
            covered += inside
            if progress is not None:
                progress(chunk.end)
    return adler, written, covered


def _in_order(
    pool: ThreadPoolExecutor, worker: Checker, chunks: Sequence[Chunk], threads: int
) -> Iterator[tuple[Chunk, tuple[int, int, int]]]:
    """Run the worker over chunks, few at a time, and yield what comes of each, in order."""
    waiting = [pool.submit(worker, chunk) for chunk in chunks[: 2 * threads]]
    for number, chunk in enumerate(chunks):
        answer = waiting.pop(0).result()
        if number + 2 * threads < len(chunks):
            waiting.append(pool.submit(worker, chunks[number + 2 * threads]))
        yield chunk, answer


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
    """Cut the file into stretches of about 4 MB; a basket is in one stretch whole."""
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
