"""Look into a file that others wrote: is it whole, what is in it, which events, which run sections, which bits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["run"]


def run(spec: dict[str, Any], progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Verify a file to its last basket and report its facts; nothing is written.

    Parameters
    ----------
    spec
        ``inputs`` (one), ``identity``, ``tree``, and ``attempt`` with ``scratch`` and ``memory``.
    progress
        Called with ``(done, total)``.

    Raises
    ------
    InputError
        The file is missing, truncated, corrupt, or holds no events that can be identified.
    """
    from grid.rootio.facts import file_facts
    from grid.rootio.verify import verify
    from grid.storage.fetch import local_copy
    from grid.storage.steady import untouched

    (source,) = spec["inputs"]
    here = spec["attempt"]
    url = source["urls"][0]
    with local_copy(url, Path(here["scratch"]), progress) as path, untouched(path, where=url):
        checked = verify(path, progress=progress)
        facts = file_facts(
            path,
            identity=spec["identity"],
            event_trees=spec["tree"],
            memory_bytes=here["memory"],
            progress=progress,
        )
    found = facts.to_json()
    return {
        "file": {**found, "menu_hash": facts.menu_hash or None, "notes": [*facts.notes, *checked.notes]},
        "notes": [f"{checked.bytes_not_covered} bytes are covered by no checksum of the format"],
    }
