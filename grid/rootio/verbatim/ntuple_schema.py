"""The schema of a merged RNTuple: that of its first input, and what others were given late."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from grid.rootio.format.ntuples import Alias, Schema
from sitecfg.errors import CorruptFile, SchemaMismatch, UnsupportedContent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grid.rootio.format.ntuples import Column, Field
    from grid.rootio.ntuple import NTuple

__all__ = ["Layout", "MergedSchema", "paths_of", "places_of", "representations"]

_COLLECTION, _VARIANT, _LAST_ROLE = 1, 3, 4
_DEFERRED: Final = 1
#: ``Real32Trunc`` and ``Real32Quant``, which have any number of bits.
_ROUNDED: Final = frozenset({0x1C, 0x1D})
#: More values of one column in an entry than any array has.
_MOST: Final = 1 << 31


@dataclass(frozen=True, slots=True)
class Layout:
    """How the columns of a schema belong together, ``[columns]`` each.

    ``slots`` numbers what columns hold: the representations of one thing share it. ``per_entry`` says how many elements
    an entry has, 0 if that differs from entry to entry. ``counted_by`` is the slot whose last number, times
    ``per_item``, says how many elements a cluster has, -1 if none does.
    """

    slots: NDArray[np.int64]
    per_entry: NDArray[np.int64]
    counted_by: NDArray[np.int64]
    per_item: NDArray[np.int64]

    @classmethod
    def of(cls, schema: Schema, where: str) -> Layout:
        """Work it out.

        Raises
        ------
        CorruptFile, UnsupportedContent
            If representations differ in their columns, or fields have roles that are not known.
        """
        if bad := [one.name for one in schema.fields if one.role > _LAST_ROLE]:
            raise UnsupportedContent(
                f"the field {bad[0]} has a structure that is not known here", where=where
            )
        repeats = _repeats(schema, where)
        slots: dict[tuple[int, int], int] = {}
        places = places_of(schema)
        numbers = [
            slots.setdefault((one.field, within), len(slots))
            for one, within in zip(schema.columns, places, strict=True)
        ]
        counting = _counting(schema)
        each, counted = [], []
        for one, within in zip(schema.columns, places, strict=True):
            each.append(0 if within else repeats[one.field])
            # the second column of a text holds its characters, which the first one counts
            owner, times = (one.field, 1) if within else counting[one.field]
            counted.append((slots.get((owner, 0), -1), times))
        counted_by, per_item = np.array(counted, np.int64).reshape(-1, 2).T
        return cls(np.array(numbers, np.int64), np.array(each, np.int64), counted_by, per_item)


def _repeats(schema: Schema, where: str) -> list[int]:
    """Return how often each field occurs in an entry, 0 if that isn't always the same."""
    found: list[int] = []
    for number, one in enumerate(schema.fields):
        above = 1
        if one.parent != number:
            inside = schema.fields[one.parent].role in {_COLLECTION, _VARIANT}
            above = 0 if inside else found[one.parent]
        found.append(above * max(1, one.repeated))
        if found[-1] > _MOST:
            raise CorruptFile(f"the field {one.name} has {found[-1]} values in each entry", where=where)
    return found


def _counting(schema: Schema) -> list[tuple[int, int]]:
    """Return for each field the innermost collection that it is in, -1 for none, and its values per item there."""
    found: list[tuple[int, int]] = []
    for number, one in enumerate(schema.fields):
        owner, times = -1, 1
        if one.parent != number:
            role = schema.fields[one.parent].role
            owner, times = (one.parent, 1) if role == _COLLECTION else found[one.parent]
            owner = -1 if role == _VARIANT else owner
        found.append((owner, times * max(1, one.repeated)))
    return found


def places_of(schema: Schema) -> list[int]:
    """Return which column of its representation each column is."""
    seen: dict[tuple[int, int], int] = defaultdict(int)
    found = []
    for one in schema.columns:
        found.append(seen[one.field, one.representation])
        seen[one.field, one.representation] += 1
    return found


def paths_of(schema: Schema) -> list[str]:
    """Return the dotted name of each field."""
    found: list[str] = []
    for number, one in enumerate(schema.fields):
        found.append(one.name if one.parent == number else f"{found[one.parent]}.{one.name}")
    return found


def representations(schema: Schema, where: str) -> dict[int, list[list[int]]]:
    """Return the columns of each representation of each field."""
    found: dict[int, list[list[int]]] = defaultdict(list)
    for number, one in enumerate(schema.columns):
        mine = found[one.field]
        if one.representation == len(mine):
            mine.append([])
        elif one.representation != len(mine) - 1:
            raise CorruptFile("the representations of a field are out of order", where=where)
        mine[-1].append(number)
    for owner, mine in found.items():
        if len({len(columns) for columns in mine}) > 1:
            raise CorruptFile(
                f"the representations of {schema.fields[owner].name} have different columns", where=where
            )
    return found


