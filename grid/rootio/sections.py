"""Count events by run and run section."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernels import unique

if TYPE_CHECKING:
    from collections import Counter

    from grid.rootio.events import Identity
    from grid.rootio.reading import EventChunk

__all__ = ["count_sections", "listed"]


def count_sections(sections: Counter[tuple[int, int]], identity: Identity, chunk: EventChunk) -> None:
    """Add the events of a chunk, where their identity has a run and a run section."""
    if identity.section is None:
        return
    columns = chunk.trees[identity.tree]
    found, counts = unique.sections(*(columns[name].values for name in identity.section))
    for (run, section), count in zip(found.tolist(), counts.tolist(), strict=True):
        sections[run, section] += count


def listed(sections: Counter[tuple[int, int]]) -> tuple[tuple[int, int, int], ...]:
    """Return (run, run section, events), ascending."""
    return tuple((run, section, count) for (run, section), count in sorted(sections.items()))
