"""Compare input files that share run sections, event by event: the same event must not come in twice."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["run"]


def run(spec: dict[str, Any], progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Find the events that are in more than one of the inputs; nothing is written.

    Parameters
    ----------
    spec
        ``inputs``, ``recipe`` (for the identity and the event trees), ``attempt``.
    progress
        Called with ``(done, total)``.

    Returns
    -------
    dict
        ``duplicates``: the first offenders in words; the ledger holds the job when there are any.
    """
    from grid.rootio.repeats import repeated_events
    from grid.storage.fetch import local_copy

    recipe, here = spec["recipe"], spec["attempt"]
    with ExitStack() as stack:
        paths = [
            stack.enter_context(local_copy(one["urls"][0], Path(here["scratch"]))) for one in spec["inputs"]
        ]
        found = repeated_events(
            paths,
            names=[one["name"] for one in spec["inputs"]],
            identity=recipe["identity"],
            event_trees=recipe["tree"],
            memory_bytes=here["memory"],
            progress=progress,
        )
    return {"duplicates": list(found)}