class MergedSchema:
    """What the merged RNTuple holds.

    Parameters
    ----------
    first
        The first input's; its header is kept as it is.

    Attributes
    ----------
    schema
        Fields and columns of the merged RNTuple. None begins late: what is missing is filled in.
    known
        How much of it the header has.

    Raises
    ------
    UnsupportedContent
        If it holds what is not known here; it is named.
    """

    def __init__(self, first: NTuple) -> None:
        _refuse_unknown(first)
        columns = [
            replace(one, flags=one.flags & ~_DEFERRED, first=0) if number >= first.known[1] else one
            for number, one in enumerate(first.schema.columns)
        ]
        mine = first.schema
        self._first = first
        self.schema = Schema([*mine.fields], columns, [*mine.aliases], [*mine.notes])
        self.known = first.known
        #: What a person should know.
        self.notes: list[str] = []

    def match(self, other: NTuple) -> NDArray[np.int64]:
        """Take an input in; return the number of its column for each one of the merged RNTuple, -1 if it has none.

        Raises
        ------
        SchemaMismatch
            If fields differ that were there from the beginning; all differences are named.
        UnsupportedContent
            If it holds what is not known here.
        """
        _refuse_unknown(other)
        if other.header_data == self._first.header_data and other.schema == self._first.schema:
            mapping = np.full(len(self.schema.columns), -1, np.int64)
            mapping[: len(other.schema.columns)] = np.arange(len(other.schema.columns))
            return mapping
        fields = self._fields(other)
        self._notes(other)
        return self._columns(other, fields)

    def _fields(self, other: NTuple) -> list[int]:
        """Return the merged number of each of the input's fields; late ones are added."""
        mine, theirs = paths_of(self.schema), paths_of(other.schema)
        numbers = {path: number for number, path in enumerate(mine)}
        if len(numbers) < len(mine) or len(set(theirs)) < len(theirs):
            raise CorruptFile("two of its fields have the same name", where=other.where)
        differences = [f"{path} is missing" for path in mine[: self.known[0]] if path not in set(theirs)]
        found: list[int] = []
        added: list[tuple[Field, int, str]] = []
        for number, (path, one) in enumerate(zip(theirs, other.schema.fields, strict=True)):
            source = theirs[one.source] if one.projected else ""
            if path in numbers and numbers[path] < len(mine):
                known = self.schema.fields[numbers[path]]
                shown = mine[known.source] if known.projected else ""
                if (_kind(known), shown) != (_kind(one), source):
                    differences.append(f"{path} is {_spelled(one, source)}, not {_spelled(known, shown)}")
            elif number < other.known[0]:
                differences.append(f"{path} is new")
            else:
                numbers[path] = len(mine) + len(added)
                added.append((one, number, source))
            found.append(numbers.get(path, 0))
        if differences:
            more = f"; and {len(differences) - 20} more" if len(differences) > 20 else ""
            raise SchemaMismatch(
                f"its fields differ from those of {self._first.image.path}: {'; '.join(differences[:20])}{more}",
                where=other.where,
                todo="merge only files of one schema",
                differences=differences,
            )
        for one, number, source in added:
            parent = found[one.parent] if one.parent != number else numbers[theirs[number]]
            made = replace(one, parent=parent, source=numbers[source] if source else 0)
            self.schema.fields.append(made)
        absent = [path for path in mine[self.known[0] :] if path not in set(theirs)]
        self._tell(other.where, absent, "does not have")
        self._tell(other.where, [theirs[number] for _, number, _ in added], "is the first with")
        return found

    def _tell(self, where: str, paths: list[str], what: str) -> None:
        if top := [path for path in paths if "." not in path] or paths[:1]:
            some = ", ".join(top[:5]) + (f" and {len(top) - 5} more" if len(top) > 5 else "")
            self.notes.append(f"{where} {what} {some}, which were added late: other entries have zeros there")

    def _columns(self, other: NTuple, fields: list[int]) -> NDArray[np.int64]:
        """Map columns by field and encoding; encodings that are new become representations of their field."""
        mine = representations(self.schema, self._first.where)
        found: dict[int, int] = {}
        for owner, theirs in representations(other.schema, other.where).items():
            known = mine[fields[owner]]
            for columns in theirs:
                encoding = [other.schema.columns[number].encoding for number in columns]
                match = next((one for one in known if self._encoding(one) == encoding), None)
                if match is None:
                    if known and len(known[0]) != len(columns):
                        raise UnsupportedContent(
                            f"the field {other.schema.fields[owner].name} has other columns than that of "
                            f"{self._first.image.path}",
                            where=other.where,
                        )
                    rounded = any(kind in _ROUNDED for kind, _, _ in encoding)
                    if known and rounded:
                        # a reader that takes it for rounded like the first one's would see other numbers
                        raise UnsupportedContent(
                            f"the numbers of {other.schema.fields[owner].name} are rounded, and otherwise than in "
                            f"{self._first.image.path}, which ROOT can't read in one RNTuple",
                            where=other.where,
                            todo="merge files of one precision; a file whose numbers are not rounded may come after",
                        )
                    match = self._represent(
                        fields[owner], len(known), [other.schema.columns[number] for number in columns]
                    )
                    known.append(match)
                found.update(zip(match, columns, strict=True))
        self._project()
        mapping = np.full(len(self.schema.columns), -1, np.int64)
        mapping[list(found)] = list(found.values())
        return mapping

    def _encoding(self, columns: list[int]) -> list[tuple[int, int, bytes]]:
        return [self.schema.columns[number].encoding for number in columns]

    def _represent(self, owner: int, number: int, columns: list[Column]) -> list[int]:
        """Add a representation of a field; return its columns."""
        begin = len(self.schema.columns)
        self.schema.columns += [
            replace(one, field=owner, flags=one.flags & ~_DEFERRED, first=0, representation=number)
            for one in columns
        ]
        return list(range(begin, len(self.schema.columns)))

    def _project(self) -> None:
        """Give each projected field all columns of the field that it shows."""
        shown: dict[int, list[int]] = defaultdict(list)
        for number, one in enumerate(self.schema.columns):
            shown[one.field].append(number)
        having: dict[int, set[int]] = defaultdict(set)
        for alias in self.schema.aliases:
            having[alias.field].add(alias.column)
        for number, field in enumerate(self.schema.fields):
            if field.projected:
                self.schema.aliases += [
                    Alias(column, number) for column in shown[field.source] if column not in having[number]
                ]

    def _notes(self, other: NTuple) -> None:
        known = {(one.content_id, one.version, one.name): one for one in self.schema.notes}
        for one in other.schema.notes:
            same = known.get((one.content_id, one.version, one.name))
            if same is None:
                self.schema.notes.append(one)
            elif same.content != one.content:
                raise UnsupportedContent(
                    f"what it says of the classes in it differs from what {self._first.image.path} says",
                    where=other.where,
                )


