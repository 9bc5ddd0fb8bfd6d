"""Histograms and profiles of polygons (``TH2Poly``, ``TProfile2Poly``) are added where the polygons are the same.

Each bin is an object with a number; nine more hold what lies outside of all, as ROOT's ``kNOverflow`` has it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from grid.rootio.objects.adding import added, squares_of
from grid.rootio.objects.anatomy import Part, array, counted, number, numbers
from grid.rootio.objects.histograms import AXES, axis, why_alone
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from grid.rootio.format.nodes import Node
    from grid.rootio.objects.anatomy import Anatomy, Combine
    from grid.rootio.objects.stored import Stored

    Values = Mapping[str, NDArray[Any]]

__all__ = ["is_polygons", "polygons"]

_OUTSIDE: Final = 9
_DOUBLE: Final = 8
#: What a bin of a profile holds beside its content: sums, and what follows from them.
_SUMS: Final = ("fSumw", "fSumvw", "fSumw2", "fSumwv2", "fAverage", "fError")
#: For each class that of its bins.
_BINS: Final = {"TH2Poly": "TH2PolyBin", "TProfile2Poly": "TProfile2PolyBin"}


def is_polygons(class_name: str) -> bool:
    """Return whether objects of a class are added up as histograms of polygons."""
    return class_name in _BINS


def polygons(stored: Stored, node: Node, path: str, anatomy: Anatomy) -> None:
    """Add what a histogram of polygons consists of to an anatomy, under names that begin with `path`.

    Raises
    ------
    UnsupportedContent, CorruptFile
        If it is not described as such histograms are, or its bins are not those that it counts.
    """
    plain = numbers(node)
    if not {"fEntries", "fNcells", "fTsumw"} <= plain.keys() or not {*AXES, "fSumw2"} <= node.inner.keys():
        raise _unknown(stored, node)
    for name, place in plain.items():
        if name == "fEntries" or name.startswith("fTsum"):
            values = number(stored, place)
            anatomy.parts[path + name] = Part(place[0], place[0] + values.itemsize, values, "", added)
    bins = _bins(stored, node)
    if len(bins) != int(number(stored, plain["fNcells"])[0]) - _OUTSIDE:
        # the first versions of the class did not count their bins
        anatomy.same[path + "content"] = stored.plain[node.begin : node.end]
        anatomy.alone = anatomy.alone or f"its fNcells does not count its {len(bins)} bins"
        return
    if node.class_name == "TH2Poly":
        _contents(stored, node, path, anatomy, bins)
    else:
        _profile(stored, node, path, anatomy, bins)
    for name in AXES:
        anatomy.same.update(
            {f"{path}{name}.{key}": value for key, value in axis(stored, node.inner[name]).items()}
        )
    graphs = _graphs(stored)
    for turn, one in enumerate(bins, start=1):
        anatomy.same[f"{path}polygon {turn}"] = _polygon(stored, one, graphs.get(id(one), []))
    anatomy.alone = anatomy.alone or why_alone(stored, node, plain)


def _bins(stored: Stored, node: Node) -> list[Node]:
    """Return the bins in the order of their numbers, which are those from 1 on."""
    assert stored.walk is not None
    kind = _BINS[node.class_name]
    found = [one for one in stored.walk.nodes.values() if one.class_name == kind and _above(one, node)]
    told = {int(number(stored, place)[0]): one for one in found if (place := numbers(one).get("fNumber"))}
    if sorted(told) != list(range(1, len(found) + 1)):
        raise CorruptFile(f"its {len(found)} polygons are not numbered from 1 on", where=stored.where)
    return [told[turn] for turn in range(1, len(found) + 1)]


def _above(one: Node, node: Node) -> bool:
    """Whether an object is part of another."""
    above: Node | None = one
    while above is not None and above is not node:
        above = above.parent
    return above is node


def _graphs(stored: Stored) -> dict[int, list[Node]]:
    """Return the graphs of each bin, by its id."""
    assert stored.walk is not None
    found: dict[int, list[Node]] = {}
    for one in stored.walk.nodes.values():
        if {"fX", "fY"} <= one.marks.keys() and "fNpoints" in numbers(one):
            above = one.parent
            while above is not None and above.class_name not in _BINS.values():
                above = above.parent
            found.setdefault(id(above), []).append(one)
    return found


def _contents(stored: Stored, node: Node, path: str, anatomy: Anatomy, bins: Sequence[Node]) -> None:
    """Add what the bins of a histogram hold, and the squares of weights."""
    outside = node.place("fOverflow")
    places = [node.place("fContent") for node in bins]
    if outside is None or None in places:
        raise _unknown(stored, node)
    spans = [(outside, outside + _OUTSIDE * _DOUBLE)]
    spans += [(place, place + _DOUBLE) for place in places if place is not None]
    contents = path + "contents"
    anatomy.parts[contents] = _Scattered(_doubles(stored, spans), spans, added)
    begin, end, squares = array(stored, node, "fSumw2", "f8")
    anatomy.parts[path + "fSumw2"] = Part(begin, end, squares, "count", squares_of(contents))


def _profile(stored: Stored, node: Node, path: str, anatomy: Anatomy, bins: Sequence[Node]) -> None:
    """Add what the bins of a profile hold."""
    outside = [node.inner.get(f"fOverflowBins[{turn}]") for turn in range(_OUTSIDE)]
    spans: list[tuple[int, int]] = []
    for one in (*outside, *bins):
        content, sums = (None, None) if one is None else (one.place("fContent"), one.place(_SUMS[0]))
        if one is None or content is None or sums is None:
            raise _unknown(stored, node)
        if [one.place(name) for name in _SUMS] != [sums + _DOUBLE * turn for turn in range(len(_SUMS))]:
            raise _unknown(stored, node)
        spans += [(content, content + _DOUBLE), (sums, sums + _DOUBLE * len(_SUMS))]
    anatomy.parts[path + "bins"] = _Scattered(_doubles(stored, spans), spans, _together)
    mode = numbers(node).get("fErrorMode")
    anatomy.same[path + "fErrorMode"] = None if mode is None else number(stored, mode)[0]


def _together(name: str, mine: Values, other: Values) -> NDArray[Any]:
    """Return the bins of two profiles together: sums are added, the rest follows from them as ROOT has it."""
    total = added(name, mine, other).reshape(-1, 1 + len(_SUMS))
    before = mine[name].reshape(total.shape)
    content, weights, values, _, squares, average, error = range(total.shape[1])
    filled = total[:, weights] != 0
    with np.errstate(all="ignore"):
        mean = total[:, values] / total[:, weights]
        spread = np.sqrt(total[:, squares] / total[:, weights] - mean * mean)
    total[:, average] = np.where(filled, mean, before[:, average])
    total[:, error] = np.where(filled, spread, 0)
    total[:, content] = total[:, average]
    return total.reshape(-1)


def _polygon(stored: Stored, node: Node, graphs: Sequence[Node]) -> Any:
    """Return what tells a bin's polygon from others: its points, or all that is said of it."""
    assert stored.walk is not None
    poly = stored.walk.nodes.get(node.marks.get("fPoly", (-2, 0))[0])
    if poly is None:
        raise _unknown(stored, node)
    if poly.class_name not in {"TGraph", "TMultiGraph"} or not graphs:
        return poly.class_name, stored.plain[poly.begin : poly.end]
    return tuple(_points(stored, one) for one in graphs)


