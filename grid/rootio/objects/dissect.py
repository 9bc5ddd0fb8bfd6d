"""Take an object apart by the rule for its class."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from grid.rootio.objects.anatomy import Anatomy
from grid.rootio.objects.efficiencies import efficiency, is_efficiency
from grid.rootio.objects.graphs import graph, is_graph
from grid.rootio.objects.histograms import histogram, is_histogram
from grid.rootio.objects.parameters import is_parameter, parameter
from grid.rootio.objects.polygons import is_polygons, polygons
from grid.rootio.objects.processes import is_process, process
from grid.rootio.objects.sparse import dense, is_dense, is_sparse, sparse

if TYPE_CHECKING:
    from grid.rootio.format.nodes import Node
    from grid.rootio.objects.stored import Stored

__all__ = ["dissect"]

_LISTS: Final = frozenset({"TList", "THashList", "TObjArray", "TMap", "THStack"})
_RULES: Final = (
    (is_histogram, histogram),
    (is_graph, graph),
    (is_parameter, parameter),
    (is_efficiency, efficiency),
    (is_sparse, sparse),
    (is_dense, dense),
    (is_process, process),
    (is_polygons, polygons),
)
#: What would have to be added up, and nobody here knows how.
_UNKNOWN: Final = re.compile(r"TH1K|TGraphMultiErrors")


def dissect(stored: Stored) -> Anatomy:
    """Return what of an object adds up and what must be the same; raises as the rules for each class."""
    anatomy = Anatomy()
    if stored.walk is not None:
        _node(stored, stored.walk.top, "", anatomy)
        return anatomy
    kind = stored.class_name
    anatomy.same["content"] = stored.data
    if kind in _LISTS or _UNKNOWN.fullmatch(kind) or any(applies(kind) for applies, _ in _RULES):
        anatomy.alone = stored.unknown
    return anatomy


def _node(stored: Stored, node: Node, path: str, anatomy: Anatomy) -> None:
    for applies, rule in _RULES:
        if applies(node.class_name):
            rule(stored, node, path, anatomy)
            return
    if node.class_name in _LISTS:
        items = stored.children(node)
        anatomy.same[path + "items"] = tuple((item.class_name, _name(item)) for item in items)
        for number, item in enumerate(items):
            _node(stored, item, f"{path}{number} {_name(item)}: ", anatomy)
        return
    anatomy.same[path + "content"] = stored.plain[node.begin : node.end]
    if _UNKNOWN.fullmatch(node.class_name) or node.place("fNcells") is not None:
        anatomy.alone = anatomy.alone or f"there is no rule for a {node.class_name}"


def _name(node: Node) -> str:
    return node.texts.get("fName", b"").decode("utf-8", "backslashreplace")
