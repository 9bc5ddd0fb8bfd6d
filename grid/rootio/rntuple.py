"""Read an RNTuple: its top-level fields as branches, cluster by cluster."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.columns import Branch, Column
from grid.rootio.readers import BranchReader, TreeReader
from sitecfg.errors import CorruptFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from grid.rootio.source import TreeInfo

__all__ = ["open_rntuple"]

_NUMBERS = {
    "bool": "?",
    "char": "i1",
    "std::byte": "u1",
    "float": "f4",
    "double": "f8",
    **{f"std::{sign}int{8 * size}_t": f"{sign or 'i'}{size}" for sign in ("", "u") for size in (1, 2, 4, 8)},
}
_LIST = re.compile(r"^(?:std::vector|ROOT::VecOps::RVec)<(.*)>$")
_ARRAY = re.compile(r"^std::array<(.*),\s*(\d+)>$")
_CARDINALITY = re.compile(r"^ROOT::RNTupleCardinality<(.*)>$")
_LATE = "it was added while the file was being written"


class _Schema:
    """The fields of an RNTuple, and the columns that hold them."""

    def __init__(self, ntuple: Any) -> None:
        self.ntuple = ntuple
        self.fields = ntuple.field_records
        self.children: dict[int, list[int]] = defaultdict(list)
        for number, record in enumerate(self.fields):
            if record.parent_field_id != number:
                self.children[record.parent_field_id].append(number)
        #: The columns that hold the same as a column, encoded otherwise, and itself.
        self.same: dict[int, list[int]] = {}
        self.columns: dict[int, list[int]] = defaultdict(list)
        places: dict[tuple[int, int], int] = defaultdict(int)
        for number, column in enumerate(ntuple.column_records):
            if column.repr_idx == 0:
                self.columns[column.field_id].append(number)
                self.same[number] = []
            place = places[column.field_id, column.repr_idx]
            places[column.field_id, column.repr_idx] += 1
            self.same[self.columns[column.field_id][place]].append(number)
        self.top = [number for number, record in enumerate(self.fields) if record.parent_field_id == number]
        self.counters = {
            self.fields[number].source_field_id: self.fields[number].field_name
            for number in self.top
            if _CARDINALITY.match(self.fields[number].type_name)
        }

    def columns_of(self, field: int) -> list[int]:
        """Return the columns of a field; a projected one has those of the field that it shows."""
        source = self.fields[field].source_field_id
        return self.columns[field if source is None else source]

    def path(self, field: int, levels: int) -> list[int]:
        """Return the columns from the outermost offsets to the values."""
        found = []
        for _ in range(levels):
            found.append(self.columns_of(field)[0])
            field = self.children[field][0]
        return found + self.columns_of(field)

    def leaves(self, field: int) -> list[int]:
        """Return the fields below a field that have columns of values."""
        inner = [leaf for child in self.children[field] for leaf in self.leaves(child)]
        return inner or [field]


@dataclass(frozen=True, slots=True)
class _Decoder:
    """Unpacks one cluster of one field; ``columns`` go from the outermost offsets to the values.

    Each stands with those that encode the same otherwise; a cluster has the pages of one of them.
    """

    ntuple: Any
    branch: Branch
    columns: tuple[tuple[int, ...], ...]
    counting: bool = False

    def __call__(self, number: int, _start: int, _stop: int) -> Column:
        columns = self._paged(number)
        self._test(number, columns)
        arrays = [self.ntuple.read_cluster_range(column, number, number + 1) for column in columns]
        if self.counting:
            return Column(np.diff(arrays[0]).astype(self.branch.dtype))
        offsets = tuple(np.asarray(array, dtype=np.int64) for array in arrays[:-1])
        values = np.ascontiguousarray(arrays[-1])
        same_size = values.dtype.itemsize == self.branch.dtype.itemsize
        values = values.view(self.branch.dtype) if same_size else values.astype(self.branch.dtype)
        return Column(values.reshape(-1, *self.branch.shape), offsets)

    def _paged(self, number: int) -> list[int]:
        """Return the columns that have pages in a cluster; uproot takes others where a field has several columns."""
        links = self.ntuple.page_link_list[number]
        return [next((one for one in same if not links[one].suppressed), same[0]) for same in self.columns]

    def _test(self, number: int, columns: Sequence[int]) -> None:
        """Hold each page of a cluster that has a checksum against it; uproot doesn't."""
        import xxhash

        links = self.ntuple.page_link_list[number]
        for page in (page for column in columns for page in links[column].pages if page.has_checksum):
            start, size = page.locator.offset, page.locator.num_bytes
            data = bytes(self.ntuple.file.source.chunk(start, start + size + 8).raw_data)
            if xxhash.xxh3_64_intdigest(data[:-8]) != int.from_bytes(data[-8:], "little"):
                raise CorruptFile(f"the xxh3 of a page at {start} does not match")

    def unpacked(self) -> NDArray[np.float64]:
        """Count the bytes of each cluster."""
        return np.asarray(
            [
                sum(8.0 * page.num_elements for column in self._paged(number) for page in links[column].pages)
                for number, links in enumerate(self.ntuple.page_link_list)
            ]
        )


