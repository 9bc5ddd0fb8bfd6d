"""Faults between reading and writing: what a broken memory, disk or programmer could do to the events."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.sinktree import SinkTree

if TYPE_CHECKING:
    from collections.abc import Callable

    from grid.rootio.columns import Column

_EXTEND = SinkTree.extend


def _take(index: Callable[[int], Any]) -> Callable[[dict[str, Column]], dict[str, Column]]:
    def change(columns: dict[str, Column]) -> dict[str, Column]:
        n = len(columns["event"])
        return {name: column.take(np.asarray(index(n), np.int64)) for name, column in columns.items()}

    return change


def _values(name: str, edit: Callable[[Any], Any]) -> Callable[[dict[str, Column]], dict[str, Column]]:
    def change(columns: dict[str, Column]) -> dict[str, Column]:
        values = columns[name].values.copy()
        edit(values)
        return {**columns, name: replace(columns[name], values=values)}

    return change


def _bump(values: Any) -> None:
    values[3] += 1


def _exchange(values: Any) -> None:
    differ = int(np.flatnonzero(values != values[0])[0])
    values[[0, differ]] = values[[differ, 0]]


def _last_bit(values: Any) -> None:
    values.view(np.uint32)[5] ^= 1


def _turn(values: Any) -> None:
    values[7] = ~values[7]


#: Each changes the events of one chunk, once.
FAULTS: dict[str, Callable[[dict[str, Column]], dict[str, Column]]] = {
    "an event lost": _take(lambda n: range(n - 1)),
    "the first event lost": _take(lambda n: range(1, n)),
    "an event doubled": _take(lambda n: [*range(n), 0]),
    "an event replaced by another": _take(lambda n: [0, *range(n - 1)]),
    "two events exchanged": _take(lambda n: [1, 0, *range(2, n)]),
    "another identity": _values("event", _bump),
    "identities exchanged": _values("event", _exchange),
    "a section changed": _values("luminosityBlock", _bump),
    "one bit of a float": _values("MET_pt", _last_bit),
    "values exchanged between two events": _values("MET_pt", _exchange),
    "one bit of a jagged float": _values("Jet_pt", _last_bit),
    "values exchanged within a jagged array": _values("Jet_eta", _exchange),
    "a trigger bit turned": _values("HLT_ZeroBias_v2", _turn),
}


def faulty(name: str) -> Callable[[SinkTree, dict[str, Column]], None]:
    """Return an `extend` that makes the fault in the first chunk of events that is large enough."""
    left = [1]

    def extend(tree: SinkTree, columns: dict[str, Column]) -> None:
        if left and "MET_pt" in columns and len(columns["event"]) > 10:
            left.pop()
            columns = FAULTS[name](columns)
        _EXTEND(tree, columns)

    return extend
