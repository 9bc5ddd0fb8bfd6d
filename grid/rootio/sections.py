"""Count events by run and run section."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from grid.rootio.known_branches import DEFAULT_IDENTITY
from kernels import unique
from sitecfg.errors import UnsupportedContent

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    from grid.rootio.events import Identity
    from grid.rootio.reading import EventChunk

__all__ = ["check_countable", "count_sections", "listed", "sections_of"]

#: The largest run, or run section, that books can hold.
_LARGEST = (1 << 63) - 1


def count_sections(sections: Counter[tuple[int, int]], identity: Identity, chunk: EventChunk) -> None:
    """Add the events of a chunk, where their identity has a run and a run section."""
    if identity.section is None:
        return
    columns = chunk.trees[identity.tree]
    found, counts = unique.sections(*(columns[name].values for name in identity.section))
    for (run, section), count in zip(found.tolist(), counts.tolist(), strict=True):
        sections[run, section] += count


def sections_of(identity: Mapping[str, NDArray[Any]]) -> tuple[tuple[int, int, int], ...]:
    """Return (run, run section, events), ascending, from what identifies events; nothing without run and section."""
    names = DEFAULT_IDENTITY[:2]
    if not set(names) <= set(identity):
        return ()
    found, counts = unique.sections(*(identity[name] for name in names))
    return tuple(
        (run, section, count) for (run, section), count in zip(found.tolist(), counts.tolist(), strict=True)
    )


def check_countable(name: str, values: NDArray[Any], where: str) -> None:
    """Refuse runs and run sections that no account of them can hold.

    Raises
    ------
    UnsupportedContent
        If one is beyond a signed 64-bit number.
    """
    if values.dtype == np.uint64 and values.max(initial=0) > _LARGEST:
        raise UnsupportedContent(
            f"{name} {values.max()} is beyond a signed 64-bit number",
            where=where,
            todo="name other branches with identity= (--identity)",
        )


def listed(sections: Counter[tuple[int, int]]) -> tuple[tuple[int, int, int], ...]:
    """Return (run, run section, events), ascending."""
    return tuple((run, section, count) for (run, section), count in sorted(sections.items()))
