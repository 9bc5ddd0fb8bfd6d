"""What an RNTuple says of itself: header with its schema (fields and columns), and footer; read and written."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from grid.rootio.format.envelopes import FOOTER as _FOOTER
from grid.rootio.format.envelopes import Envelope, envelope, listed, locator, record, string
from sitecfg.errors import CorruptFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grid.rootio.format.envelopes import Frame

__all__ = [
    "Alias",
    "Column",
    "Field",
    "Footer",
    "Group",
    "Header",
    "Schema",
    "TypeNote",
]

_REPETITIVE, _PROJECTED, _CHECKED = 1, 2, 4
_DEFERRED, _RANGED = 1, 2


@dataclass(frozen=True, slots=True)
class Field:
    """A field; its number is its place in the list, and a top one is its own parent."""

    version: int
    type_version: int
    parent: int
    role: int
    flags: int
    name: str
    kind: str
    alias: str
    title: str
    repeated: int
    source: int
    checksum: int

    @property
    def projected(self) -> bool:
        """Whether it shows another field's columns."""
        return bool(self.flags & _PROJECTED)

    def encode(self) -> bytes:
        """Return its record."""
        data = struct.pack("<IIIHH", self.version, self.type_version, self.parent, self.role, self.flags)
        data += b"".join(map(string, (self.name, self.kind, self.alias, self.title)))
        data += struct.pack("<Q", self.repeated) if self.flags & _REPETITIVE else b""
        data += struct.pack("<I", self.source) if self.flags & _PROJECTED else b""
        return record(data + (struct.pack("<I", self.checksum) if self.flags & _CHECKED else b""))


@dataclass(frozen=True, slots=True)
class Column:
    """A column; ``first`` is its first element's index, negative if it begins suppressed."""

    kind: int
    bits: int
    field: int
    flags: int
    representation: int
    first: int
    limits: bytes

    @property
    def deferred(self) -> bool:
        """Whether it begins later than its RNTuple."""
        return bool(self.flags & _DEFERRED)

    @property
    def encoding(self) -> tuple[int, int, bytes]:
        """What its pages look like: type, bits, and the limits of its values."""
        return self.kind, self.bits, self.limits

    def encode(self) -> bytes:
        """Return its record."""
        data = struct.pack("<HHIHH", self.kind, self.bits, self.field, self.flags, self.representation)
        return record(data + (struct.pack("<q", self.first) if self.deferred else b"") + self.limits)


@dataclass(frozen=True, slots=True)
class Alias:
    """A column of a projected field, whose pages are those of another column."""

    column: int
    field: int

    def encode(self) -> bytes:
        """Return its record."""
        return record(struct.pack("<II", self.column, self.field))


@dataclass(frozen=True, slots=True)
class TypeNote:
    """Extra information on a type, such as the streamer info of its members."""

    content_id: int
    version: int
    name: str
    content: bytes

    def encode(self) -> bytes:
        """Return its record."""
        size = struct.pack("<I", len(self.content))
        return record(
            struct.pack("<II", self.content_id, self.version) + string(self.name) + size + self.content
        )


