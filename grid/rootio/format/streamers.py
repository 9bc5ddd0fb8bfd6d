"""The description of our own classes that every file carries, so that any reader can read it.

``streamers.txt`` lists ROOT's classes as ROOT 6.40 describes them: a line ``name, version, checksum`` per class,
then one per member: ``type code, size, name, title, type`` (for a counted array the member that counts).
"""

from __future__ import annotations

from functools import cache, partial
from importlib.resources import files
from typing import NamedTuple

from grid.rootio.format.objects import ObjectWriter

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


@cache
def streamer_list(key_length: int) -> bytes:
    """Return the serialised TList of TStreamerInfo for a key of this length."""
    known = _read()
    out = ObjectWriter(key_length)
    with out.version(5):
        out.tobject()
        out.text("")
        out.pack("i", len(known))
        for described in known.values():
            out.object(described.name, "TStreamerInfo", partial(_info, out, described, known))
            out.text("")
    return bytes(out.data)


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
    with out.version(9):
        out.named(described.name, "", bits=0x10000)
        out.pack("Ii", described.checksum, described.version)
        members = [partial(_element, out, member, described, known) for member in described.members]
        out.object((described.name, "elements"), "TObjArray", partial(out.array_of, members))


def _element(out: ObjectWriter, member: _Member, described: _Class, known: dict[str, _Class]) -> None:
    if member.kind == "BASE":
        kind, version = "TStreamerBase", 3
    elif member.code in _POINTER_NAMES:
        kind, version = "TStreamerBasicPointer", 2
    elif member.code == 65:
        kind, version = "TStreamerString", 2
    else:
        kind, version = _OBJECT_CODES.get(member.code, "TStreamerBasicType"), 2

    def body() -> None:
        base = known[member.name] if kind == "TStreamerBase" else None
        with out.version(version):
            with out.version(4):
                out.named(member.name, member.title)
                out.pack("iiii", member.code, member.size, 0, 0)
                out.pack("iIiii", 0, base.checksum if base else 0, 0, 0, 0)
                out.text(_POINTER_NAMES.get(member.code, member.kind))
            if base:
                out.pack("i", base.version)
            elif kind == "TStreamerBasicPointer":
                out.pack("i", described.version)
                out.text(member.kind)
                out.text(described.name)

    out.object((described.name, member.name), kind, body)
