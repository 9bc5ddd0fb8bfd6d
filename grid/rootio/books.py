"""The books of a split: how many events, and which, went to exactly which streams. Pure sums."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.tally import NOTHING, sum_hex
from kernels import bits, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

__all__ = ["Books", "MaskBook", "total"]


@dataclass(frozen=True, slots=True)
class MaskBook:
    """The events whose streams are exactly the bits of `mask`; mask 0: no stream.

    ``fingerprint`` (``None`` for events without identity) and ``content`` are 32 hex digits.
    """

    mask: int
    events: int
    fingerprint: str | None
    content: str

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
        self, masks: NDArray[np.uint64], keys: NDArray[np.uint64] | None, hashes: NDArray[np.uint64]
    ) -> None:
        """Book events: uint64 ``[n]`` stream masks, ``[n, 2]`` event keys (or ``None``), ``[n]`` content hashes."""
        found, counts, group = bits.census(masks)
        contents = fingerprint.group_fingerprints(fingerprint.event_keys([hashes]), group, len(found))
        identities = np.zeros_like(contents)
        if keys is None:
            self._known = False
        else:
            identities = fingerprint.group_fingerprints(keys, group, len(found))
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
                fingerprint.to_hex(self._keys[mask]) if self._known else None,
                fingerprint.to_hex(self._contents[mask]),
            )
            for mask in sorted(self._events)
        )


def total(books: Iterable[MaskBook], stream: int | None = None) -> MaskBook:
    """Add books: all of them, or those of the masks that contain bit `stream`.

    The result's mask is the OR of the masks. A missing fingerprint makes the sum's missing.
    """
    chosen = [book for book in books if stream is None or book.mask >> stream & 1]
    known = all(book.fingerprint is not None for book in chosen)
    mask = 0
    for book in chosen:
        mask |= book.mask
    return MaskBook(
        mask,
        sum(book.events for book in chosen),
        sum_hex(book.fingerprint or NOTHING for book in chosen) if known else None,
        sum_hex(book.content for book in chosen),
    )


def differences(whole: MaskBook, parts: Mapping[str, MaskBook]) -> list[str]:
    """Say what doesn't close between a whole and its parts, a sentence each; empty when all is well."""
    summed = total(parts.values())
    named = " + ".join(f"{name} {part.events}" for name, part in parts.items())
    if summed.events != whole.events:
        return [f"{named} = {summed.events} events, but there are {whole.events}"]
    if None not in {summed.fingerprint, whole.fingerprint} and summed.fingerprint != whole.fingerprint:
        return [f"{named} = {summed.events} events as it should be, but other ones"]
    return []