@dataclass(slots=True)
class Schema:
    """Fields and columns. ``unknown`` names what was skipped because nothing is known of it."""

    fields: list[Field] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)
    aliases: list[Alias] = field(default_factory=list)
    notes: list[TypeNote] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """How many fields, columns, aliases and notes there are."""
        return len(self.fields), len(self.columns), len(self.aliases), len(self.notes)

    def first(self, known: tuple[int, int, int, int]) -> Schema:
        """Return so many of its fields, columns, aliases and notes."""
        fields, columns, aliases, notes = known
        return Schema(
            self.fields[:fields], self.columns[:columns], self.aliases[:aliases], self.notes[:notes]
        )

    @property
    def top(self) -> set[str]:
        """The names of the fields that no other field holds."""
        return {one.name for number, one in enumerate(self.fields) if one.parent == number}

    @property
    def deferred(self) -> set[str]:
        """The names of those of them in which a column begins late."""
        found = set()
        for number in {column.field for column in self.columns if column.deferred}:
            while self.fields[number].parent != number:
                number = self.fields[number].parent  # noqa: PLW2901
            found.add(self.fields[number].name)
        return found

    def read(self, data: Envelope, end: int) -> None:
        """Append a description that ends at `end`."""
        self.fields += [self._field(data, one) for one in data.frames(data.frame())]
        self.columns += [self._column(data, one) for one in data.frames(data.frame())]
        for one in data.frames(data.frame()):
            self.aliases.append(Alias(data.number("I"), data.number("I")))
            self._done(data, one.end, "an alias column")
        for one in data.frames(data.frame()):
            content_id, version, name = data.number("I"), data.number("I"), data.text()
            content = data.text().encode("utf-8", "surrogateescape")
            self.notes.append(TypeNote(content_id, version, name, content))
            self._done(data, one.end, "extra type information")
        self._done(data, end, "a schema")
        self._check(data.where)

    def encode(self, known: tuple[int, int, int, int]) -> bytes:
        """Return the description of everything but the first fields, columns, aliases and notes."""
        parts: tuple[Sequence[Field | Column | Alias | TypeNote], ...] = (
            self.fields,
            self.columns,
            self.aliases,
            self.notes,
        )
        return b"".join(
            listed([one.encode() for one in part[first:]]) for part, first in zip(parts, known, strict=True)
        )

    def _field(self, data: Envelope, frame: Frame) -> Field:
        version, type_version, parent = data.number("I"), data.number("I"), data.number("I")
        role, flags = data.number("H"), data.number("H")
        name, kind, alias, title = data.text(), data.text(), data.text(), data.text()
        repeated = data.number("Q") if flags & _REPETITIVE else 0
        source = data.number("I") if flags & _PROJECTED else 0
        checksum = data.number("I") if flags & _CHECKED else 0
        self._done(data, frame.end, f"the field {name}")
        return Field(
            version, type_version, parent, role, flags, name, kind, alias, title, repeated, source, checksum
        )

    def _column(self, data: Envelope, frame: Frame) -> Column:
        kind, bits, owner = data.number("H"), data.number("H"), data.number("I")
        flags, representation = data.number("H"), data.number("H")
        first = data.number("q") if flags & _DEFERRED else 0
        size = 16 if flags & _RANGED else 0
        limits = data.data[data.at : data.at + size]
        data.at += size
        self._done(data, frame.end, "a column")
        return Column(kind, bits, owner, flags, representation, first, limits)

    def _done(self, data: Envelope, end: int, what: str) -> None:
        if data.at > end:
            raise CorruptFile(f"{what} is longer than its record", where=data.where)
        if data.at < end:
            self.unknown.append(f"{end - data.at} bytes at the end of {what}")

    def _check(self, where: str) -> None:
        """Test that what is referred to is there: a parent before its children, so that no field holds itself."""
        count = len(self.fields)
        if any(one.parent > number for number, one in enumerate(self.fields)):
            raise CorruptFile("a field comes before the one that holds it", where=where)
        if any(one.source >= count for one in self.fields):
            raise CorruptFile("a projected field shows one that isn't there", where=where)
        owners = [one.field for one in self.columns] + [one.field for one in self.aliases]
        if any(owner >= count for owner in owners):
            raise CorruptFile("a column belongs to a field that isn't there", where=where)
        if any(one.column >= len(self.columns) for one in self.aliases):
            raise CorruptFile("an alias refers to a column that isn't there", where=where)


@dataclass(frozen=True, slots=True)
class Header:
    """Names, and the schema with which writing began."""

    name: str
    title: str
    writer: str
    checksum: int

    @classmethod
    def parse(cls, data: Envelope, schema: Schema) -> Header:
        """Read a header; its fields and columns go into `schema`."""
        data.flags()
        name, title, writer = data.text(), data.text(), data.text()
        schema.read(data, data.end)
        return cls(name, title, writer, data.checksum)


@dataclass(frozen=True, slots=True)
class Group:
    """A group of clusters; its list of pages: unpacked length, position, packed size."""

    first: int
    entries: int
    clusters: int
    length: int
    offset: int
    size: int

    def encode(self) -> bytes:
        """Return its record."""
        numbers = struct.pack("<QQIQ", self.first, self.entries, self.clusters, self.length)
        return record(numbers + locator(self.offset, self.size))


@dataclass(frozen=True, slots=True)
class Footer:
    """Groups of clusters; ``attributes`` counts linked attribute sets, None if there is no list of them."""

    groups: tuple[Group, ...]
    attributes: int | None

    @classmethod
    def parse(cls, data: Envelope, header: Header, schema: Schema) -> Footer:
        """Read a footer; fields and columns that were added late go into `schema`.

        Raises
        ------
        CorruptFile, UnsupportedContent
            If it is unsound, or of another header.
        """
        data.flags()
        if data.number("Q") != header.checksum:
            raise CorruptFile("its parts belong to different headers", where=data.where)
        extension = data.frame()
        if extension.end > data.at:
            schema.read(data, extension.end)
        data.at = extension.end
        groups = []
        for one in data.frames(data.frame()):
            first, entries, clusters = data.number("Q"), data.number("Q"), data.number("I")
            groups.append(Group(first, entries, clusters, data.number("Q"), *data.locator()))
            if data.at < one.end:
                schema.unknown.append("the end of a group of clusters")
        attributes = None
        if data.at < data.end:
            frame = data.frame()
            attributes, data.at = frame.items, frame.end
        if data.at < data.end:
            schema.unknown.append("the end of the footer")
        return cls(tuple(groups), attributes)

    def encode(self, checksum: int, extension: bytes) -> bytes:
        """Return the envelope of the footer to a header of this checksum."""
        data = struct.pack("<QQ", 0, checksum) + record(extension)
        data += listed([group.encode() for group in self.groups])
        return envelope(_FOOTER, data + (b"" if self.attributes is None else listed([])))
