"""The books of a split: how many events, and which, went to exactly which streams. Pure sums."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.tally import sum_hex
from kernels import bits, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

__all__ = ["Books", "MaskBook", "difference", "total", "with_contents"]

#: Events whose contents are added at once.
_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class MaskBook:
    """The events whose streams are exactly the bits of `mask`; mask 0: no stream.

    ``fingerprint`` and ``content`` are 32 hex digits; ``content`` is ``None`` where values were not looked at.
    """

    mask: int
    events: int
    fingerprint: str
    content: str | None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


class Books:
    """Collects the books of one file, chunk by chunk."""

    def __init__(self) -> None:
        self._events: dict[int, int] = {}
        self._keys: dict[int, NDArray[np.uint64]] = {}
        self._contents: dict[int, NDArray[np.uint64]] = {}
        self._known = True

    def add(
        self, masks: NDArray[np.uint64], keys: NDArray[np.uint64], hashes: NDArray[np.uint64] | None
    ) -> None:
        """Book events: uint64 ``[n]`` stream masks, ``[n, 2]`` event keys, ``[n]`` content hashes if they are known."""
        found, counts, group = bits.census(masks)
        identities = fingerprint.group_fingerprints(keys, group, len(found))
        self._known &= hashes is not None
        contents = (
            np.zeros((len(found), 2), np.uint64)
            if hashes is None
            else fingerprint.group_fingerprints(fingerprint.event_keys([hashes]), group, len(found))
        )
        for number, mask in enumerate(found.tolist()):
            self._events[mask] = self._events.get(mask, 0) + int(counts[number])
            self._keys[mask] = self._keys.get(mask, np.zeros(2, np.uint64)) + identities[number]
            self._contents[mask] = self._contents.get(mask, np.zeros(2, np.uint64)) + contents[number]

    def close(self) -> tuple[MaskBook, ...]:
        """Return the books, by ascending mask."""
        return tuple(
            MaskBook(
                mask,
                self._events[mask],
                fingerprint.to_hex(self._keys[mask]),
                fingerprint.to_hex(self._contents[mask]) if self._known else None,
            )
            for mask in sorted(self._events)
        )


def with_contents(
    books: Iterable[MaskBook], masks: NDArray[np.uint64], hashes: NDArray[np.uint64]
) -> tuple[MaskBook, ...]:
    """Return the books of all events of a file with what these hold: uint64 ``[n]`` masks and content hashes."""
    found, _, group = bits.census(masks)
    sums = np.zeros((len(found), 2), np.uint64)
    for start in range(0, len(masks), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        keys = fingerprint.event_keys([hashes[part]])
        sums += fingerprint.group_fingerprints(keys, group[part], len(found))
    contents = dict(zip(found.tolist(), map(fingerprint.to_hex, sums), strict=True))
    return tuple(replace(book, content=contents[book.mask]) for book in books)


def total(books: Iterable[MaskBook], stream: int | None = None) -> MaskBook:
    """Add books: all of them, or those of the masks that contain bit `stream`; the masks are joined."""
    chosen = [book for book in books if stream is None or book.mask >> stream & 1]
    contents = [book.content for book in chosen]
    mask = 0
    for book in chosen:
        mask |= book.mask
    return MaskBook(
        mask,
        sum(book.events for book in chosen),
        sum_hex(book.fingerprint for book in chosen),
        None if None in contents else sum_hex(word for word in contents if word is not None),
    )


def difference(events: int, identities: str, parts: Mapping[str, MaskBook]) -> str | None:
    """Say what doesn't close between a file and its parts; ``None`` when all is well.

    Parameters
    ----------
    events, identities
        The number of the file's events, and their fingerprint.
    parts
        Books that together should be the file, by name.
    """
    summed = total(parts.values())
    named = " + ".join(f"{part.events} {name}" for name, part in parts.items())
    if summed.events != events:
        return f"{named} = {summed.events} events, but there are {events}"
    if summed.fingerprint != identities:
        return f"{named} = {events} events as it should be, but other ones"
    return None
