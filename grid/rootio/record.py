"""What our own writer says of a file inside of it: where its events are from, as JSON under a key of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from grid.rootio.format.keys import parse_text
from grid.rootio.format.unpack import unpack
from sitecfg.errors import CorruptFile

if TYPE_CHECKING:
    from grid.rootio.format.keys import Key
    from grid.rootio.image import Image

__all__ = ["RECORD_CLASS", "RECORD_KEY", "parse_record", "read_record"]

#: The key, and the class of what lies there.
RECORD_KEY: Final = "mdcgrid"
RECORD_CLASS: Final = "TObjString"
_REFERENCED: Final = 1 << 4
#: Byte count and version.
_HEAD: Final = 6


def parse_record(line: str | bytes, where: str) -> dict[str, Any]:
    """Return what a record says.

    Raises
    ------
    CorruptFile
        If it is no JSON object.
    """
    try:
        record = json.loads(line)
    except ValueError as error:
        raise CorruptFile(f"the record is no JSON: {error}", where=where) from error
    if not isinstance(record, dict):
        raise CorruptFile("the record is no JSON object", where=where)
    return record


def read_record(image: Image, key: Key) -> dict[str, Any]:
    """Return what the record of a local file says, whose key is known; raises as :func:`parse_record`."""
    where = image.where(RECORD_KEY)
    payload = image.read(key.seek + key.length, key.packed_bytes, RECORD_KEY)
    data = unpack(payload, key.object_bytes, where)
    # a TObject, then the string
    bits = int.from_bytes(data[_HEAD + 6 : _HEAD + 10], "big")
    begin = _HEAD + (12 if bits & _REFERENCED else 10)
    try:
        line, _ = parse_text(data, begin, longest=len(data))
    except ValueError as error:
        raise CorruptFile(f"the record is cut short: {error}", where=where) from error
    return parse_record(line, where)
