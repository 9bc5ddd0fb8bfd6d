"""Look at the trees of all inputs before any is copied: which of them differ, and what tree holds all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grid.rootio.changes import Changes
from grid.rootio.uniting.description import Description
from grid.rootio.uniting.united import UnitedTree
from grid.rootio.verbatim.inputs import Input
from grid.rootio.verbatim.template import Differs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["survey"]


def survey(paths: Sequence[Path], trees: Sequence[str]) -> tuple[dict[str, UnitedTree], Changes]:
    """Unite the trees of files where these differ.

    Returns
    -------
    united
        For each tree that is not described alike in all inputs, one that has the branches of all.
    changes
        What these make of the files.

    Raises
    ------
    InputError
        If an input is not what it should be.
    SchemaMismatch, UnsupportedContent
        As :class:`grid.rootio.uniting.united.UnitedTree`.
    """
    met: dict[str, list[Description]] = {tree: [] for tree in trees}
    of_file: dict[str, dict[str, int]] = {}
    for path in paths:
        with Input(path) as source:
            of_file[str(path)] = {
                tree: _number(met[tree], source, tree) for tree in trees if tree in source.trees
            }
    united = {tree: UnitedTree(known) for tree, known in met.items() if len(known) > 1}
    changes = Changes()
    for url, of in of_file.items():
        for tree, one in united.items():
            if tree in of:
                changes.add(url, tree, met[tree][of[tree]].plain, one.plain)
    return united, changes


def _number(known: list[Description], source: Input, tree: str) -> int:
    """Return which of the known descriptions a tree has; a new one is added to these."""
    entry, where = source.trees[tree], source.image.where(tree)
    data = source.unpacked(entry)
    for number, one in enumerate(known):
        try:
            one.template.match(data, entry.key.length)
        except Differs:
            continue
        return number
    known.append(Description(data, entry.key.length, entry.class_name, source.streamers.classes, where))
    return len(known) - 1