def _points(stored: Stored, node: Node) -> tuple[tuple[float, float], ...]:
    count = int(number(stored, numbers(node)["fNpoints"])[0])
    across, up = (counted(stored, node, name, count)[2].tolist() for name in ("fX", "fY"))
    return tuple(zip(across, up, strict=True))


def _doubles(stored: Stored, spans: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    data = b"".join(stored.data[begin:end] for begin, end in spans)
    return np.frombuffer(data, ">f8").astype(np.float64)


def _unknown(stored: Stored, node: Node) -> UnsupportedContent:
    return UnsupportedContent(
        f"its {node.class_name} is described in a way that is not known here", where=stored.where
    )


@dataclass(frozen=True, slots=True)
class _Scattered:
    """Numbers that stand in several places, put together as a :class:`grid.rootio.objects.anatomy.Part` is."""

    values: NDArray[np.float64]
    spans: list[tuple[int, int]]
    combine: Combine

    def encode(self, values: NDArray[Any]) -> dict[tuple[int, int], bytes]:
        """Return the bytes of each span."""
        ends = np.cumsum([end - begin for begin, end in self.spans]) // _DOUBLE
        parts = np.split(values, ends[:-1])
        return {
            span: struct.pack(f">{len(part)}d", *part) for span, part in zip(self.spans, parts, strict=True)
        }
