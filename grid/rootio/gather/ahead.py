"""Work in threads whose results are taken in order, and not more of them held than are worked on."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["AHEAD", "THREADS", "ahead"]

THREADS: Final = 2
#: So many items are worked on, or done, while one is taken.
AHEAD: Final = 2 * THREADS

T = TypeVar("T")
R = TypeVar("R")


def ahead(pool: ThreadPoolExecutor, step: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield ``step(item)`` for each item; a few are worked on while one is taken."""
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(step, item))
        if len(waiting) > AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
