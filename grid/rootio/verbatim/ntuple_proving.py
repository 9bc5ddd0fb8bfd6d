"""Unpack pages that are copied: their checksums and lengths are tested, and events are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from grid.rootio.format.unpack import blocks_of, unpack_covered
from grid.rootio.verbatim.ntuple_schema import Layout
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from grid.rootio.format.ntuples import Schema
    from grid.rootio.format.pagelists import PageList
    from grid.rootio.image import Image
    from grid.rootio.verbatim.ntuple_copy import Pages

__all__ = ["PageProver", "integer_fields", "integers"]

#: Columns of plain integers, and of those whose bytes stand apart; the signed ones of these alternate in sign.
_INTEGERS: Final = {
    **dict(enumerate(("i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8"), 0x03)),
    **dict(enumerate(("<i2", "<u2", "<i4", "<u4", "<i8", "<u8"), 0x11)),
}
_FIRST_SPLIT: Final = 0x11

#: Columns that say where the items of each collection end, counted from the cluster's first: bytes of a number, and
#: whether the bytes of all numbers stand apart and each number is the difference to the one before.
_INDICES: Final = {0x0E: (4, False), 0x0F: (8, False), 0x1A: (4, True), 0x1B: (8, True)}
#: The largest page of these that is held in memory, and more items than any cluster has.
_LARGEST: Final = 1 << 28
_MOST: Final = 1 << 62


class PageProver:
    """Looks into the pages of one input; threads may share it.

    Parameters
    ----------
    pages
        Its pages.
    lists
        Where they are listed, with the schema of each list.
    image
        The input.
    everything
        Whether every page is unpacked, or only those of the identity.
    """

    def __init__(
        self, pages: Pages, lists: Sequence[tuple[PageList, Schema]], image: Image, *, everything: bool
    ) -> None:
        self._pages, self._lists, self._image, self.everything = pages, lists, image, everything
        self._kinds = np.zeros(len(pages.offsets), np.int64)
        for part, schema in lists if everything else ():
            kinds = np.array([one.kind if one.kind in _INDICES else 0 for one in schema.columns], np.int64)
            mine = kinds[part.columns_of()[part.ranges_of()]]
            self._kinds[pages.numbers(part)[mine > 0]] = mine[mine > 0]
        self._firsts = np.zeros(len(pages.offsets), np.int64)
        self._lasts = np.zeros(len(pages.offsets), np.int64)
        #: What tells the events apart, ``[entries]`` each.
        self.columns: list[NDArray[Any]] = []
        #: By page: column, type, and which entries it has there; equal pages share a place.
        self._integers: dict[int, list[tuple[int, int, int, int]]] = {}

    def identify(self, lists: Sequence[PageList], schema: Schema, fields: Sequence[str]) -> None:
        """Collect the values of some fields of one RNTuple, whose lists these are."""
        entries = sum(int(part.entries.sum()) for part in lists)
        numbers = integer_fields(schema)
        for index, name in enumerate(fields):
            kinds = {
                column: one.kind for column, one in enumerate(schema.columns) if one.field == numbers[name]
            }
            signed = np.dtype(_INTEGERS[next(iter(kinds.values()))]).kind
            self.columns.append(np.zeros(entries, f"{signed}8"))
            for part in lists:
                self._place(part, index, kinds)

    def _place(self, part: PageList, index: int, kinds: Mapping[int, int]) -> None:
        """Note where the values of a field's pages belong; zeros come first where it was added late."""
        ranges, columns, clusters = part.ranges_of(), part.columns_of(), part.clusters_of()
        held = np.zeros(len(part.counts), np.int64)
        np.add.at(held, ranges, part.elements)
        before = np.cumsum(part.elements) - part.elements
        begins = part.firsts[clusters] + part.entries[clusters] - held
        starts = begins[ranges] + before - (np.cumsum(held) - held)[ranges]
        mine = np.isin(columns[ranges], list(kinds))
        for number, column, start, count in zip(
            self._pages.numbers(part)[mine].tolist(),
            columns[ranges][mine].tolist(),
            starts[mine].tolist(),
            part.elements[mine].tolist(),
            strict=True,
        ):
            self._integers.setdefault(number, []).append((index, kinds[column], start, count))

    def wants(self, number: int) -> bool:
        """Whether a page has to be unpacked."""
        return self.everything or number in self._integers

    def look(self, number: int, payload: memoryview) -> int:
        """Test a page; return how many of its bytes are under checksums of its codec, which all hold.

        Raises
        ------
        CorruptFile
            If lengths, checksums or positions contradict each other.
        UnsupportedContent
            If the page is too large to be held.
        """
        where = self._image.where(f"a page at {self._pages.offsets[number]}")
        length, kind = int(self._pages.lengths[number]), int(self._kinds[number])
        if not kind and number not in self._integers:
            return sum([block.packed for block in blocks_of(payload, length, where) if block.covered])
        if length > _LARGEST:
            raise UnsupportedContent(
                f"it unpacks to {length} bytes, and at most {_LARGEST} can be held", where=where
            )
        data, covered = unpack_covered(payload, length, where)
        if kind and data:
            ends = _ends(data, *_INDICES[kind])
            if ends is None:
                raise CorruptFile("the ends of its collections are out of order", where=where)
            self._firsts[number], self._lasts[number] = ends
        for index, coded, start, count in self._integers.get(number, ()):
            column = self.columns[index]
            if not 0 <= start <= len(column) - count:
                raise CorruptFile("it holds entries that its RNTuple does not have", where=where)
            width = np.dtype(_INTEGERS[coded]).itemsize
            raw = np.frombuffer(data, np.uint8)
            rows = raw.reshape(-1, width) if coded < _FIRST_SPLIT else raw.reshape(width, -1).T
            column[start : start + count] = integers(rows, coded)
        return covered

    def check(self) -> None:
        """Hold all pages against each other, if all were looked at: collections have the items that they say.

        Raises
        ------
        CorruptFile
            If they haven't; the field is named.
        """
        for part, schema in self._lists if self.everything else ():
            self._check(part, schema)

    def _check(self, part: PageList, schema: Schema) -> None:
        where = str(self._image.path)
        layout = Layout.of(schema, where)
        columns, ranges = part.columns_of(), part.ranges_of()
        held = part.elements > 0
        mine = held & (self._kinds[numbers := self._pages.numbers(part)] > 0)
        firsts, lasts, owners = self._firsts[numbers[mine]], self._lasts[numbers[mine]], ranges[mine]
        falls = (owners[1:] == owners[:-1]) & (firsts[1:] < lasts[:-1])
        if falls.any():
            name = _name(schema, int(columns[owners[:-1][falls][0]]))
            raise CorruptFile(f"the ends of {name}'s collections are out of order", where=where)
        shape = len(part.entries), int(layout.slots.max(initial=-1)) + 1
        ends, elements = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        clusters = part.clusters_of()
        np.maximum.at(ends, (clusters[owners], layout.slots[columns[owners]]), lasts)
        np.add.at(elements, (clusters[ranges], layout.slots[columns[ranges]]), part.elements)
        for column in np.flatnonzero((layout.counted_by >= 0) & ~_late(schema)).tolist():
            wanted = ends[:, layout.counted_by[column]] * layout.per_item[column]
            found = elements[:, layout.slots[column]]
            for cluster in np.flatnonzero(found != wanted)[:1].tolist():
                raise CorruptFile(
                    f"{_name(schema, column)} has {found[cluster]} elements in a cluster whose collections have "
                    f"{wanted[cluster]}",
                    where=where,
                )


