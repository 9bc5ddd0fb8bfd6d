"""The trigger menu that a file carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grid.trigger.menu import MENU_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["file_menu"]


def file_menu(
    path: Path | str, *, event_trees: Sequence[str] = (), prefix: str = MENU_PREFIX
) -> tuple[str, ...]:
    """Return the names of a file's trigger paths, sorted: the event trees' bool branches that begin with `prefix`.

    Raises
    ------
    InputError
        Of the kind that fits, naming the file.
    """
    from grid.rootio.events import find_event_trees
    from grid.rootio.facts import menu_of
    from grid.rootio.source import open_source

    with open_source(path) as source:
        return tuple(menu_of(find_event_trees(source, event_trees), prefix))
