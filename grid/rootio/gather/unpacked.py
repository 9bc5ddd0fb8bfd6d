"""A basket's entries as bytes, each checked to lie inside of it."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from grid.rootio.format.baskets import BasketHead, from_sizes, parse_head
from grid.rootio.format.keys import BIG, parse_key
from grid.rootio.format.unpack import unpack_covered
from grid.rootio.merging import CantCopy
from kernels import jagged
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from grid.rootio.image import Image
    from grid.rootio.verbatim.baskets import Embedded
    from grid.rootio.verbatim.sums import EntrySums

__all__ = ["Entries", "Raw", "inside", "join", "read_basket"]

#: An object that names its class: a byte count, the mark of a new class, and its name.
_TAG: Final = re.compile(rb"[\x40-\x7f]...\xff{4}[A-Za-z_][ -~]*\x00", re.DOTALL)
_NEW_CLASS: Final = b"\xff\xff\xff\xff"
#: Where a basket's fields behind its names say how wide an entry is.
_WIDTH_AT: Final = 6
#: Where the positions of a key and of its directory stand in it.
_PLACES_AT: Final = 18
#: The upper 16 bits of a directory's position in a big key.
_PROCESS: Final = slice(26, 28)


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries behind each other.

    Attributes
    ----------
    count
        How many.
    data
        uint8 ``[k]``.
    width
        The bytes of each, where all have the same; else -1.
    edges
        int64 ``[count + 1]``: where each begins and the last ends; ``None`` where all have the same width.
    origins
        int64 ``[count]``: the position in its buffer where each was first written, which references inside of it
        count from; ``None`` where there are none.
    """

    count: int
    data: NDArray[np.uint8]
    width: int
    edges: NDArray[np.int64] | None = None
    origins: NDArray[np.int64] | None = None

    def take(self, index: NDArray[np.int64]) -> Entries:
        """Return some of them."""
        if self.edges is None:
            if not self.width:
                return Entries(len(index), self.data, 0)
            rows = jagged.take_fixed(self.data.reshape(self.count, self.width), index)
            return Entries(len(index), rows.reshape(-1), self.width)
        data, edges = jagged.gather_bytes(self.data, self.edges, index)
        return Entries(len(index), data, -1, edges, None if self.origins is None else self.origins[index])

    def slice(self, start: int, stop: int) -> Entries:
        """Return the entries ``start <= i < stop``; shares the bytes."""
        if self.edges is None:
            return Entries(stop - start, self.data[start * self.width : stop * self.width], self.width)
        begin, end = self.edges[start], self.edges[stop]
        origins = None if self.origins is None else self.origins[start:stop]
        return Entries(stop - start, self.data[begin:end], -1, self.edges[start : stop + 1] - begin, origins)

    def copy(self) -> Entries:
        """Return them in memory of their own."""
        edges, origins = (None if one is None else one.copy() for one in (self.edges, self.origins))
        return Entries(self.count, self.data.copy(), self.width, edges, origins)

    def add_to(self, sums: EntrySums, branch: int, first: int) -> None:
        """Add them to what the entries of a tree hold."""
        if self.edges is None:
            sums.add_rows(branch, first, self.data.reshape(self.count, self.width))
        else:
            sums.add(branch, first, self.edges, self.data)

    @property
    def memory(self) -> int:
        """The bytes of memory that they take."""
        return sum(one.nbytes for one in (self.data, self.edges, self.origins) if one is not None)

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """The bytes of each entry; ``None`` where all have the same."""
        return None if self.edges is None else np.diff(self.edges)


@dataclass(frozen=True, slots=True)
class Raw:
    """A basket as it lies in the file: names, key, what is behind it, how long that is unpacked, its entries.

    ``covered`` are the packed bytes whose checksums were tested.
    """

    names: tuple[bytes, bytes]
    head: bytes
    payload: memoryview
    unpacked: int
    entries: int
    big: bool
    covered: int

    @property
    def size(self) -> int:
        """How much there is to pack: nothing."""
        return 0

    def moved(self, place: int, parent: int) -> bytes:
        """Return the key for a basket that is put at `place`.

        Raises
        ------
        UnsupportedContent
            If it has 4-byte positions, and the place is beyond these.
        """
        if not self.big and place > BIG:
            raise UnsupportedContent(
                "its baskets have keys with 4-byte positions, and the output is larger than these can say",
                todo="name a compression, so that they are packed anew (--compression)",
            )
        head = bytearray(self.head)
        struct.pack_into(">qq" if self.big else ">ii", head, _PLACES_AT, place, parent)
        return bytes(head)


