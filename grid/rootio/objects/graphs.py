"""Graphs: the points of all inputs, one input's after the other's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from grid.rootio.objects.adding import added, appended
from grid.rootio.objects.anatomy import Anatomy, Part, counted, number, numbers
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from grid.rootio.format.nodes import Node
    from grid.rootio.objects.stored import Stored

__all__ = ["graph", "is_graph"]

_CLASSES: Final = re.compile(r"TGraph(|Errors|AsymmErrors|BentErrors)")
_COORDINATES: Final = re.compile(r"f[XY]|fE[XY](low|high)?d?")


def is_graph(class_name: str) -> bool:
    """Return whether the points of objects of a class are put one after the other."""
    return _CLASSES.fullmatch(class_name) is not None


def graph(stored: Stored, node: Node, path: str, anatomy: Anatomy) -> None:
    """Add what a graph consists of to an anatomy, under names that begin with `path`.

    Raises
    ------
    UnsupportedContent, CorruptFile
        If it is not described as graphs are, or some coordinates are not there.
    """
    plain = numbers(node)
    arrays = [name for name in node.marks if _COORDINATES.fullmatch(name)]
    if "fNpoints" not in plain or len(arrays) < 2:
        raise UnsupportedContent(
            f"its {node.class_name} is described in a way that is not known here", where=stored.where
        )
    points = number(stored, plain["fNpoints"])
    place, _ = plain["fNpoints"]
    anatomy.parts[path + "fNpoints"] = Part(place, place + points.itemsize, points, "", added)
    for name in arrays:
        begin, end, values = counted(stored, node, name, int(points[0]))
        if len(values) != points[0]:
            raise CorruptFile(f"{node.class_name}::{name} is not there", where=stored.where)
        anatomy.parts[path + name] = Part(begin, end, values, "flag", appended)
