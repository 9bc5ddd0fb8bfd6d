"""Efficiencies: what passed and what was tried add up; the weight is that of both samples together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grid.rootio.objects.anatomy import Anatomy, Part, number, numbers
from grid.rootio.objects.histograms import histogram, is_histogram
from sitecfg.errors import UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from grid.rootio.format.nodes import Node
    from grid.rootio.objects.stored import Stored

    Values = Mapping[str, NDArray[Any]]

__all__ = ["efficiency", "is_efficiency"]

_HISTOGRAMS = ("fPassedHistogram", "fTotalHistogram")


def is_efficiency(class_name: str) -> bool:
    """Return whether objects of a class are efficiencies."""
    return class_name == "TEfficiency"


def efficiency(stored: Stored, node: Node, path: str, anatomy: Anatomy) -> None:
    """Add what an efficiency consists of to an anatomy, under names that begin with `path`.

    Raises
    ------
    UnsupportedContent
        If it is not described as efficiencies are.
    """
    assert stored.walk is not None
    plain = numbers(node)
    for name in _HISTOGRAMS:
        inner = stored.walk.nodes.get(node.marks.get(name, (-2, 0))[0])
        if inner is None or not is_histogram(inner.class_name) or "fWeight" not in plain:
            raise UnsupportedContent(
                f"its {node.class_name} is described in a way that is not known here", where=stored.where
            )
        histogram(stored, inner, f"{path}{name}: ", anatomy)
    for name, place in plain.items():
        if name != "fWeight":
            anatomy.same[path + name] = number(stored, place)[0]
    weight = number(stored, plain["fWeight"])
    at, _ = plain["fWeight"]
    tried = f"{path}{_HISTOGRAMS[1]}: fEntries"
    anatomy.parts[path + "fWeight"] = Part(at, at + weight.itemsize, weight, "", _together(tried))


def _together(tried: str) -> Callable[[str, Values, Values], NDArray[Any]]:
    """Return what makes the weight of two samples of one process, each by its size; an empty one is nothing."""

    def combine(name: str, mine: Values, other: Values) -> NDArray[Any]:
        if not mine[tried][0]:
            return other[name]
        if not other[tried][0] or not (total := mine[name] + other[name])[0]:
            return mine[name]
        weight: NDArray[Any] = mine[name] * other[name] / total
        return weight

    return combine