def _kind(one: Field) -> tuple[object, ...]:
    """Return what must be the same in all inputs."""
    return (
        one.version,
        one.type_version,
        one.role,
        one.flags,
        one.kind,
        one.alias,
        one.repeated,
        one.checksum,
    )


def _spelled(one: Field, source: str) -> str:
    parts = [one.kind or "a record", f"version {one.type_version}" if one.type_version else ""]
    parts += [f"alias {one.alias}" if one.alias else "", f"showing {source}" if source else ""]
    return ", ".join(part for part in parts if part)


def _refuse_unknown(one: NTuple) -> None:
    """Refuse what would be lost."""
    if one.footer.attributes:
        raise UnsupportedContent(
            f"it has {one.footer.attributes} linked attribute sets, which can't be carried yet",
            where=one.where,
        )
    if one.schema.unknown:
        raise UnsupportedContent(f"it holds what is not known here: {one.schema.unknown[0]}", where=one.where)
    if any(column.deferred for column in one.schema.columns[: one.known[1]]):
        raise UnsupportedContent("its header has columns that begin late", where=one.where)
    _sound_aliases(one)


def _sound_aliases(one: NTuple) -> None:
    """Test that projected fields show all columns of one other field, and nothing else."""
    schema = one.schema
    shown: dict[int, set[int]] = defaultdict(set)
    for alias in schema.aliases:
        field = schema.fields[alias.field]
        if not field.projected or schema.columns[alias.column].field != field.source:
            raise CorruptFile(f"the field {field.name} shows a column of another", where=one.where)
        shown[alias.field].add(alias.column)
    owned: dict[int, set[int]] = defaultdict(set)
    for number, column in enumerate(schema.columns):
        owned[column.field].add(number)
    for number, field in enumerate(schema.fields):
        if field.projected and shown[number] != owned[field.source]:
            raise UnsupportedContent(f"the field {field.name} shows a part of another", where=one.where)
