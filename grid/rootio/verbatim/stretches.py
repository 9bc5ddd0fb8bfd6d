"""Read a file once from front to back, in stretches that several threads work on."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from grid.rootio.checksums import Checksums
from kernels.adler import combine, hex8

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from grid.rootio.image import Image

__all__ = ["Passage"]


class Stretch(Protocol):
    """Bytes of a file: ``begin <= i < end``."""

    @property
    def begin(self) -> int:
        """Where it begins."""

    @property
    def end(self) -> int:
        """Where it ends."""


#: The largest buffer that is kept: a basket alone may need a larger one.
_KEPT: Final = 32 << 20

S = TypeVar("S", bound=Stretch)
R = TypeVar("R")


class Passage:
    """Goes through files, one after the other; what stretches are held in is kept from one file to the next.

    Parameters
    ----------
    threads
        How many stretches are worked on at once; one or two more are held in memory.
    """

    def __init__(self, threads: int) -> None:
        self._threads = max(1, threads)
        self._buffers: list[bytearray] = []

    def through(
        self,
        image: Image,
        stretches: Iterable[S],
        work: Callable[[S, memoryview], R],
        done: Callable[[S, R], None],
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

        Raises
        ------
        CorruptFile, MissingFile
            If it can't be read; and what `work` raises.
        """
        from isal.isal_zlib import adler32
        from xxhash import xxh3_128

        strong, adler = xxh3_128(), 1
        waiting: deque[tuple[S, Future[tuple[int, R]]]] = deque()

        def worked(stretch: S, buffer: bytearray, size: int) -> tuple[int, R]:
            view = memoryview(buffer)[:size]
            weak = adler32(view)
            answer = work(stretch, view)
            if len(buffer) <= _KEPT:
                self._buffers.append(buffer)
            return weak, answer

        def collect() -> None:
            nonlocal adler
            stretch, future = waiting.popleft()
            weak, answer = future.result()
            adler = combine(adler, weak, stretch.end - stretch.begin)
            done(stretch, answer)

        with ThreadPoolExecutor(self._threads) as pool:
            for stretch in stretches:
                if len(waiting) > self._threads:
                    collect()
                size = stretch.end - stretch.begin
                buffer = self._buffers.pop() if self._buffers else bytearray()
                if len(buffer) < size:
                    buffer = bytearray(size)
                view = memoryview(buffer)[:size]
                image.read_into(stretch.begin, view, "a stretch of it")
                strong.update(view)
                waiting.append((stretch, pool.submit(worked, stretch, buffer, size)))
            while waiting:
                collect()
        return Checksums(image.size, hex8(adler), strong.hexdigest())