def join(parts: Sequence[Entries]) -> Entries:
    """Put entries of one branch behind each other.

    Raises
    ------
    CantCopy
        If some have a fixed width, and others another, or none.
    """
    if len(parts) == 1:
        return parts[0]
    filled = [part for part in parts if part.count]
    widths = {part.width for part in filled}
    if len(widths) > 1:
        raise CantCopy
    count = sum(part.count for part in filled)
    data = np.concatenate([part.data for part in parts])
    if widths != {-1}:
        return Entries(count, data, widths.pop() if widths else parts[0].width)
    lengths = np.concatenate([part.lengths for part in filled])
    edges = np.concatenate([[0], np.cumsum(lengths)])
    if all(part.origins is None for part in filled):
        return Entries(count, data, -1, edges)
    origins = [np.full(part.count, -1) if part.origins is None else part.origins for part in filled]
    return Entries(count, data, -1, edges, np.concatenate(origins))


def read_basket(image: Image, seek: int, nbytes: int, entries: int, what: str) -> tuple[Raw, Entries]:
    """Read a basket, test all that it says of itself, and unpack it.

    Raises
    ------
    CorruptFile
        If its bytes contradict each other or its tree.
    CantCopy
        If where its entries lie follows from other branches only, or its references from other files.
    """
    raw = image.read(seek, nbytes, f"a basket of {what}")
    where = image.where(what)
    try:
        key, names_end = parse_key(raw)
        head = parse_head(raw, names_end)
    except ValueError as error:
        raise CorruptFile(f"the basket at {seek} is unsound: {error}", where=where) from error
    if (key.seek, key.nbytes, key.class_name, key.length, head.entries) != (
        seek,
        nbytes,
        b"TBasket",
        head.end,
        entries,
    ):
        raise CorruptFile(f"the basket at {seek} is not what its tree says", where=where)
    if key.big and any(raw[_PROCESS]):
        raise CantCopy
    data, covered = unpack_covered(raw[key.length :], key.object_bytes, where)
    (room,) = struct.unpack_from(">i", raw, names_end + _WIDTH_AT)
    found = _entries(data, head, key.length, room, f"the basket at {seek}", where)
    names, packed = (key.name, key.title), raw[key.length :]
    return Raw(names, bytes(raw[: key.length]), packed, key.object_bytes, entries, key.big, covered), found


def inside(one: Embedded, where: str) -> Entries:
    """Return the entries of a basket that lies inside its tree; raises as :func:`read_basket`."""
    (room,) = struct.unpack_from(">i", one.sizes, _WIDTH_AT)
    length = one.key.length
    head = BasketHead(one.entries, one.data + length, length, one.as_sizes)
    return _entries(one.payload, head, length, room, "a basket inside it", where)


def _entries(data: bytes, head: BasketHead, key_length: int, room: int, which: str, where: str) -> Entries:
    border, entries = head.last - key_length, head.entries
    if not 0 <= border <= len(data):
        raise CorruptFile(f"{which} ends outside of itself", where=where)
    values = np.frombuffer(data, np.uint8, border)
    tagged = _NEW_CLASS in data and _TAG.search(data) is not None
    if border == len(data):
        if tagged or (border and room * entries != border):
            raise CantCopy
        return Entries(entries, values, room if border else 0)
    words = np.frombuffer(data, ">i4", (len(data) - border) // 4, border)
    offsets, rest = _listed(words, entries, which, where)
    edges = np.empty(entries + 1, np.int64)
    np.subtract(from_sizes(offsets, key_length) if head.sizes else offsets, key_length, out=edges[:-1])
    edges[-1] = border
    if edges[0] != 0 or (edges[1:] < edges[:-1]).any():
        raise CorruptFile(f"{which} has entry offsets that contradict its size", where=where)
    if len(rest) > 1:
        origins, _ = _listed(rest, entries, which, where)
        return Entries(entries, values, -1, edges, origins.astype(np.int64))
    return Entries(entries, values, -1, edges, edges[:-1] + key_length if tagged else None)


def _listed(
    words: NDArray[np.int32], entries: int, which: str, where: str
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return an array that has its length before it, and what follows it."""
    count = int(words[0]) if len(words) else -1
    if not entries <= count < len(words):
        raise CorruptFile(f"{which} has no place for the offsets of its {entries} entries", where=where)
    return words[1 : entries + 1], words[count + 1 :]
