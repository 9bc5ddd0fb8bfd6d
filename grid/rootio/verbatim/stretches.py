"""Read a file once from front to back, in stretches that several threads work on."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypeVar

from grid.rootio.checksums import Checksums
from kernels.adler import hex8

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from grid.rootio.image import Image

__all__ = ["go_through"]


class Stretch(Protocol):
    """Bytes of a file: ``begin <= i < end``."""

    @property
    def begin(self) -> int:
        """Where it begins."""

    @property
    def end(self) -> int:
        """Where it ends."""


S = TypeVar("S", bound=Stretch)
R = TypeVar("R")


def go_through(
    image: Image,
    stretches: Iterable[S],
    work: Callable[[S, memoryview], R],
    done: Callable[[S, R], None],
    threads: int,
) -> Checksums:
    """Read a whole file and return its checksums; blocks until all of it is worked on.

    Parameters
    ----------
    image
        The file.
    stretches
        All of it, one behind the other.
    work
        Called in a thread with a stretch and its bytes, which it may change.
    done
        Called here, in order, with a stretch and what `work` returned.
    threads
        How many stretches are worked on at once; one or two more are held in memory.

    Raises
    ------
    CorruptFile, MissingFile
        If it can't be read; and what `work` raises.
    """
    from isal.isal_zlib import adler32
    from xxhash import xxh3_128

    strong, adler = xxh3_128(), 1
    waiting: deque[tuple[S, Future[R]]] = deque()
    buffers: list[bytearray] = []

    def worked(stretch: S, buffer: bytearray, size: int) -> R:
        answer = work(stretch, memoryview(buffer)[:size])
        buffers.append(buffer)
        return answer

    def collect() -> None:
        stretch, answer = waiting.popleft()
        done(stretch, answer.result())

    with ThreadPoolExecutor(max(1, threads)) as pool:
        for stretch in stretches:
            if len(waiting) > threads:
                collect()
            size = stretch.end - stretch.begin
            buffer = buffers.pop() if buffers else bytearray()
            if len(buffer) < size:
                buffer = bytearray(size)
            view = memoryview(buffer)[:size]
            image.read_into(stretch.begin, view, "a stretch of it")
            strong.update(view)
            adler = adler32(view, adler)
            waiting.append((stretch, pool.submit(worked, stretch, buffer, size)))
        while waiting:
            collect()
    return Checksums(image.size, hex8(adler), strong.hexdigest())
