"""Write a trigger table the way people write it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grid.trigger.table import TriggerTable

__all__ = ["to_toml"]

_PLAIN: Final = re.compile(r"[^ -~]")


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
    quoted = json.dumps(value, ensure_ascii=False)
    # What JSON leaves as it is and TOML forbids, or a terminal may not show, is escaped the way of TOML.
    return _PLAIN.sub(lambda found: f"\\U{ord(found[0]):08x}", quoted)


def _list(values: Sequence[str]) -> str:
    if len(values) < 4:
        return "[" + ", ".join(map(_text, values)) + "]"
    return "[\n" + "".join(f"    {_text(one)},\n" for one in values) + "]"