def _ends(data: bytes, width: int, split: bool) -> tuple[int, int] | None:
    """Return the first and the last number of a page, or None if they don't ascend."""
    raw = np.frombuffer(data, np.uint8)
    if not split:
        ends = raw.view(f"<u{width}")
        sound = bool((ends[1:] >= ends[:-1]).all()) and int(ends[-1]) <= _MOST
        return (int(ends[0]), int(ends[-1])) if sound else None
    steps = np.ascontiguousarray(raw.reshape(width, -1).T).view(f"<u{width}").reshape(-1)
    if float(steps.sum(dtype=np.float64)) > min(_MOST, 1 << (8 * width)):
        return None
    return int(steps[0]), int(steps.sum(dtype=np.uint64))


def integers(rows: NDArray[np.uint8], kind: int) -> NDArray[Any]:
    """Return the numbers of a column of plain integers whose elements are `rows`, uint8 ``[n, width]``."""
    layout = np.dtype(_INTEGERS[kind])
    found: NDArray[Any] = np.ascontiguousarray(rows).view(layout.str.replace("i", "u")).reshape(-1)
    if layout.kind == "i" and kind >= _FIRST_SPLIT:
        # 0, -1, 1, -2, 2 ... in the order of their numbers
        found = (found >> 1).astype(layout) ^ -(found & 1).astype(layout)
    return found.view(layout)


def integer_fields(schema: Schema) -> dict[str, int]:
    """Return the top fields that are one plain integer, by name."""
    kinds: dict[int, set[bool]] = {}
    for one in schema.columns:
        kinds.setdefault(one.field, set()).add(one.kind in _INTEGERS)
    return {
        one.name: number
        for number, one in enumerate(schema.fields)
        if one.parent == number and kinds.get(number) == {True} and not one.repeated
    }


def _late(schema: Schema) -> NDArray[np.bool_]:
    return np.array([one.deferred for one in schema.columns], np.bool_)


def _name(schema: Schema, column: int) -> str:
    return repr(schema.fields[schema.columns[column].field].name)
