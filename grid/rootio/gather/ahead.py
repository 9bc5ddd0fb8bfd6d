"""Work in threads whose results are taken in order, and not more of them held than are worked on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["THREADS", "ahead"]

THREADS: Final = 2
_AHEAD: Final = 2 * THREADS

T = TypeVar("T")
R = TypeVar("R")


def ahead(pool: ThreadPoolExecutor, step: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Yield ``step(item)`` for each item; a few are worked on while one is taken."""
    waiting = [pool.submit(step, item) for item in items[:_AHEAD]]
    for number in range(len(items)):
        done = waiting.pop(0).result()
        if number + _AHEAD < len(items):
            waiting.append(pool.submit(step, items[number + _AHEAD]))
        yield done
