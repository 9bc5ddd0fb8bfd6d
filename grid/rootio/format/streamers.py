"""The description of our own classes that every file carries, so that any reader can read it.

``streamers.txt`` lists ROOT's classes as ROOT 6.40 describes them: a line ``name, version, checksum`` per class,
then one per member: ``type code, size, name, title, type`` (for a counted array the member that counts).
"""

from __future__ import annotations

import struct
from functools import cache, partial
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from grid.rootio.format.objects import ObjectWriter, named, text, tobject, versioned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grid.rootio.format.described import ClassInfo, Streamers

__all__ = ["streamer_list"]

_POINTER_NAMES = {43: "int*", 56: "long long*"}
_OBJECT_CODES = {61: "TStreamerObject", 62: "TStreamerObjectAny", 64: "TStreamerObjectPointer"}


class _Member(NamedTuple):
    code: int
    size: int
    name: str
    title: str
    kind: str


class _Class(NamedTuple):
    name: str
    version: int
    checksum: int
    members: list[_Member]


def streamer_list(key_length: int, others: Streamers) -> bytes:
    """Return the serialised TList of TStreamerInfo for a key of this length: our own classes, and others."""
    known = _read()
    mine = {(one.name, one.version, one.checksum) for one in known.values()}
    more = [one for one in others.classes if one.key not in mine]
    out = ObjectWriter(key_length)
    start = out.begin(5)
    out.data += tobject() + text("")
    out.pack("i", len(known) + len(more) + bool(others.rules))
    for described in known.values():
        out.object(described.name, "TStreamerInfo", partial(_info, out, described, known))
        out.data += text("")
    for one in more:
        out.object(one.key, "TStreamerInfo", partial(_other, out, one))
        out.data += text("")
    if others.rules:
        out.object("rules", "TList", partial(_rules, out, others.rules))
        out.data += text("")
    out.end(start)
    return bytes(out.data)


def _other(out: ObjectWriter, info: ClassInfo) -> None:
    """Append the description of a class as a file had it."""

    def elements() -> None:
        start = out.begin(info.formats[1])
        out.data += info.array
        for number, (kind, body) in enumerate(info.elements):
            out.object((info.key, number), kind, partial(out.data.extend, body))
        out.end(start)

    start = out.begin(info.formats[0])
    out.data += info.head
    out.object((info.key, "elements"), "TObjArray", elements)
    out.end(start)


def _rules(out: ObjectWriter, rules: Sequence[bytes]) -> None:
    start = out.begin(5)
    out.data += tobject() + text("listOfRules")
    out.pack("i", len(rules))
    for number, rule in enumerate(rules):
        out.object(("rule", number), "TObjString", partial(out.data.extend, rule))
        out.data += text("")
    out.end(start)


@cache
def _read() -> dict[str, _Class]:
    known: dict[str, _Class] = {}
    last: _Class | None = None
    for line in files("grid.rootio.format").joinpath("streamers.txt").read_text("utf-8").splitlines():
        fields = line.strip().split("\t")
        if line.startswith(" ") and last is not None:
            last.members.append(_Member(int(fields[0]), int(fields[1]), *fields[2:]))
        else:
            last = known[fields[0]] = _Class(fields[0], int(fields[1]), int(fields[2], 16), [])
    return known


def _info(out: ObjectWriter, described: _Class, known: dict[str, _Class]) -> None:
    start = out.begin(9)
    out.data += named(described.name, "", bits=0x10000)
    out.pack("Ii", described.checksum, described.version)
    members = [partial(_element, out, member, described, known) for member in described.members]
    out.object((described.name, "elements"), "TObjArray", partial(out.array_of, members))
    out.end(start)


def _element(out: ObjectWriter, member: _Member, described: _Class, known: dict[str, _Class]) -> None:
    base = known[member.name] if member.kind == "BASE" else None
    shape = struct.pack(">iiii", member.code, member.size, 0, 0)
    limits = struct.pack(">iIiii", 0, base.checksum if base else 0, 0, 0, 0)
    type_name = text(_POINTER_NAMES.get(member.code, member.kind))
    body = versioned(4, named(member.name, member.title) + shape + limits + type_name)
    kind, version = _OBJECT_CODES.get(member.code, "TStreamerBasicType"), 2
    if base:
        kind, version = "TStreamerBase", 3
        body += struct.pack(">i", base.version)
    elif member.code in _POINTER_NAMES:
        kind = "TStreamerBasicPointer"
        body += struct.pack(">i", described.version) + text(member.kind) + text(described.name)
    elif member.code == 65:
        kind = "TStreamerString"
    data = versioned(version, body)
    out.object((described.name, member.name), kind, lambda: out.data.extend(data))