def open_rntuple(file: Any, key: str, path: str) -> tuple[TreeInfo, TreeReader]:
    """Describe an RNTuple and make its readers; header, footer and page lists are read."""
    from grid.rootio.source import TreeInfo

    ntuple = file[key]
    _test_page_lists(ntuple)
    schema = _Schema(ntuple)
    entries = int(ntuple.num_entries)
    edges = _edges(ntuple, entries)
    shown = {record.source_field_id for record in schema.fields}
    reader, refused = TreeReader(), []
    for number in schema.top:
        found = _describe(schema, number)
        if isinstance(found, str):
            if not set(schema.leaves(number)) <= shown:
                refused.append((schema.fields[number].field_name, found))
            continue
        counting = _CARDINALITY.match(schema.fields[number].type_name) is not None
        columns = [tuple(schema.same[one]) for one in _columns(schema, number, found.shape, found.jagged)]
        decoder = _Decoder(ntuple, found, tuple(columns), counting)
        reader.readers[found.name] = BranchReader(found, decoder, edges, decoder.unpacked())
    title = str(ntuple.ntuple.header.ntuple_description or "")
    return TreeInfo(path, "RNTuple", entries, title, reader.branches, tuple(refused)), reader


def _test_page_lists(ntuple: Any) -> None:
    """Hold the lists of pages against their checksums; uproot does so for header and footer only."""
    import xxhash

    for group in ntuple.footer.cluster_group_records:
        link = group.page_list_link
        chunk, _ = ntuple.read_locator(link.locator, link.env_uncomp_size)
        data = bytes(chunk.raw_data)
        if xxhash.xxh3_64_intdigest(data[:-8]) != int.from_bytes(data[-8:], "little"):
            raise CorruptFile(f"the xxh3 of a list of pages at {link.locator.offset} does not match")


def _edges(ntuple: Any, entries: int) -> NDArray[np.int64]:
    """Return the first entry of each cluster, and the end of the last."""
    starts = [int(cluster.num_first_entry) for cluster in ntuple.cluster_summaries]
    edges = np.asarray([*starts, entries] if starts else [0], dtype=np.int64)
    if edges[0] != 0 or edges[-1] != entries or (np.diff(edges) < 0).any():
        raise CorruptFile(f"its clusters don't hold its {entries} entries")
    return edges


def _columns(schema: _Schema, field: int, shape: tuple[int, ...], jagged: int) -> tuple[int, ...]:
    """Return the columns from the outermost offsets to the values; arrays of a fixed size have none of their own."""
    for _ in shape:
        (field,) = schema.children[field]
    return tuple(schema.path(field, jagged))


def _late(schema: _Schema, columns: Sequence[int]) -> bool:
    return any(schema.ntuple.column_records[column].flags & 1 for column in columns)


def _describe(schema: _Schema, field: int) -> Branch | str:
    """Return the branch for a top-level field, or why there is none."""
    record = schema.fields[field]
    name, title, typename = record.field_name, record.field_desc or record.field_name, record.type_name
    if cardinality := _CARDINALITY.match(typename):
        if _late(schema, schema.columns_of(field)):
            return _LATE
        return Branch(name, title, np.dtype(_NUMBERS[cardinality[1]]), typename=cardinality[1])
    jagged, inner = 0, typename
    while found := _LIST.match(inner):
        jagged, inner = jagged + 1, found[1].strip()
    shape: tuple[int, ...] = ()
    while not jagged and record.source_field_id is None and (found := _ARRAY.match(inner)):
        inner, shape = found[1].strip(), (*shape, int(found[2]))
    text = inner == "std::string"
    if (text and shape) or not (text or inner in _NUMBERS) or bool(record.repetition) != bool(shape):
        return f"a field of type {typename or 'collection of records'} can't be carried"
    columns = _columns(schema, field, shape, jagged)
    if _late(schema, columns):
        return _LATE
    if text:
        return Branch(name, title, np.dtype(np.uint8), (), jagged, None, True, typename)
    counter = (
        schema.counters.get(record.source_field_id)
        if jagged == 1 and record.source_field_id is not None
        else None
    )
    return Branch(
        name, title, np.dtype(_NUMBERS[inner]), shape, jagged, counter, False, inner if counter else typename
    )
