"""Write a trigger table the way people write it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grid.trigger.table import TriggerTable

__all__ = ["to_toml"]


def to_toml(table: TriggerTable) -> str:
    """Return the table as TOML that :meth:`TriggerTable.from_toml` reads back as an equal table."""
    lines = [f"name = {_text(table.name)}", f"tag = {table.tag}"]
    if table.description:
        lines.append(f"description = {_text(table.description)}")
    if table.origin is not None:
        lines.append(f"origin = {_list(table.origin)}")
    lines += ["", "[streams]"]
    lines += [f"{_text(stream)} = {_list(globs)}" for stream, globs in table.streams.items()]
    if table.prescales:
        lines += ["", "[prescales]"]
        lines += [f"{_text(path)} = {factor}" for path, factor in table.prescales.items()]
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    return json.dumps(value)  # a JSON string of ASCII is a TOML basic string


def _list(values: object) -> str:
    assert isinstance(values, (list, tuple))
    if len(values) < 4:
        return "[" + ", ".join(map(_text, values)) + "]"
    return "[\n" + "".join(f"    {_text(one)},\n" for one in values) + "]"
