"""Where the rows of side trees are from: the file that first held them, by its XXH3-128.

A split copies Runs and LuminosityBlocks whole into every stream's output, so that no weight is lost;
a merge must not add the same rows up again. Each of our files says in its record, for every tree
that holds no events, from which original file its rows are, in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sitecfg.errors import CorruptFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grid.rootio.source import Source

__all__ = ["Stretch", "known_origins", "origins_json"]


@dataclass(frozen=True, slots=True)
class Stretch:
    """`rows` consecutive rows of a tree that are from one file; ``origin`` "" if nobody knows which."""

    origin: str
    rows: int


def known_origins(source: Source, path: str, own: str = "") -> list[Stretch]:
    """Return where the rows of a tree are from, as its file's record says.

    `own` is the origin of the rows of a file whose record says nothing about them.

    Raises
    ------
    CorruptFile
        If it says nonsense.
    """
    entries = source.info(path).entries
    told = (source.record or {}).get("origins")
    said = told.get(path) if isinstance(told, dict) else None
    if not isinstance(said, list):
        return [Stretch(own, entries)]
    try:
        found = [Stretch(str(part["origin"]), int(part["rows"])) for part in said]
    except (KeyError, TypeError, ValueError) as error:
        where = f"{source.url}: {path}"
        raise CorruptFile("the record says nonsense of where its rows are from", where=where) from error
    # a file that another program has changed since can't be believed
    return found if sum(part.rows for part in found) == entries else [Stretch("", entries)]


def origins_json(stretches: Sequence[Stretch]) -> list[dict[str, Any]]:
    """Return plain JSON types, neighbours of one origin joined."""
    joined: list[dict[str, Any]] = []
    for part in stretches:
        if joined and joined[-1]["origin"] == part.origin:
            joined[-1]["rows"] += part.rows
        else:
            joined.append({"origin": part.origin, "rows": part.rows})
    return joined
