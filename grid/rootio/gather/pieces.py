"""The baskets of each branch of a tree, in the order of their entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.gather.unpacked import inside, read_basket
from sitecfg.errors import CorruptFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grid.rootio.gather.unpacked import Entries, Raw
    from grid.rootio.image import Image
    from grid.rootio.verbatim.baskets import Baskets, Embedded
    from grid.rootio.verbatim.slots import TreeView

__all__ = ["Pieces", "pieces_of", "read_pieces"]


@dataclass(frozen=True, slots=True)
class Pieces:
    """The baskets of one branch in order: on file, then those inside the tree; ``edges`` are the entries between."""

    what: str
    seeks: list[int]
    nbytes: list[int]
    edges: list[int]
    embedded: list[Embedded]


def read_pieces(image: Image, of: Pieces, stop: int, at: int = 0) -> Iterator[tuple[Raw | None, Entries]]:
    """Read the baskets from number `at` on that begin before entry `stop`.

    Raises
    ------
    CorruptFile, CantCopy
        As :func:`grid.rootio.gather.unpacked.read_basket`.
    """
    for number in range(at, len(of.edges) - 1):
        if of.edges[number] >= stop:
            return
        if number < len(of.seeks):
            entries = of.edges[number + 1] - of.edges[number]
            yield read_basket(image, of.seeks[number], of.nbytes[number], entries, of.what)
        else:
            yield None, inside(of.embedded[number - len(of.seeks)], image.where(of.what))


def pieces_of(view: TreeView, baskets: Baskets, where: str) -> dict[int, Pieces]:
    """Return the baskets of each branch that has some, in order; they must follow each other without a gap."""
    order = np.lexsort((baskets.firsts, baskets.branches))
    columns = baskets.branches, baskets.nbytes, baskets.firsts, baskets.seeks, baskets.entries
    owner, nbytes, firsts, seeks, entries = (column[order] for column in columns)
    embedded: dict[int, list[Any]] = {}
    for one in sorted(baskets.embedded, key=lambda one: one.first):
        embedded.setdefault(one.branch, []).append(one)
    branches = view.template.branches
    edges = np.searchsorted(owner, np.arange(len(branches) + 1)).tolist()
    found = {}
    for index, branch in enumerate(branches):
        mine, late = slice(edges[index], edges[index + 1]), embedded.get(index, [])
        if mine.start == mine.stop and not late:
            continue
        counts = [*entries[mine].tolist(), *(one.entries for one in late)]
        ends = np.cumsum([0, *counts]).tolist()
        what = branch.name.decode("utf-8", "backslashreplace")
        if ends[:-1] != [*firsts[mine].tolist(), *(one.first for one in late)]:
            raise CorruptFile(f"the baskets of branch {what!r} don't follow each other", where=where)
        found[index] = Pieces(what, seeks[mine].tolist(), nbytes[mine].tolist(), ends, late)
    return found
