"""Cut what is too long for one statement into pieces."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

T = TypeVar("T")

#: Values in one ``IN (...)``; the oldest SQLite that we meet takes 999 in a statement.
IN_LIST = 900
#: Rows handed to the database at once in a bulk insert.
ROWS = 20_000


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Give the items in lists of at most `size`, in order."""
    rest = iter(items)
    while piece := list(islice(rest, size)):
        yield piece


def rounds(items: Iterable[T], key: Callable[[T], Hashable]) -> Iterator[list[T]]:
    """Give the items in lists, in order, none with two of one key."""
    part: list[T] = []
    keys: set[Hashable] = set()
    for item in items:
        this = key(item)
        if this in keys:
            yield part
            part, keys = [], set()
        part.append(item)
        keys.add(this)
    if part:
        yield part
